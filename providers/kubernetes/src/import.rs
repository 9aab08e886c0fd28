//! From Deployments that somebody has made to a manifest that says the same, as far as one can. Pure but for its lists.
//!
//! What a manifest has no word for is not passed over: it is told, by its place in the object.

mod container;
mod ports;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use portolan_core::manifest::API_VERSION;
use portolan_provider_api::CallError;
use serde_json::{Map, Value, json};

use crate::client::Cluster;
use crate::diff::is_empty;
use crate::kinds::{AUTOSCALER, CLAIM, CONFIG_MAP, DEPLOYMENT, SERVICE};
use crate::names::label;
use crate::read::{items, number, text};
use crate::{KubernetesSettings, client, error};

/// A manifest, and what is not in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    pub app: Value,
    pub target: Value,
    /// `Deployment/web: spec.template.spec.tolerations`, each with nothing like it in a manifest.
    pub left: Vec<String>,
}

/// What a KubeNamespace holds that matters here.
#[derive(Default)]
struct Found {
    deployments: Vec<Value>,
    services: Vec<Value>,
    config_maps: Vec<Value>,
    claims: Vec<Value>,
    scalers: Vec<Value>,
}

/// Of the Deployments that are named, or of all that are not ours; as an App called `app`.
///
/// # Errors
/// Of the cluster; and `NotRunning` for a name that no Deployment there has.
pub async fn import(settings: &KubernetesSettings, app: &str, names: &[String]) -> Result<Imported, CallError> {
    let cluster = client::KubeCluster::at(client::Address {
        context: settings.context.clone(),
        kubeconfig: settings.kubeconfig.clone(),
    });
    let place = settings.namespace.as_deref().unwrap_or("default");
    let mut found = Found {
        deployments: cluster.list(&DEPLOYMENT, place, "").await?,
        services: cluster.list(&SERVICE, place, "").await?,
        config_maps: cluster.list(&CONFIG_MAP, place, "").await?,
        claims: cluster.list(&CLAIM, place, "").await?,
        scalers: cluster.list(&AUTOSCALER, place, "").await?,
    };
    if let Some(missing) = names
        .iter()
        .find(|name| !found.deployments.iter().any(|one| name_of(one) == *name))
    {
        return Err(error::no_deployment(missing, place));
    }
    found.deployments.retain(|one| match names {
        [] => one["metadata"]["labels"].get(label::OWNER).is_none(),
        _ => names.iter().any(|name| name == name_of(one)),
    });
    if found.deployments.is_empty() {
        return Err(error::nothing_to_import(place));
    }
    Ok(manifest(settings, app, &found))
}

fn manifest(settings: &KubernetesSettings, app: &str, found: &Found) -> Imported {
    let mut left = Vec::new();
    let services = found.deployments.iter().map(|deployment| {
        let mut told = Told::of(deployment);
        let service = service(found, deployment, &mut told);
        left.append(&mut told.left);
        (name_of(deployment).to_string(), service)
    });
    let services: BTreeMap<String, Value> = services.collect();
    let mut reached = json!({});
    put(&mut reached, "context", json!(settings.context));
    put(&mut reached, "namespace", json!(settings.namespace));
    Imported {
        app: json!({
            "apiVersion": API_VERSION, "kind": "App", "metadata": { "name": app },
            "spec": { "targets": [TARGET], "services": services },
        }),
        target: json!({
            "apiVersion": API_VERSION, "kind": "Target", "metadata": { "name": TARGET },
            "spec": { "provider": "kubernetes", "kubernetes": reached },
        }),
        left,
    }
}

/// What the Target is called that leads to where the Deployments are.
const TARGET: &str = "cluster";

/// Of one object: what a manifest has no word for.
struct Told {
    object: String,
    left: Vec<String>,
}

impl Told {
    fn of(deployment: &Value) -> Self {
        Self {
            object: format!("Deployment/{}", name_of(deployment)),
            left: Vec::new(),
        }
    }

    fn leaves(&mut self, what: impl std::fmt::Display) {
        self.left.push(format!("{}: {what}", self.object));
    }

    /// Fields of `object` that are none of these.
    fn leaves_all_but(&mut self, place: &str, object: &Value, known: &[&str]) {
        let fields = object.as_object().into_iter().flatten();
        for (field, _) in fields.filter(|(field, value)| !known.contains(&field.as_str()) && !is_empty(value)) {
            self.leaves(format!("{place}.{field}"));
        }
    }
}

/// What is read of a pod, what an API server fills in, and what Portolan says by itself.
const OF_A_POD: &[&str] = &[
    "containers",
    "initContainers",
    "volumes",
    "terminationGracePeriodSeconds",
    "runtimeClassName",
    "securityContext",
    "restartPolicy",
    "dnsPolicy",
    "schedulerName",
    "enableServiceLinks",
    "topologySpreadConstraints",
];

