//! Names that would mean two things.

use std::collections::HashMap;

use super::{AppView, Fault, Path};
use crate::parse::node::{Entry, Node, Span};

/// The containers of each service.
pub fn check(app: &AppView<'_>, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let services = path.key("services");
    for service in app.services {
        check_containers(service, &services.key(&service.key), faults);
    }
}

/// A replica's containers have names of their own, since logs and `exec` pick one by its name.
fn check_containers(service: &Entry, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let mut first: HashMap<&str, Span> = HashMap::from([(service.key.as_str(), service.key_span)]);
    let sidecars = path.key("sidecars");
    for entry in service.value.get("sidecars").map(Node::entries).unwrap_or_default() {
        check_container(
            &entry.key,
            entry.key_span,
            &sidecars.key(&entry.key),
            &mut first,
            faults,
        );
    }
    let init = path.key("init");
    // Two init containers of one name are a fault of shape already.
    let mut own: HashMap<&str, Span> = HashMap::new();
    for (index, item) in service
        .value
        .get("init")
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        let Some((name, span)) = item.get("name").and_then(|name| Some((name.text()?, name.span))) else {
            continue;
        };
        if own.insert(name, span).is_none() {
            check_container(name, span, &init.index(index), &mut first, faults);
        }
    }
}

fn check_container<'a>(
    name: &'a str,
    span: Span,
    path: &Path<'_>,
    first: &mut HashMap<&'a str, Span>,
    faults: &mut Vec<Fault>,
) {
    match first.get(name) {
        None => {
            first.insert(name, span);
        }
        Some(other) => {
            let message = format!("two containers of one replica are called `{name}`");
            let why = format!("the other one stands on line {}", other.start.line);
            faults.push(Fault::new("DuplicateName", span, path, message).because(why));
        }
    }
}
