//! A control plane with what the operator ships, and Apps of two replicas and a Service in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use portolan_cluster::{ControlPlane, Entry};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::WORKERS;

/// The operator's user, as the API server names a service account.
pub const ACCOUNT: &str = "system:serviceaccount:portolan-system:portolan-controller";

/// Pods that a node takes.
const ROOM: usize = 1_500;

/// What one App becomes here, as paths below a namespace's.
pub const OBJECTS: &[&str] = &[
    "/api/v1/namespaces/NAMESPACE/serviceaccounts",
    "/api/v1/namespaces/NAMESPACE/services",
    "/apis/apps/v1/namespaces/NAMESPACE/deployments",
    "/apis/policy/v1/namespaces/NAMESPACE/poddisruptionbudgets",
    "/apis/networking.k8s.io/v1/namespaces/NAMESPACE/networkpolicies",
];

pub struct Plane {
    pub plane: ControlPlane,
    /// Of the operator's account.
    pub client: Client,
    administrator: Client,
    began: std::sync::Mutex<Instant>,
}

impl Plane {
    /// With room for the pods of so many Apps, and this cluster as the Target `here`.
    pub async fn start(apps: usize) -> Self {
        let plane = ControlPlane::with_nodes(2 + apps * 2 / ROOM).unwrap();
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/cluster");
        let manifests = plane.kubectl(&["kustomize", deploy.to_str().unwrap()]).unwrap();
        plane.apply(&manifests).unwrap();
        let established = [
            "wait",
            "--for=condition=Established",
            "crd/apps.portolan.dev",
            "crd/targets.portolan.dev",
        ];
        plane.kubectl(&established).unwrap();
        for namespace in ["try", "new", "more"] {
            plane.kubectl(&["create", "namespace", namespace]).unwrap();
        }
        plane.apply(&target().to_string()).unwrap();
        let client = client(&plane.kubeconfig_of(ACCOUNT, None).unwrap()).await;
        let administrator = client_of(&plane).await;
        Self {
            plane,
            client,
            administrator,
            began: std::sync::Mutex::new(Instant::now()),
        }
    }

    /// One App, so that nothing is done for the first time when it is measured.
    pub async fn try_out(&self) {
        self.create_apps("try", 1).await;
        let wait = [
            "wait",
            "--for=condition=Ready",
            "--timeout=60s",
            "-n",
            "try",
            "app",
            "--all",
        ];
        self.plane.kubectl(&wait).unwrap();
    }

    /// Since the last Apps were begun to be created.
    pub fn elapsed(&self) -> f64 {
        self.began.lock().unwrap().elapsed().as_secs_f64()
    }

    pub async fn create_apps(&self, namespace: &str, count: usize) {
        *self.began.lock().unwrap() = Instant::now();
        let path = format!("/apis/portolan.dev/v1alpha1/namespaces/{namespace}/apps");
        let requests = (0..count).map(|number| {
            let request = http::Request::post(format!("{path}?fieldManager=user"));
            let request = request.header("Content-Type", "application/json");
            request.body(app(namespace, number).to_string().into_bytes()).unwrap()
        });
        send(&self.administrator, requests.collect()).await;
    }

    /// The time of the last entry in the audit log.
    pub fn now(&self) -> String {
        let all = self.plane.audit().unwrap();
        all.iter().map(|entry| entry.at.clone()).max().unwrap_or_default()
    }

    /// What the operator has asked since, leases aside.
    pub fn asked(&self, since: &str) -> Value {
        let all = self.plane.audit().unwrap();
        let of_operator = |entry: &&Entry| entry.user == ACCOUNT && entry.at.as_str() > since && !entry.is_lease();
        let mut reads = 0;
        let (mut writes, mut each) = (0, std::collections::BTreeMap::<String, usize>::new());
        for entry in all.iter().filter(of_operator) {
            writes += usize::from(entry.is_write());
            reads += usize::from(matches!(entry.verb.as_str(), "get" | "list"));
            *each.entry(format!("{} {}", entry.verb, entry.resource)).or_default() += 1;
        }
        json!({ "reads": reads, "writes": writes, "each": each })
    }
}

/// As many at the same time as there are workers; the first that is refused ends it all.
pub async fn send(client: &Client, mut requests: Vec<http::Request<Vec<u8>>>) {
    requests.reverse();
    let requests = Arc::new(Mutex::new(requests));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (client, requests) = (client.clone(), requests.clone());
        workers.spawn(async move {
            loop {
                let next = requests.lock().await.pop();
                let Some(request) = next else { return };
                client.request_text(request).await.unwrap();
            }
        });
    }
    workers.join_all().await;
}

pub async fn client_of(plane: &ControlPlane) -> Client {
    client(&plane.kubeconfig()).await
}

async fn client(kubeconfig: &PathBuf) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

/// Looks until it is so.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, pause: Duration, is_so: impl Fn() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = is_so().await {
            return found;
        }
        assert!(
            began.elapsed() < Duration::from_secs(1_200),
            "{what}: not within twenty minutes"
        );
        sleep(pause).await;
    }
}

fn target() -> Value {
    json!({
        "apiVersion": "portolan.dev/v1alpha1", "kind": "Target", "metadata": { "name": "here" },
        "spec": { "provider": "kubernetes" },
    })
}

fn app(namespace: &str, number: usize) -> Value {
    let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    json!({
        "apiVersion": "portolan.dev/v1alpha1", "kind": "App",
        "metadata": { "name": format!("app-{number:05}"), "namespace": namespace },
        "spec": {
            "targets": ["here"],
            "services": { "web": {
                "image": format!("registry.example/web@{digest}"),
                "ports": [{ "name": "http", "port": 8080 }],
                "scale": { "min": 2, "max": 2 },
            } },
        },
    })
}
