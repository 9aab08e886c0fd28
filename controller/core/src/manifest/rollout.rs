//! How a new revision of a service takes the place of the old one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HumanDuration, Percent, limits};

/// How a new revision takes the place of the old one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// `rolling` starts new replicas before it stops old ones, one by one; `recreate` stops all old ones first, which means
    /// downtime; `canary` gives the new revision a share of the connections that grows by `steps`; `blueGreen` starts all
    /// new replicas beside the old ones and then gives them every new connection at once.
    #[serde(default)]
    pub strategy: RolloutStrategy,
    /// For `canary`: the shares, the smallest first; after the last one the new revision gets everything. For `blueGreen`: at
    /// most one, of `0%`, to look at the new revision before the switch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::STEPS))]
    pub steps: Vec<RolloutStep>,
    /// How long a new revision may go without a further replica becoming ready; pauses do not count. After that it has
    /// failed, and the old one stays.
    #[serde(default = "default_deadline")]
    pub deadline: HumanDuration,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            strategy: RolloutStrategy::default(),
            steps: Vec::new(),
            deadline: default_deadline(),
        }
    }
}

/// The order of starting and stopping in an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RolloutStrategy {
    #[default]
    Rolling,
    Recreate,
    Canary,
    BlueGreen,
}

impl RolloutStrategy {
    /// As the manifest says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rolling => "rolling",
            Self::Recreate => "recreate",
            Self::Canary => "canary",
            Self::BlueGreen => "blueGreen",
        }
    }
}

/// A share of the connections, and how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStep {
    /// Share of new connections that goes to the new revision.
    pub weight: Percent,
    /// How long it stays at this share once its replicas are ready; until `portolan promote` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<HumanDuration>,
}

fn default_deadline() -> HumanDuration {
    HumanDuration::from_secs(600)
}
