//! The checked-in files are what the types make, and what Kubernetes takes.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use portolan_crds::generate;
use serde_json::Value;

#[test]
fn the_files_are_what_the_types_make() {
    for file in generate() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file.name);
        if std::env::var_os("PORTOLAN_REGENERATE").is_some() {
            fs::write(&path, &file.text).unwrap();
        }
        let checked_in = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            checked_in == file.text,
            "{} is not what the types make: PORTOLAN_REGENERATE=1 cargo test -p portolan-crds",
            path.display()
        );
    }
}

/// Kubernetes' rules for structural schemas, and those of its server on lists and defaults.
#[test]
fn kubernetes_takes_the_schemas() {
    for (kind, schema) in portolan_crds::schemas() {
        check(&schema, kind);
    }
}

fn check(schema: &Value, path: &str) {
    let fields = schema.as_object().unwrap_or_else(|| panic!("{path} is no schema"));
    for key in [
        "$ref",
        "$defs",
        "definitions",
        "propertyNames",
        "patternProperties",
        "const",
        "if",
        "uniqueItems",
    ] {
        assert!(!fields.contains_key(key), "{path} has `{key}`");
    }
    let is_status = path.ends_with(".status");
    assert!(
        is_status || !fields.contains_key("default"),
        "{path} has a default, which nobody has written"
    );
    let quantity = schema["x-kubernetes-int-or-string"] == true;
    assert!(
        quantity != schema["type"].is_string(),
        "{path} has not exactly one type"
    );
    assert!(
        quantity
            || !["allOf", "anyOf", "oneOf", "not"]
                .iter()
                .any(|key| fields.contains_key(*key)),
        "{path} is a union"
    );
    assert!(
        !(fields.contains_key("properties") && fields.contains_key("additionalProperties")),
        "{path} has both fields and a map"
    );
    let keeps = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let open = !fields.contains_key("properties") && !fields.contains_key("additionalProperties") && !keeps;
    assert!(schema["type"] != "object" || !open, "{path} would be pruned to nothing");
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        check(field, &format!("{path}.{name}"));
    }
    if schema["additionalProperties"].is_object() {
        check(&schema["additionalProperties"], &format!("{path}.*"));
    }
    if schema["type"] == "array" {
        check(&schema["items"], &format!("{path}[]"));
        check_list(schema, path);
    }
}

/// Keys of a list of the type `map` are required fields with a scalar type, and not nullable.
fn check_list(schema: &Value, path: &str) {
    let items = &schema["items"];
    for key in schema["x-kubernetes-list-map-keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        assert!(
            items["required"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|name| name == key),
            "{path}: `{key}` is optional"
        );
        assert_eq!(items["properties"][key]["type"], "string", "{path}: `{key}` is no text");
        assert_ne!(
            items["properties"][key]["nullable"], true,
            "{path}: `{key}` is nullable"
        );
    }
    if schema["x-kubernetes-list-type"] == "map" {
        assert!(schema["x-kubernetes-list-map-keys"].is_array(), "{path} names no key");
    }
}
