//! Services: ports that fit each other.

use std::collections::HashMap;

use super::{AppView, Fault, Path, domains, scale};
use crate::parse::node::{Entry, Node, Span};

pub fn check(app: &AppView<'_>, spec: &Path<'_>, faults: &mut Vec<Fault>) {
    let services = spec.key("services");
    for service in app.services {
        let path = services.key(&service.key);
        check_ports(service, &path, faults);
        scale::check(app, service, &path, faults);
    }
    domains::check_once(app, &services, faults);
}

/// A service and its sidecars share one network, so a port's name is given once, and its number once for what is carried
/// by TCP and once for UDP.
fn check_ports(service: &Entry, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let mut numbers: HashMap<(i64, bool), Span> = HashMap::new();
    let mut names: HashMap<&str, Span> = HashMap::new();
    check_ports_of(&service.value, path, &mut numbers, &mut names, faults);
    let sidecars = path.key("sidecars");
    for sidecar in service.value.get("sidecars").map(Node::entries).unwrap_or_default() {
        check_ports_of(
            &sidecar.value,
            &sidecars.key(&sidecar.key),
            &mut numbers,
            &mut names,
            faults,
        );
    }
}

fn check_ports_of<'a>(
    node: &'a Node,
    path: &Path<'_>,
    numbers: &mut HashMap<(i64, bool), Span>,
    names: &mut HashMap<&'a str, Span>,
    faults: &mut Vec<Fault>,
) {
    let ports = path.key("ports");
    let mut own: Vec<(&str, Span)> = Vec::new();
    for (index, port) in node
        .get("ports")
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        let path = ports.index(index);
        if let Some((number, span)) = port.get("port").and_then(|port| Some((port.integer()?, port.span))) {
            let key = (number, is_udp(port));
            match numbers.get(&key) {
                Some(first) => {
                    let message = format!("port {number} is given twice");
                    let why = format!("it is given on line {} already, in the same network", first.start.line);
                    faults.push(Fault::new("DuplicatePort", span, &path.key("port"), message).because(why));
                }
                None => drop(numbers.insert(key, span)),
            }
        }
        let Some((name, span)) = port.get("name").and_then(|name| Some((name.text()?, name.span))) else {
            continue;
        };
        if let Some(first) = names.get(name) {
            let message = format!("a port of the service itself is called `{name}` too");
            let why = format!("it stands on line {}", first.start.line);
            faults.push(Fault::new("DuplicateName", span, &path.key("name"), message).because(why));
        }
        own.push((name, span));
    }
    // Two of one name in one list are a fault of shape already.
    names.extend(own);
}

fn is_udp(port: &Node) -> bool {
    port.get("protocol")
        .is_some_and(|protocol| protocol.text() == Some("udp"))
}
