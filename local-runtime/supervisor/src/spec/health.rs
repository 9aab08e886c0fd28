//! Health checks of one container.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::millis;

/// `startup` holds the other two back until it has passed once; `ready` decides about connections; `live` about restarts.
///
/// Without `startup` and `ready`, the main container of a service with ports is ready once its first port accepts a
/// connection, one without ports when it has run for one second, any other container at once. Until a startup or ready
/// probe first passes it is tried more often than `interval` says, from 50 ms upwards, so that nobody waits for a quick
/// start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Probe>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Probe>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    pub check: Check,
    /// From the end of one try to the start of the next.
    #[serde(default = "ten_seconds", rename = "interval_ms", with = "millis")]
    pub interval: Duration,
    #[serde(default = "two_seconds", rename = "timeout_ms", with = "millis")]
    pub timeout: Duration,
    /// Successes in a row until a container counts as ready (again).
    #[serde(default = "one")]
    pub success_threshold: u32,
    /// Failures in a row until `ready` takes it out of the balance or `live` restarts it. A `startup` probe restarts the
    /// container when it has not passed `interval * failure_threshold` after the start.
    #[serde(default = "three")]
    pub failure_threshold: u32,
}

/// What is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Check {
    /// `GET path` on the replica's address over HTTP/1.1; a status from 200 to 399 passes.
    Http { port: u16, path: String },
    /// A connection is accepted.
    Tcp { port: u16 },
    /// A command in the container ends with 0.
    Exec { command: Vec<String> },
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn two_seconds() -> Duration {
    Duration::from_secs(2)
}

fn one() -> u32 {
    1
}

fn three() -> u32 {
    3
}
