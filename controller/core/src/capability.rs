//! What a target can do with each field of a manifest, and the portability report made from it.
//!
//! Nothing is ever dropped silently: a provider's table names every field of the schema, and the report names every
//! field of a manifest that a target takes otherwise than exactly. What is impossible is refused before anything is rendered,
//! and what is less than was asked for is said in the plan.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fault::Fault;
use crate::manifest::App;
use crate::schema::app_schema;

/// How a target takes a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase", tag = "support", content = "because")]
pub enum Support {
    Exact,
    /// Reached by other means than the platform's own; the text says which.
    Emulated(&'static str),
    /// Taken, with less than was asked for; the text says what follows.
    Degraded(&'static str),
    /// Cannot be had; the text says why.
    Impossible(&'static str),
}

impl Support {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Emulated(_) => "emulated",
            Self::Degraded(_) => "degraded",
            Self::Impossible(_) => "impossible",
        }
    }

    pub fn because(&self) -> Option<&'static str> {
        match self {
            Self::Exact => None,
            Self::Emulated(text) | Self::Degraded(text) | Self::Impossible(text) => Some(text),
        }
    }
}

/// One row of a provider's table. `field` is a path below `spec` with `*` for a map key or a list index, such as
/// `services.*.ports.*.public`; with `=value` at its end it speaks of that value alone. A row covers all fields below
/// its own, unless a longer one does.
#[derive(Clone, Copy, Debug)]
pub struct Capability {
    pub field: &'static str,
    pub support: Support,
}

/// One field of a manifest and how the target takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// JSON pointer into the manifest, such as `/spec/services/web/scale/min`.
    pub pointer: String,
    #[serde(flatten)]
    pub support: Support,
}

/// The row that speaks of a field: the longest that matches, a row with a value before one without. `None` is a hole in
/// the table, which a test of each provider rules out.
pub fn support_of(table: &[Capability], path: &[impl AsRef<str>], value: &Value) -> Option<Support> {
    table
        .iter()
        .filter_map(|row| matches(row.field, path, value).map(|rank| (rank, row.support)))
        .max_by_key(|(rank, _)| *rank)
        .map(|(_, support)| support)
}

/// The portability report: every leaf of `spec`, in the manifest's order, with how the target takes it.
pub fn report(table: &[Capability], spec: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    visit_leaves(spec, &mut Vec::new(), &mut |path, value| {
        findings.push(Finding {
            pointer: pointer_of(path),
            support: support_at(table, path, value),
        });
    });
    findings
}

fn support_at(table: &[Capability], path: &[Cow<'_, str>], value: &Value) -> Support {
    support_of(table, path, value).unwrap_or(Support::Impossible("this target does not know the field"))
}

/// A field that the target takes with less than was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Degraded {
    /// JSON pointer into the manifest.
    pub pointer: String,
    /// What follows.
    pub because: String,
}

/// What of an app a target does not take as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// A fault for each field that the target cannot have.
    pub impossible: Vec<Fault>,
    pub degraded: Vec<Degraded>,
}

/// Of what the app sets: a value that is its field's default says nothing.
pub fn limits(table: &[Capability], app: &App) -> Limits {
    let mut limits = Limits::default();
    let spec = serde_json::to_value(&app.spec).expect("manifests hold only string keys");
    visit_leaves(
        &spec,
        &mut Vec::new(),
        &mut |path, value| match support_at(table, path, value) {
            Support::Impossible(because) if is_set(path, value) => {
                limits.impossible.push(refusal(pointer_of(path), because));
            }
            Support::Degraded(because) if is_set(path, value) => limits.degraded.push(Degraded {
                pointer: pointer_of(path),
                because: because.to_string(),
            }),
            _ => {}
        },
    );
    limits
}

fn refusal(pointer: String, because: &str) -> Fault {
    let field = pointer.trim_start_matches("/spec/").replace('/', ".");
    let message = format!("`{field}` cannot be had on this target: {because}");
    let hint = "leave it out; `overrides` can say so for this target alone";
    Fault::new("FieldUnsupported", message, pointer).with_hint(hint)
}

