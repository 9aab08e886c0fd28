//! A KubeNamespace as an account: its user may do there what the provider's role says, and nothing elsewhere.

use std::sync::Arc;

use async_trait::async_trait;
use kube::Client;
use portolan_cluster::ControlPlane;
use portolan_conformance::images::PulledThere;
use portolan_conformance::{Account, Cannot, Request, Trouble};
use portolan_core::manifest::{KUBERNETES_PROVIDER, KubernetesTarget, Target};
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{Images, Provider, WriteRequest};
use portolan_provider_kubernetes::{KubernetesSettings, Reach, WatchedCluster, client_config, with_client};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::cluster::{administrator, ask, crash, list, next_kube_namespace, plane};
use crate::trouble::{Victim, permissions};
use crate::wire::{Loss, Wire, tapped};

pub const PLAIN: bool = false;
pub const WATCHED: bool = true;

/// `IS` is one of these.
pub struct Cluster<const IS: bool> {
    kube_namespace: String,
    user: String,
    administrator: Client,
    /// Through which its providers speak.
    tapped: Client,
    wire: Wire,
    watched: Option<WatchedCluster>,
    kubelet: JoinHandle<()>,
}

impl<const IS: bool> Cluster<IS> {
    async fn in_a_namespace(plane: &ControlPlane) -> Self {
        let kube_namespace = next_kube_namespace();
        let user = format!("portolan-{kube_namespace}");
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": kube_namespace } });
        let objects = [namespace].into_iter().chain(permissions(&user, &kube_namespace, IS));
        plane.apply(&list(objects).to_string()).unwrap();
        let settings = KubernetesSettings {
            kubeconfig: Some(plane.kubeconfig_of(&user, None).unwrap()),
            ..KubernetesSettings::default()
        };
        let administrator = administrator(plane).await;
        let itself = Client::try_from(client_config(&settings).await.unwrap()).unwrap();
        let wire = Wire::default();
        let tapped = tapped(itself, &wire);
        let watched = IS.then(|| WatchedCluster::new(tapped.clone(), Reach::KubeNamespaces, drop));
        Self {
            kubelet: tokio::spawn(crash(administrator.clone(), kube_namespace.clone(), "failing")),
            tapped,
            watched,
            kube_namespace,
            user,
            administrator,
            wire,
        }
    }

    fn objects(&self, kind: &str) -> String {
        let (group, plural) = place_of(kind);
        format!("{group}/namespaces/{}/{plural}", self.kube_namespace)
    }

    fn object(&self, id: &ResourceId) -> String {
        format!("{}/{}", self.objects(&id.kind), id.name)
    }
}

/// As the API server documents it, and not as the provider has it.
fn place_of(kind: &str) -> (&'static str, String) {
    let group = match kind {
        "Deployment" | "StatefulSet" => "/apis/apps/v1",
        "Job" | "CronJob" => "/apis/batch/v1",
        "PodDisruptionBudget" => "/apis/policy/v1",
        "HorizontalPodAutoscaler" => "/apis/autoscaling/v2",
        "Ingress" | "NetworkPolicy" => "/apis/networking.k8s.io/v1",
        "HTTPRoute" => "/apis/gateway.networking.k8s.io/v1",
        "ScaledObject" => "/apis/keda.sh/v1alpha1",
        "ExternalSecret" => "/apis/external-secrets.io/v1",
        "ResourceClaimTemplate" => "/apis/resource.k8s.io/v1",
        _ => "/api/v1",
    };
    let plural = match kind {
        "Ingress" => "ingresses".to_string(),
        "NetworkPolicy" => "networkpolicies".to_string(),
        _ => format!("{}s", kind.to_lowercase()),
    };
    (group, plural)
}

#[async_trait]
impl<const IS: bool> Account for Cluster<IS> {
    const NAME: &'static str = if IS { "kubernetes, watched" } else { "kubernetes" };

    async fn new(check: &'static str) -> Option<Self> {
        let plane = plane(check)?;
        Some(Self::in_a_namespace(plane).await)
    }

    async fn close(self) {
        self.kubelet.abort();
    }

    fn provider(&self) -> Provider {
        let settings = KubernetesSettings {
            namespace: Some(self.kube_namespace.clone()),
            ..KubernetesSettings::default()
        };
        match &self.watched {
            Some(watched) => watched.provider(&settings),
            None => with_client(self.tapped.clone(), &settings),
        }
    }

