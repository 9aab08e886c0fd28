//! Documents that speak of code, held to it: error codes, promises and their tests, examples and theirs.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use portolan_tests::root;
use regex::Regex;

/// Words of two humps in the sources that are no codes: names of types, kinds and formats.
const NO_CODES: &[&str] = &[
    "BindingValue",
    "ByteQuantity",
    "CapEff",
    "CpuQuantity",
    "CustomResourceDefinition",
    "PascalCase",
];

/// Words of Kubernetes' own: kinds, values of fields, and reasons that are told under a code of ours.
const KUBERNETES_WORDS: &[&str] = &[
    "AdmissionReview",
    "ClusterSecretStore",
    "ConfigMap",
    "ContainerCreating",
    "ContainerResource",
    "CreateContainerConfigError",
    "CreateContainerError",
    "CronJob",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ExactCount",
    "ExitCode",
    "ExternalName",
    "ExternalSecret",
    "FailedCreate",
    "Failure",
    "FieldManagerConflict",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
    "HorizontalPodAutoscaler",
    "IfNotPresent",
    "ImagePullBackOff",
    "InvalidImageName",
    "LoadBalancer",
    "NetworkPolicy",
    "NodePort",
    "OnRootMismatch",
    "PathPrefix",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "PodInitializing",
    "PodScheduled",
    "QueueLength",
    "ReadWriteOnce",
    "ReplicaFailure",
    "ResourceClaimTemplate",
    "RollingUpdate",
    "RunContainerError",
    "RuntimeDefault",
    "ScaledObject",
    "ScheduleAnyway",
    "SecretProviderClass",
    "SecretStore",
    "ServiceAccount",
    "StartError",
    "StatefulSet",
    "SuccessfulCreate",
    "TooManyRequests",
];

/// Words of Amazon's: its calls, and our names for what they make.
const AMAZON_WORDS: &[&str] = &[
    "AccessPoint",
    "ArnEquals",
    "CreateAccessPoint",
    "CreateListener",
    "CreateLogGroup",
    "CreateRole",
    "CreateRule",
    "CreateSchedule",
    "CreateScheduleGroup",
    "CreateService",
    "CreateTargetGroup",
    "DiscoveryService",
    "ListenerRule",
    "LogGroup",
    "LogRetention",
    "ModifyTargetGroupAttributes",
    "PutRetentionPolicy",
    "PutRolePolicy",
    "PutScalingPolicy",
    "RegisterScalableTarget",
    "RegisterTaskDefinition",
    "RolePolicy",
    "RunTask",
    "ScalableTarget",
    "ScalingPolicy",
    "ScheduleGroup",
    "StringEquals",
    "TargetGroup",
    "TargetGroupAttributes",
    "TaskDefinition",
    "UpdateSchedule",
    "UpdateService",
];

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Rust files below a folder that are no tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        let is_test = ["tests", "tests.rs", "testing.rs", "simulation.rs", "world.rs", "target"]
            .iter()
            .any(|test| name == *test);
        if entry.file_type().unwrap().is_dir() && !is_test {
            sources(&entry.path(), found);
        } else if name.to_string_lossy().ends_with(".rs") && !is_test {
            found.push(entry.path());
        }
    }
}

/// Every text of capitalised words in the sources: `"UnknownKey"`, `"Busy"`.
fn capitalised_words() -> BTreeSet<String> {
    let folders = [
        "controller",
        "providers/api",
        "providers/ecs",
        "providers/kubernetes",
        "providers/local",
        "local-runtime",
    ];
    let mut files = Vec::new();
    folders
        .iter()
        .for_each(|folder| sources(&root().join(folder), &mut files));
    let word = Regex::new(r#""((?:[A-Z][a-z0-9]+)+)""#).unwrap();
    let words_of = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let code: String = text
            .split("#[cfg(test)]")
            .next()
            .unwrap()
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .map(|line| format!("{line}\n"))
            .collect();
        word.captures_iter(&code)
            .map(|found| found[1].to_string())
            .collect::<Vec<_>>()
    };
    files.iter().flat_map(words_of).collect()
}

