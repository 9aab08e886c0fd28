//! How replicas end, and how new ones take the place of old ones.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{millis, optional_millis};

/// How containers end: out of the balance, the signal once the open connections have ended or `drain` is over, SIGKILL
/// `grace_period` later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopSpec {
    /// A name as in signal(7), such as `SIGTERM`.
    #[serde(default = "sigterm")]
    pub signal: String,
    #[serde(default = "two_seconds", rename = "drain_ms", with = "millis")]
    pub drain: Duration,
    #[serde(default = "ten_seconds", rename = "grace_period_ms", with = "millis")]
    pub grace_period: Duration,
}

impl Default for StopSpec {
    fn default() -> Self {
        StopSpec {
            signal: sigterm(),
            drain: two_seconds(),
            grace_period: ten_seconds(),
        }
    }
}

fn sigterm() -> String {
    "SIGTERM".into()
}

fn two_seconds() -> Duration {
    Duration::from_secs(2)
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

/// How a changed service goes from its old replicas to new ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutSpec {
    #[serde(default)]
    pub strategy: Strategy,
    /// The way of a canary: shares that grow. Of blue and green: at most one, of nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<RolloutStep>,
    /// How long an update may go without a further replica becoming ready. After that the new replicas give way to the
    /// old ones, if there are any, and the service is reported as failed until another spec or `retry`.
    #[serde(default = "ten_minutes", rename = "deadline_ms", with = "millis")]
    pub deadline: Duration,
}

impl Default for RolloutSpec {
    fn default() -> Self {
        RolloutSpec {
            strategy: Strategy::default(),
            steps: vec![],
            deadline: ten_minutes(),
        }
    }
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Strategy {
    /// One new replica more than wanted at a time; an old one goes once a new one is ready.
    #[default]
    Rolling,
    /// All old ones stop before the first new one starts.
    Recreate,
    /// Old and new beside each other, with the connections shared out by `steps`; then all new ones, then none of the old.
    Canary,
    /// All new ones beside the old ones, then every new connection to them at once.
    BlueGreen,
}

/// A share of new connections, and how long it lasts once its replicas are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutStep {
    /// Percent for the new revision: 0 to 99, growing.
    pub weight: u8,
    /// Without one it waits for `promote`.
    #[serde(
        default,
        rename = "pause_ms",
        with = "optional_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub pause: Option<Duration>,
}
