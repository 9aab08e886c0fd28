//! Job: what runs to its end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Container, HumanDuration, Logs, grammar};

/// A container that runs to its end, once for each revision of the job. That it has run is recorded at the target, so
/// that a lost journal repeats nothing; `portolan run JOB` repeats it on purpose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    #[serde(flatten)]
    pub container: Container,
    /// How many more times a run that failed is tried.
    #[serde(default)]
    #[schemars(range(max = 100))]
    pub retries: u32,
    /// How long one run may take before it is stopped and counts as failed.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
    /// How much is kept of what it writes.
    #[serde(default)]
    pub logs: Logs,
    /// Jobs that must have succeeded, and services that must be ready, before this one runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = grammar::NAME.pattern)), extend("x-kubernetes-list-type" = "set"))]
    pub after: Vec<String>,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            container: Container::default(),
            retries: 0,
            timeout: default_timeout(),
            logs: Logs::default(),
            after: Vec::new(),
        }
    }
}

fn default_timeout() -> HumanDuration {
    HumanDuration::from_secs(3600)
}
