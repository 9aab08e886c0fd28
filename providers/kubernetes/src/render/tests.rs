//! What desired states are rendered to: objects that Kubernetes' own types take whole, and in which each field is found.

mod beside;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use portolan_core::desired::DesiredState;
use portolan_core::resource::{Resources, open_values};
use portolan_provider_api::Shape;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::KubernetesShape;
use crate::names::annotation;

fn container(extra: Value) -> Value {
    let mut container = json!({
        "image": {"reference": "registry.example/shop:1", "digest": format!("sha256:{}", "a".repeat(64)), "env": []},
        "argv": ["/server", "--quiet"], "workingDir": null, "user": null, "env": {}, "files": [], "mounts": [],
        "resources": {"cpuMillis": null, "memoryBytes": null, "pids": null},
    });
    merge(&mut container, extra);
    container
}

fn merge(into: &mut Value, extra: Value) {
    for (key, value) in extra.as_object().cloned().unwrap_or_default() {
        into[key] = value;
    }
}

fn service(container: Value, extra: Value) -> Value {
    let probes = json!({"startup": null, "ready": null, "live": null});
    let mut service = json!({
        "name": "web", "origin": "/spec/services/web", "revision": "r1", "container": container,
        "sidecars": {}, "init": [], "ports": [], "probes": probes, "replicas": 1, "after": [],
        "rollout": {"strategy": "rolling", "steps": [], "deadline": {"secs": 600, "nanos": 0}},
        "stop": {"signal": "SIGTERM", "drain": {"secs": 2, "nanos": 0}, "gracePeriod": {"secs": 10, "nanos": 0}},
        "logs": {"maxSizeBytes": 1 << 20, "maxFiles": 3, "maxAge": null},
    });
    merge(&mut service, extra);
    service
}

fn desired(services: Value, jobs: Value) -> DesiredState {
    let scope = json!({"namespace": "default", "app": "shop", "target": "prod", "owner": "ours", "source": "file"});
    let volumes = json!({"data": {"name": "data", "origin": "/spec/services/web/volumes/0", "sizeBytes": 2u64 << 30}});
    let state = json!({"scope": scope, "services": services, "jobs": jobs, "volumes": volumes});
    serde_json::from_value(state).unwrap()
}

fn rendered(services: Value, jobs: Value) -> Resources {
    shape().render(&desired(services, jobs)).unwrap()
}

fn web(container: Value, extra: Value) -> Resources {
    rendered(json!({ "web": service(container, extra) }), json!({}))
}

fn shape() -> KubernetesShape {
    KubernetesShape {
        kube_namespace: None,
        choices: crate::Choices::default(),
        is_watched: false,
    }
}

fn one<'a>(resources: &'a Resources, kind: &str) -> Option<&'a Value> {
    let mut all = resources.values().filter(|one| one.id.kind == kind);
    all.next().map(|one| &one.body)
}

fn pod<'a>(resources: &'a Resources, kind: &str) -> &'a Value {
    &one(resources, kind).unwrap()["spec"]["template"]["spec"]
}

const MOUNT: fn() -> Value = || json!({"mounts": [{"volume": "data", "path": "/data", "readOnly": false}]});

#[test]
fn a_service_runs_as_its_volumes_demand() {
    let reads = json!({"mounts": [{"volume": "data", "path": "/data", "readOnly": true}]});
    for (reason, extra, kind) in [
        ("without a volume many may overlap", json!({}), "Deployment"),
        ("readers may overlap, too", reads, "Deployment"),
        ("writers may not", MOUNT(), "StatefulSet"),
    ] {
        let resources = web(container(extra), json!({}));
        assert!(one(&resources, kind).is_some(), "{reason}: {:?}", resources.keys());
    }
}

#[test]
fn what_a_service_says_decides_what_stands_beside_it() {
    let port = |public: bool| json!([{"name": "http", "port": 8080, "protocol": "http", "public": public}]);
    let count = |extra: Value, kind: &str| {
        let resources = web(container(json!({})), extra);
        resources.keys().filter(|id| id.kind == kind).count()
    };
    for (reason, extra, kind, expected) in [
        ("no port, nothing to reach", json!({}), "Service", 0),
        ("a port", json!({"ports": port(false)}), "Service", 1),
        ("one for the world besides", json!({"ports": port(true)}), "Service", 2),
        (
            "one replica cannot be kept",
            json!({"replicas": 1}),
            "PodDisruptionBudget",
            0,
        ),
        ("of two, one is", json!({"replicas": 2}), "PodDisruptionBudget", 1),
        ("no file", json!({}), "ConfigMap", 0),
    ] {
        assert_eq!(count(extra, kind), expected, "{reason}");
    }
}

