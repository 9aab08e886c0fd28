//! What can be known to fail before anything is written: secrets that no file holds, ports that others hold.

use std::collections::BTreeSet;
use std::net::TcpListener;

use portolan_core::plan::Verb;
use portolan_provider_api::{CallError, WriteRequest};
use portolan_supervisor::protocol::Observation;
use portolan_supervisor::secrets;
use portolan_supervisor::spec::{Object, Publish, SecretRef};
use serde_json::Value;

use crate::error;

/// Every secret that no env file holds.
pub fn missing_secrets(writes: &[WriteRequest]) -> Vec<CallError> {
    let mut faults = Vec::new();
    for write in writes.iter().filter(|write| write.verb != Verb::Delete) {
        let secrets = secrets_in(&write.body);
        let missing = secrets::missing(secrets.iter().map(|(variable, secret)| (variable, secret)));
        faults.extend(
            missing
                .into_iter()
                .map(|fault| error::secret_missing(&write.id, &fault)),
        );
    }
    faults
}

/// Ports of the host that this app's supervisor holds now. Whether a delete or an update of the plan frees one of them for
/// another service, or the same one keeps it: no other program has it.
pub fn held_ports(seen: &Observation) -> BTreeSet<u16> {
    let services = seen.objects.iter().filter_map(|seen| match &seen.object {
        Object::Service(spec) => Some(spec),
        _ => None,
    });
    let published = services.flat_map(|spec| &spec.ports).filter_map(|port| port.publish);
    published.map(|publish| publish.port).collect()
}

/// Every port to be published that another program of this host holds.
pub fn taken_ports(writes: &[WriteRequest], held: &BTreeSet<u16>) -> Vec<CallError> {
    let mut faults = Vec::new();
    for write in writes.iter().filter(|write| write.verb != Verb::Delete) {
        for publish in published(&write.body).filter(|publish| !held.contains(&publish.port)) {
            if let Err(failure) = TcpListener::bind((publish.address, publish.port)) {
                faults.push(error::port_taken(&write.id, publish, &failure));
            }
        }
    }
    faults
}

fn published(body: &Value) -> impl Iterator<Item = Publish> {
    let ports = body.get("ports").and_then(Value::as_array).into_iter().flatten();
    ports.filter_map(|port| serde_json::from_value(port.get("publish")?.clone()).ok())
}

fn secrets_in(body: &Value) -> Vec<(String, SecretRef)> {
    let Some(pod) = body.get("pod") else { return Vec::new() };
    let lists = ["sidecars", "init"]
        .into_iter()
        .filter_map(|key| pod.get(key)?.as_array())
        .flatten();
    let containers = pod.get("main").into_iter().chain(lists);
    let entries = containers
        .filter_map(|container| container.get("secret_env")?.as_object())
        .flatten();
    entries
        .filter_map(|(name, secret)| Some((name.clone(), serde_json::from_value(secret.clone()).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use portolan_core::resource::ResourceId;
    use serde_json::json;

    fn write(verb: Verb, name: &str, port: u16) -> WriteRequest {
        let publish = json!({"address": "127.0.0.1", "port": port});
        WriteRequest {
            verb,
            id: ResourceId::new("Service", name),
            body: json!({"ports": [{"name": "http", "port": port, "publish": publish}, {"name": "inner", "port": 1}]}),
            revision: None,
            etag: None,
            generation: 1,
            idempotency_token: String::new(),
            take_over: false,
            erase_data: false,
        }
    }

    #[test]
    fn a_port_of_another_program_is_found_whatever_else_the_plan_does() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = other.local_addr().unwrap().port();
        let nobody = BTreeSet::new();
        let delete = WriteRequest {
            body: Value::Null,
            ..write(Verb::Delete, "old", 0)
        };
        for (reason, writes, held, expected) in [
            ("a new service", vec![write(Verb::Create, "web", taken)], &nobody, 1),
            (
                "a port that an update adds",
                vec![write(Verb::Update, "web", taken)],
                &nobody,
                1,
            ),
            (
                "a delete of what holds another port",
                vec![delete.clone(), write(Verb::Create, "web", taken)],
                &BTreeSet::from([taken.wrapping_add(1)]),
                1,
            ),
            (
                "a delete of the app's own that holds it",
                vec![delete, write(Verb::Create, "web", taken)],
                &BTreeSet::from([taken]),
                0,
            ),
            (
                "an update of what holds it itself",
                vec![write(Verb::Update, "web", taken)],
                &BTreeSet::from([taken]),
                0,
            ),
        ] {
            let faults = taken_ports(&writes, held);
            assert_eq!(faults.len(), expected, "{reason}");
            assert!(faults.iter().all(|fault| fault.code == "PortInUse"), "{reason}");
        }
    }
}
