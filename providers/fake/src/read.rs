//! The platform's objects -> what core calls an observation. Pure, but for the order and case of what means the same.

use std::collections::BTreeMap;

use portolan_core::mutant::Mutant;
use portolan_core::observation::{Observation, ObservedResource, Ownership, Pause, ResourceState};
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use serde_json::{Value, json};

use crate::object::{Object, STEPS};
use crate::rules::KindRules;

/// What a read that breaks off half way shows.
pub fn half_of(observation: Observation) -> Observation {
    let half = observation.resources.len() / 2;
    Observation {
        resources: observation.resources.into_iter().take(half).collect(),
        complete: false,
        ..observation
    }
}

/// One object as it is at `now`.
pub fn observed(scope: &Scope, rules: &KindRules, id: &ResourceId, object: &Object, now: u64) -> ObservedResource {
    let state = object.state(&rules.kind, now);
    ObservedResource {
        id: id.clone(),
        native_id: format!("fake/{id}"),
        etag: rules.etag.then(|| object.etag.to_string()),
        body: body(object, &state),
        ownership: ownership(scope, object),
        revision: object.revision.clone(),
        outputs: outputs(id, rules, object, &state, now),
        state,
        depends_on: object.uses.clone(),
        claims: claims(&object.body),
        holds_data: rules.kind.holds_data,
        retained: object.retained,
        replicas: None,
    }
}

/// Of a rollout that waits for its next write it says so.
fn body(object: &Object, state: &ResourceState) -> Value {
    let mut body = if object.retained {
        Value::Null
    } else {
        object.body.clone()
    };
    if let ResourceState::Progressing {
        paused: Some(Pause::Over),
        ..
    } = state
    {
        body["step"] = json!(object.steps.min(STEPS));
    }
    body
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

fn outputs(
    id: &ResourceId,
    rules: &KindRules,
    object: &Object,
    state: &ResourceState,
    now: u64,
) -> BTreeMap<String, Value> {
    let output = |name: &str, value| BTreeMap::from([(name.to_string(), value)]);
    match (id.kind.as_str(), state) {
        _ if now < object.made_at + rules.outputs_late_ms => BTreeMap::new(),
        ("Volume", _) => output("path", json!(format!("/volumes/{}", id.name))),
        ("Balancer", _) => output("address", json!(format!("{}.balancers.example", id.name))),
        ("Job", ResourceState::Completed) => output("exitCode", json!(0)),
        ("Job", ResourceState::Failed { .. }) => output("exitCode", json!(1)),
        _ => BTreeMap::new(),
    }
}

fn claims(body: &Value) -> Vec<String> {
    let ports = body.get("publishes").and_then(Value::as_array).into_iter().flatten();
    ports.map(|port| format!("port/{port}")).collect()
}

/// As the platform answers: defaults filled in, lists turned by `chance`, text in capitals.
pub fn mess_up(body: &mut Value, rules: &KindRules, chance: u64) {
    let Some(fields) = body.as_object_mut() else { return };
    for (field, value) in &rules.defaults {
        if !fields.contains_key(*field) {
            fields.insert((*field).to_string(), value.clone());
        }
    }
    for field in &rules.reordered {
        turn(fields.get_mut(*field), chance);
    }
    for field in &rules.recased {
        if let Some(Value::String(text)) = fields.get_mut(*field) {
            text.make_ascii_uppercase();
        }
    }
}

/// Every list of the body in another order.
pub fn turn_all(body: &mut Value, rules: &KindRules, chance: u64) {
    for field in &rules.reordered {
        turn(body.get_mut(*field), chance);
    }
}

fn turn(list: Option<&mut Value>, chance: u64) {
    if let Some(Value::Array(items)) = list
        && items.len() > 1
    {
        let by = usize::try_from(chance % items.len() as u64).expect("it is less than a length");
        items.rotate_left(by);
    }
}

/// What the provider makes of that: what means the same reads the same.
pub fn normalise(body: &mut Value, rules: &KindRules) {
    for field in &rules.reordered {
        if let Some(Value::Array(items)) = body.get_mut(*field)
            && !Mutant::OrderIsDrift.is_on()
        {
            items.sort_by_cached_key(ToString::to_string);
        }
    }
    for field in &rules.recased {
        if let Some(Value::String(text)) = body.get_mut(*field)
            && !Mutant::CaseIsDrift.is_on()
        {
            text.make_ascii_lowercase();
        }
    }
}
