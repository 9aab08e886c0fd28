//! The supervisors of this machine, one an app: found, started and spoken to. The few calls in use are the client
//! crate's own; here is only which supervisor to ask.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use portolan_core::plan::Scope;
use portolan_provider_api::CallError;
use portolan_supervisor::client::Client;
use portolan_supervisor::launch::{Launch, ensure_running};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::LocalSettings;
use crate::error;

/// A connection for requests, kept open: the protocol answers them one at a time.
type Connection = Arc<Mutex<Option<Client>>>;

pub struct Supervisors {
    settings: LocalSettings,
    connections: Mutex<HashMap<String, Connection>>,
}

impl Supervisors {
    pub fn new(settings: LocalSettings) -> Self {
        Self {
            settings,
            connections: Mutex::new(HashMap::new()),
        }
    }

    /// Where this app's supervisor lives. A namespace and a name are DNS labels, so a dot between them is injective.
    pub fn launch(&self, scope: &Scope) -> Launch {
        let folder = format!("{}.{}", scope.namespace, scope.app);
        let settings = &self.settings;
        Launch {
            binary: settings.supervisor.clone(),
            runtime: settings.runtime.clone(),
            app: format!("{}/{}", scope.namespace, scope.app),
            run_dir: settings.run_dir.join(&folder),
            state_dir: settings.state_dir.join(&folder),
            data_dir: settings.data_dir.join(&folder),
        }
    }

    /// Whether there is, or was, anything of this app on the machine: a supervisor or its state.
    pub fn is_known(&self, scope: &Scope) -> bool {
        let launch = self.launch(scope);
        launch.run_dir.exists() || launch.state_dir.exists()
    }

    pub fn data_dir(&self, scope: &Scope) -> PathBuf {
        self.launch(scope).data_dir
    }

    /// The connection for requests, made if there is none; the supervisor is started if none answers.
    pub async fn connection(&self, scope: &Scope) -> Result<Held, CallError> {
        let connection = self
            .connections
            .lock()
            .await
            .entry(self.launch(scope).app)
            .or_default()
            .clone();
        let mut held = connection.lock_owned().await;
        if held.is_none() {
            *held = Some(self.connect(scope).await?);
        }
        Ok(Held(held))
    }

    /// A connection of its own, for what ends the rhythm of requests: logs and exec.
    pub async fn connect(&self, scope: &Scope) -> Result<Client, CallError> {
        ensure_running(&self.launch(scope)).await.map_err(error::launch)
    }
}

/// The one connection, until it is given back.
pub struct Held(OwnedMutexGuard<Option<Client>>);

impl Held {
    pub fn client(&mut self) -> &mut Client {
        self.0.as_mut().expect("a held connection is open until it is dropped")
    }

    /// Forgets a connection on which something went wrong: the next caller makes a new one.
    pub fn discard(mut self) {
        *self.0 = None;
    }
}
