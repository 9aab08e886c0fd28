//! What goes in and what comes out of a step.

use std::fmt;
use std::sync::Arc;

use portolan_core::facts::PinnedImage;
use portolan_core::observation::{Held, Observation};
use portolan_core::plan::{Plan, Scope};
use portolan_core::resource::ResourceId;
use portolan_provider_api::{Accepted, CallError, ImageError, OpenOperation, PinRequest, WriteRequest};

use super::Timestamp;
use crate::event::EngineEvent;
use crate::journal::{JournalEntry, JournalError};

/// One thing that has happened, and the time and the chance it happened with.
#[derive(Debug)]
pub struct Input {
    pub now: Timestamp,
    /// Fresh for each input; spreads retries.
    pub random: u64,
    /// Until when this run may write, where somebody else may afterwards. The right can be renewed at any time.
    pub lease: Option<Timestamp>,
    pub event: Event,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every event is an answer")]
pub enum Event {
    /// The first input.
    Start,
    /// The time of the last [`Effect::WakeAt`] has come. Coming early or twice does no harm.
    Wake,
    /// The answer to an [`Effect::Ask`].
    Done(EffectId, Answer),
    /// Something of the app has changed at the target, where somebody tells of that.
    Changed,
    /// The user wants to stop.
    Interrupt,
}

/// Which ask an answer belongs to; counted from 1 in each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectId(pub u64);

impl fmt::Display for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Debug)]
pub enum Effect {
    /// To be carried out beside whatever else is under way, and answered once.
    Ask(EffectId, Ask),
    /// Nobody waits for the answer any more: drop what is under way. A late answer is ignored.
    Abandon(EffectId),
    /// Come back by then, if nothing happens before. Each step's effects replace the one before, also by having none.
    WakeAt(Timestamp),
    Publish(EngineEvent),
}

/// A question to the world outside.
#[derive(Clone, Debug)]
pub enum Ask {
    /// The account, cluster or machine behind the target.
    Realm,
    Pin(PinRequest),
    Observe {
        scope: Arc<Scope>,
        wanted: Vec<ResourceId>,
        open: Vec<OpenOperation>,
    },
    Preflight {
        scope: Arc<Scope>,
        writes: Vec<WriteRequest>,
    },
    Call {
        scope: Arc<Scope>,
        request: WriteRequest,
    },
    /// What the target shall remember of a generation that is held.
    Note {
        scope: Arc<Scope>,
        held: Option<Held>,
    },
    /// One transaction. There is never more than one under way.
    Write(Vec<JournalEntry>),
    Approve {
        plan: Arc<Plan>,
        reasons: Vec<String>,
    },
}

/// The answer to the [`Ask`] of the same name.
#[derive(Debug)]
pub enum Answer {
    Realm(Result<String, CallError>),
    Pin(Result<PinnedImage, ImageError>),
    Observe(Result<Observation, CallError>),
    Preflight(Result<Vec<CallError>, CallError>),
    Call(Result<Accepted, CallError>),
    Note(Result<(), CallError>),
    Write(Result<(), JournalError>),
    Approve(bool),
}
