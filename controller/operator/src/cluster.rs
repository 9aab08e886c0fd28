//! The cluster whose objects are the source of intent, and where in it Apps are looked for.

use kube::config::KubeConfigOptions;
use kube::{Client, Config};

use crate::error::OperatorError;

/// A connection to one. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    url: String,
    /// Of this process: the pod's, or the kubeconfig's.
    home: String,
}

impl Cluster {
    /// The context of the kubeconfig; without one its current context, or the account of the pod that this runs in.
    pub async fn connect(context: Option<&str>) -> Result<Self, OperatorError> {
        let unconfigured = |error: Box<dyn std::error::Error + Send + Sync>| OperatorError::Unconfigured(error);
        let mut config = match context {
            Some(context) => {
                let options = KubeConfigOptions {
                    context: Some(context.to_string()),
                    ..KubeConfigOptions::default()
                };
                let config = Config::from_kubeconfig(&options).await;
                config.map_err(|error| unconfigured(Box::new(error)))?
            }
            None => Config::infer().await.map_err(|error| unconfigured(Box::new(error)))?,
        };
        // A write is tried again by whoever knows whether it may be, and never below it.
        config.default_retry = false;
        let (url, home) = (config.cluster_url.to_string(), config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| unconfigured(Box::new(error)))?;
        Ok(Self { client, url, home })
    }

    pub fn client(&self) -> Client {
        self.client.clone()
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The KubeNamespace in which this runs.
    pub fn home(&self) -> &str {
        &self.home
    }
}
