//! A fake cloud as what stands behind an account. Its names are the account's: no two apps share one.

use portolan_core::name::OwnerId;
use portolan_core::observation::{Held, Observation, ResourceState};
use portolan_core::plan::Scope;
use portolan_core::resource::{Resource, ResourceId, is_closed};
use portolan_provider_api::{Accepted, CallError, OpenOperation, WriteRequest};
use portolan_provider_fake::kinds::KINDS;
use portolan_provider_fake::{FakeCloud, Fault, Object, Tally};
use serde_json::Value;

use super::cloud::Cloud;
use super::invariants::Broken;

impl Cloud for FakeCloud {
    fn observe(
        &mut self,
        scope: &Scope,
        wanted: &[ResourceId],
        open: &[OpenOperation],
        fault: Option<&Fault>,
    ) -> Result<Observation, CallError> {
        self.observe_with(scope, wanted, open, fault)
    }

    fn write(&mut self, scope: &Scope, request: &WriteRequest, fault: Option<&Fault>) -> Result<Accepted, CallError> {
        self.write_with(scope, request, fault)
    }

    fn note(&mut self, scope: &Scope, held: Option<&Held>, fault: Option<&Fault>) -> Result<(), CallError> {
        self.note_with(scope, held, fault)
    }

    fn noted(&self, scope: &Scope) -> Option<Held> {
        FakeCloud::noted(self, scope)
    }

    fn owned(&self, scope: &Scope) -> Vec<ResourceId> {
        let objects = self.objects().into_iter();
        let theirs = objects.filter(|(_, object)| object.owner == scope.owner && object.deleted_at.is_none());
        theirs.map(|(id, _)| id).collect()
    }

    fn ids(&self, _scope: &Scope) -> Vec<ResourceId> {
        self.objects().into_keys().collect()
    }

    fn orphan(&self, scope: &Scope, keeps_data: bool, desired: &dyn Fn(&ResourceId) -> bool) -> Option<ResourceId> {
        let holds_data = |id: &ResourceId| KINDS.iter().any(|kind| kind.name == id.kind && kind.holds_data);
        self.find(|id, object| {
            let kept = keeps_data && holds_data(id);
            object.owner == scope.owner && object.deleted_at.is_none() && !kept && !desired(id)
        })
    }

    fn differs(&self, _scope: &Scope, resource: &Resource) -> Option<String> {
        let wrong = self.truth(&resource.id, |object, state| difference(resource, object, state));
        wrong.unwrap_or_else(|| Some("it is not there".to_string()))
    }

    fn differs_in(&self, _scope: &Scope, resource: &Resource, field: &str) -> bool {
        let there = self.truth(&resource.id, |object, _| object.body.get(field).cloned());
        there.flatten().as_ref() != resource.body.get(field)
    }

    fn serves(&self, _scope: &Scope, id: &ResourceId) -> Option<String> {
        FakeCloud::serves(self, id)
    }

    fn claims(&self, _scope: &Scope, id: &ResourceId) -> Vec<String> {
        let ports = self.truth(id, |object, _| object.body.get("publishes").cloned());
        let ports = ports.flatten();
        let ports = ports.as_ref().and_then(Value::as_array).into_iter().flatten();
        ports.map(|port| format!("port/{port}")).collect()
    }

    fn has_run(&self, _scope: &Scope, job: &Resource) -> bool {
        let has_run = |object: &Object, state: &ResourceState| {
            let is_done = *state == ResourceState::Completed || object.ran_before();
            is_done && object.revision == job.revision
        };
        let ran_once = || FakeCloud::has_run(self, &job.id, job.revision.as_deref());
        self.truth(&job.id, has_run).unwrap_or_else(ran_once)
    }

    fn tally(&self) -> Tally {
        FakeCloud::tally(self)
    }

    fn writes_by(&self, scope: &Scope) -> u64 {
        FakeCloud::writes_by(self, &scope.owner)
    }

    fn take_violation(&mut self) -> Option<Broken> {
        let because = FakeCloud::take_violation(self)?;
        let invariant = "I4";
        Some(Broken { invariant, because })
    }

    fn remove_by_hand(&mut self, _scope: &Scope, id: &ResourceId) -> bool {
        FakeCloud::remove_by_hand(self, id);
        true
    }

    fn change_by_hand(&mut self, _scope: &Scope, id: &ResourceId) -> bool {
        let object = self.truth(id, |object, _| object.clone());
        let Some(mut object) = object else { return false };
        object.body["somebody"] = "was here".into();
        self.put_by_hand(id.clone(), object);
        true
    }

    fn take_name(&mut self, _scope: &Scope, id: &ResourceId) {
        let object = Object::by_hand(OwnerId::from_tag("somebody"), serde_json::json!({}));
        self.put_by_hand(id.clone(), object);
    }

    fn free_name(&mut self, _scope: &Scope, id: &ResourceId) {
        FakeCloud::remove_by_hand(self, id);
    }

    fn repeat_secrets(&mut self) {
        FakeCloud::repeat_secrets(self);
    }
}

fn difference(resource: &Resource, object: &Object, state: &ResourceState) -> Option<String> {
    if object.deleted_at.is_some() || object.retained {
        return Some("it is going".to_string());
    }
    if object.revision != resource.revision {
        return Some("it is there in another revision".to_string());
    }
    let ready = matches!(state, ResourceState::Ready | ResourceState::Completed);
    if resource.awaited && !ready {
        return Some(format!("it is {state:?}"));
    }
    if object.body.get("somebody").is_some() {
        return Some("it is as somebody left it".to_string());
    }
    let differs = resource
        .body
        .as_object()
        .into_iter()
        .flatten()
        .find(|(field, value)| object.body.get(*field) != Some(value) && is_closed(value));
    differs.map(|(field, _)| format!("its {field} is another one"))
}
