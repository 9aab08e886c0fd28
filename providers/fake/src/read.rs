//! The platform's objects -> what core calls an observation. Pure.

use std::collections::BTreeMap;

use portolan_core::observation::{Failure, Observation, ObservedResource, Ownership, Pause, ResourceState};
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use serde_json::{Value, json};

use crate::cloud::Object;
use crate::kinds::{self, Kind};

/// Everything with the owner's tag, and what stands under the names in `wanted`, as it is at `now`.
pub fn observation(
    scope: &Scope,
    wanted: &[ResourceId],
    objects: &BTreeMap<ResourceId, Object>,
    now: u64,
) -> Observation {
    let ours = |id: &ResourceId, object: &Object| object.owner == scope.owner || wanted.contains(id);
    let shown = objects.iter().filter(|(id, object)| ours(id, object));
    Observation {
        resources: shown
            .map(|(id, object)| (id.clone(), observed(scope, id, object, now)))
            .collect(),
        complete: true,
    }
}

/// What a read that breaks off half way shows.
pub fn half_of(observation: Observation) -> Observation {
    let half = observation.resources.len() / 2;
    Observation {
        resources: observation.resources.into_iter().take(half).collect(),
        complete: false,
    }
}

fn observed(scope: &Scope, id: &ResourceId, object: &Object, now: u64) -> ObservedResource {
    ObservedResource {
        id: id.clone(),
        native_id: format!("fake/{id}"),
        body: if object.retained {
            Value::Null
        } else {
            object.body.clone()
        },
        ownership: ownership(scope, object),
        state: state(id, object, now),
        revision: object.revision.clone(),
        outputs: outputs(id, object, now),
        depends_on: depends_on(&object.body),
        claims: claims(&object.body),
        holds_data: kinds::kind(&id.kind).is_some_and(|kind| kind.holds_data),
        retained: object.retained,
        replicas: None,
    }
}

fn ownership(scope: &Scope, object: &Object) -> Ownership {
    match object.owner == scope.owner {
        true if object.source == scope.source => Ownership::Ours {
            generation: object.generation,
        },
        true => Ownership::OtherSource {
            source: object.source.clone(),
        },
        false => Ownership::Foreign,
    }
}

fn state(id: &ResourceId, object: &Object, now: u64) -> ResourceState {
    let Some(kind) = kinds::kind(&id.kind) else {
        return ResourceState::Ready;
    };
    match now.saturating_sub(object.changed_at) >= kind.ready_after_ms {
        _ if object.deleted_at.is_some() => ResourceState::Deleting,
        _ if has(&object.body, NEVER_READY) => ResourceState::progressing("still starting"),
        false => ResourceState::progressing("starting"),
        true if fails(&object.body) => ResourceState::Failed {
            failure: Failure::new("Crashed", "it ended with 1"),
        },
        true if kind.runs_to_end => ResourceState::Completed,
        true => rolled_out(kind, object, now),
    }
}

/// What has started serves, or rests on the way to serving alone.
fn rolled_out(kind: &Kind, object: &Object, now: u64) -> ResourceState {
    let rests_until = object.changed_at + kind.ready_after_ms + REST_MS;
    let paused = match () {
        () if has(&object.body, PAUSES) && !object.promoted => Pause::Promotion,
        () if has(&object.body, RESTS) && now < rests_until => Pause::Time,
        () => return ResourceState::Ready,
    };
    ResourceState::Progressing {
        message: "10% of new connections go to the new revision".to_string(),
        paused: Some(paused),
    }
}

/// A service with this variable pauses once it has started, until it is promoted.
pub const PAUSES: &str = "FAKE_PAUSES";

/// One with this variable pauses for [`REST_MS`].
pub const RESTS: &str = "FAKE_RESTS";

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

pub fn has_failed(object: &Object) -> bool {
    fails(&object.body)
}

fn outputs(id: &ResourceId, object: &Object, now: u64) -> BTreeMap<String, Value> {
    let output = |name: &str, value| BTreeMap::from([(name.to_string(), value)]);
    match (id.kind.as_str(), state(id, object, now)) {
        ("Volume", _) => output("path", json!(format!("/volumes/{}", id.name))),
        ("Job", ResourceState::Completed) => output("exitCode", json!(0)),
        ("Job", ResourceState::Failed { .. }) => output("exitCode", json!(1)),
        _ => BTreeMap::new(),
    }
}

/// What the platform itself knows to be in use by the object.
pub fn depends_on(body: &Value) -> Vec<ResourceId> {
    let names = body.get("uses").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(|name| name.as_str()?.parse().ok()).collect()
}

fn claims(body: &Value) -> Vec<String> {
    let ports = body.get("publishes").and_then(Value::as_array).into_iter().flatten();
    ports.map(|port| format!("port/{port}")).collect()
}