#[test]
fn each_field_has_its_place() {
    let second = json!({"secs": 1, "nanos": 1});
    let probe =
        json!({"check": {"http": {"path": "/up", "port": 80}}, "interval": second, "timeout": second, "threshold": 4});
    let secret = json!([{"secret": {"name": "api", "key": "token"}}]);
    let full = container(json!({
        "user": "1000:1001", "workingDir": "/srv",
        "env": {"A": [{"text": "$(B)"}], "E": [{"text": ""}], "S": secret},
        "files": [{"path": "/etc/a", "content": "x"}],
        "resources": {"cpuMillis": 1500, "memoryBytes": 64 << 20, "pids": 5},
    }));
    let sidecar = json!({"container": container(json!({})), "ports": [], "probes": {"startup": null, "ready": null, "live": null}});
    let more = json!({
        "sidecars": {"proxy": sidecar}, "init": [["seed", container(json!({}))]],
        "probes": {"startup": null, "ready": probe, "live": null},
    });
    let resources = web(full, more);
    let main = &pod(&resources, "Deployment")["containers"][0];
    let at = |pointer: &str| main.pointer(pointer).cloned().unwrap_or_default();
    for (reason, pointer, expected) in [
        (
            "pinned",
            "/image",
            json!(format!("registry.example/shop@sha256:{}", "a".repeat(64))),
        ),
        ("the whole command line", "/command", json!(["/server", "--quiet"])),
        ("literal", "/env/0", json!({"name": "A", "value": "$$(B)"})),
        (
            "an API server leaves an empty value out",
            "/env/1",
            json!({"name": "E"}),
        ),
        (
            "by reference",
            "/env/2/valueFrom/secretKeyRef",
            json!({"name": "api", "key": "token"}),
        ),
        ("half a core more than one", "/resources/limits/cpu", json!("1500m")),
        ("in the largest unit", "/resources/limits/memory", json!("64Mi")),
        (
            "by number",
            "/securityContext",
            json!({"runAsUser": 1000, "runAsGroup": 1001}),
        ),
        ("rounded up", "/readinessProbe/periodSeconds", json!(2)),
        ("so many failures", "/readinessProbe/failureThreshold", json!(4)),
        ("the drain", "/lifecycle/preStop/sleep/seconds", json!(2)),
        ("a file", "/volumeMounts/0/mountPath", json!("/etc/a")),
    ] {
        assert_eq!(at(pointer), expected, "{reason}");
    }
    let pod = pod(&resources, "Deployment");
    assert_eq!(pod["terminationGracePeriodSeconds"], 12, "drain and grace");
    let before: Vec<_> = pod["initContainers"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&before[0]["name"], &before[0]["restartPolicy"]),
        (&json!("proxy"), &json!("Always")),
        "sidecars start first and stay"
    );
    assert_eq!(
        (&before[1]["name"], before[1].get("restartPolicy")),
        (&json!("seed"), None)
    );
}

#[test]
fn what_cannot_be_is_a_fault_in_its_place() {
    let faults = |container: Value, extra: Value| {
        let state = desired(json!({ "web": service(container, extra) }), json!({}));
        let faults = shape().render(&state).unwrap_err();
        let told = faults.into_iter().map(|fault| (fault.code.to_string(), fault.pointer));
        told.collect::<Vec<_>>()
    };
    let secret = |secret: Value| container(json!({"env": {"S": [{"secret": secret}]}}));
    let recreate = json!({
        "replicas": 2,
        "rollout": {"strategy": "recreate", "steps": [], "deadline": {"secs": 600, "nanos": 0}},
    });
    for (reason, container, extra, code, pointer) in [
        (
            "a user that no kubelet can look up",
            container(json!({"user": "app"})),
            json!({}),
            "UserUnsupported",
            "user",
        ),
        (
            "a whole secret",
            secret(json!({"name": "api"})),
            json!({}),
            "SecretKeyMissing",
            "secrets/S",
        ),
        (
            "a secret's name of another store",
            secret(json!({"name": "prod/db", "key": "url"})),
            json!({}),
            "SecretNameUnsupported",
            "secrets/S",
        ),
        (
            "all at once, of what goes one by one",
            container(MOUNT()),
            recreate,
            "RolloutUnsupported",
            "rollout/strategy",
        ),
    ] {
        let expected = (code.to_string(), format!("/spec/services/web/{pointer}"));
        assert_eq!(faults(container, extra), [expected], "{reason}");
    }
}

