//! The supervisor's words -> what core calls an observation. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use portolan_core::name::OwnerId;
use portolan_core::observation::{Failure, ObservedResource, Ownership, Replicas, ResourceState};
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use portolan_supervisor::protocol::{Endpoint, ObjectState, Observed};
use portolan_supervisor::spec::{Kind, Labels, Object, PodSpec};
use serde_json::{Value, json};

use crate::explain;
use crate::render::{NETWORK_NAME, body_of, kind};

/// The labels that every object of ours bears.
pub mod label {
    pub const OWNER: &str = "portolan.dev/owner";
    pub const SOURCE: &str = "portolan.dev/source";
    pub const GENERATION: &str = "portolan.dev/generation";
}

/// The labels of what is written for `scope` in `generation`.
pub fn labels(scope: &Scope, generation: u64) -> Labels {
    Labels::from([
        (label::OWNER.to_string(), scope.owner.to_string()),
        (label::SOURCE.to_string(), scope.source.clone()),
        (label::GENERATION.to_string(), generation.to_string()),
    ])
}

pub fn kind_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Network => kind::NETWORK,
        Kind::Volume => kind::VOLUME,
        Kind::Job => kind::JOB,
        Kind::Service => kind::SERVICE,
    }
}

/// One object of the supervisor.
pub fn observed(scope: &Scope, seen: &Observed) -> ObservedResource {
    let object = &seen.object;
    ObservedResource {
        id: ResourceId::new(kind_of(object.kind()), object.name()),
        native_id: format!("{}/{}/{}", scope.namespace, scope.app, object.name()),
        body: body(object),
        ownership: ownership(scope, object.labels()),
        state: state(seen),
        revision: Some(object.revision().to_string()).filter(|revision| !revision.is_empty()),
        outputs: outputs(seen),
        depends_on: depends_on(object),
        claims: claims(object),
        holds_data: object.kind() == Kind::Volume,
        retained: false,
        replicas: replicas(seen),
    }
}

/// A folder of data, or the records of a job, that an earlier delete has left.
pub fn retained(scope: &Scope, kind: &str, name: &str) -> ObservedResource {
    ObservedResource {
        id: ResourceId::new(kind, name),
        native_id: format!("{}/{}/{name}", scope.namespace, scope.app),
        body: Value::Null,
        ownership: Ownership::Ours { generation: 0 },
        state: ResourceState::Ready,
        revision: None,
        outputs: BTreeMap::new(),
        depends_on: Vec::new(),
        claims: Vec::new(),
        holds_data: true,
        retained: true,
        replicas: None,
    }
}

/// An image that lies unpacked in the local store.
pub fn image(name: &str, layers: Vec<std::path::PathBuf>) -> ObservedResource {
    ObservedResource {
        id: ResourceId::new(kind::IMAGE, name),
        native_id: name.to_string(),
        body: json!({ "digest": name }),
        // The store belongs to all apps of the machine: an image in it is whoever's needs it.
        ownership: Ownership::Ours { generation: 0 },
        state: ResourceState::Ready,
        revision: None,
        outputs: BTreeMap::from([(crate::render::LAYERS.to_string(), json!(layers))]),
        depends_on: Vec::new(),
        claims: Vec::new(),
        holds_data: false,
        retained: false,
        replicas: None,
    }
}

fn body(object: &Object) -> Value {
    match object {
        Object::Network(spec) => body_of(spec),
        Object::Volume(spec) => body_of(spec),
        Object::Job(spec) => body_of(spec),
        Object::Service(spec) => body_of(spec),
    }
}

fn ownership(scope: &Scope, labels: &Labels) -> Ownership {
    let of = |key: &str| labels.get(key).map(String::as_str);
    match (of(label::OWNER).map(OwnerId::from_tag), of(label::SOURCE)) {
        (Some(owner), Some(source)) if owner == scope.owner && source == scope.source => {
            let generation = of(label::GENERATION).and_then(|text| text.parse().ok());
            Ownership::Ours {
                generation: generation.unwrap_or(0),
            }
        }
        (Some(owner), Some(source)) if owner == scope.owner => Ownership::OtherSource {
            source: source.to_string(),
        },
        _ => Ownership::Foreign,
    }
}

fn state(seen: &Observed) -> ResourceState {
    match &seen.state {
        _ if seen.deleting => ResourceState::Deleting,
        ObjectState::Progressing { message } => ResourceState::Progressing {
            message: message.clone(),
        },
        ObjectState::Ready if seen.object.kind() == Kind::Job => ResourceState::Completed,
        ObjectState::Ready => ResourceState::Ready,
        ObjectState::Failed(failure) => ResourceState::Failed {
            failure: Failure {
                reason: failure.reason.clone(),
                message: failure.message.clone(),
                evidence: failure.evidence.clone(),
                hint: explain::hint(&failure.reason).map(String::from),
            },
        },
    }
}

