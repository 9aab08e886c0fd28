//! How many replicas a service has, and by what that number moves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Percent, grammar, limits};

/// How many replicas a service has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scale {
    /// Replicas that are always there.
    #[serde(default = "default_min")]
    #[schemars(range(max = 1000))]
    pub min: u32,
    /// Most replicas that there may be; `min` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max: Option<u32>,
    /// By what the number moves between `min` and `max`; of several, by the one that asks for most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::SCALE_ON), extend("x-kubernetes-list-type" = "atomic"))]
    pub on: Vec<ScaleOn>,
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            min: default_min(),
            max: None,
            on: Vec::new(),
        }
    }
}

/// One thing by which a service scales. Exactly one of its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleOn {
    /// How much of its `resources.cpu` a replica uses, on average over all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Percent>,
    /// How much of its `resources.memory` a replica uses, on average over all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Percent>,
    /// How much waits for each replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
}

/// A queue behind a binding, and how much of it is for one replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Name of the binding, of type `rabbitmq` or `redis`.
    #[schemars(extend("pattern" = grammar::NAME.pattern))]
    pub binding: String,
    /// Name of the queue there, or of the list of Redis; the binding's name if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub name: Option<String>,
    /// Messages for one replica.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub length: u32,
}

fn default_min() -> u32 {
    1
}