#[test]
fn files_of_another_text_are_another_object() {
    let name = |text: &str| {
        let files = json!({"files": [{"path": "/etc/a", "content": text}]});
        let resources = web(container(files), json!({}));
        let id = resources.keys().find(|id| id.kind == "ConfigMap").cloned();
        id.unwrap().name
    };
    assert_eq!(name("one"), name("one"));
    assert_ne!(name("one"), name("two"), "pods of the old revision read the old one");
}

#[test]
fn what_an_image_brings_stays_open_until_it_is_known() {
    let unpinned = json!({"argv": null, "image": {"reference": "registry.example/shop:1", "digest": null, "env": []}});
    let resources = web(container(unpinned), json!({"revision": null}));
    let open: Vec<String> = open_values(one(&resources, "Deployment").unwrap())
        .into_iter()
        .map(|(pointer, _)| pointer)
        .collect();
    for (reason, end) in [
        ("the image", "containers/0/image"),
        ("its command", "containers/0/command"),
        ("the revision in a label", "portolan.dev~1revision"),
        ("the hash of all", "portolan.dev~1applied"),
    ] {
        assert!(open.iter().any(|pointer| pointer.ends_with(end)), "{reason}: {open:?}");
    }
}

/// Read into the type and written again it is the same: no field of it is misspelt or of another type.
fn whole<T: DeserializeOwned + Serialize>(kind: &str, body: &Value) {
    let typed: T = serde_json::from_value(body.clone()).unwrap_or_else(|error| panic!("{kind}: {error}"));
    assert_eq!(serde_json::to_value(typed).unwrap(), *body, "{kind}");
}

#[test]
fn kubernetes_own_types_take_every_object_whole() {
    let files = json!({"files": [{"path": "/etc/a", "content": "x"}]});
    let port = json!([{"name": "http", "port": 8080, "protocol": "http", "public": true}]);
    let job = json!({
        "name": "migrate", "origin": "/spec/jobs/migrate", "revision": "r1", "container": container(json!({})),
        "retries": 2, "timeout": {"secs": 60, "nanos": 0}, "after": [{"service": "web"}],
        "logs": {"maxSizeBytes": 1, "maxFiles": 1, "maxAge": null},
    });
    let more = json!({"ports": port, "replicas": 2});
    let first = service(container(files), more.clone());
    let mut second = service(container(MOUNT()), more);
    second["name"] = json!("db");
    let resources = rendered(json!({ "web": first, "db": second }), json!({ "migrate": job }));
    for resource in resources.values() {
        let (kind, body) = (resource.id.kind.as_str(), &resource.body);
        match kind {
            "ServiceAccount" => whole::<ServiceAccount>(kind, body),
            "ConfigMap" => whole::<ConfigMap>(kind, body),
            "PersistentVolumeClaim" => whole::<PersistentVolumeClaim>(kind, body),
            "Service" => whole::<Service>(kind, body),
            "Deployment" => whole::<Deployment>(kind, body),
            "StatefulSet" => whole::<StatefulSet>(kind, body),
            "Job" => whole::<Job>(kind, body),
            "PodDisruptionBudget" => whole::<PodDisruptionBudget>(kind, body),
            "NetworkPolicy" => whole::<NetworkPolicy>(kind, body),
            other => panic!("{other} is rendered"),
        }
        let applied = &body["metadata"]["annotations"][annotation::APPLIED];
        assert!(applied.is_string(), "{kind} says what was applied");
    }
    let job = one(&resources, "Job").unwrap();
    assert_eq!(
        job["spec"]["activeDeadlineSeconds"], 180,
        "a minute for each of three tries"
    );
}

#[test]
fn who_names_no_probe_is_ready_once_a_port_answers() {
    let port = |protocol: &str| json!([{"name": "main", "port": 5432, "protocol": protocol, "public": false}]);
    let probe = json!({"check": {"tcp": {"port": 1}}, "interval": {"secs": 5, "nanos": 0}, "timeout": {"secs": 1, "nanos": 0}, "threshold": 3});
    let startup = json!({"startup": probe, "ready": null, "live": null});
    for (reason, extra, expected) in [
        (
            "a port that takes connections",
            json!({"ports": port("tcp")}),
            json!(5432),
        ),
        ("one that takes none", json!({"ports": port("udp")}), Value::Null),
        ("none at all", json!({}), Value::Null),
        (
            "a probe of its own",
            json!({"ports": port("tcp"), "probes": startup}),
            Value::Null,
        ),
    ] {
        let resources = web(container(json!({})), extra);
        let main = &pod(&resources, "Deployment")["containers"][0];
        assert_eq!(
            main.pointer("/readinessProbe/tcpSocket/port")
                .cloned()
                .unwrap_or_default(),
            expected,
            "{reason}"
        );
    }
}
