//! A canary, and blue and green, on a platform that walks neither: beside the service's own Deployment stands another one,
//! the next, which has the new revision until it has come to the end of its steps. Then the service's own takes the revision,
//! and the next goes. Both are one resource to whoever looks; how far it has come stands in the next, and nowhere else. Pure.
//!
//! The share of a canary is a number of replicas, or a weight where a route brings the connections. Blue and green have
//! everything or nothing, by what the service's KubeServices choose.

mod pair;
mod traffic;

use portolan_core::desired::{DesiredRollout, DesiredStep};
use portolan_core::manifest::RolloutStrategy;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names::annotation;
use crate::read::note;

pub use pair::{Move, Pair, Stand, beside, name, next_of, revision, served_before, serves, stands_alone};
pub use traffic::{Led, Traffic, home, is_led, leads};

/// What stands in a rollout's annotation once it has arrived, and wherever none is under way.
pub const ARRIVED: &str = "arrived";

/// And on a next that is not wanted any more, but stands in until the service's own is complete.
pub const LEAVING: &str = "leaving";

/// The way of a service's rollouts, as its Deployment says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    pub strategy: RolloutStrategy,
    pub steps: Vec<Step>,
    pub shares: Shares,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Of the connections, in percent.
    pub weight: u8,
    /// In seconds; until it is promoted if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<u64>,
}

/// How a canary gets its share of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shares {
    /// As many as it has replicas beside the old ones.
    Replicas,
    /// As an HTTPRoute weighs it.
    Weights,
}

impl Shares {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replicas => "replicas",
            Self::Weights => "weights",
        }
    }
}

/// Whether the new revision stands beside the old one for a while.
pub fn is_walked(strategy: RolloutStrategy) -> bool {
    matches!(strategy, RolloutStrategy::Canary | RolloutStrategy::BlueGreen)
}

/// As the annotation has them.
pub fn steps(rollout: &DesiredRollout) -> String {
    let step = |step: &DesiredStep| Step {
        weight: step.weight_percent,
        pause: step.pause.map(|pause| pause.as_secs()),
    };
    let steps: Vec<Step> = rollout.steps.iter().map(step).collect();
    serde_json::to_string(&steps).expect("steps hold numbers alone")
}

impl Way {
    /// Of a Deployment, there or rendered; `None` where its rollouts are the cluster's own.
    pub fn of(deployment: &Value) -> Option<Self> {
        let strategy = match note(deployment, annotation::STRATEGY)? {
            "canary" => RolloutStrategy::Canary,
            "blueGreen" => RolloutStrategy::BlueGreen,
            _ => return None,
        };
        let steps = note(deployment, annotation::STEPS).and_then(|text| serde_json::from_str(text).ok());
        let shares = match note(deployment, annotation::SHARES) {
            Some("weights") => Shares::Weights,
            _ => Shares::Replicas,
        };
        Some(Self {
            strategy,
            steps: steps.unwrap_or_default(),
            shares,
        })
    }

    /// Of the new revision at a step, where the service has `all`. All old ones stay beside them, so that a canary has at
    /// least one of one more than all, and at most half.
    pub fn replicas(&self, at: usize, all: u32) -> u32 {
        let Some(step) = self.steps.get(at) else { return all };
        let weight = u32::from(step.weight.min(99));
        match (self.strategy, self.shares) {
            (RolloutStrategy::BlueGreen, _) => all,
            (_, Shares::Weights) => (all * weight).div_ceil(100).max(1),
            (_, Shares::Replicas) => (all * weight).div_ceil(100 - weight).clamp(1, all.max(1)),
        }
    }
}
#[cfg(test)]
mod tests;
