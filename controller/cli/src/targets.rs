//! From a Target to its provider: the one place that names every provider.

use std::sync::Arc;

use portolan_core::diagnostic::Diagnostic;
use portolan_core::manifest::Target;
use portolan_provider_api::{Images, Provider, Shape};

use crate::failure::Failure;
use crate::folders::Folders;
use crate::manifests::Deployment;

/// The pure half of the provider of a deployment's Target.
pub fn shape(deployment: &Deployment) -> Result<Arc<dyn Shape>, Failure> {
    match deployment.target.spec.provider.as_str() {
        #[cfg(feature = "local")]
        "local" => local::shape(deployment),
        #[cfg(feature = "kubernetes")]
        "kubernetes" => Ok(kubernetes::shape(deployment)),
        #[cfg(feature = "ecs")]
        "ecs" => Ok(ecs::shape(deployment)),
        other => Err(unknown(&deployment.target, other)),
    }
}

/// The whole provider of a deployment's Target.
pub fn provider(deployment: &Deployment, folders: &Folders, images: Arc<dyn Images>) -> Result<Provider, Failure> {
    match deployment.target.spec.provider.as_str() {
        #[cfg(feature = "local")]
        "local" => local::provider(deployment, folders, images),
        #[cfg(feature = "kubernetes")]
        "kubernetes" => Ok(kubernetes::provider(deployment)),
        #[cfg(feature = "ecs")]
        "ecs" => Ok(ecs::provider(deployment)),
        other => Err(unknown(&deployment.target, other)),
    }
}

#[cfg(feature = "local")]
mod local {
    use std::net::Ipv4Addr;
    use std::path::PathBuf;
    use std::sync::Arc;

    use portolan_core::manifest::LocalTarget;
    use portolan_provider_api::{Images, Provider, Shape};
    use portolan_provider_local::{LocalSettings, TargetSettings};

    use crate::failure::Failure;
    use crate::folders::{Folders, runtime, supervisor};
    use crate::manifests::Deployment;
    use crate::unprivileged::refuse_unless_entered;

    pub fn shape(deployment: &Deployment) -> Result<Arc<dyn Shape>, Failure> {
        Ok(portolan_provider_local::shape(target_settings(deployment)?))
    }

    pub fn provider(deployment: &Deployment, folders: &Folders, images: Arc<dyn Images>) -> Result<Provider, Failure> {
        refuse_unless_entered()?;
        let settings = LocalSettings {
            supervisor: supervisor()?,
            runtime: runtime()?,
            run_dir: folders.run.join("apps"),
            state_dir: folders.state.join("apps"),
            data_dir: folders.data.join("apps"),
            target: target_settings(deployment)?,
        };
        Ok(portolan_provider_local::local(settings, images))
    }

    fn target_settings(deployment: &Deployment) -> Result<TargetSettings, Failure> {
        let local = deployment.target.spec.local.clone().unwrap_or_default();
        Ok(TargetSettings {
            publish_address: publish_address(&local)?,
            egress: local.egress,
            secret_files: secret_files(deployment)?,
        })
    }

    fn publish_address(settings: &LocalTarget) -> Result<Ipv4Addr, Failure> {
        settings.publish_address.parse().map_err(|_| {
            Failure::new(
                "AddressUnsupported",
                format!("`{}` is no IPv4 address", settings.publish_address),
            )
            .hint("ports are published on IPv4 alone: 127.0.0.1 or 0.0.0.0")
        })
    }

    /// Absolute, because they are read later and from another folder.
    fn secret_files(deployment: &Deployment) -> Result<Vec<PathBuf>, Failure> {
        let files = deployment.target.spec.secrets.files.iter();
        let paths = files.map(|file| deployment.target_folder.join(file));
        paths
            .map(|path| {
                std::path::absolute(&path).map_err(|error| {
                    Failure::new("SecretFileUnreadable", format!("cannot find {}", path.display()))
                        .because(error.to_string())
                })
            })
            .collect()
    }
}

#[cfg(feature = "kubernetes")]
pub use kubernetes::OfCluster;

