//! The structural schemas, made from the types: what lies beside this file is compared with them, and written anew by
//! `PORTOLAN_REGENERATE=1 cargo test -p portolan-core schema`.

use std::fs;
use std::path::Path;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{each_subschema, sorted};
use crate::manifest::{App, Target};

#[test]
fn the_schemas_that_are_kept_are_what_the_types_make() {
    for (name, made) in [("app", app()), ("target", sorted(structural::<Target>()))] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/schema/{name}.json"));
        let text = serde_json::to_string_pretty(&made).expect("a value is JSON") + "\n";
        if std::env::var_os("PORTOLAN_REGENERATE").is_some() {
            fs::write(&path, &text).expect("the source can be written");
        }
        assert!(
            fs::read_to_string(&path).is_ok_and(|kept| kept == text),
            "{} is not what the types make: PORTOLAN_REGENERATE=1 cargo test -p portolan-core schema",
            path.display()
        );
    }
}

fn app() -> Value {
    let mut schema = structural::<App>();
    let spec = &mut schema["properties"]["spec"];
    let over = override_schema(spec.clone());
    spec["properties"]["overrides"]["additionalProperties"] = over;
    sorted(schema)
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
