//! The manifest's schema, in the three forms in which it is needed, all made from the types in `manifest`.
//!
//! - The *structural* form ([`app_schema`], [`target_schema`]): nothing but types, fields, limits and words, everything
//!   inlined; what Kubernetes calls a structural schema, and what `parse` walks along. It is made once, by a test (`made.rs`), and
//!   kept in `schema/`: making it was three quarters of the work of `portolan check`.
//! - The form for editors ([`manifest_schema`]): JSON Schema 2020-12 with closed objects.
//! - The form for Kubernetes is made by the crate `portolan-crds` from the first.
//!
//! Keys are sorted, so that the text is the same wherever it is made.

#[cfg(test)]
mod made;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::manifest::API_VERSION;

/// Structural schema of an App.
pub fn app_schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| kept(include_str!("schema/app.json")));
    &SCHEMA
}

/// Structural schema of a Target.
pub fn target_schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| kept(include_str!("schema/target.json")));
    &SCHEMA
}

fn kept(text: &str) -> Value {
    serde_json::from_str(text).expect("a test compares it with what the types make")
}

/// JSON Schema of a manifest file's document, for editors: an App or a Target, by its `kind`.
pub fn manifest_schema() -> Value {
    let case = |kind: &str, schema: &Value| {
        json!({
            "if": { "required": ["kind"], "properties": { "kind": { "const": kind } } },
            "then": for_editors(schema),
        })
    };
    sorted(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Portolan manifest",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": { "type": "string", "enum": [API_VERSION] },
            "kind": { "type": "string", "enum": ["App", "Target"] },
        },
        "allOf": [case("App", app_schema()), case("Target", target_schema())],
    }))
}

/// JSON Schema: objects closed but for `x-*`, null as a type, no word of Kubernetes.
fn for_editors(schema: &Value) -> Value {
    let Value::Object(fields) = schema else {
        return schema.clone();
    };
    let mut fields = fields.clone();
    fields.retain(|key, _| !key.starts_with("x-kubernetes-"));
    if fields.contains_key("properties") {
        fields.insert("additionalProperties".into(), json!(false));
        fields.insert("patternProperties".into(), json!({ "^x-": true }));
    }
    each_subschema(&mut fields, |schema| for_editors(&schema));
    match fields.remove("nullable") {
        Some(_) => json!({ "anyOf": [fields, { "type": "null" }] }),
        None => Value::Object(fields),
    }
}

fn each_subschema(fields: &mut Map<String, Value>, change: impl Fn(Value) -> Value) {
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties
            .values_mut()
            .for_each(|schema| *schema = change(schema.take()));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(schema) = fields.get_mut(key).filter(|schema| schema.is_object()) {
            *schema = change(schema.take());
        }
    }
}

/// The same with the keys of every object in order.
pub fn sorted(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.values_mut().for_each(|value| *value = sorted(value.take()));
            if !fields.keys().is_sorted() {
                let mut entries: Vec<(String, Value)> = std::mem::take(fields).into_iter().collect();
                entries.sort_by(|one, other| one.0.cmp(&other.0));
                fields.extend(entries);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = sorted(item.take())),
        _ => {}
    }
    value
}
