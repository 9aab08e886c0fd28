//! The roles that are shipped: each lets the operator do what an App can want of it, and nothing besides.

use std::collections::BTreeSet;

use portolan_cluster::Entry;
use serde_json::{Value, json};

use crate::life::told;
use crate::world::{ACCOUNT, DIGEST, Shipped, World, app, app_in, patience, target, until};

/// All kinds that an App becomes.
pub const KINDS: &str = "deployments,services,configmaps,serviceaccounts,jobs,cronjobs,statefulsets,persistentvolumeclaims,\
                     poddisruptionbudgets,horizontalpodautoscalers,ingresses,networkpolicies,httproutes,scaledobjects,\
                     resourceclaimtemplates,externalsecrets";

/// Those that somebody has to install.
pub const INSTALLED: &[&str] = &[
    "httproutes",
    "scaledobjects",
    "resourceclaimtemplates",
    "externalsecrets",
];

/// One of several asks for all that one alone does.
const SHARDS: &[&str] = &["--shards", "2"];

/// What of an object is asked for: group, resource and verb.
type Call = (String, String, String);

#[test]
fn the_role_for_a_cluster_is_what_is_asked_for() {
    let test = "the_role_for_a_cluster_is_what_is_asked_for";
    let Some(world) = World::of(test, Shipped::Cluster) else {
        return;
    };
    let running = world.operator_with("one", SHARDS);
    asks_for_everything(&world, "team");
    assert_eq!(running.stop(), Some(0));
    is_all_of(
        &world,
        &[
            &["clusterrole", "portolan-controller"],
            &["role", "-n", "portolan-system", "portolan-controller"],
        ],
    );
}

#[test]
fn an_operator_for_one_namespace_keeps_its_apps_and_no_others_by_its_own_role() {
    let test = "an_operator_for_one_namespace_keeps_its_apps_and_no_others_by_its_own_role";
    let Some(world) = World::of(test, Shipped::Namespaced) else {
        return;
    };
    world.apply(&app("elsewhere", 1));
    let running = world.operator_with("one", SHARDS);
    asks_for_everything(&world, "apps");
    assert_eq!(running.stop(), Some(0));
    let elsewhere = world.get(&["-n", "team", "app", "elsewhere"]).unwrap();
    assert!(elsewhere["status"]["conditions"].is_null() && elsewhere["metadata"]["finalizers"].is_null());
    assert_eq!(world.get(&["-n", "team", KINDS, "-l", "portolan.dev/app"]), None);
    is_all_of(
        &world,
        &[
            &["role", "-n", "apps", "portolan-controller"],
            &["clusterrole", "portolan-controller-targets"],
        ],
    );
}

fn asks_for_everything(world: &World, namespace: &str) {
    prepare(world, namespace);
    lives(world, namespace, || ());
}

/// All that an App of every kind needs.
pub fn prepare(world: &World, namespace: &str) {
    world.plane.install_definitions().unwrap();
    world.apply(&by_gateway_and_claim());
    world.apply(&by_driver());
    world.apply(&json!({
        "apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass",
        "metadata": { "name": "vault", "namespace": namespace }, "spec": { "provider": "vault" },
    }));
    world.apply(&json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": { "name": "edge", "namespace": namespace },
        "spec": { "gatewayClassName": "some", "listeners": [{ "name": "http", "protocol": "HTTP", "port": 80 }] },
    }));
    world.apply(&json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "volume" },
        "spec": {
            "capacity": { "storage": "10Gi" }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": "/volume" },
        },
    }));
    world.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "token", "namespace": namespace },
        "stringData": { "key": "open-sesame" },
    }));
}

/// An App of every kind comes, is looked after and goes, and another one fails; at last it is there once more, for
/// `at_rest` to look at.
pub fn lives(world: &World, namespace: &str, at_rest: impl FnOnce()) {
    world.apply(&of_every_kind(namespace));
    world.is_ready_in(namespace, "all");
    takes_labels(world, namespace);
    until("what was taken away is back", || {
        let found = world
            .get(&["-n", namespace, KINDS, "-l", "portolan.dev/app=all"])
            .unwrap();
        let mut all = found["items"].as_array().unwrap().iter();
        all.all(|one| one["metadata"]["labels"]["app.kubernetes.io/instance"].is_string())
    });
    fails(world, namespace);
    let timeout = format!("--timeout={}s", patience().as_secs());
    let mut delete = vec!["delete", "app", "-n", namespace, "all", "failing", timeout.as_str()];
    world.plane.kubectl(&delete).unwrap();
    // A second of its name takes up the claim that the first has left.
    world.apply(&of_every_kind(namespace));
    world.is_ready_in(namespace, "all");
    at_rest();
    delete.retain(|word| *word != "failing");
    world.plane.kubectl(&delete).unwrap();
}

/// As somebody may do by hand.
pub fn takes_labels(world: &World, namespace: &str) {
    let of_all = ["-l", "portolan.dev/app=all", "app.kubernetes.io/instance-"];
    let label = [&["label", "-n", namespace, KINDS][..], &of_all].concat();
    world.plane.kubectl(&label).unwrap();
}

