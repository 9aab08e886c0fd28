//! One control plane for all checks, with a KubeNamespace for each, and a hand on it that needs no permission.

use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config};
use portolan_cluster::{ControlPlane, or_skip};
use serde_json::{Value, json};

/// Volumes for all checks together: nothing here makes any on demand.
const VOLUMES: usize = 150;

/// `None` where its programs are not built.
pub fn plane(check: &str) -> Option<&'static ControlPlane> {
    static PLANE: OnceLock<Option<ControlPlane>> = OnceLock::new();
    PLANE
        .get_or_init(|| {
            let plane = or_skip(check, ControlPlane::start())?;
            plane.apply(&list((0..VOLUMES).map(volume)).to_string()).unwrap();
            or_skip(check, plane.install_definitions())?;
            Some(plane)
        })
        .as_ref()
        .or_else(|| {
            println!("SKIP {check}: no Kubernetes is built");
            None
        })
}

pub fn next_kube_namespace() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    format!("check-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn list(items: impl IntoIterator<Item = Value>) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "items": items.into_iter().collect::<Vec<_>>() })
}

fn volume(number: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": { "name": format!("volume-{number}") },
        "spec": {
            "capacity": { "storage": "10Gi" },
            "accessModes": ["ReadWriteOnce"],
            "hostPath": { "path": format!("/volumes/{number}") },
        },
    })
}

/// May do anything.
pub async fn administrator(plane: &ControlPlane) -> Client {
    let file = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    Client::try_from(config.unwrap()).unwrap()
}

/// One request; `None` for what is not there.
pub async fn ask(client: &Client, method: &str, path: &str, body: Option<&Value>) -> Option<Value> {
    let sort = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("Content-Type", sort);
    let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
    match client.request(request.body(body).unwrap()).await {
        Ok(answer) => Some(answer),
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        Err(failure) => panic!("{method} {path}: {failure}"),
    }
}

/// Looks until it is so.
pub async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    for _ in 0..600 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it is not so within a minute: {what}");
}

/// Plays the kubelet of pods that fail: whatever is to run an image of that name is told to crash.
pub async fn crash(client: Client, kube_namespace: String, image: &'static str) {
    let path = format!("/api/v1/namespaces/{kube_namespace}/pods");
    let pods = Api::<Pod>::namespaced(client.clone(), &kube_namespace);
    let mut told = pin!(
        watcher(pods, watcher::Config::default())
            .default_backoff()
            .applied_objects()
    );
    while let Some(pod) = told.next().await {
        let Ok(pod) = pod.map(|pod| serde_json::to_value(pod).unwrap()) else {
            continue;
        };
        let container = &pod["spec"]["containers"][0];
        let fails = container["image"].as_str().is_some_and(|name| name.contains(image));
        let crashes = pod["status"]["containerStatuses"][0]["state"].get("waiting").is_some();
        if fails && !crashes {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let status = json!({ "status": crashed(container) });
            ask(&client, "PATCH", &format!("{path}/{name}/status"), Some(&status)).await;
        }
    }
}

fn crashed(container: &Value) -> Value {
    let unready = |kind: &str| json!({ "type": kind, "status": "False" });
    json!({
        "conditions": [unready("Ready"), unready("ContainersReady")],
        "containerStatuses": [{
            "name": container["name"], "image": container["image"], "imageID": "",
            "ready": false, "restartCount": 2,
            "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container" } },
            "lastState": { "terminated": { "exitCode": 3, "reason": "Error" } },
        }],
    })
}
