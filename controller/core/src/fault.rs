//! A fault in what the user wrote, found after parsing: by `resolve`, or by a provider's `render`.

use serde::{Deserialize, Serialize};

/// What is wrong with one field. Whoever holds the manifest's spans turns the pointer into file and line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// CamelCase: `BindingMissing`, `PortUnsupported`.
    pub code: String,
    /// One lower-case clause.
    pub message: String,
    /// JSON pointer into the merged manifest, such as `/spec/services/web/ports/0`.
    pub pointer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Fault {
    pub fn new(code: impl Into<String>, message: impl Into<String>, pointer: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            pointer: pointer.into(),
            hint: None,
        }
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
