//! Job: what runs to its end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Container, HumanDuration, Logs, Runtime, grammar, limits};

/// A container that runs to its end: by its `schedule`, or else once for each revision of the job. That it has run is
/// recorded at the target, so that a lost journal repeats nothing; `portolan run JOB` repeats it on purpose.
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
    /// When it runs, as cron says it: minute, hour, day of the month, month and day of the week, as in `0 3 * * *`. It is
    /// left out while the run before is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::SCHEDULE.pattern))]
    pub schedule: Option<String>,
    /// Time zone of the schedule, by its name in the IANA database, as in `Europe/Berlin`; UTC if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::TIME_ZONE.pattern))]
    pub time_zone: Option<String>,
    /// What its container is kept apart from the machine by: `default`, `gvisor`, `kata` or `wasm`.
    #[serde(default, skip_serializing_if = "Runtime::is_default")]
    pub runtime: Runtime,
    /// How much is kept of what it writes.
    #[serde(default)]
    pub logs: Logs,
    /// Jobs that must have succeeded, and services that must be ready, before this one runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::AFTER), inner(regex(pattern = grammar::NAME.pattern)), extend("x-kubernetes-list-type" = "set"))]
    pub after: Vec<String>,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            container: Container::default(),
            retries: 0,
            timeout: default_timeout(),
            schedule: None,
            time_zone: None,
            runtime: Runtime::default(),
            logs: Logs::default(),
            after: Vec::new(),
        }
    }
}

fn default_timeout() -> HumanDuration {
    HumanDuration::from_secs(3600)
}
