//! `portolan explain FIELD`: the manifest's reference, from the schema and thus from the types' own words.
//!
//! A field is named by its path: `app.spec.services.health`, `spec.services.health`, or just `services.health`; the names
//! that users choose (`web`) and the indices of lists are left out. Nothing but `app` or `target` shows the whole kind.

use std::fmt::Write as _;

use serde_json::Value;

use crate::diagnostic::Diagnostic;
use crate::parse::nearest;
use crate::schema::{app_schema, target_schema};

/// What a field is, and the fields in it.
///
/// # Errors
/// `UnknownField`, when a part of the path names nothing.
pub fn explain(path: &str) -> Result<String, Box<Diagnostic>> {
    let parts: Vec<&str> = path.split('.').filter(|part| !part.is_empty()).collect();
    let starts = starts(parts.first().copied().unwrap_or_default());
    let mut first_fault = None;
    for (kind, prefix, skip) in starts {
        match descend(kind, &[prefix, &parts[skip..]].concat()) {
            Ok(field) => return Ok(field.text()),
            Err(fault) => {
                first_fault.get_or_insert(fault);
            }
        }
    }
    Err(first_fault.expect("there is at least one start"))
}

/// A field of the schema, and how it was reached.
struct Field<'a> {
    path: String,
    /// As written at the field itself, where a map or list has words of its own.
    schema: &'a Value,
}

type Start = (&'static str, &'static [&'static str], usize);

/// Where a path may begin: at a kind that it names, else at the root or the spec of either.
fn starts(first: &str) -> Vec<Start> {
    match first.to_lowercase().as_str() {
        "app" => vec![("App", &[], 1), ("App", &["spec"], 1)],
        "target" => vec![("Target", &[], 1), ("Target", &["spec"], 1)],
        "" => vec![("App", &[], 0)],
        _ => vec![
            ("App", &["spec"], 0),
            ("App", &[], 0),
            ("Target", &["spec"], 0),
            ("Target", &[], 0),
        ],
    }
}

fn descend<'a>(kind: &str, parts: &[&str]) -> Result<Field<'a>, Box<Diagnostic>> {
    let root = if kind == "Target" {
        target_schema()
    } else {
        app_schema()
    };
    let mut field = Field {
        path: kind.to_lowercase(),
        schema: root,
    };
    for part in parts {
        let name = part.split('[').next().unwrap_or_default();
        let fields = &inner(field.schema)["properties"];
        let Some(schema) = fields.get(name) else {
            return Err(Box::new(unknown(name, &field.path, fields)));
        };
        field = Field {
            path: format!("{}.{name}", field.path),
            schema,
        };
    }
    Ok(field)
}

fn unknown(name: &str, path: &str, fields: &Value) -> Diagnostic {
    let names: Vec<&str> = fields
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    let diagnostic = Diagnostic::error("UnknownField", format!("`{path}` has no field `{name}`"));
    match (nearest(name, names.iter().copied()), names.is_empty()) {
        (Some(near), _) => diagnostic.hint(format!("did you mean `{path}.{near}`?")),
        (None, true) => diagnostic.hint("it has no fields at all"),
        (None, false) => diagnostic.hint(format!("it has {}", names.join(", "))),
    }
}

/// The schema of what a map or list holds; of the field itself otherwise.
fn inner(schema: &Value) -> &Value {
    match schema["type"].as_str() {
        Some("object") if schema["additionalProperties"].is_object() => inner(&schema["additionalProperties"]),
        Some("array") => inner(&schema["items"]),
        _ => schema,
    }
}

impl Field<'_> {
    fn text(&self) -> String {
        let mut text = format!("{}  ({})\n\n", self.path, kind_of(self.schema));
        let words = self.schema["description"].as_str().unwrap_or_default();
        push_wrapped(&mut text, words, 2);
        let inside = inner(self.schema);
        let of_items = inside["description"].as_str().filter(|inner| *inner != words);
        if let Some(inner) = of_items {
            text.push('\n');
            push_wrapped(&mut text, inner, 2);
        }
        push_limits(&mut text, self.schema);
        self.push_fields(&mut text, inside);
        text
    }

    fn push_fields(&self, text: &mut String, inside: &Value) {
        let Some(fields) = inside["properties"].as_object() else {
            return;
        };
        let required = |name: &str| {
            inside["required"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|item| item == name)
        };
        text.push_str("\nFields\n");
        for (name, schema) in fields {
            let mark = if required(name) { ", required" } else { "" };
            let default = default_of(schema)
                .map(|value| format!(", default {value}"))
                .unwrap_or_default();
            let _ = writeln!(text, "  {name}  ({}{mark}{default})", kind_of(schema));
            push_wrapped(text, schema["description"].as_str().unwrap_or_default(), 6);
        }
    }
}

/// In a word or two: `text`, `list of text`, `map of object`.
fn kind_of(schema: &Value) -> String {
    match schema["type"].as_str() {
        _ if schema["x-kubernetes-int-or-string"] == true => "quantity".to_string(),
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("map of {}", kind_of(&schema["additionalProperties"]))
        }
        Some("object") => "object".to_string(),
        Some("array") => format!("list of {}", kind_of(&schema["items"])),
        Some("string") => "text".to_string(),
        Some("integer") => "whole number".to_string(),
        Some("boolean") => "true or false".to_string(),
        _ => "anything".to_string(),
    }
}

