//! The manifest's schema, in the three forms in which it is needed, all made from the types in `manifest`.
//!
//! - The *structural* form ([`app_schema`], [`target_schema`]): nothing but types, fields, limits and words, everything
//!   inlined; what Kubernetes calls a structural schema, and what `parse` walks along.
//! - The form for editors ([`manifest_schema`]): JSON Schema 2020-12 with closed objects.
//! - The form for Kubernetes is made by the crate `portolan-crds` from the first.
//!
//! Keys are sorted, so that the text is the same wherever it is made.

use std::sync::LazyLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::manifest::{API_VERSION, App, Target};

/// Structural schema of an App.
pub fn app_schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let mut schema = structural::<App>();
        let spec = &mut schema["properties"]["spec"];
        let over = override_schema(spec.clone());
        spec["properties"]["overrides"]["additionalProperties"] = over;
        sorted(schema)
    });
    &SCHEMA
}

/// Structural schema of a Target.
pub fn target_schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| sorted(structural::<Target>()));
    &SCHEMA
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

/// What schemars makes of a type, brought into the structural form.
fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    tidied(settings.into_generator().into_root_schema_for::<T>().to_value())
}

/// Whether a field may be left out is said by `required`; that it may be null besides is dropped, as are names of Rust
/// types, formats of Rust numbers, defaults that are maps or lists, and the line breaks of comments.
fn tidied(schema: Value) -> Value {
    let Value::Object(fields) = schema else { return schema };
    let mut fields = without_null(fields);
    for key in ["title", "format", "$schema"] {
        fields.remove(key);
    }
    if let Some(Value::String(words)) = fields.get_mut("description") {
        *words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    if let Some(only) = fields.remove("const") {
        fields.insert("enum".into(), json!([only]));
    }
    if fields
        .get("default")
        .is_some_and(|default| !default.is_string() && !default.is_number() && !default.is_boolean())
    {
        fields.remove("default");
    }
    each_subschema(&mut fields, tidied);
    Value::Object(fields)
}

/// `T` for what schemars says of an `Option<T>`.
fn without_null(mut fields: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".into(), only);
        }
    }
    let alternatives = fields.get("anyOf").and_then(Value::as_array).map(Vec::as_slice);
    if let Some([Value::Object(inner), null]) = alternatives
        && null == &json!({ "type": "null" })
    {
        let mut merged = inner.clone();
        fields.remove("anyOf");
        merged.extend(fields);
        return merged;
    }
    fields
}

/// The shape of an override: `services`, `jobs` and `bindings` of the spec, with every field optional and nullable.
fn override_schema(mut schema: Value) -> Value {
    let properties = schema["properties"].as_object_mut().expect("a struct has properties");
    properties.retain(|name, _| matches!(name.as_str(), "services" | "jobs" | "bindings"));
    let mut partial = partial(schema);
    partial["description"] = json!("What is different on this target; see the fields of the same names in `spec`.");
    partial
}

/// Every field optional and nullable; the key by which a list merges stays required. Words are left to the whole form.
fn partial(schema: Value) -> Value {
    let Value::Object(mut fields) = schema else {
        return schema;
    };
    for key in ["required", "default", "description"] {
        fields.remove(key);
    }
    for key in ["properties", "additionalProperties"] {
        match fields.get_mut(key) {
            Some(Value::Object(properties)) if key == "properties" => {
                properties.values_mut().for_each(nullable_partial)
            }
            Some(values @ Value::Object(_)) => nullable_partial(values),
            _ => {}
        }
    }
    let keys = fields.get("x-kubernetes-list-map-keys").cloned();
    if let Some(items) = fields.get_mut("items") {
        *items = partial(items.take());
        if let Some(keys) = keys {
            for key in keys.as_array().into_iter().flatten().filter_map(Value::as_str) {
                items["properties"][key]
                    .as_object_mut()
                    .map(|field| field.remove("nullable"));
            }
            items["required"] = keys;
        }
    }
    Value::Object(fields)
}

fn nullable_partial(schema: &mut Value) {
    *schema = partial(schema.take());
    schema["nullable"] = json!(true);
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
