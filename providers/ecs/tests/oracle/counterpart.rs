//! The examples, sent by Amazon's own SDK for Python to a counterpart of its APIs, through a proxy that judges each request as it is on
//! the wire: that the requests are such as an SDK can send, in an order in which each finds what it names.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use portolan_core::resource::{ResourceId, Resources};
use portolan_provider_ecs::Kind;
use serde::Deserialize;
use serde_json::Value;

use crate::apps::{Given, root, target};
use crate::judge::{Case, Request};
use crate::{EXAMPLES, app_of_example, with_pauses};

#[derive(Debug, Deserialize)]
struct Sent {
    sent: usize,
    refused: Vec<Value>,
    failed: Vec<Failed>,
}

#[derive(Debug, Deserialize)]
struct Failed {
    operation: String,
    error: String,
}

/// What the counterpart does not do, and its word for that: it breaks down over a task whose containers say no memory, which they need
/// not on Fargate.
const NOT_THERE: &[(&str, &str)] = &[("ecs:RunTask", "An error occurred (500)")];

#[test]
fn an_sdk_brings_every_example_to_a_counterpart() {
    const TEST: &str = "an_sdk_brings_every_example_to_a_counterpart";
    let python = root().join("target/amazon/moto/bin/python");
    if !python.exists() {
        println!("SKIP {TEST}: `tests/amazon/venv moto` has not been run");
        return;
    }
    // `kubernetes` is `hello` once more, with the same names.
    let examples = EXAMPLES.iter().filter(|name| **name != "kubernetes");
    let cases: Vec<Case> = examples.map(|name| in_order(name)).collect();
    let wanted: usize = cases.iter().map(|case| case.requests.len()).sum();
    let file = std::env::temp_dir().join(format!("portolan-drive-{}.json", std::process::id()));
    fs::write(&file, serde_json::to_string(&cases).unwrap()).unwrap();
    let drive = root().join("tests/amazon/drive.py");
    let output = Command::new(python).arg(drive).arg(&file).output().unwrap();
    fs::remove_file(&file).unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "it came to no end: {words}");
    let sent: Sent = serde_json::from_slice(&output.stdout).unwrap();
    println!("{} requests, of which {wanted} are the examples'", sent.sent);
    assert!(sent.refused.is_empty(), "the proxy refused: {:#?}", sent.refused);
    let is_known = |failed: &&Failed| {
        let known = NOT_THERE
            .iter()
            .any(|(operation, word)| failed.operation == *operation && failed.error.contains(word));
        !known
    };
    let failed: Vec<&Failed> = sent.failed.iter().filter(is_known).collect();
    assert!(failed.is_empty(), "the counterpart refused: {failed:#?}");
    assert!(sent.sent > wanted, "all of them were sent");
}

fn in_order(name: &str) -> Case {
    let given = Given {
        app: with_pauses(name, app_of_example(name)),
        ecs: target(),
    };
    let resources = given.rendered().resources;
    let request = |id: ResourceId| {
        let kind = Kind::of(&id).unwrap();
        Request::of(&id, kind.api, kind.create, resources[&id].body.clone())
    };
    Case {
        name: name.to_string(),
        requests: by_edges(&resources).into_iter().map(request).collect(),
    }
}

/// Each after what its edges lead to.
fn by_edges(resources: &Resources) -> Vec<ResourceId> {
    let (mut ordered, mut done) = (Vec::new(), BTreeSet::new());
    while ordered.len() < resources.len() {
        let is_next = |id: &&ResourceId| {
            let mut edges = resources[*id].edges.iter();
            !done.contains(*id) && edges.all(|edge| done.contains(&edge.to))
        };
        let next: Vec<ResourceId> = resources.keys().filter(is_next).cloned().collect();
        assert!(!next.is_empty(), "edges in a circle");
        done.extend(next.iter().cloned());
        ordered.extend(next);
    }
    ordered
}