const OF_A_DEPLOYMENT: &[&str] = &[
    "replicas",
    "selector",
    "strategy",
    "template",
    "progressDeadlineSeconds",
    "revisionHistoryLimit",
];

fn service(found: &Found, deployment: &Value, told: &mut Told) -> Value {
    let pod = &deployment["spec"]["template"]["spec"];
    told.leaves_all_but("spec.template.spec", pod, OF_A_POD);
    told.leaves_all_but(
        "spec.template.spec.securityContext",
        &pod["securityContext"],
        container::OF_A_USER,
    );
    told.leaves_all_but("spec", &deployment["spec"], OF_A_DEPLOYMENT);
    let metadata = &deployment["spec"]["template"]["metadata"];
    told.leaves_all_but("spec.template.metadata", metadata, &["labels", "creationTimestamp"]);
    // Those by which its pods are found are others in a manifest's own.
    let chosen_by = deployment["spec"]["selector"]["matchLabels"].as_object();
    let chosen_by: Vec<&str> = chosen_by.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    told.leaves_all_but("spec.template.metadata.labels", &metadata["labels"], &chosen_by);
    let mut containers = items(pod, "/containers");
    let main = containers.next().unwrap_or(&Value::Null);
    let mut service = container::read(found, pod, main, told);
    put(&mut service, "ports", json!(ports::of(found, deployment, main, told)));
    put(&mut service, "health", container::health(main, told));
    put(&mut service, "scale", scale(found, deployment, told));
    put(&mut service, "rollout", rollout(deployment));
    service["stop"] = stop(pod, main);
    match text(pod, "/runtimeClassName") {
        Some(class @ ("gvisor" | "kata" | "wasm")) => service["runtime"] = json!(class),
        Some(_) => told.leaves("spec.template.spec.runtimeClassName"),
        None => {}
    }
    let is_sidecar = |one: &&Value| text(one, "/restartPolicy") == Some("Always");
    let beside = items(pod, "/initContainers").filter(is_sidecar).chain(containers);
    let sidecars = beside.map(|one| {
        let mut sidecar = container::read(found, pod, one, told);
        put(&mut sidecar, "ports", json!(ports::of_container(one)));
        put(&mut sidecar, "health", container::health(one, told));
        (container::name(one), sidecar)
    });
    put(&mut service, "sidecars", Value::Object(sidecars.collect::<Map<_, _>>()));
    let init = items(pod, "/initContainers").filter(|one| !is_sidecar(one)).map(|one| {
        let mut step = container::read(found, pod, one, told);
        step["name"] = json!(container::name(one));
        step
    });
    put(&mut service, "init", Value::Array(init.collect()));
    service
}

fn scale(found: &Found, deployment: &Value, told: &mut Told) -> Value {
    let is_of_it = |one: &&Value| {
        let target = &one["spec"]["scaleTargetRef"];
        target["kind"] == "Deployment" && target["name"] == deployment["metadata"]["name"]
    };
    let Some(scaler) = found.scalers.iter().find(is_of_it) else {
        return match number(deployment, "/spec/replicas") {
            1 => Value::Null,
            replicas => json!({ "min": replicas }),
        };
    };
    let mut on = Vec::new();
    for metric in items(scaler, "/spec/metrics") {
        let source = [&metric["resource"], &metric["containerResource"]];
        let source = source
            .into_iter()
            .find(|source| source.is_object())
            .unwrap_or(&Value::Null);
        match (text(source, "/name"), source["target"]["averageUtilization"].as_u64()) {
            (Some(name @ ("cpu" | "memory")), Some(share)) => on.push(json!({ name: format!("{share}%") })),
            _ => told.leaves(format!("HorizontalPodAutoscaler/{}: spec.metrics", name_of(scaler))),
        }
    }
    json!({
        "min": number(scaler, "/spec/minReplicas").max(1), "max": number(scaler, "/spec/maxReplicas"), "on": on,
    })
}

/// What is said of every rollout is not said again.
fn rollout(deployment: &Value) -> Value {
    let mut rollout = json!({});
    if text(deployment, "/spec/strategy/type") == Some("Recreate") {
        rollout["strategy"] = json!("recreate");
    }
    match number(deployment, "/spec/progressDeadlineSeconds") {
        0 | 600 => {}
        seconds => rollout["deadline"] = json!(format!("{seconds}s")),
    }
    rollout
}

/// As long as it sleeps before it is sent the signal it drains.
fn stop(pod: &Value, main: &Value) -> Value {
    let drain = number(main, "/lifecycle/preStop/sleep/seconds");
    let all = pod["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
    let grace = all.saturating_sub(u64::from(drain)).max(1);
    json!({ "drain": format!("{drain}s"), "gracePeriod": format!("{grace}s") })
}

fn name_of(object: &Value) -> &str {
    text(object, "/metadata/name").unwrap_or_default()
}

fn put(object: &mut Value, field: &str, value: Value) {
    if !is_empty(&value) {
        object[field] = value;
    }
}
