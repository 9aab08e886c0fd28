//! The cluster whose objects are the source of intent, and where in it Apps are looked for.

use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::KubeConfigOptions;
use kube::{Client, Config, Error};
use tokio::time::timeout;
use tower::timeout::TimeoutLayer;

use crate::error::OperatorError;

/// Until an answer begins; that of a watch then goes on for as long as it is told to.
const DEADLINE: Duration = Duration::from_secs(30);

/// Without a byte for so long a connection is dead: a watch has news, or ends, before that.
const SILENCE: Duration = Duration::from_secs(90);

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
        config.read_timeout = Some(SILENCE);
        let (url, home) = (config.cluster_url.to_string(), config.default_namespace.clone());
        let client = client(config).map_err(|error| unconfigured(Box::new(error)))?;
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

/// No request of it waits for ever; the library's own deadlines are for the connection.
fn client(config: Config) -> Result<Client, Error> {
    let builder = ClientBuilder::try_from(config)?;
    Ok(builder.with_layer(&TimeoutLayer::new(DEADLINE)).build())
}

/// The answer in full, or that there was none in time.
pub async fn within<T>(deadline: Duration, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let answer = timeout(deadline, call).await;
    answer.unwrap_or_else(|passed| Err(Error::Service(passed.into())))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::Lease;
    use kube::Api;
    use kube::api::ListParams;
    use tokio::time::Instant;

    use super::*;
    use crate::answering::answering;

    #[tokio::test(start_paused = true)]
    async fn a_request_that_nobody_answers_ends() {
        let client = client(answering(|_, _| None).await).unwrap();
        let began = Instant::now();
        let leases: Api<Lease> = Api::all(client);
        assert!(leases.list(&ListParams::default()).await.is_err());
        assert!(began.elapsed() <= DEADLINE * 2, "{:?}", began.elapsed());
    }
}
