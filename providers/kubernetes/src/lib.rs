//! Any Kubernetes cluster as a target.
//!
//! The platform is an API server and the controllers behind it. A service becomes a Deployment or a StatefulSet with
//! what belongs to it, a job a Job, a volume a claim; which of them are an app's is told by one label, and every one is
//! written by server-side apply as one field manager, so that what others write beside it stays theirs.
//!
//! It refuses to know how pods are run (kubelets do), and what is in a secret: a variable is taken from it by name and key,
//! where the pod runs. Nothing waits or tries again here; the engine does. Read `render.rs` first, then `provider.rs`.

mod cache;
mod capabilities;
mod client;
mod diff;
mod error;
mod exec;
mod explain;
mod forward;
mod import;
mod kinds;
mod logs;
mod names;
mod preflight;
mod provider;
mod quantity;
mod read;
mod render;
mod replicas;
mod rerun;
mod rollout;
mod scale;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

use portolan_core::manifest::{GatewayReference, GpuAccess, KubernetesTarget, SecretStore};
use portolan_provider_api::{CallError, Provider, Shape};

use cache::CachedCluster;
pub use cache::{Reach, Subject};
use client::{Address, Cluster, KubeCluster};
pub use import::{Imported, import};
use render::KubernetesShape;

/// What the Target says.
#[derive(Clone, Debug, Default)]
pub struct KubernetesSettings {
    /// Of the kubeconfig; its current one if none is named.
    pub context: Option<String>,
    /// The KubeNamespace of all apps; each app's own if none is named.
    pub namespace: Option<String>,
    /// A file; else `KUBECONFIG`, the user's own, or the account of the pod that this runs in.
    pub kubeconfig: Option<PathBuf>,
    pub choices: Choices,
}

/// What an app becomes where a cluster leaves a choice.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// Domains are attached to it; an Ingress takes them if none is named.
    pub gateway: Option<GatewayReference>,
    /// The cluster's default one if none is named.
    pub ingress_class: Option<String>,
    /// A ClusterIssuer of cert-manager.
    pub cluster_issuer: Option<String>,
    /// Where secrets come from; they have to be there if none is named.
    pub secret_store: Option<SecretStore>,
    /// Or by whose volume pods come to them.
    pub secret_class: Option<String>,
    pub gpus: GpuAccess,
}

impl KubernetesSettings {
    /// As a Target says them, with the file `kubeconfig` where its folder is known.
    pub fn of(target: KubernetesTarget, kubeconfig: Option<PathBuf>) -> Self {
        Self {
            context: target.context,
            namespace: target.namespace,
            kubeconfig,
            choices: Choices {
                gateway: target.gateway,
                ingress_class: target.ingress_class,
                cluster_issuer: target.cluster_issuer,
                secret_store: target.secret_store,
                secret_class: target.secret_provider_class,
                gpus: target.gpus,
            },
        }
    }
}

/// The pure half alone: enough to render, to compare and to report what a cluster can do.
pub fn shape(settings: &KubernetesSettings) -> Arc<dyn Shape> {
    Arc::new(shape_of(settings))
}

/// The provider for one Target with `provider: kubernetes`. The cluster is connected to when it is first asked.
pub fn kubernetes(settings: KubernetesSettings) -> Provider {
    let shape = shape_of(&settings);
    let address = Address {
        context: settings.context,
        kubeconfig: settings.kubeconfig,
    };
    plain(KubeCluster::at(address), shape)
}

/// How its client is set up: to be built with something in between, which [`with_client`] then takes.
pub async fn client_config(settings: &KubernetesSettings) -> Result<kube::Config, CallError> {
    client::config(&Address {
        context: settings.context.clone(),
        kubeconfig: settings.kubeconfig.clone(),
    })
    .await
}

/// Over a client that there is already: one that somebody listens to, say.
pub fn with_client(client: kube::Client, settings: &KubernetesSettings) -> Provider {
    plain(KubeCluster::of(client), shape_of(settings))
}

/// A cluster that is watched, for whoever keeps many apps there: their looks are answered from what is held of it here. It is
/// watched from the first look on, and until this and all its providers are dropped.
pub struct WatchedCluster {
    plain: Arc<KubeCluster>,
    cached: Arc<CachedCluster>,
}

impl WatchedCluster {
    /// Over a client that there is already. Whose objects change is told, from their first look on.
    pub fn new(client: kube::Client, reach: Reach, tell: impl Fn(Subject) + Send + Sync + 'static) -> Self {
        Self::of(KubeCluster::of(client), reach, tell)
    }

    /// Of a kubeconfig's context.
    pub fn at(settings: &KubernetesSettings, reach: Reach, tell: impl Fn(Subject) + Send + Sync + 'static) -> Self {
        let address = Address {
            context: settings.context.clone(),
            kubeconfig: settings.kubeconfig.clone(),
        };
        Self::of(KubeCluster::at(address), reach, tell)
    }

    fn of(plain: KubeCluster, reach: Reach, tell: impl Fn(Subject) + Send + Sync + 'static) -> Self {
        let plain = Arc::new(plain);
        Self {
            cached: Arc::new(CachedCluster::new(plain.clone(), reach, Arc::new(tell))),
            plain,
        }
    }

    /// For a Target that leads there.
    pub fn provider(&self, settings: &KubernetesSettings) -> Provider {
        let shape = KubernetesShape {
            is_watched: true,
            ..shape_of(settings)
        };
        provider(self.plain.clone(), self.cached.clone(), shape)
    }
}

fn shape_of(settings: &KubernetesSettings) -> KubernetesShape {
    KubernetesShape {
        kube_namespace: settings.namespace.clone(),
        choices: settings.choices.clone(),
        is_watched: false,
    }
}

fn plain(cluster: KubeCluster, shape: KubernetesShape) -> Provider {
    let cluster = Arc::new(cluster);
    provider(cluster.clone(), cluster, shape)
}

fn provider(cluster: Arc<KubeCluster>, looked_at: Arc<dyn Cluster>, shape: KubernetesShape) -> Provider {
    let shape = Arc::new(shape);
    let calls = Arc::new(provider::KubernetesCalls::new(looked_at, shape.clone()));
    Provider {
        shape: shape.clone(),
        calls: calls.clone(),
        logs: Some(Arc::new(logs::KubernetesLogs::new(cluster.clone(), shape.clone()))),
        stats: None,
        exec: Some(Arc::new(exec::KubernetesExec::new(cluster.clone(), shape.clone()))),
        port_forward: Some(Arc::new(forward::KubernetesPortForward::new(
            cluster.clone(),
            shape.clone(),
        ))),
        run_job: Some(Arc::new(rerun::KubernetesRunJob::new(cluster, shape))),
        promote: Some(calls),
    }
}
