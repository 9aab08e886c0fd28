//! What a target says is there now.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::hash_of;
use crate::resource::{EdgeCondition, ResourceId};

/// The answer to one look at a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    pub resources: BTreeMap<ResourceId, ObservedResource>,
    /// Whether everything in scope was seen. Nothing is ever deleted, nor believed absent, on a partial read.
    pub complete: bool,
    /// What was noted there last of a generation that is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// Whether somebody tells of whatever changes in it: nothing in it is found out by looking again alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_told: bool,
}

/// A generation that failed and is not tried again, as the target remembers it: whoever has lost the journal finds it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    pub generation: u64,
    /// Over what was desired: the same is not tried again, anything else is.
    pub hash: String,
    /// As of its [`Failure`].
    pub reason: String,
    /// So, cut to 500 characters.
    pub message: String,
}

/// One native object as the platform shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedResource {
    pub id: ResourceId,
    /// The platform's own identifier (an ARN, a uid, a path).
    pub native_id: String,
    /// Where the platform has one: its word for the object as it was shown. It is another one after every write, whoever
    /// wrote, and stays the same while what was written takes its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The body as the provider's `read` normalised it; comparable with a rendered one by the provider's `diff`.
    pub body: Value,
    pub ownership: Ownership,
    pub state: ResourceState,
    /// The revision that `state` speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// What other resources and the user may ask for: addresses, names, paths.
    #[serde(default)]
    pub outputs: BTreeMap<String, Value>,
    /// Resources that this one needs: deletes run against this direction.
    #[serde(default)]
    pub depends_on: Vec<ResourceId>,
    /// What it holds that only one resource can hold at a time, in the words of [`crate::resource::Resource::claims`].
    #[serde(default)]
    pub claims: Vec<String>,
    #[serde(default)]
    pub holds_data: bool,
    /// Kept by an earlier delete because it holds data. It is no part of the app until the manifest names it again: a
    /// create takes it up, and only a delete that loses data removes it.
    #[serde(default)]
    pub retained: bool,
    /// What `status` shows of it; absent where there is nothing to count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
}

/// How many instances of a workload there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replicas {
    pub wanted: u32,
    pub ready: u32,
    /// Of the revision wanted.
    pub updated: u32,
    pub restarts: u32,
}

/// Whose object it is, told by tags and never by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Ownership {
    /// Ours: it bears our owner tag, and was written by this source of intent.
    Ours { generation: u64 },
    /// It bears our owner tag, but another source wrote it (a Git repository, a Kubernetes object).
    OtherSource { source: String },
    /// It stands under our name and bears no tag of ours.
    Foreign,
}

/// Where an object stands on its way to what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum ResourceState {
    Progressing {
        message: String,
        /// Set where all has been done that can be done for now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        paused: Option<Pause>,
        /// Of a rollout in steps: which one it is at, from 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<u32>,
    },
    Ready,
    /// A job that ran to its end with success.
    Completed,
    Failed {
        failure: Failure,
    },
    /// On its way out; its name may still be taken.
    Deleting,
}

/// What a rollout waits for that is no sign of trouble, however long it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Pause {
    /// A span of time that the manifest gives; it goes on by itself.
    Time,
    /// Somebody's `portolan promote`.
    Promotion,
    /// Nothing any more: it goes on with the next write, since the platform itself takes no steps.
    Over,
}

impl ResourceState {
    /// On its way, with nothing that keeps it from going on.
    pub fn progressing(message: impl Into<String>) -> Self {
        Self::Progressing {
            message: message.into(),
            paused: None,
            step: None,
        }
    }
}

/// Why something failed, in words that a user can act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// CamelCase; also the error code and the condition's reason.
    pub reason: String,
    /// One line.
    pub message: String,
    /// Last log lines, exit codes, events: as the platform said them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether nothing is wrong with what was applied: it has been lost, as by a restart of the machine, and is put there
    /// again without anybody's saying so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

impl Failure {
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
            evidence: Vec::new(),
            hint: None,
            lost: false,
        }
    }
}

impl ObservedResource {
    /// Whether it has come as far as an edge asks for, in the revision that is wanted (`None`: any).
    pub fn meets(&self, condition: EdgeCondition, revision: Option<&str>) -> bool {
        let current = revision.is_none() || self.revision.as_deref() == revision;
        match condition {
            EdgeCondition::Exists => self.state != ResourceState::Deleting,
            EdgeCondition::Ready => current && matches!(self.state, ResourceState::Ready | ResourceState::Completed),
            EdgeCondition::Completed => current && self.state == ResourceState::Completed,
        }
    }

    pub fn pause(&self) -> Option<Pause> {
        match self.state {
            ResourceState::Progressing { paused, .. } => paused,
            _ => None,
        }
    }

    pub fn step(&self) -> Option<u32> {
        match self.state {
            ResourceState::Progressing { step, .. } => step,
            _ => None,
        }
    }

    pub fn failure(&self) -> Option<&Failure> {
        match &self.state {
            ResourceState::Failed { failure } => Some(failure),
            _ => None,
        }
    }
}

impl Observation {
    /// A hash over what a plan was made from: bodies, owners and revisions, not states and counters, which move by
    /// themselves. A plan made from another fingerprint is stale.
    pub fn fingerprint(&self) -> String {
        let resources = self.resources.iter().map(|(id, one)| (id, one.fingerprint()));
        let resources: BTreeMap<&ResourceId, String> = resources.collect();
        let text = serde_json::to_string(&(self.complete, resources));
        hash_of(&["observation", &text.expect("observations hold only string keys")])[..20].to_string()
    }

    /// Of each resource by itself.
    pub fn fingerprints(&self) -> BTreeMap<ResourceId, String> {
        let resources = self.resources.iter();
        resources
            .map(|(id, resource)| (id.clone(), resource.fingerprint()))
            .collect()
    }
}

impl ObservedResource {
    fn fingerprint(&self) -> String {
        let seen = (&self.native_id, &self.body, &self.ownership, &self.revision);
        let text = serde_json::to_string(&seen).expect("observations hold only string keys");
        hash_of(&["resource", &text])[..20].to_string()
    }
}
