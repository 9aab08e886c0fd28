//! The supervisor's words -> what core calls an observation. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use portolan_core::name::OwnerId;
use portolan_core::observation::{Failure, ObservedResource, Ownership, Pause, Replicas, ResourceState};
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use portolan_supervisor::protocol::{Endpoint, ObjectState, Observed, WaitsFor};
use portolan_supervisor::spec::{Kind, Labels, Object, PodSpec};
use serde_json::{Value, json};

use crate::render::{NETWORK_NAME, body_of, kind};
use crate::{explain, protocols};

/// The labels that every object of ours bears.
pub mod label {
    pub const OWNER: &str = "portolan.dev/owner";
    pub const SOURCE: &str = "portolan.dev/source";
    pub const GENERATION: &str = "portolan.dev/generation";
    /// On a network: what is remembered of a generation that is held, in JSON.
    pub const HELD: &str = "portolan.dev/held";
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
        etag: None,
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

/// One object of a supervisor that is gone. It is as it was put, but for what needs somebody to look after it: that has
/// failed, so that whoever applies again starts a supervisor, and whoever asks hears the truth. So has what was on its way
/// out: to wait for it would be to wait for ever.
pub fn left(scope: &Scope, seen: &Observed) -> ObservedResource {
    let mut resource = observed(scope, seen);
    let is_at_rest = match seen.object.kind() {
        _ if seen.deleting => false,
        Kind::Network | Kind::Volume => true,
        Kind::Service => false,
        Kind::Job => !matches!(resource.state, ResourceState::Progressing { .. }),
    };
    if !is_at_rest {
        let message = match seen.deleting {
            true => "no supervisor runs, so nothing takes it away",
            false => "no supervisor runs, so nothing keeps it running and its ports do not answer",
        };
        let failure = Failure {
            lost: true,
            ..Failure::new(explain::NOBODY, message)
        };
        resource.state = ResourceState::Failed {
            failure: hinted(failure),
        };
    }
    // Who was ready then may not be now, and an address answers only while a supervisor forwards it.
    resource.replicas = None;
    resource.outputs.remove(ENDPOINTS);
    resource
}

/// A folder of data, or the records of a job, that an earlier delete has left.
pub fn retained(scope: &Scope, kind: &str, name: &str) -> ObservedResource {
    ObservedResource {
        id: ResourceId::new(kind, name),
        native_id: format!("{}/{}/{name}", scope.namespace, scope.app),
        etag: None,
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
        etag: None,
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
    let mut body = match object {
        Object::Network(spec) => body_of(spec),
        Object::Volume(spec) => body_of(spec),
        Object::Job(spec) => body_of(spec),
        Object::Service(spec) => body_of(spec),
    };
    protocols::restore(&mut body, object.labels());
    body
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
            paused: pause(seen),
            step: seen.service.as_ref().and_then(|service| service.shares?.step),
        },
        ObjectState::Ready if seen.object.kind() == Kind::Job => ResourceState::Completed,
        ObjectState::Ready => ResourceState::Ready,
        ObjectState::Failed(failure) => ResourceState::Failed {
            failure: hinted(Failure {
                evidence: failure.evidence.clone(),
                ..Failure::new(&failure.reason, &failure.message)
            }),
        },
    }
}

fn pause(seen: &Observed) -> Option<Pause> {
    let waits_for = seen.service.as_ref()?.shares?.waits_for?;
    Some(match waits_for {
        WaitsFor::Time => Pause::Time,
        WaitsFor::Promotion => Pause::Promotion,
    })
}

fn hinted(failure: Failure) -> Failure {
    Failure {
        hint: explain::hint(&failure.reason).map(String::from),
        ..failure
    }
}

/// The output that users see: a list of URLs.
const ENDPOINTS: &str = "endpoints";

fn outputs(seen: &Observed) -> BTreeMap<String, Value> {
    let mut outputs = BTreeMap::new();
    if let Some(volume) = &seen.volume {
        outputs.insert("path".to_string(), json!(volume.path));
    }
    if let (Object::Service(spec), Some(status)) = (&seen.object, &seen.service) {
        let spoken = protocols::of(&spec.labels);
        let url = |endpoint| url(endpoint, &spoken);
        let urls: Vec<String> = status.endpoints.iter().filter_map(url).collect();
        outputs.insert("host".to_string(), json!(spec.name));
        outputs.insert("address".to_string(), json!(status.address));
        outputs.insert(ENDPOINTS.to_string(), json!(urls));
    }
    if let Some(code) = seen.job.as_ref().and_then(|job| job.exit_code) {
        outputs.insert("exitCode".to_string(), json!(code));
    }
    outputs
}

