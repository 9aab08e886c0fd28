//! Ports: what containers say of theirs, and what KubeServices make of them.

use serde_json::{Value, json};

use super::{Found, Told, name_of};
use crate::read::{items, number, text};

/// Of the service's own container. In a manifest a port has one number, inside and for others.
pub fn of(found: &Found, deployment: &Value, main: &Value, told: &mut Told) -> Vec<Value> {
    let mut ports = of_container(main);
    let pod = &deployment["spec"]["template"]["spec"];
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    for service in found.services.iter().filter(|service| chooses(service, labels)) {
        for port in items(service, "/spec/ports") {
            let number = target_of(port, pod);
            if is_of_a_sidecar(pod, main, number) {
                continue;
            }
            let one = match ports.iter_mut().find(|one| one["port"] == number) {
                Some(one) => one,
                None => {
                    ports.push(json!({ "name": name(port, number), "port": number, "protocol": protocol(port) }));
                    ports.last_mut().expect("it was pushed")
                }
            };
            if text(port, "/appProtocol") == Some("http") {
                one["protocol"] = json!("http");
            }
            match text(service, "/spec/type") {
                Some("LoadBalancer") => one["public"] = json!(true),
                Some("NodePort") => told.leaves(format!("Service/{}: a port of every node", name_of(service))),
                _ => {}
            }
            if port["port"] != number {
                let asked = &port["port"];
                told.leaves(format!(
                    "Service/{}: port {asked} leads to {number}, which is its number for others then",
                    name_of(service)
                ));
            }
        }
    }
    ports
}

pub fn of_container(container: &Value) -> Vec<Value> {
    let ports = items(container, "/ports").map(|port| {
        let number = number(port, "/containerPort");
        json!({ "name": name(port, number), "port": number, "protocol": protocol(port) })
    });
    ports.collect()
}

fn chooses(service: &Value, labels: &Value) -> bool {
    let selector = service["spec"]["selector"].as_object();
    selector.is_some_and(|selector| {
        !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    })
}

fn is_of_a_sidecar(pod: &Value, main: &Value, number: u32) -> bool {
    let says = |container: &Value| items(container, "/ports").any(|port| port["containerPort"] == number);
    !says(main) && containers(pod).any(says)
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    items(pod, "/containers").chain(items(pod, "/initContainers"))
}

/// The number in the container.
fn target_of(port: &Value, pod: &Value) -> u32 {
    match &port["targetPort"] {
        Value::String(name) => containers(pod)
            .flat_map(|container| items(container, "/ports"))
            .find(|one| one["name"] == *name)
            .map_or(0, |one| number(one, "/containerPort")),
        Value::Null => number(port, "/port"),
        _ => number(port, "/targetPort"),
    }
}

fn name(port: &Value, number: u32) -> String {
    text(port, "/name").map_or_else(|| format!("port-{number}"), String::from)
}

/// A port whose name says so speaks http, as meshes have it.
fn protocol(port: &Value) -> &'static str {
    let name = text(port, "/name").unwrap_or_default();
    match text(port, "/protocol") {
        Some("UDP") => "udp",
        _ if name == "http" || name.starts_with("http-") => "http",
        _ => "tcp",
    }
}