    fn images(&self) -> Arc<dyn Images> {
        Arc::new(PulledThere)
    }

    fn target(&self) -> Target {
        let mut target = Target::local();
        target.metadata.name = "cluster".into();
        target.spec.provider = KUBERNETES_PROVIDER.into();
        target.spec.local = None;
        target.spec.kubernetes = Some(KubernetesTarget {
            namespace: Some(self.kube_namespace.clone()),
            ..KubernetesTarget::default()
        });
        target
    }

    fn app(&self) -> [String; 2] {
        ["default".into(), "shop".into()]
    }

    fn server(&self, _port: u16) -> Value {
        json!({ "image": "registry.example/server:1" })
    }

    fn task(&self) -> Value {
        json!({ "image": "registry.example/task:1" })
    }

    fn failing(&self) -> Value {
        // No node has so much room: what crashes is never started, and so never ready for a moment before.
        json!({ "image": "registry.example/failing:1", "resources": { "cpu": "100" } })
    }

    fn free_ports(&self, count: usize) -> Vec<u16> {
        (8000..).take(count).collect()
    }

    async fn put_foreign(&self, _scope: &Scope, id: &ResourceId, body: &Value) {
        let mut object = body.clone();
        object["metadata"] = json!({ "name": id.name });
        ask(&self.administrator, "POST", &self.objects(&id.kind), Some(&object)).await;
    }

    async fn change_by_hand(&self, _scope: &Scope, id: &ResourceId) -> Result<(), Cannot> {
        let change = json!({ "metadata": { "annotations": { "somebody": "was here" } } });
        ask(&self.administrator, "PATCH", &self.object(id), Some(&change)).await;
        Ok(())
    }

    async fn copies(&self, _scope: &Scope, id: &ResourceId) -> usize {
        let there = ask(&self.administrator, "GET", &self.object(id), None).await;
        usize::from(there.is_some())
    }

    /// Each run is a pod, and an event of its job.
    async fn runs(&self, _scope: &Scope, job: &str) -> usize {
        let path = format!("/api/v1/namespaces/{}/events", self.kube_namespace);
        let events = ask(&self.administrator, "GET", &path, None).await.unwrap();
        let events = events["items"].as_array().unwrap().iter();
        let of_it = events.filter(|event| {
            let name = event["involvedObject"]["name"].as_str().unwrap_or_default();
            event["reason"] == "SuccessfulCreate" && event["involvedObject"]["kind"] == "Job" && name.contains(job)
        });
        of_it.count()
    }

    /// Of all that was rendered.
    fn is_bookkeeping(field: &str) -> bool {
        field.ends_with("portolan.dev/applied")
    }

    fn takes_name(id: &ResourceId) -> bool {
        let is_inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let name = &id.name;
        let ends = name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.ends_with('-');
        name.len() <= 63 && ends && name.chars().all(is_inside)
    }

    /// All that has a place here is in one KubeNamespace: the Target names it.
    fn place(_scope: &Scope, id: &ResourceId) -> Option<String> {
        Some(id.to_string())
    }

    fn tells_targets_apart() -> Result<(), Cannot> {
        Ok(())
    }

    async fn listen(&self, _scope: &Scope) {}

    fn requests(&self) -> Vec<String> {
        self.wire.requests()
    }

    async fn lose_next_answer(&self, of: Request<'_>) {
        self.wire.lose_next(match of {
            // It asks nothing, and believes what it was told for as long as somebody would tell it.
            Request::Look if IS => return self.wire.cut().await,
            Request::Look => Loss::Look,
            Request::Write(id) => Loss::Write(id.name.clone()),
        });
    }

    async fn hide_a_part(&self) -> Result<(), Cannot> {
        if IS {
            return Err("a look shows what is held, which is whole once it is listed");
        }
        self.wire.lose_next(Loss::Page);
        Ok(())
    }

    fn has_long_operations() -> Result<(), Cannot> {
        Err("a write is answered once it is stored, and what controllers make of it is told by the object's status")
    }

    fn fills_in_defaults() -> Result<(), Cannot> {
        Err("the API server fills in parts of a `spec`, and no field beside it")
    }

    async fn trouble(&self, _scope: &Scope, trouble: Trouble) -> Result<WriteRequest, Cannot> {
        let victim = Victim {
            administrator: &self.administrator,
            user: &self.user,
            kube_namespace: &self.kube_namespace,
        };
        victim.meets(trouble).await
    }
}
