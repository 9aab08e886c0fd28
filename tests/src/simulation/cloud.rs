//! What stands behind an account: a platform that is called, and that can be asked what is truly there, whatever its reads
//! show. `fake.rs` is one of [`portolan_provider_fake`], `local/` the supervisors of a machine.

use std::borrow::Cow;

use portolan_core::observation::{Held, Observation};
use portolan_core::plan::Scope;
use portolan_core::resource::{Resource, ResourceId};
use portolan_provider_api::{Accepted, CallError, OpenOperation, WriteRequest};
use portolan_provider_fake::{Fault, Tally};

use super::invariants::Broken;
use super::scenario::Outside;

/// What may come of something that happens at the platform by itself.
pub struct Befallen {
    /// For so long what is seen may be explained by it.
    pub explains_ms: u64,
    /// A generation may fail for it.
    pub may_fail: bool,
}

pub trait Cloud {
    // Calls, each with the fault that it meets.

    fn observe(
        &mut self,
        scope: &Scope,
        wanted: &[ResourceId],
        open: &[OpenOperation],
        fault: Option<&Fault>,
    ) -> Result<Observation, CallError>;

    fn write(&mut self, scope: &Scope, request: &WriteRequest, fault: Option<&Fault>) -> Result<Accepted, CallError>;

    fn note(&mut self, scope: &Scope, held: Option<&Held>, fault: Option<&Fault>) -> Result<(), CallError>;

    /// Whether calls arrive in the order in which they were made.
    fn keeps_order(&self) -> bool {
        false
    }

    /// What happens by itself has happened up to now.
    fn catch_up(&mut self, _now: u64) {}

    // The truth.

    /// What is the app's, without data that was kept and what is on its way out.
    fn owned(&self, scope: &Scope) -> Vec<ResourceId>;

    /// What there is under names that the app may give, data that was kept left out.
    fn ids(&self, scope: &Scope) -> Vec<ResourceId>;

    /// What is the app's and not desired, data that is to be kept left out.
    fn orphan(&self, scope: &Scope, keeps_data: bool, desired: &dyn Fn(&ResourceId) -> bool) -> Option<ResourceId>;

    /// What is noted of the app.
    fn noted(&self, scope: &Scope) -> Option<Held>;

    /// Whether there is something that bears a note.
    fn can_note(&self, _scope: &Scope) -> bool {
        true
    }

    /// Why it is not there as it is wanted, if it is not.
    fn differs(&self, scope: &Scope, resource: &Resource) -> Option<String>;

    /// Whether one field of its body is another one there; so it is of what is not there.
    fn differs_in(&self, scope: &Scope, resource: &Resource, field: &str) -> bool;

    /// The revision of the service that answers now.
    fn serves(&self, scope: &Scope, id: &ResourceId) -> Option<String>;

    /// What it holds that nothing else can hold meanwhile.
    fn claims(&self, scope: &Scope, id: &ResourceId) -> Vec<String>;

    /// Whether the job has run with success in that revision, now or before it was deleted.
    fn has_run(&self, scope: &Scope, job: &Resource) -> bool;

    /// By ids that no two apps share.
    fn tally(&self) -> Tally;

    /// The id by which the tally counts it.
    fn counted<'a>(&self, _scope: &Scope, id: &'a ResourceId) -> Cow<'a, ResourceId> {
        Cow::Borrowed(id)
    }

    /// How many writes the app has asked for, well or not.
    fn writes_by(&self, scope: &Scope) -> u64;

    /// What must never happen, and did, since it was asked for last.
    fn take_violation(&mut self) -> Option<Broken>;

    /// Steps of another machine than the engine's.
    fn steps(&self) -> u64 {
        0
    }

    // What is done without the engine.

    /// Answers whether that could be done.
    fn remove_by_hand(&mut self, scope: &Scope, id: &ResourceId) -> bool;

    fn change_by_hand(&mut self, scope: &Scope, id: &ResourceId) -> bool;

    /// Somebody else's object stands under the name.
    fn take_name(&mut self, scope: &Scope, id: &ResourceId);

    fn free_name(&mut self, scope: &Scope, id: &ResourceId);

    /// Answers what may come of it, if it could happen at all.
    fn befalls(&mut self, _scope: &Scope, _outside: Outside) -> Option<Befallen> {
        None
    }

    /// The provider repeats the values of secrets from now on.
    fn repeat_secrets(&mut self) {}
}
