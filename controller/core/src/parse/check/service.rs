//! Services: ports, probes, replicas and times that fit each other.

use std::collections::HashMap;

use super::{AppView, Fault, Kind, Path, domains, rollout, scale};
use crate::manifest::HumanDuration;
use crate::parse::fault::list;
use crate::parse::node::{Entry, Node, Span};

const PROBES: [&str; 3] = ["startup", "ready", "live"];
const ACTIONS: [&str; 3] = ["http", "tcp", "exec"];

pub fn check(app: &AppView<'_>, spec: &Path<'_>, faults: &mut Vec<Fault>) {
    let services = spec.key("services");
    for service in app.services {
        let path = services.key(&service.key);
        check_ports(service, &path, faults);
        scale::check(app, service, &path, faults);
        domains::check(service, &path, faults);
        if let Some(rollout) = service.value.entry("rollout") {
            rollout::check(rollout, &path.key("rollout"), faults);
        }
    }
    let jobs = spec.key("jobs");
    for job in app.jobs {
        let path = jobs.key(&job.key);
        check_positive(Some(&job.value), "timeout", &path, faults);
        check_time_zone(&job.value, &path, faults);
    }
    domains::check_once(app, &services, faults);
    for (container, kind) in app.containers() {
        if matches!(kind, Kind::Service | Kind::Sidecar) {
            container.with_path(spec, |path| check_health(container.node(), path, faults));
        }
    }
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

fn check_time_zone(job: &Node, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let Some(zone) = job.entry("timeZone").filter(|_| job.get("schedule").is_none()) else {
        return;
    };
    let message = "a time zone without a schedule says nothing".to_string();
    let fault = Fault::new("ScheduleMissing", zone.key_span, &path.key("timeZone"), message);
    faults.push(fault.hint("add `schedule: \"0 3 * * *\"`, or take it out"));
}

fn check_health(container: &Node, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let Some(health) = container.get("health") else { return };
    let path = path.key("health");
    let has_http_port = container
        .get("ports")
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .any(speaks_http);
    for name in PROBES {
        if let Some(probe) = health.entry(name) {
            let path = path.key(name);
            check_probe(probe, has_http_port, &path, faults);
            check_positive(Some(&probe.value), "interval", &path, faults);
            check_positive(Some(&probe.value), "timeout", &path, faults);
        }
    }
}

fn check_probe(probe: &Entry, has_http_port: bool, path: &Path<'_>, faults: &mut Vec<Fault>) {
    if probe.value.entries().is_empty() && !matches!(probe.value.data, crate::parse::node::Data::Map(_)) {
        return;
    }
    let asked: Vec<&Entry> = probe
        .value
        .entries()
        .iter()
        .filter(|entry| ACTIONS.contains(&entry.key.as_str()))
        .collect();
    match asked.as_slice() {
        [] => {
            let message = format!("{} asks nothing", path.words());
            faults.push(
                Fault::new("ProbeAction", probe.key_span, path, message)
                    .hint("give it one of `http`, `tcp` and `exec`"),
            );
        }
        [only] => {
            if only.key == "http" && only.value.get("port").is_none() && !has_http_port {
                let message = format!("{} does not say which port to ask", path.words());
                let fault = Fault::new("ProbePort", only.key_span, &path.key("http"), message);
                faults.push(
                    fault
                        .because("there is no port with the protocol `http` beside it")
                        .hint("add `port` to the probe"),
                );
            }
        }
        [_, second, ..] => {
            let message = format!("{} asks {} things", path.words(), asked.len());
            let keys = list(asked.iter().map(|entry| entry.key.as_str()));
            let fault = Fault::new("ProbeAction", second.key_span, &path.key(&second.key), message);
            faults.push(fault.hint(format!("a probe asks one thing: keep one of {keys}")));
        }
    }
}

pub(super) fn speaks_http(port: &Node) -> bool {
    port.get("protocol")
        .is_none_or(|protocol| protocol.text() == Some("http"))
}

fn is_udp(port: &Node) -> bool {
    port.get("protocol")
        .is_some_and(|protocol| protocol.text() == Some("udp"))
}

/// A time in which something happens is longer than nothing.
pub(super) fn check_positive(node: Option<&Node>, key: &str, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let Some(value) = node.and_then(|node| node.get(key)) else {
        return;
    };
    let duration = value.text().and_then(|text| text.parse::<HumanDuration>().ok());
    if duration == Some(HumanDuration::from_millis(0)) {
        let path = path.key(key);
        let message = format!("{} must be longer than nothing", path.words());
        faults.push(Fault::new("OutOfRange", value.span, &path, message));
    }
}
