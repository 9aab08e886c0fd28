//! The calls: each one request to the app's supervisor, or one question to the image store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use portolan_core::observation::{Observation, Ownership};
use portolan_core::plan::Scope;
use portolan_core::reference::Digest;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{Accepted, CallError, Calls, Images, OpenOperation, WriteRequest};
use portolan_supervisor::client::Client;
use portolan_supervisor::error::ClientError;
use portolan_supervisor::protocol::{ObjectState, Observed};
use portolan_supervisor::spec::{Kind, Object};
use serde_json::json;

use crate::client::{Found, Supervisors};
use crate::render::kind;
use crate::{error, preflight, protocols, read};

pub struct LocalCalls {
    platform: Arc<Supervisors>,
    images: Arc<dyn Images>,
}

impl LocalCalls {
    pub fn new(platform: Arc<Supervisors>, images: Arc<dyn Images>) -> Self {
        Self { platform, images }
    }

    async fn put(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        if request.id.kind == kind::IMAGE {
            return self.unpack(&request.id).await;
        }
        let object = object_of(scope, request)?;
        let mut held = self.platform.connection(scope).await?;
        let found = found(&mut held.client, scope, request).await?;
        put_or_retry(&mut held.client, object, found)
            .await
            .map_err(error::client)?;
        held.give_back();
        Ok(Accepted::done())
    }

    async fn unpack(&self, id: &ResourceId) -> Result<Accepted, CallError> {
        let layers = self.images.unpack(&digest_of(id)?).await.map_err(error::image)?;
        Ok(Accepted::Done {
            outputs: BTreeMap::from([(crate::render::LAYERS.to_string(), json!(layers))]),
        })
    }
}

#[async_trait]
impl Calls for LocalCalls {
    /// The machine: its id, so that a state folder carried to another machine is not taken for this one's.
    async fn realm(&self) -> Result<String, CallError> {
        let id = [
            "/etc/machine-id",
            "/var/lib/dbus/machine-id",
            "/proc/sys/kernel/hostname",
        ]
        .iter()
        .find_map(|path| {
            std::fs::read_to_string(path)
                .ok()
                .filter(|text| !text.trim().is_empty())
        });
        Ok(id.map_or_else(|| "localhost".to_string(), |text| text.trim().to_string()))
    }

    /// A supervisor takes as long to start as a plan to be made and the journal to be written.
    fn expect_writes(&self, namespace: &str, app: &str) {
        // Why one cannot be started is told by the first call that needs it.
        _ = self.platform.begin(namespace, app);
    }

    async fn preflight(&self, scope: &Scope, writes: &[WriteRequest]) -> Result<Vec<CallError>, CallError> {
        let held = match self.platform.look(scope).await? {
            Found::Running(seen) => preflight::held_ports(&seen),
            Found::Left(left) if self.platform.has_keeper(scope)? => preflight::held_ports(&left),
            // Nobody holds a port for an app of which both are gone.
            Found::Left(_) => BTreeSet::new(),
        };
        let mut faults = preflight::missing_secrets(writes);
        faults.extend(preflight::taken_ports(writes, &held));
        Ok(faults)
    }

    async fn observe(
        &self,
        scope: &Scope,
        wanted: &[ResourceId],
        _open: &[OpenOperation],
    ) -> Result<Observation, CallError> {
        let (seen, read): (_, fn(&Scope, &_) -> _) = match self.platform.look(scope).await? {
            Found::Running(seen) => (seen, read::observed),
            Found::Left(seen) => (seen, read::left),
        };
        let mut observation = Observation {
            complete: true,
            ..Observation::default()
        };
        let mut add = |resource: portolan_core::observation::ObservedResource| {
            observation.resources.entry(resource.id.clone()).or_insert(resource);
        };
        seen.objects.iter().for_each(|object| add(read(scope, object)));
        seen.kept_volumes
            .iter()
            .for_each(|name| add(read::retained(scope, kind::VOLUME, name)));
        seen.kept_job_records
            .iter()
            .for_each(|name| add(read::retained(scope, kind::JOB, name)));
        for id in wanted.iter().filter(|id| id.kind == kind::IMAGE) {
            // An image that is not pinned yet is named by its reference, and is nowhere.
            let Ok(digest) = Digest::parse(&id.name) else { continue };
            if self.images.is_unpacked(&digest).await.map_err(error::image)? {
                let layers = self.images.unpack(&digest).await.map_err(error::image)?;
                add(read::image(&id.name, layers));
            }
        }
        Ok(observation)
    }

    async fn create(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        self.put(scope, request).await
    }

    async fn update(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        self.put(scope, request).await
    }

    async fn delete(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        let kind = native_kind(&request.id)?;
        let mut held = self.platform.connection(scope).await?;
        found(&mut held.client, scope, request).await?;
        let deleted = held.client.delete(kind, &request.id.name, request.erase_data).await;
        deleted.map_err(error::client)?;
        held.give_back();
        Ok(Accepted::done())
    }
}

/// What stands under the name, unless it is somebody else's and may not be taken over.
async fn found(client: &mut Client, scope: &Scope, request: &WriteRequest) -> Result<Option<Observed>, CallError> {
    let kind = native_kind(&request.id)?;
    let seen = client.observe().await.map_err(error::client)?;
    let found = seen.find(kind, &request.id.name).cloned();
    let is_ours = |found: &Observed| matches!(read::observed(scope, found).ownership, Ownership::Ours { .. });
    match request.take_over || found.as_ref().is_none_or(is_ours) {
        true => Ok(found),
        false => Err(error::not_ours(&request.id)),
    }
}

/// The revision that has given up, put again, is how a user says `retry`. Anything else is left to the put: a job that
/// succeeded does not run twice because an answer was lost.
async fn put_or_retry(client: &mut Client, object: Object, found: Option<Observed>) -> Result<(), ClientError> {
    let (kind, name) = (object.kind(), object.name().to_string());
    // As it was before the put: a new revision may fail while it is answered, and that is no failure to try again.
    let failed = found.is_some_and(|found| has_failed(&found, &object));
    client.put(object).await?;
    match kind {
        Kind::Service if failed => client.retry(&name).await,
        Kind::Job if failed => client.run_job(&name).await,
        _ => Ok(()),
    }
}

/// Whether the very revision that is to be put has failed, whatever its labels and its generation are.
fn has_failed(found: &Observed, object: &Object) -> bool {
    matches!(found.state, ObjectState::Failed(_)) && found.object.revision() == object.revision()
}

fn native_kind(id: &ResourceId) -> Result<Kind, CallError> {
    [Kind::Network, Kind::Volume, Kind::Job, Kind::Service]
        .into_iter()
        .find(|native| read::kind_of(*native) == id.kind)
        .ok_or_else(|| error::bug(format!("{id} is no kind of this platform")))
}

/// A body is a spec without labels and kind; both come back here.
fn object_of(scope: &Scope, request: &WriteRequest) -> Result<Object, CallError> {
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

fn digest_of(id: &ResourceId) -> Result<Digest, CallError> {
    Digest::parse(&id.name).map_err(|_| error::bug(format!("{id} is not named by a digest")))
}
