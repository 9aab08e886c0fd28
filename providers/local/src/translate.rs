//! The contract's requests in the supervisor's words, and its answers in the contract's. Pure: what is sent and read in
//! between is the caller's. `provider.rs` sends it over a socket; the simulation of the engine hands it to the supervisor's own
//! machine.

use portolan_core::mutant::Mutant;
use portolan_core::observation::{Held, Observation, ObservedResource, Ownership};
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{CallError, WriteRequest};
use portolan_supervisor::protocol::{self, ObjectState, Observed, Request};
use portolan_supervisor::spec::{Kind, NetworkSpec, Object};
use serde_json::json;

pub use crate::error::refused;
use crate::read::label;
pub use crate::read::{image, observed};
use crate::render::kind;
pub use crate::render::{LAYERS, NETWORK_NAME};
use crate::{error, protocols, read};

/// Whose words they are: a supervisor's, or the last ones of one that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    BySupervisor,
    ByFiles,
}

/// The object that a write asks for. A body is a spec without labels and kind; both come back here.
pub fn object_of(scope: &Scope, request: &WriteRequest) -> Result<Object, CallError> {
    let mut body = request.body.clone();
    let mut labels = read::labels(scope, request.generation);
    labels.extend(protocols::take(&mut body));
    let fields = body
        .as_object_mut()
        .ok_or_else(|| error::bug(format!("{} has no body", request.id)))?;
    fields.insert("kind".into(), json!(native_kind(&request.id)?));
    fields.insert("labels".into(), json!(labels));
    serde_json::from_value(body).map_err(|failure| error::bug(format!("the body of {}: {failure}", request.id)))
}

pub fn native_kind(id: &ResourceId) -> Result<Kind, CallError> {
    [Kind::Network, Kind::Volume, Kind::Job, Kind::Service]
        .into_iter()
        .find(|native| read::kind_of(*native) == id.kind)
        .ok_or_else(|| error::bug(format!("{id} is no kind of this platform")))
}

/// Whether it is unpacked into the store of the machine, and no object of a supervisor.
pub fn is_image(id: &ResourceId) -> bool {
    id.kind == kind::IMAGE
}

/// What stands under the name, unless it is somebody else's and may not be taken over.
pub fn standing(
    scope: &Scope,
    request: &WriteRequest,
    seen: &protocol::Observation,
) -> Result<Option<Observed>, CallError> {
    let found = seen.find(native_kind(&request.id)?, &request.id.name);
    let is_ours = |found: &Observed| matches!(read::observed(scope, found).ownership, Ownership::Ours { .. });
    match request.take_over || found.is_none_or(is_ours) {
        true => Ok(found.cloned()),
        false => Err(error::not_ours(&request.id)),
    }
}

/// What follows the put of an object in whose place `found` stood: the revision that has given up, put again, is how a user
/// says `retry`. Anything else is left to the put: a job that succeeded does not run twice because an answer was lost.
pub fn after_put(object: &Object, found: Option<&Observed>) -> Option<Request> {
    let has_failed = found.is_some_and(|found| has_failed(found, object));
    let name = object.name().to_string();
    match object.kind() {
        Kind::Service if has_failed => Some(Request::Retry { name }),
        Kind::Job if has_failed => Some(Request::RunJob { name }),
        _ => None,
    }
}

/// Whether the very revision that is to be put has failed, whatever its labels and its generation are.
fn has_failed(found: &Observed, object: &Object) -> bool {
    let has_failed = matches!(found.state, ObjectState::Failed(_)) && !Mutant::PutsDoNotTryAgain.is_on();
    has_failed && found.object.revision() == object.revision()
}

/// The app's network with that note, unless it bears it already or there is none of ours. A label touches no container.
pub fn with_note(scope: &Scope, held: Option<&Held>, seen: &protocol::Observation) -> Option<Object> {
    let mut spec = network_of_ours(scope, seen)?.clone();
    let before = spec.labels.clone();
    match held {
        Some(held) => drop(spec.labels.insert(label::HELD.into(), json!(held).to_string())),
        None => drop(spec.labels.remove(label::HELD)),
    }
    (spec.labels != before).then_some(Object::Network(spec))
}

fn note(scope: &Scope, seen: &protocol::Observation) -> Option<Held> {
    let text = network_of_ours(scope, seen)?.labels.get(label::HELD)?;
    // What somebody else has written there is no note.
    serde_json::from_str(text).ok()
}

fn network_of_ours<'a>(scope: &Scope, seen: &'a protocol::Observation) -> Option<&'a NetworkSpec> {
    let network = seen.find(Kind::Network, NETWORK_NAME)?;
    match (&network.object, read::observed(scope, network).ownership) {
        (Object::Network(spec), Ownership::Ours { .. }) => Some(spec),
        _ => None,
    }
}

/// All of it, but for images.
pub fn observation(scope: &Scope, seen: &protocol::Observation, said: Said) -> Observation {
    let mut observation = Observation {
        complete: true,
        held: note(scope, seen),
        ..Observation::default()
    };
    let kept = |kind, names: &[String]| -> Vec<ObservedResource> {
        names.iter().map(|name| read::retained(scope, kind, name)).collect()
    };
    let objects = seen.objects.iter().map(|object| match said {
        Said::BySupervisor => read::observed(scope, object),
        Said::ByFiles => read::left(scope, object),
    });
    let kept_volumes = kept(kind::VOLUME, &seen.kept_volumes);
    let kept_records = kept(kind::JOB, &seen.kept_job_records);
    for resource in objects.chain(kept_volumes).chain(kept_records) {
        observation.resources.entry(resource.id.clone()).or_insert(resource);
    }
    observation
}
