//! Faults on demand: each is met once, by the next call it fits.

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
    RunJob,
    Promote,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Nothing is done, and this is the answer.
    Refuse(CallError),
    /// It is done, and the answer is lost.
    LoseAnswer,
    /// The answer shows half of what there is, and says so.
    Partial,
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
