//! What a call answers when it fails. Only the engine retries, and it does so by the class alone.

use std::time::Duration;

use portolan_core::resource::ResourceId;
use serde::{Deserialize, Serialize};

/// A failed call, in words for the user and a class for the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[serde(rename_all = "camelCase")]
pub struct CallError {
    pub class: ErrorClass,
    /// CamelCase; also the condition's reason.
    pub code: String,
    /// One lower-case clause.
    pub message: String,
    /// The resource that it is about, where it is about one: whoever holds the manifest turns it into file and line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Box<ResourceId>>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What the platform said, word for word, and last log lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

/// What may be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorClass {
    /// Passing: throttled, unavailable, outcome unknown. Not before `after`, if the platform named a time.
    Retry { after: Option<Duration> },
    /// Someone else wrote, or holds it: observe and plan again.
    Conflict,
    /// Credentials or permissions.
    Denied,
    /// A limit of the account or machine.
    Quota,
    /// The request can never succeed as it is.
    Invalid,
    /// Ours: the platform answered what the provider does not understand.
    Bug,
}

impl CallError {
    pub fn new(class: ErrorClass, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            class,
            code: code.into(),
            message: message.into(),
            subject: None,
            hint: None,
            evidence: Vec::new(),
        }
    }

    pub fn about(mut self, subject: &ResourceId) -> Self {
        self.subject = Some(Box::new(subject.clone()));
        self
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn with_evidence(mut self, evidence: Vec<String>) -> Self {
        self.evidence = evidence;
        self
    }

    pub fn class(&self) -> ErrorClass {
        self.class
    }
}
