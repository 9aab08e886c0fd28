//! docs/manifest.md is written from the schema, and thus from the words of the types themselves.
//!
//! `PORTOLAN_REGENERATE=1 cargo test -p portolan-tests --test manifest_reference` writes it anew.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use portolan_core::resolve::STANDARD_ENV;
use portolan_core::schema::{app_schema, target_schema};
use portolan_tests::root;
use serde_json::Value;

const HEAD: &str = "\
# The manifest

Every field that a manifest may have, written from the schema by `tests/tests/manifest_reference.rs`; do not edit it by hand.
`portolan explain FIELD` says the same in a terminal, `portolan schema` prints it for an editor.

A file holds one or more documents. Keys that begin with `x-` are yours. A word in capitals, as in `services.NAME`, stands for a
name that you choose. A quantity is a number with a unit, as in `500m` or `256Mi`; a duration is `30s`, `5m` or `1h30m`.
";

/// One object of the manifest: a heading and a table.
struct Section<'a> {
    path: String,
    schema: &'a Value,
}

/// Objects whose fields stand elsewhere: an override has those of the spec.
const NOT_ENTERED: &str = "overrides";

/// The objects in the order of reading: each before those inside it, services before what looks like them.
fn sections<'a>(path: &str, schema: &'a Value, found: &mut Vec<Section<'a>>) {
    let Some(fields) = schema["properties"].as_object() else {
        return;
    };
    found.push(Section {
        path: path.to_string(),
        schema,
    });
    let mut names: Vec<&String> = fields.keys().filter(|name| *name != NOT_ENTERED).collect();
    names.sort_by_key(|name| (*name != "services", ["init", "sidecars"].contains(&name.as_str())));
    for name in names {
        let (path, inside) = inside(&format!("{path}.{name}"), &fields[name]);
        sections(&path, inside, found);
    }
}

/// What a map or a list holds, with its path; an object itself otherwise.
fn inside<'a>(path: &str, schema: &'a Value) -> (String, &'a Value) {
    match schema["type"].as_str() {
        Some("object") if schema["additionalProperties"].is_object() => {
            inside(&format!("{path}.NAME"), &schema["additionalProperties"])
        }
        Some("array") => inside(&format!("{path}[]"), &schema["items"]),
        _ => (path.to_string(), schema),
    }
}

/// In a word or two: `text`, `list of text`, `map of objects`.
fn type_of(schema: &Value) -> String {
    match schema["type"].as_str() {
        _ if schema["anyOf"].is_array() => "quantity".to_string(),
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("map of {}", type_of(&schema["additionalProperties"]))
        }
        Some("array") => format!("list of {}", type_of(&schema["items"])),
        Some("string") => "text".to_string(),
        Some("integer") => "whole number".to_string(),
        Some("boolean") => "true or false".to_string(),
        _ => "object".to_string(),
    }
}

/// The section's text. Fields that a service has word for word are named, not repeated: `shared` are those.
fn text(section: &Section<'_>, shared: &BTreeMap<String, Value>) -> String {
    let fields = section.schema["properties"].as_object().unwrap();
    let is_shared =
        |name: &String| shared.get(name) == Some(&fields[name]) && !section.path.ends_with("spec.services.NAME");
    let (as_service, own): (Vec<_>, Vec<_>) = fields.keys().partition(|name| is_shared(name));
    let mut text = format!(
        "\n## {}\n\n{}\n",
        section.path,
        section.schema["description"].as_str().unwrap_or_default()
    );
    if !own.is_empty() {
        text.push_str("\n| field | type | default | meaning |\n|---|---|---|---|\n");
        own.iter()
            .for_each(|name| text.push_str(&row(name, &fields[*name], section.schema)));
    }
    if !as_service.is_empty() {
        let names: Vec<String> = as_service.iter().map(|name| format!("`{name}`")).collect();
        _ = writeln!(text, "\nAs in a service: {}.", names.join(", "));
    }
    text
}

fn row(name: &str, field: &Value, around: &Value) -> String {
    let required = around["required"]
        .as_array()
        .is_some_and(|names| names.iter().any(|one| one == name));
    let default = match field.get("default") {
        _ if required => "required".to_string(),
        Some(Value::String(word)) => format!("`{word}`"),
        Some(Value::Object(_)) | None => String::new(),
        Some(value) => format!("`{value}`"),
    };
    let meaning = format!("{}{}", field["description"].as_str().unwrap_or_default(), limits(field));
    format!(
        "| `{name}` | {} | {default} | {} |\n",
        type_of(field),
        meaning.replace('|', "\\|").replace('\n', " ")
    )
}

fn limits(field: &Value) -> String {
    if let Some(allowed) = field["enum"].as_array() {
        let words: Vec<String> = allowed
            .iter()
            .filter_map(Value::as_str)
            .map(|word| format!("`{word}`"))
            .collect();
        return format!(" One of {}.", words.join(", "));
    }
    if let Some(most) = field["maxItems"].as_u64().or(field["maxProperties"].as_u64()) {
        return format!(" At most {most}.");
    }
    match (field["minimum"].as_i64(), field["maximum"].as_i64()) {
        (Some(least), Some(most)) => format!(" From {least} to {most}."),
        (Some(least), None) => format!(" At least {least}."),
        _ => String::new(),
    }
}

fn reference() -> String {
    let mut found = Vec::new();
    sections("App", app_schema(), &mut found);
    sections("Target", target_schema(), &mut found);
    let service = found
        .iter()
        .find(|section| section.path == "App.spec.services.NAME")
        .unwrap();
    let shared: BTreeMap<String, Value> = service.schema["properties"]
        .as_object()
        .unwrap()
        .clone()
        .into_iter()
        .collect();
    let mut text_of_all = HEAD.to_string();
    let mut seen: Vec<&Value> = Vec::new();
    for section in &found {
        // What has the same fields is described once: the three probes, and the parts of sidecars and jobs.
        let fields = &section.schema["properties"];
        if seen.contains(&fields) {
            continue;
        }
        seen.push(fields);
        text_of_all.push_str(&text(section, &shared));
    }
    text_of_all.push_str(&variables());
    text_of_all
}

fn variables() -> String {
    let mut text =
        "\n## What every container sees\n\nThe same on every target; what the manifest sets itself wins.\n\n\
                    | variable | value |\n|---|---|\n"
            .to_string();
    for (name, meaning) in STANDARD_ENV {
        _ = writeln!(text, "| `{name}` | {meaning} |");
    }
    text
}

#[test]
fn the_reference_says_what_the_schema_says() {
    let path = root().join("docs/manifest.md");
    let written = reference();
    if std::env::var_os("PORTOLAN_REGENERATE").is_some() {
        fs::write(&path, &written).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == written,
        "docs/manifest.md is not what the schema says; PORTOLAN_REGENERATE=1 writes it anew"
    );
}
