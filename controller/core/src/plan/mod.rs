//! The plan: numbered, immutable steps from what is there to what should be.
//!
//! `plan` compares rendered resources with an observation and decides; the executor decides nothing. Stages give the
//! order between groups (what must make room, then creates and updates, then, once all is ready, prunes); within a stage
//! the edges of the resource graph do.

mod build;
mod diff;
mod order;
mod saved;
mod text;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use build::{PlanInput, PlanOptions, plan};
pub use diff::field_changes;
pub use saved::SavedPlan;
pub use text::{human, markdown};

use crate::capability::Degraded;
use crate::name::{OwnerId, hash_of};
use crate::resource::{Edge, ResourceId};

/// What is planned for: one app on one target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    pub namespace: String,
    pub app: String,
    pub target: String,
    pub owner: OwnerId,
    /// Who wrote the intent: `file`, or the name of a Git source or Kubernetes object.
    pub source: String,
}

/// A plan is bound to the observation it was made from, and refused once the world has moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub scope: Scope,
    pub generation: u64,
    /// [`crate::observation::Observation::fingerprint`] of what the plan was made from.
    pub observed: String,
    pub steps: Vec<Step>,
    pub unchanged: Vec<ResourceId>,
    /// Present, not desired, and left alone.
    pub kept: Vec<Kept>,
    /// What the target takes with less than the manifest asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<Degraded>,
    /// What forbids carrying the plan out.
    pub problems: Vec<Problem>,
    /// Why somebody has to say yes first, beyond what the caller asks anyway.
    pub approval: Vec<String>,
}

/// One outside change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Counted from 1.
    pub number: usize,
    pub stage: Stage,
    pub verb: Verb,
    pub id: ResourceId,
    /// Field by field; empty for a create and a delete, whose body says all.
    pub changes: Vec<FieldChange>,
    /// Steps of the same stage that must be done before.
    pub needs: Vec<usize>,
    /// What must be observed elsewhere before.
    pub edges: Vec<Edge>,
    /// The body to create or update to; absent for a delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The etag of what the step was made from, where the platform has etags and something was there: whatever else is there
    /// by then is not overwritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Whether this create or delete is half of a replacement.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replacement: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downtime: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_loss: Option<String>,
    /// The manifest field that asked for it, as a JSON pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Whether an intent record must be durable before the call.
    #[serde(default)]
    pub needs_intent: bool,
}

/// A stage begins when all steps of the one before are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Deletes without which a create could not succeed.
    MakeRoom,
    Apply,
    /// Deletes of what is no longer desired; begins when all that is awaited is ready.
    Prune,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    Create,
    Update,
    Delete,
}

/// One field that differs, and what changing it costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// In the platform's words, dotted: `containers.web.env.LOG_LEVEL`.
    pub field: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// Absent where the field goes away; may be open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
    /// Whether the platform cannot change it in place, so that the resource is deleted and created anew. What is to be
    /// created before the old one goes needs another name, and is two resources.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replace: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downtime: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_loss: Option<String>,
}

impl FieldChange {
    /// A change in place, without downtime or loss.
    pub fn in_place(field: impl Into<String>, old: Option<Value>, new: Option<Value>) -> Self {
        Self {
            field: field.into(),
            old,
            new,
            replace: false,
            downtime: None,
            data_loss: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    pub id: ResourceId,
    pub because: String,
}

/// Why a plan may not be carried out as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// CamelCase: `Conflict`, `DataLoss`, `PartialRead`.
    pub code: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What an approval speaks of: a hash over everything in the plan.
    pub fn digest(&self) -> String {
        let text = serde_json::to_string(self).expect("plans hold only string keys");
        hash_of(&["plan", &text])[..20].to_string()
    }

    pub fn step(&self, number: usize) -> Option<&Step> {
        self.steps.get(number.checked_sub(1)?)
    }

    pub fn count(&self, verb: Verb) -> usize {
        self.steps.iter().filter(|step| step.verb == verb).count()
    }
}
