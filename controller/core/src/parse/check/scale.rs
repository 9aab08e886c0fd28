//! Scaling by a queue: that of a binding which has one.

use super::{AppView, Fault, Path};
use crate::manifest::BindingType;
use crate::parse::fault::{list, nearest_or_all};
use crate::parse::node::{Entry, Node};

/// Types of bindings that have a queue whose length can be asked for.
const QUEUES: [BindingType; 2] = [BindingType::Rabbitmq, BindingType::Redis];

pub fn check(app: &AppView<'_>, service: &Entry, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let on = service.value.get("scale").and_then(|scale| scale.get("on"));
    let (path, items) = (path.key("scale"), on.map(Node::items).unwrap_or_default());
    let path = path.key("on");
    for (index, item) in items.iter().enumerate() {
        check_queue(app, item, &path.index(index), faults);
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
