//! Names and labels of the documents themselves.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::grammar;

/// The namespace of an App that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Who this App is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppMetadata {
    /// Name of the app, unique within its namespace. Renaming an app makes another app.
    #[schemars(extend("pattern" = grammar::LABEL.pattern))]
    pub name: String,
    /// Keeps apps of one name apart: two teams, or two branches, on one target.
    #[serde(default = "default_namespace")]
    #[schemars(extend("pattern" = grammar::LABEL.pattern))]
    pub namespace: String,
    /// Short words for people and tools to find and group manifests by; kept with the manifest, and no part of what runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = grammar::label_key_schema()))]
    pub labels: BTreeMap<String, String>,
    /// Notes for people and tools; kept, never looked at.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = grammar::label_key_schema()))]
    pub annotations: BTreeMap<String, String>,
}

/// Who this Target is. A Target belongs to no namespace: it is shared by the apps of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetMetadata {
    /// Name of the target, as an App's `targets` and `--target` say it.
    #[schemars(extend("pattern" = grammar::LABEL.pattern))]
    pub name: String,
    /// Short words to find and group by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = grammar::label_key_schema()))]
    pub labels: BTreeMap<String, String>,
    /// Notes for people and tools; kept, never looked at.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = grammar::label_key_schema()))]
    pub annotations: BTreeMap<String, String>,
}

fn default_namespace() -> String {
    DEFAULT_NAMESPACE.to_string()
}
