//! Tables of Deployments, and what a manifest says of them.

use portolan_core::parse::{SourceFile, parse_files};
use serde_json::{Value, json};

use super::*;

fn settings() -> KubernetesSettings {
    KubernetesSettings {
        namespace: Some("shops".into()),
        ..KubernetesSettings::default()
    }
}

/// As an API server shows it, with its defaults.
fn deployment(container: Value, pod: Value) -> Value {
    let mut containers = json!({
        "name": "web", "image": "registry.example/web:1", "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "resources": {},
    });
    let mut spec = json!({
        "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30, "securityContext": {},
    });
    merge(&mut containers, container);
    merge(&mut spec, pod);
    let beside = spec["containers"].take();
    spec["containers"] = json!([containers]);
    if let Value::Array(mut beside) = beside {
        spec["containers"].as_array_mut().unwrap().append(&mut beside);
    }
    json!({
        "metadata": { "name": "web", "namespace": "shops" },
        "spec": {
            "replicas": 1, "progressDeadlineSeconds": 600, "strategy": { "type": "RollingUpdate" },
            "selector": { "matchLabels": { "app": "web" } },
            "template": { "metadata": { "labels": { "app": "web" } }, "spec": spec },
        },
    })
}

fn merge(into: &mut Value, extra: Value) {
    for (key, value) in extra.as_object().cloned().unwrap_or_default() {
        into[key] = value;
    }
}

fn found(deployment: Value) -> Found {
    Found {
        deployments: vec![deployment],
        config_maps: vec![
            json!({ "metadata": { "name": "settings" }, "data": { "web.conf": "on", "more.conf": "off" } }),
        ],
        ..Found::default()
    }
}

/// What the manifest says of the one service; it is one that the parser takes.
fn read(found: &Found) -> (Value, Vec<String>) {
    let imported = manifest(&settings(), "shop", found);
    let text = format!("{}\n---\n{}\n", imported.app, imported.target);
    let file = SourceFile {
        path: "portolan.yaml".into(),
        bytes: text.into_bytes(),
    };
    let (_, faults) = parse_files(vec![file]);
    assert!(faults.is_empty(), "{faults:#?}\n{:#}", imported.app);
    (imported.app["spec"]["services"]["web"].clone(), imported.left)
}

#[test]
fn what_a_manifest_has_a_word_for_is_in_it() {
    let volumes = json!([
        { "name": "data", "persistentVolumeClaim": { "claimName": "data" } },
        { "name": "conf", "configMap": { "name": "settings" } },
    ]);
    for (reason, container, pod, expected) in [
        (
            "its image alone",
            json!({}),
            json!({}),
            json!({ "image": "registry.example/web:1" }),
        ),
        (
            "what it runs, and as whom",
            json!({ "command": ["/web"], "args": ["-v"], "workingDir": "/srv", "securityContext": { "runAsUser": 1000 } }),
            json!({ "securityContext": { "runAsGroup": 2000 } }),
            json!({ "command": ["/web"], "args": ["-v"], "workingDir": "/srv", "user": "1000:2000" }),
        ),
        (
            "variables and secrets",
            json!({ "env": [
                { "name": "A", "value": "1" }, { "name": "B", "value": "${x}" }, { "name": "EMPTY" },
                { "name": "T", "valueFrom": { "secretKeyRef": { "name": "admin", "key": "token" } } },
            ] }),
            json!({}),
            json!({ "env": { "A": "1", "B": "$${x}", "EMPTY": "" }, "secrets": { "T": { "name": "admin", "key": "token" } } }),
        ),
        (
            "limits",
            json!({ "resources": { "limits": { "cpu": "500m", "memory": "64Mi" }, "requests": { "cpu": "500m", "memory": "64Mi" } } }),
            json!({}),
            json!({ "resources": { "cpu": "500m", "memory": "64Mi" } }),
        ),
        (
            "probes, by the number of their port",
            json!({
                "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
                "readinessProbe": { "httpGet": { "path": "/ready", "port": "http", }, "periodSeconds": 2, "timeoutSeconds": 1, "failureThreshold": 3 },
            }),
            json!({}),
            json!({
                "ports": [{ "name": "http", "port": 8080, "protocol": "http" }],
                "health": { "ready": { "http": { "path": "/ready", "port": 8080 }, "interval": "2s", "timeout": "1s", "threshold": 3 } },
            }),
        ),
        (
            "files of a ConfigMap, one or all of it",
            json!({ "volumeMounts": [{ "name": "conf", "mountPath": "/etc/one.conf", "subPath": "web.conf" }, { "name": "conf", "mountPath": "/etc/all" }] }),
            json!({ "volumes": volumes }),
            json!({ "files": [
                { "path": "/etc/one.conf", "content": "on" },
                { "path": "/etc/all/more.conf", "content": "off" }, { "path": "/etc/all/web.conf", "content": "on" },
            ] }),
        ),
        (
            "how it stops",
            json!({ "lifecycle": { "preStop": { "sleep": { "seconds": 5 } } } }),
            json!({ "terminationGracePeriodSeconds": 20 }),
            json!({ "stop": { "drain": "5s", "gracePeriod": "15s" } }),
        ),
        (
            "containers beside it and before it",
            json!({}),
            json!({
                "containers": [{ "name": "proxy", "image": "registry.example/proxy:1" }],
                "initContainers": [
                    { "name": "stats", "image": "registry.example/stats:1", "restartPolicy": "Always" },
                    { "name": "seed", "image": "registry.example/seed:1" },
                ],
            }),
            json!({
                "sidecars": { "proxy": { "image": "registry.example/proxy:1" }, "stats": { "image": "registry.example/stats:1" } },
                "init": [{ "name": "seed", "image": "registry.example/seed:1" }],
            }),
        ),
    ] {
        let (service, left) = read(&found(deployment(container, pod)));
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(service[field], *value, "{reason}: {field}");
        }
        assert_eq!(left, [""; 0], "{reason}");
    }
}

