//! A connection to a port of a pod, led there by the API server and the pod's kubelet.

use std::sync::Arc;

use async_trait::async_trait;
use portolan_core::plan::Scope;
use portolan_provider_api::operations::{ForwardRequest, Forwarded};
use portolan_provider_api::{CallError, PortForward};
use tokio::sync::oneshot;

use crate::client::{Cluster, KubeCluster};
use crate::error;
use crate::kinds::POD;
use crate::names::selector_of;
use crate::render::KubernetesShape;
use crate::replicas::{chosen, name_of};

pub struct KubernetesPortForward {
    cluster: Arc<KubeCluster>,
    shape: Arc<KubernetesShape>,
}

impl KubernetesPortForward {
    pub fn new(cluster: Arc<KubeCluster>, shape: Arc<KubernetesShape>) -> Self {
        Self { cluster, shape }
    }
}

#[async_trait]
impl PortForward for KubernetesPortForward {
    async fn connect(&self, scope: &Scope, to: &ForwardRequest) -> Result<Forwarded, CallError> {
        let kube_namespace = self.shape.kube_namespace(&scope.namespace);
        let pods = self.cluster.list(&POD, kube_namespace, &selector_of(scope)).await?;
        let pod = name_of(chosen(&pods, scope, &to.workload, to.replica.as_deref())?);
        let mut forwarder = self.cluster.port_forward(kube_namespace, pod, to.port).await?;
        let stream = forwarder.take_stream(to.port).expect("it was asked for");
        let refused = forwarder.take_error(to.port).expect("it was asked for");
        let (sender, failure) = oneshot::channel();
        let (pod, port) = (pod.to_string(), to.port);
        tokio::spawn(async move {
            if let Some(words) = refused.await {
                _ = sender.send(error::port_refused(&pod, port, &words));
            }
        });
        Ok(Forwarded {
            stream: Box::new(stream),
            failure,
        })
    }
}
