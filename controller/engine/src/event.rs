//! What the engine tells while it works: the command line makes progress lines of it. Answers, such as those of
//! `-o json`, are made of the outcome and never of these.

use portolan_core::facts::ContainerPath;
use portolan_core::observation::{Failure, Replicas};
use portolan_core::plan::Verb;
use portolan_core::reference::{Digest, ImageReference};
use portolan_core::resource::{Edge, ResourceId};
use portolan_core::status::StateWord;
use portolan_provider_api::CallError;
use serde::{Deserialize, Serialize};

use crate::machine::Timestamp;

/// One thing that has happened. Events tell; nothing depends on their being heard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "event")]
pub enum EngineEvent {
    /// An image is being built.
    ImageBuilding {
        container: ContainerPath,
        tag: ImageReference,
    },
    /// An image is being looked up.
    ImageLookup {
        container: ContainerPath,
        reference: ImageReference,
    },
    ImagePinned {
        container: ContainerPath,
        digest: Digest,
    },
    /// There is a plan; an empty one has no creates, updates or deletes.
    Planned {
        generation: u64,
        creates: usize,
        updates: usize,
        deletes: usize,
        unchanged: usize,
    },
    AwaitingApproval {
        plan: String,
        reasons: Vec<String>,
    },
    StepStarted {
        step: StepName,
    },
    StepDone {
        step: StepName,
    },
    /// A step waits until something elsewhere has come as far as it needs.
    StepWaiting {
        step: StepName,
        edges: Vec<Edge>,
    },
    StepRetrying {
        step: StepName,
        error: CallError,
        at: Timestamp,
    },
    /// Looking at the target failed and is tried again.
    ReadRetrying {
        error: CallError,
        at: Timestamp,
    },
    /// Something desired is in another state than when it was last seen.
    StateChanged {
        id: ResourceId,
        state: StateWord,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replicas: Option<Replicas>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// The world moved under the plan: another one is made.
    PlanningAnew {
        because: String,
    },
    RollingBack {
        generation: u64,
        to_generation: u64,
        failure: Failure,
    },
    Held {
        generation: u64,
        failure: Failure,
    },
    /// What serves in place of a held generation is not as it was applied, and is made so again.
    Restoring {
        generation: u64,
        held: u64,
    },
    Converged {
        generation: u64,
        changed: bool,
    },
    /// No new call is made; those under way are awaited.
    Interrupted,
}

/// Which step of how many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepName {
    /// Counted from 1.
    pub number: usize,
    pub of: usize,
    pub verb: Verb,
    pub id: ResourceId,
}