fn default_of(schema: &Value) -> Option<String> {
    schema
        .get("default")
        .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_string))
}

fn push_limits(text: &mut String, schema: &Value) {
    let mut limits = Vec::new();
    if let Some(default) = default_of(schema) {
        limits.push(format!("Default: {default}"));
    }
    if let Some(allowed) = schema["enum"].as_array() {
        let words: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        limits.push(format!("One of: {}", words.join(", ")));
    }
    match (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
        (Some(min), Some(max)) => limits.push(format!("From {min} to {max}")),
        (Some(min), None) => limits.push(format!("At least {min}")),
        _ => {}
    }
    match schema["x-kubernetes-list-map-keys"][0].as_str() {
        Some(key) => limits.push(format!("Overrides merge by `{key}`")),
        None if schema["type"] == "array" => limits.push("Overrides replace the whole list".to_string()),
        None => {}
    }
    if !limits.is_empty() {
        text.push('\n');
        text.extend(limits.iter().map(|limit| format!("  {limit}\n")));
    }
}

/// Words in lines of at most 100 characters.
fn push_wrapped(text: &mut String, words: &str, indent: usize) {
    const WIDTH: usize = 100;
    let mut column = 0;
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            text.push('\n');
            column = 0;
        }
        match column {
            0 => {
                text.push_str(&" ".repeat(indent));
                column = indent;
            }
            _ => {
                text.push(' ');
                column += 1;
            }
        }
        text.push_str(word);
        column += length;
    }
    if column > 0 {
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_explained_with_what_is_in_it() {
        insta::assert_snapshot!(explain("services.scale").unwrap(), @"
        app.spec.services.scale  (object)

          How many replicas.

        Fields
          max  (whole number)
              Most replicas that there may be; `min` if left out.
          min  (whole number, default 1)
              Replicas that are always there.
          on  (list of object)
              By what the number moves between `min` and `max`; of several, by the one that asks for most.
        ");
        insta::assert_snapshot!(explain("app.spec.services.rollout.strategy").unwrap(), @"
        app.spec.services.rollout.strategy  (text)

          `rolling` starts new replicas before it stops old ones, one by one; `recreate` stops all old ones
          first, which means downtime; `canary` gives the new revision a share of the connections that grows
          by `steps`; `blueGreen` starts all new replicas beside the old ones and then gives them every new
          connection at once.

          Default: rolling
          One of: rolling, recreate, canary, blueGreen
        ");
    }

    #[test]
    fn a_path_may_begin_in_several_places() {
        let cases = [
            ("", "app  ", "nothing is the App"),
            ("app", "app  ", "a kind"),
            ("Target", "target  ", "whatever its case"),
            (
                "services.health.ready",
                "app.spec.services.health.ready  ",
                "from the spec",
            ),
            ("spec.jobs", "app.spec.jobs  ", "from the root"),
            ("metadata.name", "app.metadata.name  ", "an App before a Target"),
            ("provider", "target.spec.provider  ", "what only a Target has"),
            (
                "app.services.ports[0].port",
                "app.spec.services.ports.port  ",
                "indices are left out",
            ),
            (
                "app.overrides.services.scale",
                "app.spec.overrides.services.scale  ",
                "overrides have fields",
            ),
        ];
        for (path, expected, reason) in cases {
            let text = explain(path).unwrap_or_else(|error| panic!("{reason}: {error}"));
            assert!(text.starts_with(expected), "{reason}: {text}");
        }
    }

    #[test]
    fn what_is_not_there_is_said_with_what_is() {
        let cases = [
            ("services.helth", "did you mean `app.spec.services.health`?"),
            ("app.spec.services.health.ready.interval.x", "it has no fields at all"),
            (
                "frobnicate",
                "it has bindings, jobs, overrides, replicas, services, targets, uses",
            ),
        ];
        for (path, hint) in cases {
            assert_eq!(explain(path).unwrap_err().hint.as_deref(), Some(hint), "{path}");
        }
    }
}