pub fn of_every_kind(namespace: &str) -> Value {
    let mut all = app_in(namespace, "all", 2);
    let image = format!("registry.example/other@{DIGEST}");
    let services = &mut all["spec"]["services"];
    services["web"]["files"] = json!([{ "path": "/etc/web.conf", "content": "on" }]);
    services["web"]["secrets"] = json!({ "TOKEN": { "name": "token", "key": "key" } });
    services["db"] = json!({ "image": image, "volumes": [{ "name": "data", "path": "/data" }] });
    services["db"]["runtime"] = json!("default");
    services["outside"] = json!({
        "image": image, "ports": [{ "name": "http", "port": 8080 }], "domains": [{ "host": "shop.example.com" }],
        "resources": { "cpu": "100m" }, "scale": { "min": 1, "max": 3, "on": [{ "cpu": "70%" }] },
    });
    all["spec"]["jobs"] =
        json!({ "migrate": { "image": image }, "nightly": { "image": image, "schedule": "0 3 * * *" } });
    all["spec"]["bindings"] = json!({ "orders": { "type": "rabbitmq" } });
    all["spec"]["targets"] = json!(["here", "edge", "sealed"]);
    // No pod of it runs: nothing here routes, fills a claim or asks a queue.
    let edge = json!({
        "image": image, "ports": [{ "name": "http", "port": 8080 }], "domains": [{ "host": "shop.example.com" }],
        "secrets": { "TOKEN": { "name": "prod/token", "key": "key" } },
        "resources": { "gpu": {} }, "scale": { "min": 0, "max": 3, "on": [{ "queue": { "binding": "orders", "length": 5 } }] },
    });
    let gone = json!({ "web": null, "db": null, "outside": edge });
    let mut sealed = gone.clone();
    sealed["outside"] = json!({
        "image": image, "domains": null, "resources": null, "scale": { "min": 0, "max": null, "on": null },
        "secrets": { "TOKEN": { "name": "sealed", "key": "key" } },
    });
    let jobs = json!({ "migrate": null, "nightly": null });
    all["spec"]["overrides"] = json!({
        "edge": { "services": gone, "jobs": jobs }, "sealed": { "services": sealed, "jobs": jobs },
    });
    all
}

/// This cluster once more, as one that has a Gateway and a driver for GPUs.
pub fn by_gateway_and_claim() -> Value {
    let mut edge = target("edge");
    edge["spec"]["kubernetes"] =
        json!({ "gateway": { "name": "edge" }, "gpus": "resourceClaim", "secretStore": { "name": "vault" } });
    edge["spec"]["bindings"] = json!({ "orders": { "url": { "value": "amqp://queue.example:5672" } } });
    edge
}

/// And as one whose secrets a driver brings.
pub fn by_driver() -> Value {
    let mut sealed = target("sealed");
    sealed["spec"]["kubernetes"] = json!({ "secretProviderClass": "vault" });
    sealed["spec"]["bindings"] = json!({ "orders": { "url": { "value": "amqp://queue.example:5672" } } });
    sealed
}

/// What its containers said last is asked for.
fn fails(world: &World, namespace: &str) {
    world.apply(&app_in(namespace, "failing", 1));
    until("its failure is told", || {
        crash(world, namespace);
        world
            .condition_in(namespace, "failing", "Stalled")
            .starts_with("True CrashLoopBackOff")
    });
}

/// What its pods come to.
pub fn crash(world: &World, namespace: &str) {
    let pods = world.get(&["-n", namespace, "pods", "-l", "portolan.dev/app=failing"]);
    for pod in pods.iter().flat_map(|pods| pods["items"].as_array().unwrap()) {
        let (name, container) = (pod["metadata"]["name"].as_str().unwrap(), &pod["spec"]["containers"][0]);
        let status = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }], "containerStatuses": [{
                "name": container["name"], "image": container["image"], "imageID": "",
                "ready": false, "restartCount": 2,
                "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off" } },
                "lastState": { "terminated": { "exitCode": 3, "reason": "Error" } },
            }] } });
        let patch = status.to_string();
        let patch = [
            "patch",
            "pod",
            "-n",
            namespace,
            name,
            "--subresource=status",
            "-p",
            &patch,
        ];
        // It may have been replaced meanwhile.
        _ = world.plane.kubectl(&patch);
    }
}

/// Whether what was asked for is what these roles allow: nothing was denied, and no rule is there for nobody.
fn is_all_of(world: &World, roles: &[&[&str]]) {
    let of_it = world.plane.audit().unwrap().into_iter();
    let asked: Vec<Entry> = of_it.filter(|one| one.user == ACCOUNT).collect();
    let denied: Vec<Entry> = asked.iter().filter(|one| one.code == 403).cloned().collect();
    assert!(denied.is_empty(), "{:#?}", told(&denied));
    let asked: BTreeSet<Call> = asked
        .into_iter()
        .map(|one| (one.group, one.resource, one.verb))
        .collect();
    let roles = roles.iter().map(|role| world.get(role).unwrap());
    let allowed: BTreeSet<Call> = roles.flat_map(|role| calls_of(&role["rules"])).collect();
    let idle: Vec<&Call> = allowed.difference(&asked).collect();
    assert!(idle.is_empty(), "nobody asks for {idle:#?}");
}

fn calls_of(rules: &Value) -> BTreeSet<Call> {
    let words = |rule: &Value, field: &str| -> Vec<String> {
        let words = rule[field].as_array().unwrap().iter();
        words.map(|word| word.as_str().unwrap().to_string()).collect()
    };
    let mut calls = BTreeSet::new();
    for rule in rules.as_array().unwrap() {
        for group in words(rule, "apiGroups") {
            for resource in words(rule, "resources") {
                let verbs = words(rule, "verbs").into_iter();
                calls.extend(verbs.map(|verb| (group.clone(), resource.clone(), verb)));
            }
        }
    }
    calls
}
