//! The definitions themselves refuse what is wrong, where the parser sees it and in its words.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::world::{Shipped, World, app};
use crate::wrong::{By, Wrong, all};

/// What the API server said of an object that was to be created.
fn said(world: &World, object: &Value) -> Result<String, String> {
    let file = world.write("wrong.json", &object.to_string());
    // Not looked at by kubectl itself, which would use the schema to complain in words of its own.
    let create = [
        "create",
        "--validate=false",
        "--dry-run=server",
        "-f",
        file.to_str().unwrap(),
    ];
    world.plane.kubectl(&create).map_err(|error| error.to_string())
}

/// Whether one of the faults that were told is that of the case, at its place.
fn is_told(wrong: &Wrong, told: &str) -> bool {
    let lines = told.lines().filter_map(|line| {
        let start = line.find("spec")?;
        let (place, words) = line[start..].split_once(": ")?;
        Some((place, words))
    });
    let mut of_place = lines.filter(|(place, _)| wrong.is_at(place)).map(|(_, words)| words);
    of_place.any(|words| match wrong.by {
        By::Schema(kind) => words.contains(kind),
        By::Rule => wrong.rules().iter().any(|rule| words.ends_with(rule)),
        By::Reader => false,
    })
}

#[test]
fn each_wrong_object_is_refused_by_the_definitions_where_the_parser_sees_it() {
    let test = "each_wrong_object_is_refused_by_the_definitions_where_the_parser_sees_it";
    let Some(world) = World::of(test, Shipped::Cluster) else {
        return;
    };
    let cases = all();
    let refused = cases.iter().filter(|wrong| wrong.by != By::Reader).count();
    assert!(refused >= 40, "only {refused} of {} cases", cases.len());
    let mut astray = Vec::new();
    for wrong in &cases {
        match (said(&world, &wrong.object), wrong.by) {
            (Err(told), By::Schema(_) | By::Rule) if is_told(wrong, &told) => {}
            (Ok(_), By::Reader) => {}
            (told, by) => astray.push(format!("{} ({}, {by:?}): {told:?}", wrong.reason, wrong.code)),
        }
    }
    assert!(
        astray.is_empty(),
        "{} of {}:\n{}",
        astray.len(),
        cases.len(),
        astray.join("\n")
    );
}

#[test]
fn what_is_as_large_as_it_may_be_is_taken() {
    let test = "what_is_as_large_as_it_may_be_is_taken";
    let Some(world) = World::of(test, Shipped::Cluster) else {
        return;
    };
    let mut large = app("large", 1);
    let web = large["spec"]["services"]["web"].clone();
    let services: serde_json::Map<_, _> = (0..2000)
        .map(|number| (format!("service-{number}"), web.clone()))
        .collect();
    large["spec"]["services"] = Value::Object(services);
    said(&world, &large).unwrap();
    large["spec"]["services"]["one-more"] = web;
    let told = said(&world, &large).unwrap_err();
    assert!(told.contains("spec.services: Too many: 2001"), "{told}");
    // A field of nobody's is refused by name, as kubectl asks for it.
    let mut unknown = app("unknown", 1);
    unknown["spec"]["services"]["web"]["prots"] = json!([]);
    let file = world.write("unknown.json", &unknown.to_string());
    let create = [
        "create",
        "--validate=strict",
        "--dry-run=server",
        "-f",
        file.to_str().unwrap(),
    ];
    let told = world.plane.kubectl(&create).unwrap_err().to_string();
    assert!(told.contains("unknown field \"spec.services.web.prots\""), "{told}");
}

/// The manifests of `examples/`: what is good as a file is good as an object, as far as a definition can tell.
#[test]
fn every_example_is_taken() {
    let Some(world) = World::of("every_example_is_taken", Shipped::Cluster) else {
        return;
    };
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut taken = 0;
    for folder in fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path()) {
        let manifest = folder.join("portolan.yaml");
        if manifest.is_file() {
            let create = [
                "create",
                "--validate=strict",
                "--dry-run=server",
                "-f",
                manifest.to_str().unwrap(),
            ];
            let told = world.plane.kubectl(&create);
            assert!(told.is_ok(), "{}: {told:?}", manifest.display());
            taken += 1;
        }
    }
    assert!(taken > 1, "{taken} examples");
}
