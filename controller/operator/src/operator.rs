//! The operator: what a process is given to be one, and where it begins.

use std::path::PathBuf;
use std::sync::Arc;

use kube::Api;
use portolan_core::diagnostic::Diagnostic;
use portolan_core::manifest::Target;
use portolan_engine::controller::Board;
use portolan_provider_api::{Images, Provider};
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::election::Side;
use crate::error::OperatorError;
use crate::leases::Leases;
use crate::memory::Memory;
use crate::replica::Replica;
use crate::shard::Shards;

/// The name of an installation for all namespaces; one for a single namespace adds its name. Its Leases begin with it.
const INSTALLATION: &str = "portolan-controller";

/// Who knows the way to a Target.
pub trait Harbours: Send + Sync {
    /// # Errors
    /// Why there is none, in the words of the command line.
    fn provider(&self, target: &Target) -> Result<Provider, Box<Diagnostic>>;
}

pub struct Settings {
    /// Of the engine's own loop.
    pub controller: portolan_engine::controller::Settings,
    /// Where Apps are looked for; everywhere if none is named.
    pub namespace: Option<String>,
    /// The folder of everything that stays from one process to the next.
    pub state: PathBuf,
}

pub struct Operator {
    pub cluster: Cluster,
    pub settings: Settings,
    pub harbours: Arc<dyn Harbours>,
    pub images: Arc<dyn Images>,
    pub board: Arc<Board>,
    /// Told of what changes by the ways to Targets that watch them.
    pub shards: Arc<Shards>,
}

impl Operator {
    /// Until `stop` is true. What runs goes on; whoever comes next takes it up.
    ///
    /// # Errors
    /// A Lease was lost or cannot be asked for, or the state cannot be kept.
    pub async fn run(self, stop: watch::Receiver<bool>) -> Result<(), OperatorError> {
        let scope = self.settings.namespace.as_deref().unwrap_or("*");
        let memory = Memory::open(&self.settings.state, self.cluster.url(), scope)?;
        let leases = self.leases(memory.identity());
        Replica::new(self, memory, leases).run(stop).await
    }

    fn leases(&self, identity: &str) -> Leases {
        let (home, name, installation) = match &self.settings.namespace {
            None => (self.cluster.home(), INSTALLATION.to_string(), "cluster"),
            Some(namespace) => (namespace.as_str(), format!("{INSTALLATION}-{namespace}"), "namespaced"),
        };
        let side = Side {
            api: Api::namespaced(self.cluster.client(), home),
            identity: identity.to_string(),
            installation,
        };
        Leases::new(side, name, self.shards.count())
    }
}