/// A published port as a URL of what is spoken there. One on all addresses is told by the one that always works here.
fn url(endpoint: &Endpoint, spoken: &BTreeMap<&str, &str>) -> Option<String> {
    let mut address = endpoint.published?;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST);
    }
    let scheme = spoken.get(endpoint.name.as_str()).unwrap_or(&"tcp");
    Some(format!("{scheme}://{address}"))
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
    let published = spec
        .ports
        .iter()
        .filter_map(|port| Some((port.protocol, port.publish?)));
    published
        .map(|(protocol, publish)| protocols::claim(protocol, publish.address, publish.port))
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
        speaking("http", state, published)
    }

    fn speaking(protocol: &str, state: Value, published: &str) -> Observed {
        let main = json!({"name": "main", "layers": ["/layer"], "command": ["/server"]});
        let labels = json!({
            label::OWNER: "ours", label::SOURCE: "file", label::GENERATION: "2",
            "portolan.dev/protocols": format!("http={protocol}"),
        });
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
        for (reason, protocol, published, expected) in [
            ("loopback", "http", "127.0.0.1:8080", "http://127.0.0.1:8080"),
            (
                "one address of the machine",
                "http",
                "192.0.2.1:80",
                "http://192.0.2.1:80",
            ),
            ("all of them", "http", "0.0.0.0:8080", "http://127.0.0.1:8080"),
            (
                "a database speaks no HTTP",
                "tcp",
                "127.0.0.1:5432",
                "tcp://127.0.0.1:5432",
            ),
            ("datagrams", "udp", "127.0.0.1:53", "udp://127.0.0.1:53"),
        ] {
            let seen = observed(&scope(), &speaking(protocol, json!({"phase": "ready"}), published));
            assert_eq!(seen.outputs["endpoints"], json!([expected]), "{reason}");
            assert_eq!(seen.state, ResourceState::Ready, "{reason}");
            assert_eq!(
                seen.body["ports"][0]["protocol"], protocol,
                "{reason}: as the manifest says it"
            );
        }
    }

    #[test]
    fn what_nobody_looks_after_has_failed_and_does_not_answer() {
        let was_ready = service(json!({"phase": "ready"}), "127.0.0.1:8080");
        let (running, seen) = (observed(&scope(), &was_ready), left(&scope(), &was_ready));
        let failure = seen.failure().expect("nobody keeps it running");
        assert_eq!(failure.reason, "SupervisorNotRunning");
        assert!(failure.hint.as_ref().is_some_and(|hint| hint.contains("portolan up")));
        assert_eq!(
            (seen.replicas, seen.outputs.get("endpoints")),
            (None, None),
            "told by nobody"
        );
        assert_eq!(
            (seen.body, seen.ownership, seen.revision),
            (running.body, running.ownership, running.revision),
            "the plan is the same with and without a supervisor"
        );
        let going = Observed {
            deleting: true,
            ..was_ready
        };
        let failure = left(&scope(), &going).failure().cloned();
        assert!(failure.is_some_and(|failure| failure.lost), "nobody takes it away");
    }

    #[test]
    fn a_job_that_has_ended_needs_nobody() {
        let job = |state: Value| -> Observed {
            let main = json!({"name": "main", "layers": ["/layer"], "command": ["/migrate"]});
            let object = json!({"kind": "job", "name": "migrate", "revision": "r1", "pod": {"main": main}});
            serde_json::from_value(json!({"object": object, "deleting": false, "state": state})).unwrap()
        };
        let done = left(&scope(), &job(json!({"phase": "ready"})));
        assert_eq!(done.state, ResourceState::Completed);
        let cut_off = left(
            &scope(),
            &job(json!({"phase": "progressing", "message": "attempt 1 runs"})),
        );
        assert_eq!(cut_off.failure().unwrap().reason, "SupervisorNotRunning");
        let failed = left(
            &scope(),
            &job(json!({"phase": "failed", "reason": "JobFailed", "message": "exit code 1"})),
        );
        assert_eq!(failed.failure().unwrap().reason, "JobFailed", "as it ended");
    }
}
