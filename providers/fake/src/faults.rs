//! Faults on demand: each is met once, by the next call it fits, or by the call that it is handed to.

use portolan_core::resource::ResourceId;
use portolan_provider_api::{CallError, ErrorClass};

/// Which calls a fault waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    Realm,
    Observe,
    Preflight,
    /// Any write to the resource.
    Write(ResourceId),
    Note,
    RunJob,
    Promote,
}

/// What goes wrong. Where a call cannot meet a fault in the way that it says, its answer is lost.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Nothing is done, and this is the answer.
    Refuse(CallError),
    /// It is done, and the answer is lost.
    LoseAnswer,
    /// It is done, and this is the answer all the same.
    DoAndRefuse(CallError),
    /// A read shows half of what there is, and says so.
    Partial,
    /// A read shows nothing, and says that this is not all.
    Empty,
    /// A read shows everything as it was this long ago.
    Stale { ms: u64 },
    /// A read does not find what was made last, as if it had been asked this long ago.
    NotFound { ms: u64 },
    /// Lists come in another order.
    Reordered,
    /// Somebody else writes just before. Where there are etags they alone tell; elsewhere the write is refused.
    OtherWriter,
    /// What the write begins takes this much longer.
    Slow { ms: u64 },
    /// It begins well, and fails this much later.
    FailLate { ms: u64 },
    /// The handle in the answer is none that the platform knows.
    HandleLost,
    /// The answer is that time is out; the work goes on, and succeeds.
    TimeOut { ms: u64 },
}

/// The faults that were asked for and not met yet.
#[derive(Clone, Debug, Default)]
pub struct Faults(Vec<(On, Fault)>);

impl Faults {
    pub fn add(&mut self, on: On, fault: Fault) {
        self.0.push((on, fault));
    }

    /// The fault that this call meets, which is then gone.
    pub fn meet(&mut self, on: &On) -> Option<Fault> {
        let at = self.0.iter().position(|(waits_for, _)| waits_for == on)?;
        Some(self.0.remove(at).1)
    }
}

/// What the caller sees of an answer that was lost.
pub fn answer_lost() -> CallError {
    CallError::new(
        ErrorClass::Retry { after: None },
        "Unavailable",
        "the connection ended before the answer",
    )
}
