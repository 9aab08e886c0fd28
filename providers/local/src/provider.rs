//! The calls: each one request to the app's supervisor, or one question to the image store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use portolan_core::observation::{Held, Observation};
use portolan_core::plan::Scope;
use portolan_core::reference::Digest;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{Accepted, CallError, Calls, Images, OpenOperation, WriteRequest};
use portolan_supervisor::client::Client;
use portolan_supervisor::error::ClientError;
use portolan_supervisor::protocol::{Observed, Request};
use portolan_supervisor::spec::Object;
use serde_json::json;

use crate::client::{Found, Supervisors};
use crate::translate::Said;
use crate::{error, preflight, translate};

pub struct LocalCalls {
    platform: Arc<Supervisors>,
    images: Arc<dyn Images>,
}

impl LocalCalls {
    pub fn new(platform: Arc<Supervisors>, images: Arc<dyn Images>) -> Self {
        Self { platform, images }
    }

    async fn put(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        if translate::is_image(&request.id) {
            return self.unpack(&request.id).await;
        }
        let object = translate::object_of(scope, request)?;
        let mut held = self.platform.connection(scope).await?;
        let found = found(&mut held.client, scope, request).await?;
        put_and_retry(&mut held.client, object, found)
            .await
            .map_err(error::client)?;
        held.give_back();
        Ok(Accepted::done())
    }

    async fn unpack(&self, id: &ResourceId) -> Result<Accepted, CallError> {
        let layers = self.images.unpack(&digest_of(id)?).await.map_err(error::image)?;
        Ok(Accepted::Done {
            outputs: BTreeMap::from([(translate::LAYERS.to_string(), json!(layers))]),
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
        let (seen, said) = match self.platform.look(scope).await? {
            Found::Running(seen) => (seen, Said::BySupervisor),
            Found::Left(seen) => (seen, Said::ByFiles),
        };
        let mut observation = translate::observation(scope, &seen, said);
        for id in wanted.iter().filter(|id| translate::is_image(id)) {
            // An image that is not pinned yet is named by its reference, and is nowhere.
            let Ok(digest) = Digest::parse(&id.name) else { continue };
            if self.images.is_unpacked(&digest).await.map_err(error::image)? {
                let layers = self.images.unpack(&digest).await.map_err(error::image)?;
                observation
                    .resources
                    .insert(id.clone(), translate::image(&id.name, layers));
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
        let kind = translate::native_kind(&request.id)?;
        let mut held = self.platform.connection(scope).await?;
        found(&mut held.client, scope, request).await?;
        let deleted = held.client.delete(kind, &request.id.name, request.erase_data).await;
        deleted.map_err(error::client)?;
        held.give_back();
        Ok(Accepted::done())
    }

    async fn note(&self, scope: &Scope, held: Option<&Held>) -> Result<(), CallError> {
        let (Found::Running(seen) | Found::Left(seen)) = self.platform.look(scope).await?;
        // Nobody is started for an app of which there is nothing.
        let Some(object) = translate::with_note(scope, held, &seen) else {
            return Ok(());
        };
        let mut connection = self.platform.connection(scope).await?;
        connection.client.put(object).await.map_err(error::client)?;
        connection.give_back();
        Ok(())
    }
}

/// What stands under the name, unless it is somebody else's and may not be taken over.
async fn found(client: &mut Client, scope: &Scope, request: &WriteRequest) -> Result<Option<Observed>, CallError> {
    let seen = client.observe().await.map_err(error::client)?;
    translate::standing(scope, request, &seen)
}

async fn put_and_retry(client: &mut Client, object: Object, found: Option<Observed>) -> Result<(), ClientError> {
    // As it was before the put: a new revision may fail while it is answered, and that is no failure to try again.
    let follows = translate::after_put(&object, found.as_ref());
    client.put(object).await?;
    match follows {
        Some(Request::Retry { name }) => client.retry(&name).await,
        Some(Request::RunJob { name }) => client.run_job(&name).await,
        _ => Ok(()),
    }
}

fn digest_of(id: &ResourceId) -> Result<Digest, CallError> {
    Digest::parse(&id.name).map_err(|_| error::bug(format!("{id} is not named by a digest")))
}