/// First cells of the rows between the marks.
fn first_cells(text: &str, mark: &str) -> Vec<String> {
    let mut cells = Vec::new();
    for part in text.split(&format!("<!-- {mark}: begin -->")).skip(1) {
        let table = part.split(&format!("<!-- {mark}: end -->")).next().unwrap();
        let rows = table.lines().filter(|line| line.starts_with('|')).skip(2);
        cells.extend(rows.map(|row| row.split('|').nth(1).unwrap().trim().to_string()));
    }
    cells
}

#[test]
fn every_error_code_has_a_row_in_the_document() {
    let rows = first_cells(&read("docs/errors.md"), "codes");
    let documented: BTreeSet<String> = rows.iter().cloned().collect();
    assert_eq!(rows.len(), documented.len(), "a code has two rows");
    let words = capitalised_words();
    let humps = |word: &str| word.chars().filter(char::is_ascii_uppercase).count();
    let codes = words
        .iter()
        .filter(|word| humps(word) > 1 && !NO_CODES.contains(&word.as_str()))
        .filter(|word| !KUBERNETES_WORDS.contains(&word.as_str()))
        .filter(|word| !AMAZON_WORDS.contains(&word.as_str()));
    let missing: Vec<&String> = codes.filter(|code| !documented.contains(*code)).collect();
    assert!(missing.is_empty(), "docs/errors.md has no row for {missing:?}");
    let gone: Vec<&String> = documented.iter().filter(|code| !words.contains(*code)).collect();
    assert!(
        gone.is_empty(),
        "docs/errors.md has rows for what no source says: {gone:?}"
    );
}

#[test]
fn every_exit_code_has_a_row_in_the_document() {
    let source = read("controller/cli/src/failure.rs");
    let codes = Regex::new(r"pub const [A-Z]+: u8 = (\d+);").unwrap();
    let text = read("docs/errors.md");
    for code in codes.captures_iter(&source) {
        assert!(
            text.contains(&format!("\n| {} | ", &code[1])),
            "no row for exit code {}",
            &code[1]
        );
    }
}

#[test]
fn every_promise_names_a_test_that_exists() {
    let row = Regex::new(r"^\| (?P<promise>.+) \| `(?P<file>[^`]+)`: `(?P<test>[a-z0-9_]+)` \|$").unwrap();
    let text = read("docs/promises.md");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
    let mut broken = Vec::new();
    for line in rows.iter().filter(|line| !line.starts_with("| promise |")) {
        let found = row
            .captures(line)
            .unwrap_or_else(|| panic!("no promise with its test: {line}"));
        let source = fs::read_to_string(root().join(&found["file"])).unwrap_or_default();
        let is_there = |end: char| source.contains(&format!("fn {}{end}", &found["test"]));
        if !is_there('(') && !is_there('<') {
            broken.push(format!("{}: `{}`", &found["file"], &found["test"]));
        }
    }
    assert!(
        broken.is_empty(),
        "docs/promises.md names tests that are not there: {broken:#?}"
    );
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let link = Regex::new(r"\]\((?P<path>[^)#:]+)(#[^)]*)?\)").unwrap();
    let mut files = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    for folder in [
        "docs",
        "docs/decisions",
        "examples",
        "examples/shop",
        "examples/hello",
        "examples/canary",
        "examples/pipeline",
    ] {
        let entries = fs::read_dir(root().join(folder)).unwrap().flatten();
        files.extend(
            entries
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|end| end == "md")),
        );
    }
    let mut dead = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let folder = file.parent().unwrap();
        let links = link.captures_iter(&text).map(|found| found["path"].to_string());
        dead.extend(
            links
                .filter(|path| !folder.join(path).exists())
                .map(|path| format!("{}: {path}", file.display())),
        );
    }
    assert!(dead.is_empty(), "links that lead nowhere: {dead:#?}");
}
