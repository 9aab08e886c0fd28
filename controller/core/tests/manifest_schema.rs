//! The schema: structural, described, and the same as what `parse` enforces.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use portolan_core::parse::{Shape, ShapeKind};
use portolan_core::schema::{app_schema, manifest_schema, target_schema};
use serde_json::Value;

/// Every schema within one, with its path.
fn each<'a>(schema: &'a Value, path: String, visit: &mut impl FnMut(&str, &'a Value)) {
    visit(&path, schema);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        each(field, format!("{path}.{name}"), visit);
    }
    for (key, part) in [("items", "[]"), ("additionalProperties", ".*")] {
        if schema[key].is_object() {
            each(&schema[key], format!("{path}{part}"), visit);
        }
    }
}

#[test]
fn the_schema_is_structural() {
    const KNOWN: [&str; 23] = [
        "additionalProperties",
        "anyOf",
        "default",
        "description",
        "enum",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "nullable",
        "pattern",
        "properties",
        "propertyNames",
        "required",
        "type",
        "uniqueItems",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
    ];
    for (kind, schema) in [("app", app_schema()), ("target", target_schema())] {
        each(schema, kind.to_string(), &mut |path, schema| {
            let fields = schema.as_object().unwrap();
            for key in fields.keys() {
                assert!(
                    KNOWN.contains(&key.as_str()),
                    "{path} has `{key}`, of which nothing here knows"
                );
            }
            let quantity = schema["x-kubernetes-int-or-string"] == true;
            assert!(
                quantity != schema["type"].is_string(),
                "{path} has exactly one type: {schema}"
            );
            assert!(quantity || !fields.contains_key("anyOf"), "{path} is a union");
        });
    }
}

#[test]
fn every_field_is_described() {
    for (kind, schema) in [("app", app_schema()), ("target", target_schema())] {
        each(schema, kind.to_string(), &mut |path, schema| {
            let named = path.contains('.') && !path.ends_with("[]") && !path.ends_with(".*");
            if named && !path.contains(".overrides.*.") {
                let words = schema["description"].as_str().unwrap_or_default();
                assert!(words.ends_with('.'), "{path} is described by {words:?}");
            }
        });
    }
}

#[test]
fn an_override_has_every_field_of_what_it_overrides() {
    let spec = &app_schema()["properties"]["spec"]["properties"];
    let over = &spec["overrides"]["additionalProperties"]["properties"];
    let paths = |schema: &Value| {
        let mut paths = Vec::new();
        each(schema, String::new(), &mut |path, _| paths.push(path.to_string()));
        paths
    };
    for part in ["services", "jobs", "bindings"] {
        assert_eq!(paths(&spec[part]), paths(&over[part]), "{part}");
    }
    each(over, "over".to_string(), &mut |path, schema| {
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        assert!(
            required.is_empty() || path.ends_with("[]"),
            "{path} requires {required:?}"
        );
        assert!(schema.get("default").is_none(), "{path} has a default");
    });
}

#[test]
fn editors_see_closed_objects_and_nothing_of_kubernetes() {
    let schema = manifest_schema();
    let text = schema.to_string();
    assert!(
        !text.contains("x-kubernetes") && !text.contains("nullable"),
        "words of Kubernetes"
    );
    each(&schema["allOf"][0]["then"], "app".to_string(), &mut |path, schema| {
        if schema["properties"].is_object() {
            assert_eq!(schema["additionalProperties"], false, "{path} is open");
            assert_eq!(schema["patternProperties"]["^x-"], true, "{path} refuses `x-*`");
        }
    });
}

#[test]
fn the_shape_has_every_list_of_named_things_merge_by_its_name() {
    fn visit(path: &str, shape: &Shape) {
        match &shape.kind {
            ShapeKind::Object { fields, .. } => fields
                .iter()
                .for_each(|(name, shape)| visit(&format!("{path}.{name}"), shape)),
            ShapeKind::Map { values, .. } => visit(&format!("{path}.*"), values),
            ShapeKind::List { items, unique, .. } => {
                let named = ["name", "path", "host"].iter().any(|key| items.field(key).is_some());
                let by = matches!(unique, portolan_core::parse::Unique::By(_));
                assert_eq!(named, by, "{path}");
                visit(&format!("{path}[]"), items);
            }
            _ => {}
        }
    }
    visit("app", Shape::app());
    visit("target", Shape::target());
}
