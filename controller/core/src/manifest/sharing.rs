//! What apps use of each other. Both sides say so: the one that uses, and the one that serves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Protocol, grammar, limits};

/// A service of another app, on the same target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Use {
    /// Name of the other app.
    #[schemars(extend("pattern" = grammar::LABEL.pattern))]
    pub app: String,
    /// Namespace of the other app; this app's if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::LABEL.pattern))]
    pub namespace: Option<String>,
    /// Name of its service, which must allow this app.
    #[schemars(extend("pattern" = grammar::NAME.pattern))]
    pub service: String,
    /// Port of the service. It stands here because a manifest means the same whether the other app is there or not.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// What is spoken on it: `http` or `tcp`.
    #[serde(default)]
    pub protocol: Protocol,
}

/// Who may reach a service besides its own app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Apps on the same target that may use the service. What connects by one that is taken away ends at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::ALLOWED_APPS))]
    pub allow: Vec<AllowedApp>,
}

impl Traffic {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty()
    }
}

/// An app that may use a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedApp {
    /// Name of the app.
    #[schemars(extend("pattern" = grammar::LABEL.pattern))]
    pub app: String,
    /// Namespace of the app; this app's if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::LABEL.pattern))]
    pub namespace: Option<String>,
}
