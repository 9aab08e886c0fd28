//! Wrong manifests, each with the whole text that the user reads: `wrong/NAME.yaml` and `wrong/NAME.txt`.
//!
//! `PORTOLAN_REGENERATE=1 cargo test -p portolan-core --test manifest_wrong` writes the texts anew.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use portolan_core::diagnostic::{Diagnostic, Style, render_all};
use portolan_core::parse::{SourceFile, check_links, parse_files};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong")
}

fn faults(name: &str, bytes: Vec<u8>) -> Vec<Diagnostic> {
    let (documents, mut diagnostics) = parse_files(vec![SourceFile {
        path: PathBuf::from(name),
        bytes,
    }]);
    if diagnostics.is_empty() {
        diagnostics = check_links(&documents);
    }
    diagnostics
}

#[test]
fn every_wrong_manifest_reads_as_written_down() {
    let mut names: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    names.sort();
    assert!(names.len() >= 25, "only {} wrong manifests", names.len());
    let mut different = Vec::new();
    for path in names {
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        let text = render_all(&faults(&name, fs::read(&path).unwrap()), Style::Plain);
        assert!(!text.is_empty(), "{name} has no fault");
        let expected = path.with_extension("txt");
        if std::env::var_os("PORTOLAN_REGENERATE").is_some() {
            fs::write(&expected, &text).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != text {
            different.push(format!("--- {name}\n{text}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn twelve_faults_of_one_file_are_reported_at_once_and_in_order() {
    let bytes = fs::read(folder().join("twelve-faults.yaml")).unwrap();
    let diagnostics = faults("twelve-faults.yaml", bytes);
    let codes: Vec<&str> = diagnostics.iter().map(|diagnostic| diagnostic.code.as_ref()).collect();
    let expected = [
        "InvalidName",
        "UnknownKey",
        "NoImage",
        "WrongType",
        "OutOfRange",
        "UnknownReference",
        "InvalidQuantity",
        "ProbeAction",
        "DependencyCycle",
        "BuildAndImage",
        "InvalidDuration",
        "UnknownTarget",
    ];
    assert_eq!(codes, expected);
    let lines: Vec<u32> = diagnostics
        .iter()
        .map(|diagnostic| diagnostic.location.as_ref().unwrap().line)
        .collect();
    assert!(lines.is_sorted(), "{lines:?}");
}
