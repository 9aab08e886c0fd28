//! What keeps the house in order: the direction of dependencies, doors to the outside, and rules of the tree.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Dependencies of one crate by their names: of the program, and of its tests alone.
fn dependencies(package: &Value) -> (BTreeSet<String>, BTreeSet<String>) {
    let of = |tests: bool| {
        let listed = package["dependencies"].as_array().unwrap().iter();
        listed
            .filter(|one| (one["kind"] == "dev") == tests)
            .map(|one| one["name"].as_str().unwrap().to_string())
            .collect()
    };
    (of(false), of(true))
}

/// Rows of a table of docs/architecture.md, cell by cell.
fn table(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (_, rest) = text.split_once(&format!("<!-- {name}: begin -->")).unwrap();
    let (table, _) = rest.split_once(&format!("<!-- {name}: end -->")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        row.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().replace('`', ""))
            .collect()
    })
    .collect()
}

fn names(cell: &str) -> BTreeSet<String> {
    cell.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(String::from)
        .collect()
}

#[test]
fn crates_use_each_other_as_the_map_says() {
    let metadata = metadata();
    let ours = |set: BTreeSet<String>| -> BTreeSet<String> {
        set.into_iter().filter(|name| name.starts_with("portolan-")).collect()
    };
    let found: BTreeMap<String, _> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let (uses, tests) = dependencies(package);
            let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
            let folder = manifest
                .parent()
                .unwrap()
                .strip_prefix(root())
                .unwrap()
                .display()
                .to_string();
            (
                package["name"].as_str().unwrap().to_string(),
                (folder, ours(uses), ours(tests)),
            )
        })
        .collect();
    let mapped: BTreeMap<String, _> = table("crates")
        .into_iter()
        .map(|row| (row[1].clone(), (row[0].clone(), names(&row[2]), names(&row[3]))))
        .collect();
    assert_eq!(found, mapped, "left: cargo metadata, right: docs/architecture.md");
}

#[test]
fn each_library_with_a_door_is_used_by_its_crates_alone() {
    let metadata = metadata();
    for row in table("doors") {
        let (libraries, crates) = (names(&row[0]), names(&row[1]));
        for package in metadata["packages"].as_array().unwrap() {
            let name = package["name"].as_str().unwrap();
            let (uses, _) = dependencies(package);
            let through: Vec<_> = uses.intersection(&libraries).collect();
            assert!(
                through.is_empty() || crates.contains(name),
                "{name} uses {through:?}, a door of {crates:?}"
            );
        }
    }
}

/// Every file that git tracks, as text; binary files are none of our business.
fn tracked() -> Vec<(String, String)> {
    let output = Command::new("git")
        .args(["ls-files"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "git ls-files failed");
    let listing = String::from_utf8(output.stdout).unwrap();
    let read = |path: &str| Some((path.to_string(), fs::read_to_string(root().join(path)).ok()?));
    listing.lines().filter_map(read).collect()
}

#[test]
fn unsafe_lives_in_local_runtime_alone() {
    for (path, text) in tracked().into_iter().filter(|(path, _)| path.ends_with(".rs")) {
        let block = text.contains(concat!("unsafe", " {")) || text.contains(concat!("unsafe", " fn"));
        assert!(
            !block || path.starts_with("local-runtime/"),
            "{path} holds an unsafe block"
        );
    }
}

#[test]
fn every_crate_and_file_says_what_it_is_for() {
    for (path, text) in tracked().into_iter().filter(|(path, _)| path.ends_with(".rs")) {
        assert!(text.starts_with("//!"), "{path} does not open with //!");
    }
}

#[test]
fn no_file_names_a_folder_of_somebodys_machine() {
    let folders = [concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    for (path, text) in tracked() {
        for folder in folders {
            assert!(!text.contains(folder), "{path} names {folder}");
        }
    }
}

#[test]
fn decisions_have_numbers_of_their_own() {
    let paths: Vec<String> = tracked().into_iter().map(|(path, _)| path).collect();
    let decisions: Vec<&str> = paths
        .iter()
        .filter_map(|path| path.strip_prefix("docs/decisions/"))
        .collect();
    let numbers: BTreeSet<&str> = decisions.iter().map(|name| name.split('-').next().unwrap()).collect();
    assert_eq!(
        numbers.len(),
        decisions.len(),
        "two decisions share a number: {decisions:?}"
    );
}
