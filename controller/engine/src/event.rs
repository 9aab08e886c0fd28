//! What the engine tells while it works, as values and in words: the command line makes progress lines of it, a
//! controller's page a table. Answers, such as those of `-o json`, are made of the outcome and never of these.

use std::borrow::Cow;
use std::fmt;

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
    /// What failed before has been seen: the target answers again.
    ReadSucceeded,
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

/// Why something happened: a reason in CamelCase where there is one, and a clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Because<'a> {
    pub reason: Option<&'a str>,
    pub message: Cow<'a, str>,
}

impl EngineEvent {
    /// One clause, without the reason.
    pub fn what(&self) -> String {
        match self {
            Self::ImageBuilding { container, .. } => format!("building {container}"),
            Self::ImageLookup { container, .. } => format!("looking up the image of {container}"),
            Self::ImagePinned { container, digest } => format!("{container} has the image {digest}"),
            Self::Planned {
                generation,
                creates,
                updates,
                deletes,
                ..
            } => format!("generation {generation}: {creates} to create, {updates} to update, {deletes} to delete"),
            Self::AwaitingApproval { .. } => "the plan waits for a yes".into(),
            Self::StepStarted { step } => step.words("ing"),
            Self::StepDone { step } => step.words("ed"),
            Self::StepWaiting { step, edges } => {
                let names: Vec<String> = edges.iter().map(|edge| edge.to.to_string()).collect();
                format!("{} waits for {}", step.id, names.join(", "))
            }
            Self::StepRetrying { step, .. } => format!("trying {} again", step.id),
            Self::ReadRetrying { .. } => "looking again".into(),
            Self::ReadSucceeded => "the target answers again".into(),
            Self::StateChanged {
                id, state, replicas, ..
            } => {
                let counts = replicas.map_or(String::new(), |count| format!(" {}/{}", count.ready, count.wanted));
                match state {
                    StateWord::Ready => format!("{id} is ready{counts}"),
                    StateWord::Completed => format!("{id} has completed"),
                    StateWord::Failed => format!("{id} has failed"),
                    StateWord::Absent | StateWord::Progressing | StateWord::Deleting => format!("{id}{counts}"),
                }
            }
            Self::PlanningAnew { .. } => "planning again".into(),
            Self::RollingBack { to_generation, .. } => format!("rolling back to generation {to_generation}"),
            Self::Restoring { generation, held } => {
                format!("restoring generation {generation}, which serves while generation {held} is held")
            }
            Self::Held { generation, .. } => format!("generation {generation} has failed, and is held"),
            Self::Converged { generation, .. } => format!("generation {generation} is as it shall be"),
            Self::Interrupted => "stopping once what is under way has ended".into(),
        }
    }

    pub fn because(&self) -> Option<Because<'_>> {
        let of = |reason, message| Because { reason, message };
        match self {
            Self::AwaitingApproval { reasons, .. } => Some(of(None, reasons.join("; ").into())),
            Self::StepRetrying { error, .. } | Self::ReadRetrying { error, .. } => {
                Some(of(Some(&error.code), (&error.message).into()))
            }
            Self::StateChanged {
                failure: Some(failure), ..
            }
            | Self::RollingBack { failure, .. }
            | Self::Held { failure, .. } => Some(of(Some(&failure.reason), (&failure.message).into())),
            Self::StateChanged { message, .. } => message.as_ref().map(|message| of(None, message.into())),
            Self::PlanningAnew { because } => Some(of(None, because.into())),
            _ => None,
        }
    }
}

/// What has happened, and the clause that says why.
impl fmt::Display for EngineEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())?;
        self.because()
            .map_or(Ok(()), |because| write!(f, ": {}", because.message))
    }
}

impl StepName {
    /// `created Service/web`, `updating Job/migrate`.
    fn words(&self, ending: &str) -> String {
        let stem = match self.verb {
            Verb::Create => "creat",
            Verb::Update => "updat",
            Verb::Delete => "delet",
        };
        format!("{stem}{ending} {}", self.id)
    }
}
