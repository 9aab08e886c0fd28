//! Domains: each leads to one service.

use std::collections::HashMap;

use super::{AppView, Fault, Path};
use crate::parse::node::{Node, Span};

/// Of two services with one domain nobody could say which it leads to. Two in one list are a fault of shape already.
pub fn check_once(app: &AppView<'_>, services: &Path<'_>, faults: &mut Vec<Fault>) {
    let mut first: HashMap<&str, (&str, Span)> = HashMap::new();
    for service in app.services {
        let path = services.key(&service.key);
        let path = path.key("domains");
        let domains = service.value.get("domains").map(Node::items).unwrap_or_default();
        for (index, domain) in domains.iter().enumerate() {
            let Some(node) = domain.get("host") else { continue };
            let Some(host) = node.text() else { continue };
            match first.get(host) {
                Some((other, span)) if *other != service.key => {
                    let message = format!("`{host}` leads to two services");
                    let why = format!("it leads to `{other}` on line {}", span.start.line);
                    let place = path.index(index);
                    faults.push(Fault::new("DuplicateName", node.span, &place.key("host"), message).because(why));
                }
                _ => drop(first.insert(host, (&service.key, node.span))),
            }
        }
    }
}
