//! Every example but the shop, which has a file of its own, applied as its README says.

// A panic is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::net::SocketAddr;

use portolan_tests::example::Example;
use portolan_tests::http::get;
use portolan_tests::{is_root, root, skip};

#[test]
fn hello_answers() {
    if !is_root() {
        return skip("hello_answers", "containers are started by root");
    }
    let example = Example::up("hello", |manifest| manifest.replace("port: 8090", "port: 18190"));
    let answer = get(SocketAddr::from(([127, 0, 0, 1], 18190)), "/").unwrap();
    assert!(answer.body.starts_with("hello from hello, revision "), "{answer:?}");
    assert!(example.says(&["status"]).contains("Ready"));
}

#[test]
fn a_canary_waits_for_its_promotion() {
    if !is_root() {
        return skip("a_canary_waits_for_its_promotion", "containers are started by root");
    }
    let example = Example::up("canary", |manifest| manifest.replace("port: 8091", "port: 18191"));
    assert_eq!(evenings(8), 0);
    example.edit("portolan.yaml", "good morning", "good evening");
    let paused = "paused; `portolan promote canary` goes on";
    for (command, reason) in [
        ("apply", "what is left waits for a person: the command does not"),
        ("status", "it says what it waits for"),
        ("wait --timeout 1s", "it is as far as it comes by itself"),
        ("apply", "nothing has changed, and nothing is done"),
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let said = example.says(&arguments);
        assert!(said.contains(paused) && said.contains("25%"), "{reason}: {said}");
    }
    assert_eq!(evenings(40), 10, "one connection in four");
    let said = example.says(&["rollback", "--yes"]);
    assert!(
        said.contains(": Ready"),
        "a canary that displeases is gone without a step: {said}"
    );
    assert_eq!(evenings(8), 0);
    assert!(
        example.says(&["apply"]).contains(paused),
        "the manifest still asks for it"
    );
    let said = example.says(&["promote"]);
    assert!(said.contains(": Ready") && said.contains("2/2"), "{said}");
    assert_eq!(evenings(8), 8);
    assert!(example.says(&["plan"]).contains("no changes"));
    let said = example.says(&["rollback", "--yes"]);
    assert!(
        said.contains(": Ready"),
        "nor does one that was promoted go in steps: {said}"
    );
    assert_eq!(evenings(8), 0);
}

/// How many of so many connections the canary's new revision answers.
fn evenings(of: usize) -> usize {
    let answers = (0..of).map(|_| get(SocketAddr::from(([127, 0, 0, 1], 18191)), "/").unwrap().body);
    answers.filter(|body| body.starts_with("good evening")).count()
}

#[test]
fn a_pipeline_runs_in_order_and_once() {
    if !is_root() {
        return skip("a_pipeline_runs_in_order_and_once", "containers are started by root");
    }
    let example = Example::up("pipeline", |manifest| manifest);
    let status = example.says(&["status"]);
    assert_eq!(status.matches("completed").count(), 3, "{status}");
    let report = example.says(&["logs", "report"]);
    assert!(!report.trim().is_empty(), "it prints what the ones before it have made");
    example.says(&["up"]);
    assert_eq!(example.says(&["logs", "report"]), report, "`up` again runs nothing");
    let again = example.says(&["run", "report"]);
    assert_eq!(again.lines().count(), report.lines().count());
    for line in again.lines() {
        assert!(report.contains(line), "`{line}` is what it printed before: {report}");
    }
}

#[test]
fn every_example_is_named_with_the_test_that_applies_it() {
    let readme = fs::read_to_string(root().join("examples/README.md")).unwrap();
    for entry in fs::read_dir(root().join("examples")).unwrap().flatten() {
        if entry.path().join("portolan.yaml").is_file() {
            let name = entry.file_name().into_string().unwrap();
            let row = readme.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
            let row = row.unwrap_or_else(|| panic!("examples/README.md has no row for {name}"));
            let test = row.rsplit('`').nth(1).unwrap();
            let text = fs::read_to_string(root().join(test)).unwrap_or_else(|_| panic!("there is no {test}"));
            assert!(
                text.contains(&format!("\"{name}\"")) || test.contains(&name),
                "{test} does not apply {name}"
            );
        }
    }
}