fn outputs(seen: &Observed) -> BTreeMap<String, Value> {
    let mut outputs = BTreeMap::new();
    if let Some(volume) = &seen.volume {
        outputs.insert("path".to_string(), json!(volume.path));
    }
    if let (Object::Service(spec), Some(status)) = (&seen.object, &seen.service) {
        let urls: Vec<String> = status.endpoints.iter().filter_map(url).collect();
        outputs.insert("host".to_string(), json!(spec.name));
        outputs.insert("address".to_string(), json!(status.address));
        outputs.insert("endpoints".to_string(), json!(urls));
    }
    if let Some(code) = seen.job.as_ref().and_then(|job| job.exit_code) {
        outputs.insert("exitCode".to_string(), json!(code));
    }
    outputs
}

/// A published port as a URL. The supervisor forwards bytes; that a port speaks HTTP is what nearly every one does, and
/// what a person pastes into a browser. A port on all addresses is told by the one that always works here.
fn url(endpoint: &Endpoint) -> Option<String> {
    let mut address = endpoint.published?;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST);
    }
    Some(format!("http://{address}"))
}

fn depends_on(object: &Object) -> Vec<ResourceId> {
    let pod: &PodSpec = match object {
        Object::Service(spec) => &spec.pod,
        Object::Job(spec) => &spec.pod,
        Object::Network(_) | Object::Volume(_) => return Vec::new(),
    };
    let volumes = pod.containers().flat_map(|container| &container.volumes);
    let volumes = volumes.map(|mount| ResourceId::new(kind::VOLUME, &mount.name));
    let mut needs: Vec<ResourceId> = volumes.chain([ResourceId::new(kind::NETWORK, NETWORK_NAME)]).collect();
    needs.sort();
    needs.dedup();
    needs
}

fn claims(object: &Object) -> Vec<String> {
    let Object::Service(spec) = object else {
        return Vec::new();
    };
    let published = spec.ports.iter().filter_map(|port| port.publish);
    published
        .map(|publish| format!("host-port/{}:{}", publish.address, publish.port))
        .collect()
}

fn replicas(seen: &Observed) -> Option<Replicas> {
    let status = seen.service.as_ref()?;
    Some(Replicas {
        wanted: status.wanted,
        ready: status.ready,
        updated: status.updated,
        restarts: status.restarts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope {
            namespace: "default".into(),
            app: "shop".into(),
            target: "local".into(),
            owner: OwnerId::from_tag("ours"),
            source: "file".into(),
        }
    }

    /// A service as the supervisor tells of it over its socket.
    fn service(state: Value, published: &str) -> Observed {
        let main = json!({"name": "main", "layers": ["/layer"], "command": ["/server"]});
        let labels = json!({label::OWNER: "ours", label::SOURCE: "file", label::GENERATION: "2"});
        let told = json!({
            "object": {
                "kind": "service", "name": "web", "revision": "r2", "labels": labels, "replicas": 2, "pod": {"main": main},
                "ports": [{"name": "http", "port": 8080, "publish": {"port": 8080}}],
            },
            "deleting": false,
            "state": state,
            "service": {
                "wanted": 2, "ready": 2, "updated": 0, "updated_ready": 0, "restarts": 3, "serving_revisions": ["r1"],
                "address": "10.1.2.2", "replicas": [],
                "endpoints": [{"name": "http", "internal": "web:8080", "published": published}],
            },
        });
        serde_json::from_value(told).unwrap()
    }

    #[test]
    fn a_failed_update_is_told_as_failed_with_the_revision_that_was_put() {
        let failure = json!({"phase": "failed", "reason": "CrashLoopBackOff", "message": "container `main` ended", "evidence": ["no"]});
        let seen = observed(&scope(), &service(failure, "127.0.0.1:8080"));
        let ResourceState::Failed { failure } = seen.state else {
            panic!("{:?}", seen.state)
        };
        assert_eq!(
            (failure.reason.as_str(), failure.evidence),
            ("CrashLoopBackOff", vec!["no".to_string()])
        );
        assert!(failure.hint.is_some(), "it says what to do");
        assert_eq!(seen.revision.as_deref(), Some("r2"), "what was put, not what serves");
        let replicas = seen.replicas.unwrap();
        assert_eq!((replicas.ready, replicas.updated), (2, 0), "the old replicas serve");
        assert_eq!(seen.ownership, Ownership::Ours { generation: 2 });
    }

    #[test]
    fn endpoints_are_urls_that_answer_here() {
        for (reason, published, expected) in [
            ("loopback", "127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("one address of the machine", "192.0.2.1:80", "http://192.0.2.1:80"),
            ("all of them", "0.0.0.0:8080", "http://127.0.0.1:8080"),
        ] {
            let seen = observed(&scope(), &service(json!({"phase": "ready"}), published));
            assert_eq!(seen.outputs["endpoints"], json!([expected]), "{reason}");
            assert_eq!(seen.state, ResourceState::Ready, "{reason}");
        }
    }
}