#[cfg(feature = "kubernetes")]
mod kubernetes {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex, PoisonError};

    use portolan_core::diagnostic::Diagnostic;
    use portolan_core::manifest::{KUBERNETES_PROVIDER, Target};
    use portolan_engine::journal::AppKey;
    use portolan_operator::{Cluster, Harbours, Shards};
    use portolan_provider_api::{Provider, Shape};
    use portolan_provider_kubernetes::{KubernetesSettings, Reach, Subject, WatchedCluster};

    use crate::manifests::Deployment;

    /// The ways to Targets that are objects of a cluster: a Target that names no context means that very cluster. All Targets
    /// that lead to one cluster share its watches.
    pub struct OfCluster {
        cluster: Cluster,
        /// Of that cluster; of another one nobody here knows more than single KubeNamespaces.
        reach: Reach,
        shards: Arc<Shards>,
        /// By context.
        watched: Mutex<BTreeMap<Option<String>, Arc<WatchedCluster>>>,
    }

    impl OfCluster {
        /// Whoever keeps Apps of one namespace may look at no other.
        pub fn new(cluster: Cluster, namespace: Option<&str>, shards: Arc<Shards>) -> Self {
            let reach = namespace.map_or(Reach::Cluster, |_| Reach::KubeNamespaces);
            Self {
                cluster,
                reach,
                shards,
                watched: Mutex::default(),
            }
        }

        fn watched(&self, settings: &KubernetesSettings) -> Arc<WatchedCluster> {
            let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = || Arc::new(self.watch(settings));
            watched.entry(settings.context.clone()).or_insert_with(begin).clone()
        }

        fn watch(&self, settings: &KubernetesSettings) -> WatchedCluster {
            let shards = self.shards.clone();
            let tell = move |subject: Subject| shards.tell(key_of(subject));
            match settings.context {
                None => WatchedCluster::new(self.cluster.client(), self.reach, tell),
                Some(_) => WatchedCluster::at(settings, Reach::KubeNamespaces, tell),
            }
        }
    }

    fn key_of(subject: Subject) -> AppKey {
        AppKey {
            namespace: subject.namespace,
            app: subject.app,
            target: subject.target,
        }
    }

    impl Harbours for OfCluster {
        fn provider(&self, target: &Target) -> Result<Provider, Box<Diagnostic>> {
            let settings = KubernetesSettings::of(target.spec.kubernetes.clone().unwrap_or_default(), None);
            match target.spec.provider.as_str() {
                KUBERNETES_PROVIDER => Ok(self.watched(&settings).provider(&settings)),
                other => Err(Box::new(super::missing(target, other))),
            }
        }
    }

    pub fn shape(deployment: &Deployment) -> Arc<dyn Shape> {
        portolan_provider_kubernetes::shape(&settings(deployment))
    }

    pub fn provider(deployment: &Deployment) -> Provider {
        portolan_provider_kubernetes::kubernetes(settings(deployment))
    }

    fn settings(deployment: &Deployment) -> KubernetesSettings {
        let told = deployment.target.spec.kubernetes.clone().unwrap_or_default();
        let kubeconfig = told.kubeconfig.as_ref();
        let kubeconfig = kubeconfig.map(|file| deployment.target_folder.join(file));
        KubernetesSettings::of(told, kubeconfig)
    }
}

#[cfg(feature = "ecs")]
mod ecs {
    use std::sync::Arc;

    use portolan_core::manifest::EcsTarget;
    use portolan_provider_api::{Provider, Shape};

    use crate::manifests::Deployment;

    pub fn shape(deployment: &Deployment) -> Arc<dyn Shape> {
        portolan_provider_ecs::shape(settings(deployment))
    }

    pub fn provider(deployment: &Deployment) -> Provider {
        portolan_provider_ecs::ecs(settings(deployment))
    }

    /// parse lets no Target through without them.
    fn settings(deployment: &Deployment) -> EcsTarget {
        deployment.target.spec.ecs.clone().unwrap_or_default()
    }
}

fn unknown(target: &Target, provider: &str) -> Failure {
    missing(target, provider).into()
}

fn missing(target: &Target, provider: &str) -> Diagnostic {
    Diagnostic::error(
        "ProviderMissing",
        format!("this build of portolan has no provider `{provider}`"),
    )
    .because(format!("the Target `{}` asks for it", target.metadata.name))
}