#[test]
fn what_it_has_none_for_is_told() {
    for (place, container, pod) in [
        (
            "spec.template.spec.tolerations",
            json!({}),
            json!({ "tolerations": [{ "operator": "Exists" }] }),
        ),
        (
            "spec.template.spec.hostNetwork",
            json!({}),
            json!({ "hostNetwork": true }),
        ),
        (
            "container `web`.envFrom",
            json!({ "envFrom": [{ "secretRef": { "name": "all" } }] }),
            json!({}),
        ),
        (
            "container `web`.env.IP",
            json!({ "env": [{ "name": "IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }] }),
            json!({}),
        ),
        (
            "container `web`.env.URL",
            json!({ "env": [{ "name": "URL", "value": "http://$(HOST)" }] }),
            json!({}),
        ),
        (
            "container `web`.securityContext.privileged",
            json!({ "securityContext": { "privileged": true } }),
            json!({}),
        ),
        (
            "container `web`.resources.requests.cpu",
            json!({ "resources": { "requests": { "cpu": "100m" } } }),
            json!({}),
        ),
        (
            "container `web`.volumeMounts./tmp",
            json!({ "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp" }] }),
            json!({ "volumes": [{ "name": "tmp", "emptyDir": {} }] }),
        ),
        (
            "container `web`.livenessProbe.initialDelaySeconds",
            json!({ "livenessProbe": { "tcpSocket": { "port": 80 }, "initialDelaySeconds": 9, "periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3 } }),
            json!({}),
        ),
    ] {
        let (_, left) = read(&found(deployment(container, pod)));
        assert_eq!(left, [format!("Deployment/web: {place}")]);
    }
}

#[test]
fn claims_say_how_much_they_hold_and_what_else_they_are_is_told() {
    let volumes = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }]);
    let mounts = json!([{ "name": "data", "mountPath": "/data" }]);
    let mut found = found(deployment(
        json!({ "volumeMounts": mounts }),
        json!({ "volumes": volumes }),
    ));
    found.deployments[0]["spec"]["template"]["metadata"]["labels"]["team"] = json!("checkout");
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "5Gi" } },
        "volumeMode": "Filesystem", "volumeName": "pv-1",
    });
    let labels = "Deployment/web: spec.template.metadata.labels.team";
    let data = "Deployment/web: container `web`: the data in claim data";
    found.claims = vec![json!({ "metadata": { "name": "data" }, "spec": spec })];
    let (web, left) = read(&found);
    assert_eq!(
        web["volumes"],
        json!([{ "name": "data", "path": "/data", "size": "5Gi" }])
    );
    assert_eq!(left, [labels, data]);

    spec["accessModes"] = json!(["ReadWriteMany"]);
    spec["storageClassName"] = json!("fast");
    found.claims = vec![json!({ "metadata": { "name": "data" }, "spec": spec })];
    let (_, left) = read(&found);
    let of_claim = |field: &str| format!("Deployment/web: PersistentVolumeClaim/data: spec.{field}");
    let (class, modes) = (of_claim("storageClassName"), of_claim("accessModes"));
    assert_eq!(left, [labels, class.as_str(), modes.as_str(), data]);
}

#[test]
fn services_and_autoscalers_say_the_rest() {
    let mut found = found(deployment(
        json!({ "ports": [{ "containerPort": 8080, "protocol": "TCP" }] }),
        json!({}),
    ));
    let service = |name: &str, sort: &str, selector: Value, port: Value| json!({ "metadata": { "name": name }, "spec": { "type": sort, "selector": selector, "ports": [port] } });
    found.services = vec![
        service(
            "web",
            "ClusterIP",
            json!({ "app": "web" }),
            json!({ "port": 80, "targetPort": 8080, "appProtocol": "http" }),
        ),
        service(
            "public",
            "LoadBalancer",
            json!({ "app": "web" }),
            json!({ "port": 8080 }),
        ),
        service(
            "other",
            "LoadBalancer",
            json!({ "app": "other" }),
            json!({ "port": 9090 }),
        ),
    ];
    found.scalers = vec![json!({
        "metadata": { "name": "web" },
        "spec": {
            "scaleTargetRef": { "kind": "Deployment", "name": "web" }, "minReplicas": 2, "maxReplicas": 5,
            "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 70 } } }],
        },
    })];
    found.deployments[0]["spec"]["template"]["spec"]["containers"][0]["resources"] =
        json!({ "limits": { "cpu": "1" } });
    let (web, left) = read(&found);
    assert_eq!(
        web["ports"],
        json!([{ "name": "port-8080", "port": 8080, "protocol": "http", "public": true }])
    );
    assert_eq!(web["scale"], json!({ "min": 2, "max": 5, "on": [{ "cpu": "70%" }] }));
    assert_eq!(
        left,
        ["Deployment/web: Service/web: port 80 leads to 8080, which is its number for others then"]
    );
}
