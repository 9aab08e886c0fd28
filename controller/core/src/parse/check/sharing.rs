//! What apps use of each other: names that mean one thing, and connections that can be carried.

use super::{AppView, Fault, Path};
use crate::parse::node::{Entry, Node};

pub fn check(app: &AppView<'_>, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let uses = path.key("uses");
    for one in app.uses {
        let path = uses.key(&one.key);
        check_name(app, one, &path, faults);
        check_protocol(one, &path, faults);
    }
    let services = path.key("services");
    for service in app.services {
        check_allow(service, &services.key(&service.key), faults);
    }
}

/// A use, a service and a binding of one name would set the same variables, and the first two the same host name.
fn check_name(app: &AppView<'_>, one: &Entry, path: &Path<'_>, faults: &mut Vec<Fault>) {
    for (kind, others) in [("service", app.services), ("binding", app.bindings)] {
        if others.iter().any(|other| other.key == one.key) {
            let message = format!("`{}` in `uses` has the name of a {kind}", one.key);
            let why = format!("both would set `{}_HOST`", one.key.to_uppercase().replace('-', "_"));
            faults.push(Fault::new("DuplicateName", one.key_span, path, message).because(why));
        }
    }
}

fn check_protocol(one: &Entry, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let Some(protocol) = one
        .value
        .get("protocol")
        .filter(|protocol| protocol.text() == Some("udp"))
    else {
        return;
    };
    let message = format!("`{}` cannot be used by udp", one.key);
    let fault = Fault::new("SharedUdp", protocol.span, &path.key("protocol"), message);
    faults.push(
        fault
            .because("between apps connections are carried, and datagrams are none")
            .hint("use `http` or `tcp`"),
    );
}

/// One that allows others has something for them.
fn check_allow(service: &Entry, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let Some(allow) = service.value.get("traffic").and_then(|traffic| traffic.entry("allow")) else {
        return;
    };
    let ports = service.value.get("ports").map(Node::items).unwrap_or_default();
    let carried = |port: &Node| port.text_at("protocol") != Some("udp");
    if !allow.value.items().is_empty() && !ports.iter().any(carried) {
        let message = format!("`{}` allows other apps, and has no port for them", service.key);
        let path = path.key("traffic");
        let fault = Fault::new("SharedUdp", allow.key_span, &path.key("allow"), message);
        faults.push(fault.hint("give it a port with `protocol: http` or `tcp`; udp is not carried between apps"));
    }
}
