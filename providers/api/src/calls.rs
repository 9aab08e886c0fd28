//! The half of a provider that talks to its platform: thin, one outside change a call.

use std::collections::BTreeMap;

use async_trait::async_trait;
use portolan_core::observation::{Held, Observation};
use portolan_core::plan::{Scope, Verb};
use portolan_core::resource::ResourceId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::CallError;

/// What a provider does outside.
///
/// # Contract
/// No call sleeps, retries or polls: the engine does, by the error's class. A long operation answers
/// [`Accepted::Operation`], and a later [`Calls::observe`] tells its end. Dropping a future half way is safe: the call
/// may or may not have happened, and the next observation tells.
#[async_trait]
pub trait Calls: Send + Sync {
    /// The account, project, cluster or machine behind the target: the last word of an owner.
    async fn realm(&self) -> Result<String, CallError>;

    /// Whether what is there is watched: `realm` and `observe` are then answered without a request, which count in no budget,
    /// and whoever waits for a change is told of it, and need not look for it.
    fn is_told_of_changes(&self) -> bool {
        false
    }

    /// A run is about to begin that may write: what a first write would wait for can be begun, in a task of its own.
    /// It is no call: nothing changes at the target, and it may be left out.
    fn expect_writes(&self, _namespace: &str, _app: &str) {}

    /// Quota, permissions, capacity, free ports: everything that can be known to fail before anything is touched.
    /// All faults at once; an empty list means go.
    async fn preflight(&self, scope: &Scope, writes: &[WriteRequest]) -> Result<Vec<CallError>, CallError>;

    /// What is there now, of all that bears the owner's tag or stands under the names in `wanted`.
    ///
    /// Changes nothing. A read that failed in part answers `complete: false`, or an error; never a short list.
    /// `open` are long operations begun earlier: their resources answer `Progressing` until the operation ends.
    async fn observe(
        &self,
        scope: &Scope,
        wanted: &[ResourceId],
        open: &[OpenOperation],
    ) -> Result<Observation, CallError>;

    /// Makes the resource. Creating what we made is success, also while a long operation makes it.
    async fn create(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError>;

    /// Changes the resource to `request.body`. Changing it to what it is already is success.
    async fn update(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError>;

    /// Removes the resource. Deleting what is gone is success.
    async fn delete(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError>;

    /// Remembers beside what there is of the app that a generation is held, or with `None` that none is any more:
    /// [`Calls::observe`] tells it, also to whoever has lost the journal. What bears the note may lose it with its next write,
    /// or go. Noting the same twice is success, and so it is where nothing is there that could bear a note.
    async fn note(&self, scope: &Scope, held: Option<&Held>) -> Result<(), CallError>;
}

/// One write. For a delete `body` is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteRequest {
    pub verb: Verb,
    pub id: ResourceId,
    /// Every reference closed.
    pub body: Value,
    pub revision: Option<String>,
    /// The etag of what the write was made from ([`portolan_core::observation::ObservedResource::etag`]). With it, what has
    /// been written to since, by us or by anybody, is left as it is, and the write is refused as a conflict: whoever wants it
    /// still observes and plans again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The generation that this write belongs to; goes into the tags.
    pub generation: u64,
    /// The platform's client token where it has one. The same for every try of one step, after a crash too; another once
    /// the step is planned again from another observation.
    pub idempotency_token: String,
    /// Whether what another owner or another source wrote may be replaced. Where not, the write is refused as a conflict,
    /// whatever the plan has seen: somebody may have put it there since.
    pub take_over: bool,
    /// For a delete of what holds data: whether the data goes too.
    pub erase_data: bool,
}

/// The platform took the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Accepted {
    /// Done, with what is known now.
    Done { outputs: BTreeMap<String, Value> },
    /// Begun; the handle is journalled and given back with every observe until the operation has ended.
    Operation { handle: Handle },
}

impl Accepted {
    pub fn done() -> Self {
        Self::Done {
            outputs: BTreeMap::new(),
        }
    }
}

/// The platform's name for a long operation; opaque to the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(pub String);

/// A long operation that was begun and has not been seen to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenOperation {
    pub id: ResourceId,
    pub verb: Verb,
    pub handle: Handle,
}
