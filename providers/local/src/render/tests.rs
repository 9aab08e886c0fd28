//! What desired states are rendered to, and what of it comes back.

use std::net::Ipv4Addr;

use portolan_core::desired::{DesiredState, DesiredUse, OtherApp};
use portolan_core::manifest::Egress;
use portolan_core::name::OwnerId;
use portolan_core::observation::ObservedResource;
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use portolan_provider_api::Shape;
use portolan_supervisor::protocol::Observed;
use serde_json::{Value, json};

use super::{LocalShape, NETWORK_NAME, kind};
use crate::client::folder_of;
use crate::{TargetSettings, protocols, read};

fn scope() -> Scope {
    Scope {
        namespace: "default".into(),
        app: "shop".into(),
        target: "local".into(),
        owner: OwnerId::from_tag("ours"),
        source: "file".into(),
    }
}

/// One service `web`, with a sidecar that has a port of its own.
fn desired(replicas: u32, protocol: &str) -> DesiredState {
    let container = json!({
        "image": {"reference": "shop:1", "digest": format!("sha256:{}", "a".repeat(64)), "env": []},
        "argv": ["/server"], "workingDir": null, "user": null, "env": {}, "files": [], "mounts": [],
        "resources": {"cpuMillis": null, "memoryBytes": null, "pids": null},
    });
    let probes = json!({"startup": null, "ready": null, "live": null});
    let port = |name: &str, number: u16, protocol: &str| json!({"name": name, "port": number, "protocol": protocol, "public": true});
    let sidecar = json!({"container": container, "ports": [port("stats", 9100, "http")], "probes": probes});
    let web = json!({
        "name": "web", "origin": "/spec/services/web", "revision": "r1", "container": container,
        "sidecars": {"stats": sidecar}, "init": [], "ports": [port("main", 5432, protocol)], "probes": probes,
        "replicas": replicas, "after": [],
        "rollout": {"strategy": "rolling", "steps": [], "deadline": {"secs": 600, "nanos": 0}},
        "stop": {"signal": "SIGTERM", "drain": {"secs": 2, "nanos": 0}, "gracePeriod": {"secs": 10, "nanos": 0}},
        "logs": {"maxSizeBytes": 10 << 20, "maxFiles": 3, "maxAge": null},
    });
    let state = json!({"scope": scope(), "services": {"web": web}, "jobs": {}, "volumes": {}});
    serde_json::from_value(state).unwrap()
}

fn shape() -> LocalShape {
    shape_with(Egress::Nat)
}

fn shape_with(egress: Egress) -> LocalShape {
    let target = TargetSettings {
        publish_address: Ipv4Addr::LOCALHOST,
        egress,
        secret_files: Vec::new(),
    };
    LocalShape::new(target, Some(1 << 30))
}

#[test]
fn the_way_out_is_the_targets() {
    let network = |egress| {
        let resources = shape_with(egress).render(&desired(1, "http")).unwrap();
        resources[&ResourceId::new(kind::NETWORK, NETWORK_NAME)].body.clone()
    };
    assert_eq!(network(Egress::Nat)["egress"], "nat");
    assert_eq!(network(Egress::None)["egress"], "none");
}

/// Each side names the other's folder of the runtime directory, as the client that starts its supervisor does.
#[test]
fn what_apps_use_of_each_other_is_named_by_their_folders() {
    let mut desired = desired(1, "http");
    let catalog = OtherApp {
        namespace: "backend".into(),
        app: "catalog".into(),
    };
    let used = DesiredUse {
        of: catalog.clone(),
        service: "api".into(),
        port: 8080,
    };
    desired.uses = [("products".to_string(), used)].into();
    desired.services.get_mut("web").unwrap().allow = vec![catalog.clone()];
    let resources = shape().render(&desired).unwrap();
    let folder = folder_of(&catalog.namespace, &catalog.app);
    assert_eq!(
        resources[&ResourceId::new(kind::NETWORK, NETWORK_NAME)].body["uses"],
        json!([{"name": "products", "app": folder, "service": "api", "port": 8080}])
    );
    assert_eq!(
        resources[&ResourceId::new(kind::SERVICE, "web")].body["allow"],
        json!([folder])
    );
}

#[test]
fn more_replicas_than_fit_are_a_fault_of_the_manifest() {
    assert!(shape().render(&desired(90, "http")).is_ok(), "as many as there may be");
    let faults = shape().render(&desired(91, "http")).unwrap_err();
    let told: Vec<_> = faults
        .iter()
        .map(|fault| (fault.code.as_str(), fault.pointer.as_str()))
        .collect();
    assert_eq!(told, [("OutOfRange", "/spec/services/web/scale/min")]);
    assert!(
        faults[0].hint.as_ref().is_some_and(|hint| hint.contains("90")),
        "with the limit"
    );
}

#[test]
fn an_update_without_room_for_one_more_stops_the_old_replicas_first() {
    let strategy = |memory_bytes: Option<u64>, replicas| {
        let mut desired = desired(replicas, "http");
        let web = desired.services.get_mut("web").unwrap();
        web.container.resources.memory_bytes = memory_bytes;
        let resources = shape().render(&desired).unwrap();
        resources[&ResourceId::new(kind::SERVICE, "web")].body["rollout"]["strategy"].clone()
    };
    for (reason, memory_bytes, replicas, expected) in [
        ("no limit, no promise", None, 5, "rolling"),
        ("three of 256 MiB fill 768 of 1024", Some(256 << 20), 3, "rolling"),
        ("four fill it", Some(256 << 20), 4, "recreate"),
        ("one that fills more than half", Some(600 << 20), 1, "recreate"),
    ] {
        assert_eq!(strategy(memory_bytes, replicas), expected, "{reason}");
    }
}

/// What an observation shows once `body` was put.
fn put_and_observed(mut body: Value) -> ObservedResource {
    let mut labels = read::labels(&scope(), 1);
    labels.extend(protocols::take(&mut body));
    // What an image's unpacking would have closed.
    for container in ["/pod/main", "/pod/sidecars/0"] {
        body.pointer_mut(container).unwrap()["layers"] = json!(["/layer"]);
    }
    body["kind"] = json!("service");
    body["labels"] = json!(labels);
    let told = json!({"object": body, "deleting": false, "state": {"phase": "ready"}});
    let seen: Observed = serde_json::from_value(told).expect("the supervisor takes it");
    read::observed(&scope(), &seen)
}

#[test]
fn the_protocol_of_a_port_is_a_field_of_its_own() {
    let id = ResourceId::new(kind::SERVICE, "web");
    let render = |protocol| shape().render(&desired(1, protocol)).unwrap().remove(&id).unwrap();
    let (tcp, http) = (render("tcp"), render("http"));
    let protocols = tcp.body["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| port["protocol"].as_str().unwrap());
    assert_eq!(
        protocols.collect::<Vec<_>>(),
        ["tcp", "http"],
        "the service's, then the sidecar's"
    );

    let seen = put_and_observed(tcp.body.clone());
    let changes = |resource| {
        let changes = shape().diff(resource, &seen).into_iter();
        let changes = changes.filter(|change| !change.field.ends_with(".layers"));
        changes.map(|change| change.field).collect::<Vec<_>>()
    };
    assert_eq!(changes(&tcp), [""; 0], "what was put comes back");
    assert_eq!(changes(&http), ["ports.main.protocol"], "and another word is a change");
}
