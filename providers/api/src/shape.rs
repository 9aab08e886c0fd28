//! The pure half of a provider: handed to the step machine, to `plan` and to the tests.

use std::time::Duration;

use portolan_core::capability::{Capability, Degraded};
use portolan_core::desired::DesiredState;
use portolan_core::fault::Fault;
use portolan_core::observation::ObservedResource;
use portolan_core::plan::{FieldChange, Scope};
use portolan_core::resource::{Resource, ResourceId, Resources};
use serde_json::Value;

/// What a provider knows without asking anybody. Every method is a function of its arguments: the same input gives the
/// same output, to the byte, on every machine.
pub trait Shape: Send + Sync {
    /// The provider's name as `Target.spec.provider` spells it.
    fn name(&self) -> &'static str;

    /// For each manifest field, how this target takes it. A constant. The engine refuses what is impossible before anything
    /// is rendered, and says in the plan what is degraded.
    fn capabilities(&self) -> &'static [Capability];

    /// The account behind the target, where its Target says it: enough to render without asking anybody. It is what
    /// [`crate::Calls::realm`] answers.
    fn realm(&self) -> Option<String> {
        None
    }

    /// The native resources for `desired` and the edges between them.
    ///
    /// # Guarantees
    /// Bodies are complete requests; what is not known yet is open in them and never guessed. Names are derived from the
    /// scope and are valid in the platform's grammar. Faults are returned as a list, all of them.
    fn render(&self, desired: &DesiredState) -> Result<Resources, Vec<Fault>>;

    /// What comes out otherwise than `desired` asks for by its values, as [`Shape::capabilities`] tells it of whole fields: a size
    /// that is rounded up, say. A plan says it.
    fn remarks(&self, _desired: &DesiredState) -> Vec<Degraded> {
        Vec::new()
    }

    /// What a user of the platform's own tools would write for the resource.
    fn document(&self, _scope: &Scope, resource: &Resource) -> Value {
        resource.body.clone()
    }

    /// What an update would change. Empty means that nothing would: a default that the platform filled in, another order
    /// or another spelling of the same is no difference. An open value differs from whatever is there.
    fn diff(&self, resource: &Resource, observed: &ObservedResource) -> Vec<FieldChange>;

    /// Whether what is not desired any more is deleted. It is not where the target itself sees to that, as a store does to
    /// images that others may use too.
    fn is_pruned(&self, _id: &ResourceId) -> bool {
        true
    }

    /// How long after a write a read may still not show it.
    fn read_lag(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// How many requests a second the platform takes from one account without complaint; a Target may say otherwise.
    fn requests_per_second(&self) -> u32 {
        20
    }
}
