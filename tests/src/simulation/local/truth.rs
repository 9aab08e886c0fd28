//! What there is on the machine, told to the invariants; and what befalls it.

use std::borrow::Cow;

use portolan_core::observation::{Held, Observation, ObservedResource, ResourceState};
use portolan_core::plan::Scope;
use portolan_core::resource::{Open, Resource, ResourceId, is_closed};
use portolan_provider_api::{Accepted, CallError, OpenOperation, WriteRequest};
use portolan_provider_fake::kinds::NETWORK;
use portolan_provider_fake::{Fault, Tally};
use portolan_provider_local::translate;
use portolan_supervisor::machine::world::World;
use portolan_supervisor::protocol::Observed;
use portolan_supervisor::spec::{Egress, Labels, NetworkSpec, Object, VolumeSpec};
use serde_json::Value;

use super::super::cloud::{Befallen, Cloud};
use super::super::invariants::Broken;
use super::super::scenario::Outside;
use super::machine::{ThisMachine, counted};

impl Cloud for ThisMachine {
    fn observe(
        &mut self,
        scope: &Scope,
        wanted: &[ResourceId],
        _open: &[OpenOperation],
        fault: Option<&Fault>,
    ) -> Result<Observation, CallError> {
        self.look(scope, wanted, fault)
    }

    fn write(&mut self, scope: &Scope, request: &WriteRequest, fault: Option<&Fault>) -> Result<Accepted, CallError> {
        self.change(scope, request, fault)
    }

    fn note(&mut self, scope: &Scope, held: Option<&Held>, fault: Option<&Fault>) -> Result<(), CallError> {
        self.remember(scope, held, fault)
    }

    fn noted(&self, scope: &Scope) -> Option<Held> {
        let seen = self.world(scope)?.observation();
        translate::observation(scope, &seen, translate::Said::BySupervisor).held
    }

    fn can_note(&self, scope: &Scope) -> bool {
        let network = ResourceId::new(NETWORK.name, translate::NETWORK_NAME);
        self.resource(scope, &network).is_some_and(|there| is_ours(&there))
    }

    /// One socket, and one task that owns the state.
    fn keeps_order(&self) -> bool {
        true
    }

    fn catch_up(&mut self, now: u64) {
        self.now = now;
        self.supervised.values_mut().for_each(|one| one.catch_up(now));
    }

    fn owned(&self, scope: &Scope) -> Vec<ResourceId> {
        let theirs = self.all(scope).into_iter();
        let theirs = theirs.filter(|one| is_ours(one) && one.state != ResourceState::Deleting);
        theirs.map(|one| one.id).collect()
    }

    fn ids(&self, scope: &Scope) -> Vec<ResourceId> {
        self.all(scope).into_iter().map(|one| one.id).collect()
    }

    fn orphan(&self, scope: &Scope, keeps_data: bool, desired: &dyn Fn(&ResourceId) -> bool) -> Option<ResourceId> {
        let objects = self.all(scope).into_iter();
        let objects = objects.filter(|one| is_ours(one) && one.state != ResourceState::Deleting);
        let kept = self.kept(scope).into_iter();
        let mut left = objects.chain(kept).filter(|one| !(one.holds_data && keeps_data));
        left.find(|one| !desired(&one.id)).map(|one| one.id)
    }

    fn differs(&self, scope: &Scope, resource: &Resource) -> Option<String> {
        if translate::is_image(&resource.id) {
            return (!self.unpacked.contains(&resource.id)).then(|| "it is not unpacked".to_string());
        }
        let Some(there) = self.resource(scope, &resource.id) else {
            return Some("it is not there".to_string());
        };
        let is_ready = matches!(there.state, ResourceState::Ready | ResourceState::Completed);
        if there.state == ResourceState::Deleting || !is_ours(&there) {
            return Some(format!("it is {:?} of {:?}", there.state, there.ownership));
        }
        if there.revision != resource.revision {
            return Some("it is there in another revision".to_string());
        }
        if resource.awaited && !is_ready {
            return Some(format!("it is {:?}", there.state));
        }
        (!agree(&resource.body, &there.body)).then(|| format!("{} is wanted, there is {}", resource.body, there.body))
    }

    /// Everything can be changed in place.
    fn differs_in(&self, _scope: &Scope, _resource: &Resource, _field: &str) -> bool {
        false
    }

    /// The wanted revision once all its replicas are ready, until then the one whose rollout was complete.
    fn serves(&self, scope: &Scope, id: &ResourceId) -> Option<String> {
        let seen = self.seen(scope, id)?;
        let service = self.world(scope)?.state.services.get(&id.name)?;
        if translate::observed(scope, &seen).state == ResourceState::Ready {
            return Some(service.spec.revision.clone());
        }
        let stable = service.stable?;
        let is_ready = service.pods.values().any(|pod| pod.template == stable && pod.ready);
        is_ready.then(|| service.templates[&stable].revision.clone())
    }

    fn claims(&self, scope: &Scope, id: &ResourceId) -> Vec<String> {
        let there = self.resource(scope, id);
        there.map(|there| there.claims).unwrap_or_default()
    }

    fn has_run(&self, scope: &Scope, job: &Resource) -> bool {
        let revision = job.revision.as_deref().unwrap_or_default();
        let world = self.world(scope);
        world.is_some_and(|world| world.has_recorded(&job.id.name, revision))
    }

    fn tally(&self) -> Tally {
        self.tally.clone()
    }

