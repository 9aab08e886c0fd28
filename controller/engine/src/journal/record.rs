//! What the journal knows of one app on one target, and the entries it grows by. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use portolan_core::facts::{ContainerPath, PinnedImage};
use portolan_core::manifest::Drift;
use portolan_core::mutant::Mutant;
use portolan_core::name::OwnerId;
use portolan_core::observation::Failure;
use portolan_core::plan::Verb;
use portolan_core::resource::{ResourceId, Resources};
use portolan_provider_api::OpenOperation;
use serde::{Deserialize, Serialize};

use super::GENERATIONS_KEPT;
use crate::machine::Timestamp;

/// Which app on which target. Written `namespace/app on target`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppKey {
    pub namespace: String,
    pub app: String,
    pub target: String,
}

impl fmt::Display for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on {}", self.namespace, self.app, self.target)
    }
}

/// Everything a run has to know from the runs before it. Its size does not grow with the past.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppRecord {
    /// Whom the record speaks of. A target that now stands for another account has another owner.
    pub owner: Option<OwnerId>,
    /// The newest generation that was begun.
    pub latest: Option<Arc<Generation>>,
    /// The newest one that converged: where a rollback goes.
    pub converged: Option<Arc<Generation>>,
    /// Those begun since that one, the oldest first, and no more than are kept: each may have made something.
    pub unconverged: Vec<Arc<Generation>>,
    /// The generation that is not tried again.
    pub held: Option<Hold>,
    /// Creates that may have been sent and were not seen to have happened.
    pub intents: BTreeMap<ResourceId, Intent>,
    /// Long operations that were not seen to end.
    pub operations: BTreeMap<ResourceId, OpenOperation>,
}

/// One version of intent, as it was rendered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Generation {
    pub number: u64,
    pub kind: GenerationKind,
    /// Over kind and resources: the same intent again is the same generation.
    pub hash: String,
    pub begun: Timestamp,
    pub resources: Arc<Resources>,
    pub images: BTreeMap<ContainerPath, PinnedImage>,
    /// How long it may go without progress before it has failed.
    pub patience: Duration,
    /// [`crate::Work::intent`] of the manifests that it was made from, or rolled back under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// Fields that others may change, by the origin of their resource.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drift: BTreeMap<String, Drift>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GenerationKind {
    Apply,
    Delete,
}

/// A generation that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    pub generation: u64,
    pub hash: String,
    pub failure: Failure,
    /// The generation that is to serve again, until it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling_back_to: Option<u64>,
    /// The generation that serves in its place, and is looked after until there is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<u64>,
}

/// A write that is about to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    pub id: ResourceId,
    pub verb: Verb,
    pub generation: u64,
    pub idempotency_token: String,
    pub at: Timestamp,
}

/// What is added to a record, as one change that is kept whole or lost whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum JournalEntry {
    /// A generation is about to be carried out. A hold ends with it, and so does all that speaks of another owner.
    Begun {
        owner: OwnerId,
        generation: Arc<Generation>,
    },
    IntentOpened(Intent),
    /// What became of the create is known.
    IntentClosed(ResourceId),
    OperationOpened(OpenOperation),
    OperationClosed(ResourceId),
    /// The latest generation is what the target shows, and is ready. A hold ends with it.
    Converged,
    Held(Hold),
    /// What the held generation was rolled back to serves in its place.
    RolledBack,
    /// The rollback has failed, or what served in place of the held generation cannot any more: it is left as it is.
    RollbackFailed,
    History(HistoryEntry),
}

/// One line of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    pub at: Timestamp,
    pub generation: u64,
    pub kind: GenerationKind,
    pub outcome: HistoryOutcome,
    /// What was done, a short line each: `update Service/web: image`.
    pub changes: Vec<String>,
    #[serde(default)]
    pub images: BTreeMap<ContainerPath, PinnedImage>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub enum HistoryOutcome {
    Converged,
    /// Without waiting.
    Applied,
    /// But for what waits for its promotion.
    Paused,
    Held {
        failure: Failure,
    },
    RolledBack {
        failure: Failure,
        to_generation: u64,
    },
}

impl AppRecord {
    /// What `entry` makes of the record. The one place that says so.
    pub fn apply(&mut self, entry: &JournalEntry) {
        match entry {
            JournalEntry::Begun { owner, generation } => {
                *self = std::mem::take(self).of(owner);
                self.owner = Some(owner.clone());
                self.latest = Some(generation.clone());
                self.held = None;
                self.keep_unconverged(generation);
                if Mutant::TheInventoryAdvancesEarly.is_on() {
                    self.converged = self.latest.clone();
                }
            }
            JournalEntry::IntentOpened(intent) => {
                self.intents.insert(intent.id.clone(), intent.clone());
            }
            JournalEntry::IntentClosed(id) => {
                self.intents.remove(id);
            }
            JournalEntry::OperationOpened(operation) => {
                self.operations.insert(operation.id.clone(), operation.clone());
            }
            JournalEntry::OperationClosed(id) => {
                self.operations.remove(id);
            }
            JournalEntry::Converged => {
                self.converged = self.latest.clone();
                self.unconverged.clear();
                self.held = None;
            }
            JournalEntry::Held(hold) => self.held = Some(hold.clone()),
            JournalEntry::RolledBack => {
                if let Some(hold) = &mut self.held {
                    hold.serving = hold.rolling_back_to.take();
                }
            }
            JournalEntry::RollbackFailed => {
                if let Some(hold) = &mut self.held {
                    hold.rolling_back_to = None;
                    hold.serving = None;
                }
            }
            JournalEntry::History(_) => {}
        }
    }

    fn keep_unconverged(&mut self, generation: &Arc<Generation>) {
        let newest = generation.number;
        let kept = |one: &Arc<Generation>| one.number != newest && one.number + GENERATIONS_KEPT > newest;
        self.unconverged.retain(kept);
        if self
            .converged
            .as_ref()
            .is_none_or(|converged| converged.number < newest)
        {
            self.unconverged.push(generation.clone());
        }
    }

    /// Every generation that may have made what the target shows.
    pub fn generations(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.converged.iter().chain(&self.unconverged)
    }

    /// Whether the last run brought its generation to a good end, or what served before back, or there was none.
    pub fn ended_well(&self) -> bool {
        self.unconverged.is_empty() && self.held.is_none() || self.serving().is_some()
    }

    /// Whether the newest generation was made from these manifests.
    pub fn is_made_from(&self, intent: &str) -> bool {
        let latest = self
            .latest
            .as_ref()
            .filter(|latest| latest.kind == GenerationKind::Apply);
        latest.is_some_and(|latest| latest.intent.as_deref() == Some(intent))
    }

    /// What the target is meant to show: the latest generation, or the one that serves in place of a held one.
    pub fn current(&self) -> Option<&Arc<Generation>> {
        let latest = self.latest.as_ref()?;
        let held = self.held.as_ref().is_some_and(|hold| hold.generation == latest.number);
        match held {
            true => self.converged.as_ref().or(Some(latest)),
            false => Some(latest),
        }
    }

    /// What serves in place of the held generation, once it does.
    pub fn serving(&self) -> Option<&Arc<Generation>> {
        let number = self.held.as_ref()?.serving?;
        self.converged.as_ref().filter(|converged| converged.number == number)
    }

    /// The part of the record that holds for `owner`: everything, or nothing if it speaks of somebody else.
    pub fn of(self, owner: &OwnerId) -> Self {
        match &self.owner {
            Some(known) if known != owner => Self::default(),
            _ => self,
        }
    }
}
