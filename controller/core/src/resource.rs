//! Native resources of one target and the edges between them: what a provider renders and the plan compares.
//!
//! A body is the platform's own request as JSON. What cannot be known yet stays open in it as a one-key object:
//! `{"$open": {"ref": {"resource": "Volume/data", "output": "path"}}}` or `{"$open": {"unknown": "afterBuild"}}`.
//! The engine closes references as soon as the resource they point at has answered.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Kind and derived native name of a resource; unique within one app on one target. Written `Kind/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    pub kind: String,
    pub name: String,
}

impl ResourceId {
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        f.write_str("/")?;
        f.write_str(&self.name)
    }
}

impl FromStr for ResourceId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((kind, name)) if !kind.is_empty() && !name.is_empty() => Ok(Self::new(kind, name)),
            _ => Err(format!("`{text}` is not of the form Kind/name")),
        }
    }
}

impl Serialize for ResourceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ResourceId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// One native object as it should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    pub id: ResourceId,
    /// The platform's own words; may hold open values.
    pub body: Value,
    /// What must be so elsewhere before this one is created or updated.
    pub edges: Vec<Edge>,
    /// JSON pointer of the manifest field that asked for it, such as `/spec/services/web`.
    pub origin: String,
    /// Whether deleting it loses data (a volume, a database).
    #[serde(default)]
    pub holds_data: bool,
    /// Whether a repeated create is harmless by itself; where it is not, an intent is journalled first.
    #[serde(default)]
    pub create_is_idempotent: bool,
    /// Whether the app is not ready before this is (a service, a job), or existing is enough (a log group).
    #[serde(default)]
    pub awaited: bool,
    /// What only one resource of a target can hold at a time, such as `host-port/8080`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<String>,
    /// The revision this body belongs to; shown in status and history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// An edge of the resource graph: the owner of the edge waits until `to` meets `condition`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    pub to: ResourceId,
    pub condition: EdgeCondition,
}

/// How far the other end of an edge must have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EdgeCondition {
    /// It was created and the platform shows it.
    Exists,
    /// It serves in the revision wanted.
    Ready,
    /// It ran to its end with success in the revision wanted.
    Completed,
}

/// The rendered graph of one app on one target.
pub type Resources = BTreeMap<ResourceId, Resource>;

/// Why a value is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Open {
    /// An output of another resource: the address of a load balancer, the path of a volume.
    Ref { resource: ResourceId, output: String },
    /// Not known before something else has been done.
    Unknown(KnownAfter),
}

/// The step after which an open value is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KnownAfter {
    AfterBuild,
    AfterApply,
}

impl fmt::Display for KnownAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AfterBuild => "(known after build)",
            Self::AfterApply => "(known after apply)",
        })
    }
}

impl Open {
    /// The open value as it stands inside a body.
    pub fn into_value(self) -> Value {
        json!({ OPEN: self })
    }

    /// Reads an open value back, if `value` is one.
    pub fn of(value: &Value) -> Option<Self> {
        let fields = value.as_object().filter(|fields| fields.len() == 1)?;
        serde_json::from_value(fields.get(OPEN)?.clone()).ok()
    }
}

/// An image to be, in a body: digest if pinned, else open until the build is done.
pub fn digest_or_open(digest: Option<&crate::reference::Digest>) -> Value {
    match digest {
        Some(digest) => Value::String(digest.to_string()),
        None => Open::Unknown(KnownAfter::AfterBuild).into_value(),
    }
}

/// Every open value inside `body`, with its JSON pointer.
pub fn open_values(body: &Value) -> Vec<(String, Open)> {
    let mut found = Vec::new();
    walk(body, &mut String::new(), &mut |pointer, value| {
        if let Some(open) = Open::of(value) {
            found.push((pointer.to_string(), open));
        }
    });
    found
}

/// Whether nothing inside `body` is open.
pub fn is_closed(body: &Value) -> bool {
    match body {
        Value::Array(items) => items.iter().all(is_closed),
        Value::Object(fields) => Open::of(body).is_none() && fields.values().all(is_closed),
        _ => true,
    }
}

/// `body` with every reference replaced by what `lookup` answers; what it does not know stays open.
pub fn close_references(body: &Value, lookup: &dyn Fn(&ResourceId, &str) -> Option<Value>) -> Value {
    if let Some(Open::Ref { resource, output }) = Open::of(body) {
        return lookup(&resource, &output).unwrap_or_else(|| body.clone());
    }
    match body {
        Value::Array(items) => items.iter().map(|item| close_references(item, lookup)).collect(),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, value)| (key.clone(), close_references(value, lookup)))
                .collect::<Map<_, _>>(),
        ),
        other => other.clone(),
    }
}

const OPEN: &str = "$open";

fn walk(value: &Value, pointer: &mut String, visit: &mut dyn FnMut(&str, &Value)) {
    visit(pointer, value);
    let length = pointer.len();
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                walk(item, pointer, visit);
                pointer.truncate(length);
            }
        }
        Value::Object(fields) => {
            for (key, item) in fields {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                walk(item, pointer, visit);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_closed_and_unknowns_stay_open() {
        let volume = ResourceId::new("Volume", "data");
        let body = json!({
            "path": Open::Ref { resource: volume.clone(), output: "path".into() }.into_value(),
            "image": Open::Unknown(KnownAfter::AfterBuild).into_value(),
        });
        assert_eq!(open_values(&body).len(), 2);
        assert!(!is_closed(&body));
        let closed = close_references(&body, &|id, output| {
            (id == &volume && output == "path").then(|| json!("/data"))
        });
        assert_eq!(closed["path"], "/data");
        assert!(is_closed(&closed["path"]) && !is_closed(&closed));
        assert_eq!(
            open_values(&closed),
            [("/image".to_string(), Open::Unknown(KnownAfter::AfterBuild))]
        );
    }
}