    fn counted<'a>(&self, scope: &Scope, id: &'a ResourceId) -> Cow<'a, ResourceId> {
        Cow::Owned(counted(scope, id))
    }

    fn writes_by(&self, scope: &Scope) -> u64 {
        self.tally.writes.get(&scope.owner).copied().unwrap_or(0)
    }

    fn take_violation(&mut self) -> Option<Broken> {
        let mut worlds = self.supervised.values_mut().map(|one| &mut one.world);
        let because = worlds.find_map(|world| world.broken.take())?;
        let invariant = "supervisor";
        Some(Broken { invariant, because })
    }

    fn steps(&self) -> u64 {
        self.supervised.values().map(|one| one.world.steps).sum()
    }

    fn remove_by_hand(&mut self, scope: &Scope, id: &ResourceId) -> bool {
        let Ok(kind) = translate::native_kind(id) else {
            return false;
        };
        let now = self.now;
        let removed = self.of(scope).ask(now, |world| world.delete(kind, &id.name, false));
        removed.is_ok()
    }

    fn change_by_hand(&mut self, scope: &Scope, id: &ResourceId) -> bool {
        let Some(object) = self.seen(scope, id).and_then(|seen| changed(seen.object)) else {
            return false;
        };
        let now = self.now;
        self.of(scope).ask(now, |world| world.put(object)).is_ok()
    }

    fn take_name(&mut self, scope: &Scope, id: &ResourceId) {
        let (name, revision, labels) = (id.name.clone(), String::new(), Labels::new());
        let object = match id.kind.as_str() {
            "Volume" => Object::Volume(VolumeSpec { name, revision, labels }),
            "Network" => Object::Network(NetworkSpec {
                name,
                revision,
                labels,
                egress: Egress::None,
                uses: Vec::new(),
            }),
            // It would need a network, which is somebody's already.
            _ => return,
        };
        let now = self.now;
        // What cannot be put there is not.
        _ = self.of(scope).ask(now, |world| world.put(object));
    }

    fn free_name(&mut self, scope: &Scope, id: &ResourceId) {
        self.remove_by_hand(scope, id);
    }

    fn befalls(&mut self, scope: &Scope, outside: Outside) -> Option<Befallen> {
        let now = self.now;
        match outside {
            Outside::SupervisorKilled { keeper, .. } => {
                self.of(scope).kill(keeper, now);
                let (explains_ms, may_fail) = (2_000, keeper);
                Some(Befallen { explains_ms, may_fail })
            }
            Outside::ContainerEnds { nth, code, .. } => {
                let (explains_ms, may_fail) = (60_000, true);
                let ended = self.of(scope).end_some(nth, code, now);
                ended.then_some(Befallen { explains_ms, may_fail })
            }
            Outside::Rebooted => {
                self.reboot(scope);
                let (explains_ms, may_fail) = (120_000, true);
                Some(Befallen { explains_ms, may_fail })
            }
            _ => None,
        }
    }
}

impl ThisMachine {
    fn world(&self, scope: &Scope) -> Option<&World> {
        Some(&self.supervised.get(&scope.owner)?.world)
    }

    /// As its supervisor would tell it, whether or not one runs.
    fn all(&self, scope: &Scope) -> Vec<ObservedResource> {
        let seen = self.world(scope).map(World::observation);
        let objects = seen.into_iter().flat_map(|seen| seen.objects);
        objects.map(|seen| translate::observed(scope, &seen)).collect()
    }

    fn kept(&self, scope: &Scope) -> Vec<ObservedResource> {
        let Some(world) = self.world(scope) else {
            return Vec::new();
        };
        let seen = translate::observation(scope, &world.observation(), translate::Said::BySupervisor);
        seen.resources.into_values().filter(|one| one.retained).collect()
    }

    fn seen(&self, scope: &Scope, id: &ResourceId) -> Option<Observed> {
        let kind = translate::native_kind(id).ok()?;
        self.world(scope)?.observation().find(kind, &id.name).cloned()
    }

    fn resource(&self, scope: &Scope, id: &ResourceId) -> Option<ObservedResource> {
        Some(translate::observed(scope, &self.seen(scope, id)?))
    }
}

fn is_ours(one: &ObservedResource) -> bool {
    matches!(one.ownership, portolan_core::observation::Ownership::Ours { .. })
}

/// Somebody was here; a volume has nothing that could be changed.
fn changed(object: Object) -> Option<Object> {
    let mark = |pod: &mut portolan_supervisor::spec::PodSpec| {
        pod.main.env.insert("SOMEBODY".into(), "was here".into());
    };
    match object {
        Object::Network(spec) => Some(Object::Network(NetworkSpec {
            egress: Egress::None,
            ..spec
        })),
        Object::Volume(_) => None,
        Object::Job(mut spec) => {
            mark(&mut spec.pod);
            Some(Object::Job(spec))
        }
        Object::Service(mut spec) => {
            mark(&mut spec.pod);
            Some(Object::Service(spec))
        }
    }
}

/// Whether what is there is what is wanted, where that is known.
fn agree(wanted: &Value, there: &Value) -> bool {
    match (wanted, there) {
        _ if Open::of(wanted).is_some() => true,
        _ if is_closed(wanted) => wanted == there,
        (Value::Object(wanted), Value::Object(there)) => {
            let same = |(key, value): (&String, &Value)| there.get(key).is_some_and(|there| agree(value, there));
            wanted.len() == there.len() && wanted.iter().all(same)
        }
        (Value::Array(wanted), Value::Array(there)) => {
            wanted.len() == there.len() && wanted.iter().zip(there).all(|(wanted, there)| agree(wanted, there))
        }
        _ => false,
    }
}