fn is_set(path: &[Cow<'_, str>], value: &Value) -> bool {
    Some(value) != default_of(path)
}

/// The default that the schema gives for a field, by its path below `spec`.
fn default_of(path: &[Cow<'_, str>]) -> Option<&'static Value> {
    let spec = &app_schema()["properties"]["spec"];
    let field = path.iter().try_fold(spec, |schema, word| {
        let inside = [
            schema["properties"].get(&**word),
            schema.get("items"),
            schema.get("additionalProperties"),
        ];
        inside.into_iter().flatten().next()
    });
    field?.get("default")
}

/// Segments matched and whether the value was named: what ranks one row above another.
type Rank = (usize, usize, bool);

fn matches(field: &str, path: &[impl AsRef<str>], value: &Value) -> Option<Rank> {
    let (field, wanted) = match field.split_once('=') {
        Some((field, wanted)) => (field, Some(wanted)),
        None => (field, None),
    };
    let (mut words, mut literal) = (0, 0);
    for word in field.split('.') {
        let at = path.get(words)?.as_ref();
        if word != "*" && word != at {
            return None;
        }
        words += 1;
        literal += usize::from(word != "*");
    }
    if let Some(wanted) = wanted
        && (words != path.len() || !is_value(value, wanted))
    {
        return None;
    }
    Some((words, literal, wanted.is_some()))
}

fn is_value(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Bool(flag) => wanted.parse() == Ok(*flag),
        _ => false,
    }
}

fn visit_leaves<'a>(value: &'a Value, path: &mut Vec<Cow<'a, str>>, visit: &mut dyn FnMut(&[Cow<'a, str>], &'a Value)) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, item) in fields {
                path.push(Cow::Borrowed(key));
                visit_leaves(item, path, visit);
                path.pop();
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object()) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Cow::Owned(index.to_string()));
                visit_leaves(item, path, visit);
                path.pop();
            }
        }
        leaf => visit(path, leaf),
    }
}

fn pointer_of(path: &[Cow<'_, str>]) -> String {
    path.iter().fold("/spec".to_string(), |pointer, word| {
        format!("{pointer}/{}", word.replace('~', "~0").replace('/', "~1"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TABLE: &[Capability] = &[
        Capability {
            field: "services.*",
            support: Support::Exact,
        },
        Capability {
            field: "services.*.scale.max",
            support: Support::Degraded("nothing scales by itself"),
        },
        Capability {
            field: "services.*.ports.*.protocol=udp",
            support: Support::Impossible("tcp only"),
        },
    ];

    #[test]
    fn the_longest_row_speaks() {
        let spec = json!({"services": {"web": {"scale": {"min": 1, "max": 3}, "ports": [{"protocol": "udp"}, {"protocol": "tcp"}]}}});
        let words: Vec<_> = report(TABLE, &spec)
            .into_iter()
            .map(|f| (f.pointer, f.support.word()))
            .collect();
        let expected = [
            ("/spec/services/web/ports/0/protocol", "impossible"),
            ("/spec/services/web/ports/1/protocol", "exact"),
            ("/spec/services/web/scale/max", "degraded"),
            ("/spec/services/web/scale/min", "exact"),
        ];
        let mut sorted = words.clone();
        sorted.sort();
        assert_eq!(sorted, expected.map(|(pointer, word)| (pointer.to_string(), word)));
    }

    #[test]
    fn what_is_set_is_told_and_a_default_says_nothing() {
        const NARROW: &[Capability] = &[
            Capability {
                field: "*",
                support: Support::Exact,
            },
            Capability {
                field: "services.*.scale",
                support: Support::Degraded("one is enough"),
            },
            Capability {
                field: "services.*.stop",
                support: Support::Impossible("nothing ends"),
            },
            Capability {
                field: "services.*.env",
                support: Support::Impossible("no variables"),
            },
        ];
        let app = |web: Value| -> App {
            let metadata = json!({ "name": "shop" });
            let spec = json!({ "services": { "web": web } });
            serde_json::from_value(
                json!({"apiVersion": "portolan.dev/v1alpha1", "kind": "App", "metadata": metadata, "spec": spec}),
            )
            .unwrap()
        };
        let plain = app(json!({ "image": "a" }));
        assert_eq!(limits(NARROW, &plain), Limits::default());
        let rich = app(json!({"image": "a", "scale": {"min": 2}, "stop": {"drain": "9s"}, "env": {"A/B": "x"}}));
        let limits = limits(NARROW, &rich);
        let faults = limits.impossible;
        let pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            ["/spec/services/web/env/A~1B", "/spec/services/web/stop/drain"]
        );
        assert!(faults[1].message.contains("nothing ends"), "{}", faults[1].message);
        let expected = Degraded {
            pointer: "/spec/services/web/scale/min".into(),
            because: "one is enough".into(),
        };
        assert_eq!(limits.degraded, [expected]);
    }

    #[test]
    fn a_field_without_a_row_is_impossible_and_never_silent() {
        assert_eq!(
            report(TABLE, &json!({"jobs": {"a": {}}}))[0].support.word(),
            "impossible"
        );
    }
}
