//! The calls: each one request to the app's supervisor, or one question to the image store.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use portolan_core::observation::Observation;
use portolan_core::plan::{Scope, Verb};
use portolan_core::reference::Digest;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{Accepted, CallError, Calls, Images, OpenOperation, WriteRequest};
use portolan_supervisor::client::Client;
use portolan_supervisor::error::ClientError;
use portolan_supervisor::protocol::{ObjectState, Observation as SupervisorObservation, PutOutcome};
use portolan_supervisor::secrets;
use portolan_supervisor::spec::{Kind, Labels, Object, SecretRef};
use serde_json::{Value, json};

use crate::client::Supervisors;
use crate::render::kind;
use crate::{error, read};

pub struct LocalCalls {
    platform: Arc<Supervisors>,
    images: Arc<dyn Images>,
}

impl LocalCalls {
    pub fn new(platform: Arc<Supervisors>, images: Arc<dyn Images>) -> Self {
        Self { platform, images }
    }

    /// What the supervisor shows, or what is left on disk where none runs: nothing is started only to be asked.
    async fn objects(&self, scope: &Scope) -> Result<SupervisorObservation, CallError> {
        if !self.platform.is_known(scope) {
            return Ok(kept_on_disk(&self.platform.data_dir(scope)));
        }
        let mut held = self.platform.connection(scope).await?;
        match held.client().observe().await {
            Ok(observation) => Ok(observation),
            Err(failure) => {
                held.discard();
                Err(error::client(failure))
            }
        }
    }

    async fn put(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        if request.id.kind == kind::IMAGE {
            return self.unpack(&request.id).await;
        }
        let object = object_of(scope, request)?;
        let mut held = self.platform.connection(scope).await?;
        match put_or_retry(held.client(), object).await {
            Ok(()) => Ok(Accepted::done()),
            Err(failure) => {
                held.discard();
                Err(error::client(failure))
            }
        }
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

    async fn preflight(&self, _scope: &Scope, writes: &[WriteRequest]) -> Result<Vec<CallError>, CallError> {
        let mut faults = Vec::new();
        faults.extend(missing_secrets(writes));
        // A port that a delete of the same plan gives back is still taken now: the supervisor will tell.
        if !writes.iter().any(|write| write.verb == Verb::Delete) {
            faults.extend(
                writes
                    .iter()
                    .filter(|write| write.verb == Verb::Create)
                    .flat_map(taken_ports),
            );
        }
        Ok(faults)
    }

    async fn observe(
        &self,
        scope: &Scope,
        wanted: &[ResourceId],
        _open: &[OpenOperation],
    ) -> Result<Observation, CallError> {
        let seen = self.objects(scope).await?;
        let mut observation = Observation {
            complete: true,
            ..Observation::default()
        };
        let mut add = |resource: portolan_core::observation::ObservedResource| {
            observation.resources.entry(resource.id.clone()).or_insert(resource);
        };
        seen.objects
            .iter()
            .for_each(|object| add(read::observed(scope, object)));
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
        match held.client().delete(kind, &request.id.name, request.erase_data).await {
            Ok(_) => Ok(Accepted::done()),
            Err(failure) => {
                held.discard();
                Err(error::client(failure))
            }
        }
    }
}

/// The same spec again, of what has given up, is how a user says `retry`. Anything else that is unchanged is left as it
/// is: a job that succeeded does not run twice because an answer was lost.
async fn put_or_retry(client: &mut Client, object: Object) -> Result<(), ClientError> {
    let (kind, name) = (object.kind(), object.name().to_string());
    if client.put(object).await? != PutOutcome::Unchanged {
        return Ok(());
    }
    let observation = client.observe().await?;
    let failed = observation
        .find(kind, &name)
        .is_some_and(|seen| matches!(seen.state, ObjectState::Failed(_)));
    match kind {
        Kind::Service if failed => client.retry(&name).await,
        Kind::Job if failed => client.run_job(&name).await,
        _ => Ok(()),
    }
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
    let fields = body
        .as_object_mut()
        .ok_or_else(|| error::bug(format!("{} has no body", request.id)))?;
    let labels: Labels = read::labels(scope, request.generation);
    fields.insert("kind".into(), json!(native_kind(&request.id)?));
    fields.insert("labels".into(), json!(labels));
    serde_json::from_value(body).map_err(|failure| error::bug(format!("the body of {}: {failure}", request.id)))
}

fn digest_of(id: &ResourceId) -> Result<Digest, CallError> {
    Digest::parse(&id.name).map_err(|_| error::bug(format!("{id} is not named by a digest")))
}

/// Volumes of an app that was deleted, found without a supervisor.
fn kept_on_disk(data_dir: &Path) -> SupervisorObservation {
    let kept = portolan_supervisor::data::kept(data_dir);
    SupervisorObservation {
        objects: Vec::new(),
        kept_volumes: kept.volumes,
        kept_job_records: kept.job_records,
    }
}

/// Every secret that no env file holds.
fn missing_secrets(writes: &[WriteRequest]) -> Vec<CallError> {
    let mut faults = Vec::new();
    for write in writes.iter().filter(|write| write.verb != Verb::Delete) {
        let secrets = secrets_in(&write.body);
        let missing = secrets::missing(secrets.iter().map(|(variable, secret)| (variable, secret)));
        faults.extend(
            missing
                .into_iter()
                .map(|fault| error::secret_missing(&write.id, &fault)),
        );
    }
    faults
}

fn secrets_in(body: &Value) -> Vec<(String, SecretRef)> {
    let Some(pod) = body.get("pod") else { return Vec::new() };
    let lists = ["sidecars", "init"]
        .into_iter()
        .filter_map(|key| pod.get(key)?.as_array())
        .flatten();
    let containers = pod.get("main").into_iter().chain(lists);
    let entries = containers
        .filter_map(|container| container.get("secret_env")?.as_object())
        .flatten();
    entries
        .filter_map(|(name, secret)| Some((name.clone(), serde_json::from_value(secret.clone()).ok()?)))
        .collect()
}

/// Every port of a new service that someone on this host holds already.
fn taken_ports(write: &WriteRequest) -> Vec<CallError> {
    let ports = write.body.get("ports").and_then(Value::as_array).into_iter().flatten();
    let published = ports
        .filter_map(|port| port.get("publish"))
        .filter(|publish| !publish.is_null());
    published
        .filter_map(|publish| {
            let address = publish.get("address")?.as_str()?;
            let port = publish.get("port")?.as_u64()?;
            let failure = TcpListener::bind(format!("{address}:{port}")).err()?;
            Some(error::port_taken(&write.id, address, port, &failure))
        })
        .collect()
}
