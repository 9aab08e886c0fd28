//! One object of the platform, and what it is like at a moment. Pure.

use portolan_core::name::OwnerId;
use portolan_core::observation::{Failure, Pause, ResourceState};
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use serde_json::Value;

use crate::kinds::Kind;

#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub body: Value,
    pub owner: OwnerId,
    pub source: String,
    pub generation: u64,
    pub revision: Option<String>,
    pub changed_at: u64,
    pub deleted_at: Option<u64>,
    /// Its data was kept by a delete.
    pub retained: bool,
    /// Whether its rollout was told to go on.
    pub promoted: bool,
    /// How often it was written again in this revision.
    pub steps: u32,
    /// What it takes longer than others of its kind.
    pub slower_by: u64,
    pub made_at: u64,
    /// Another one after every write.
    pub etag: u64,
    /// The long operation on it that began last.
    pub operation: Option<Operation>,
    /// What serves while a change has not got ready: the revision before it.
    pub serving: Option<String>,
    /// What it needs, as its body says.
    pub uses: Vec<ResourceId>,
}

/// A long operation, until it ends and after.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    pub ends_at: u64,
    pub fails: bool,
    /// Whether it makes the object: one that fails then leaves none.
    pub makes: bool,
}

impl Object {
    /// As if `owner` had put it there, without Portolan.
    pub fn by_hand(owner: OwnerId, body: Value) -> Self {
        Self {
            uses: uses(&body),
            body,
            owner,
            source: "file".into(),
            generation: 1,
            revision: None,
            changed_at: 0,
            deleted_at: None,
            retained: false,
            promoted: false,
            steps: 0,
            slower_by: 0,
            made_at: 0,
            etag: 0,
            operation: None,
            serving: None,
        }
    }

    /// Whether the scope may write to it. Data that was kept is the owner's, whichever source names it again.
    pub fn is_of(&self, scope: &Scope) -> bool {
        self.owner == scope.owner && (self.retained || self.source == scope.source)
    }

    pub fn state(&self, kind: &Kind, now: u64) -> ResourceState {
        let ready_after = kind.ready_after_ms + self.slower_by;
        match now.saturating_sub(self.changed_at) >= ready_after {
            _ if self.deleted_at.is_some() => ResourceState::Deleting,
            _ if self.is_operated_on(now) => ResourceState::progressing("the operation goes on"),
            _ if self.operation_failed(now) => ResourceState::Failed {
                failure: Failure::new("OperationFailed", "the operation ended without success"),
            },
            _ if has(&self.body, NEVER_READY) => ResourceState::progressing("still starting"),
            false => ResourceState::progressing("starting"),
            true if fails(&self.body) => ResourceState::Failed {
                failure: Failure::new("Crashed", "it ended with 1"),
            },
            true if kind.runs_to_end => ResourceState::Completed,
            true => self.rolled_out(ready_after, now),
        }
    }

    /// What has started serves, or rests on the way to serving alone.
    fn rolled_out(&self, ready_after: u64, now: u64) -> ResourceState {
        let rests_until = self.changed_at + ready_after + REST_MS;
        let paused = match () {
            () if has(&self.body, PAUSES) && !self.promoted => Pause::Promotion,
            () if has(&self.body, RESTS) && now < rests_until => Pause::Time,
            () if has(&self.body, IS_WALKED) && self.steps < STEPS => Pause::Over,
            () if has(&self.body, STANDS_STILL) => Pause::Over,
            () => return ResourceState::Ready,
        };
        ResourceState::Progressing {
            message: "10% of new connections go to the new revision".to_string(),
            paused: Some(paused),
            step: None,
        }
    }

    pub fn is_operated_on(&self, now: u64) -> bool {
        self.operation.as_ref().is_some_and(|operation| now < operation.ends_at)
    }

    fn operation_failed(&self, now: u64) -> bool {
        let operation = self.operation.as_ref();
        operation.is_some_and(|operation| operation.fails && now >= operation.ends_at)
    }

    /// Whether it is a job that had run in this revision before it was written once more.
    pub fn ran_before(&self) -> bool {
        self.changed_at == 0
    }

    /// The revision that answers at that moment: the wanted one once it is ready, until then the one before.
    pub fn serves(&self, kind: &Kind, now: u64) -> Option<&str> {
        match self.state(kind, now) {
            ResourceState::Ready => self.revision.as_deref(),
            ResourceState::Deleting => None,
            _ => self.serving.as_deref(),
        }
    }

    pub fn has_failed(&self, now: u64) -> bool {
        fails(&self.body) || self.operation_failed(now)
    }
}

/// A service with this variable pauses once it has started, until it is promoted.
pub const PAUSES: &str = "FAKE_PAUSES";

/// One with this variable pauses for [`REST_MS`].
pub const RESTS: &str = "FAKE_RESTS";

/// One with this variable is brought from step to step by writes, of which it takes [`STEPS`].
pub const IS_WALKED: &str = "FAKE_IS_WALKED";

pub const STEPS: u32 = 9;

/// One with this variable wants another write after each.
pub const STANDS_STILL: &str = "FAKE_STANDS_STILL";

pub const REST_MS: u64 = 2 * 60 * 60 * 1000;

/// A workload with this variable fails once it has started.
pub const FAILS: &str = "FAKE_FAILS";

/// One with this variable never gets ready, and never fails either.
pub const NEVER_READY: &str = "FAKE_NEVER_READY";

pub fn fails(body: &Value) -> bool {
    has(body, FAILS)
}

fn has(body: &Value, variable: &str) -> bool {
    body.get("env").and_then(|env| env.get(variable)).is_some()
}

/// What the platform itself knows to be in use by an object with this body.
pub fn uses(body: &Value) -> Vec<ResourceId> {
    let names = body.get("uses").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(|name| name.as_str()?.parse().ok()).collect()
}
