//! Scaling: a number that can move, and something that moves it.

use super::{AppView, Fault, Path};
use crate::manifest::BindingType;
use crate::parse::fault::{list, nearest_or_all};
use crate::parse::node::{Data, Entry, Node};

const METRICS: [&str; 3] = ["cpu", "memory", "queue"];

/// Types of bindings that have a queue whose length can be asked for.
const QUEUES: [BindingType; 2] = [BindingType::Rabbitmq, BindingType::Redis];

pub fn check(app: &AppView<'_>, service: &Entry, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let Some(scale) = service.value.get("scale") else {
        return;
    };
    let path = path.key("scale");
    check_max(scale, &path, faults);
    let Some(on) = scale.entry("on").filter(|on| !on.value.items().is_empty()) else {
        return;
    };
    if scale.get("max").is_none() {
        let message = format!("`{}` scales, and nothing says how far", service.key);
        faults.push(Fault::new("ScaleWithoutMax", on.key_span, &path.key("on"), message).hint("add `max`"));
    }
    check_idle(scale, on, &path, faults);
    for (index, item) in on.value.items().iter().enumerate() {
        let path = path.key("on");
        let path = path.index(index);
        check_metric(item, &path, faults);
        check_limit(service, item, &path, faults);
        check_queue(app, item, &path, faults);
    }
}

fn check_max(scale: &Node, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let Some((max, span)) = scale.get("max").and_then(|max| Some((max.integer()?, max.span))) else {
        return;
    };
    let min = min(scale);
    if max < min {
        let message = format!("at most {max} replicas are fewer than the {min} that are always there");
        let fault = Fault::new("OutOfRange", span, &path.key("max"), message);
        faults.push(fault.hint("`max` is at least `min`, which is 1 if left out"));
    }
}

/// Where there is no replica, there is no processor time either: only what waits outside can bring the first one.
fn check_idle(scale: &Node, on: &Entry, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let has_queue = on.value.items().iter().any(|item| item.get("queue").is_some());
    if min(scale) == 0 && !has_queue {
        let message = "without a replica there is nothing to scale by".to_string();
        let fault = Fault::new("ScaleFromNothing", on.key_span, &path.key("on"), message);
        faults.push(fault.hint("say `min: 1`, or scale by a `queue` too"));
    }
}

fn min(scale: &Node) -> i64 {
    scale.get("min").and_then(Node::integer).unwrap_or(1)
}

fn check_metric(item: &Node, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let Data::Map(_) = item.data else { return };
    let said: Vec<&Entry> = item
        .entries()
        .iter()
        .filter(|entry| METRICS.contains(&entry.key.as_str()))
        .collect();
    match said.as_slice() {
        [] => {
            let message = "nothing is said to scale by".to_string();
            let fault = Fault::new("ScaleMetric", item.span, path, message);
            faults.push(fault.hint("give it one of `cpu`, `memory` and `queue`"));
        }
        [_] => {}
        [_, second, ..] => {
            let keys = list(said.iter().map(|entry| entry.key.as_str()));
            let message = format!("one item scales by {} things", said.len());
            let fault = Fault::new("ScaleMetric", second.key_span, &path.key(&second.key), message);
            faults.push(fault.hint(format!("give each of {keys} an item of its own")));
        }
    }
}

/// A share is one of something.
fn check_limit(service: &Entry, item: &Node, path: &Path<'_>, faults: &mut Vec<Fault>) {
    for key in ["cpu", "memory"] {
        let Some(share) = item.entry(key) else { continue };
        let limits = service.value.get("resources");
        if limits.is_some_and(|limits| limits.get(key).is_some()) {
            continue;
        }
        let message = format!("`{}` scales by its share of a limit that it does not have", service.key);
        let fault = Fault::new("ScaleWithoutLimit", share.key_span, &path.key(key), message);
        faults.push(fault.hint(format!("set `resources.{key}` of the service")));
    }
}

fn check_queue(app: &AppView<'_>, item: &Node, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let Some(node) = item.get("queue").and_then(|queue| queue.get("binding")) else {
        return;
    };
    let Some(name) = node.text() else { return };
    let path = path.key("queue");
    let path = path.key("binding");
    let Some(binding) = app.bindings.iter().find(|binding| binding.key == name) else {
        let names = app.bindings.iter().map(|binding| binding.key.as_str());
        let message = format!("`{name}` is not a binding of this app");
        let hint = nearest_or_all(name, names, "its bindings are");
        faults.push(Fault::new("UnknownBinding", node.span, &path, message).hint(hint));
        return;
    };
    let kind = binding.value.text_at("type").and_then(BindingType::from_word);
    if kind.is_some_and(|kind| !QUEUES.contains(&kind)) {
        let message = format!("`{name}` is no queue");
        let types = list(QUEUES.map(BindingType::as_str));
        let hint = format!("the length can be told of bindings of type {types}");
        faults.push(Fault::new("NoQueue", node.span, &path, message).hint(hint));
    }
}
