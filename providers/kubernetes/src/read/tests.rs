//! Objects as an API server shows them, and what is made of them.

use portolan_core::name::OwnerId;
use portolan_core::observation::Ownership;
use portolan_core::plan::Scope;
use serde_json::{Value, json};

use super::*;

fn scope() -> Scope {
    Scope {
        namespace: "default".into(),
        app: "shop".into(),
        target: "prod".into(),
        owner: OwnerId::from_tag("ours"),
        source: "file".into(),
    }
}

fn object(owner: &str, source: &str) -> Value {
    json!({
        "metadata": {
            "name": "shop-web", "namespace": "default", "uid": "1", "resourceVersion": "7",
            "labels": { label::OWNER: owner, label::GENERATION: "4" },
            "annotations": { annotation::SOURCE: source },
        },
        "spec": { "replicas": 2 },
        "status": { "readyReplicas": 1 },
    })
}

#[test]
fn whose_it_is_stands_in_its_tags() {
    let other = Ownership::OtherSource { source: "git".into() };
    for (reason, owner, source, expected) in [
        ("ours", "ours", "file", Ownership::Ours { generation: 4 }),
        ("of another source", "ours", "git", other),
        ("of another app", "theirs", "file", Ownership::Foreign),
    ] {
        assert_eq!(ownership(&scope(), &object(owner, source)), expected, "{reason}");
    }
    assert_eq!(
        ownership(&scope(), &json!({"metadata": {}})),
        Ownership::Foreign,
        "untagged"
    );
}

#[test]
fn an_etag_is_another_one_after_a_write_and_no_report() {
    let seen = object("ours", "file");
    let changed = |pointer: &str, key: &str, value: Value| {
        let mut object = seen.clone();
        object.pointer_mut(pointer).unwrap()[key] = value;
        object
    };
    for (reason, object, is_same) in [
        ("a report", changed("/status", "readyReplicas", json!(2)), true),
        (
            "another version",
            changed("/metadata", "resourceVersion", json!("8")),
            true,
        ),
        (
            "a controller's note",
            changed("/metadata/annotations", "deployment.kubernetes.io/revision", json!("3")),
            true,
        ),
        (
            "our note",
            changed("/metadata/annotations", annotation::HELD, json!("{}")),
            true,
        ),
        ("a field", changed("/spec", "replicas", json!(3)), false),
        (
            "a label",
            changed("/metadata/labels", label::GENERATION, json!("5")),
            false,
        ),
        (
            "somebody's note",
            changed("/metadata/annotations", "somebody", json!("here")),
            false,
        ),
        (
            "another object of that name",
            changed("/metadata", "uid", json!("2")),
            false,
        ),
    ] {
        assert_eq!(etag(&object) == etag(&seen), is_same, "{reason}");
    }
}

#[test]
fn endpoints_are_urls_once_a_balancer_has_an_address() {
    let service = |ingress: Value| {
        json!({
            "metadata": { "name": "web", "namespace": "shop" },
            "spec": { "ports": [
                { "port": 80, "protocol": "TCP", "appProtocol": "http" },
                { "port": 53, "protocol": "UDP" },
            ]},
            "status": { "loadBalancer": { "ingress": ingress } },
        })
    };
    for (reason, ingress, expected) in [
        ("none yet", json!([]), None),
        (
            "an address",
            json!([{ "ip": "192.0.2.1" }]),
            Some(json!(["http://192.0.2.1:80", "udp://192.0.2.1:53"])),
        ),
        (
            "a name before an address",
            json!([{ "ip": "192.0.2.1", "hostname": "lb.example" }]),
            Some(json!(["http://lb.example:80", "udp://lb.example:53"])),
        ),
    ] {
        let outputs = outputs(&SERVICE, &service(ingress));
        assert_eq!(outputs.get(ENDPOINTS).cloned(), expected, "{reason}");
        assert_eq!(outputs["host"], "web.shop.svc", "{reason}");
    }
}

#[test]
fn deletes_go_against_what_a_pod_needs() {
    let workload = json!({ "spec": { "template": { "spec": {
        "serviceAccountName": "shop",
        "volumes": [
            { "name": "data", "persistentVolumeClaim": { "claimName": "shop-data" } },
            { "name": "files", "configMap": { "name": "shop-files" } },
        ],
    }}}});
    let needs: Vec<String> = depends_on(&workload).iter().map(ToString::to_string).collect();
    let expected = [
        "ConfigMap/shop-files",
        "PersistentVolumeClaim/shop-data",
        "ServiceAccount/shop",
    ];
    assert_eq!(needs, expected);
}
