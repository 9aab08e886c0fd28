//! Targets: what a Target gives for bindings.

use super::{Fault, Path};
use crate::manifest::BindingType;
use crate::parse::fault::nearest_or_all;
use crate::parse::node::{Data, Entry, Node};

/// Faults of a Target's tree.
pub fn check_target(root: &Node, faults: &mut Vec<Fault>) {
    let bindings = root.get("spec").and_then(|spec| spec.get("bindings"));
    let spec = Path::ROOT.key("spec");
    let path = spec.key("bindings");
    for binding in bindings.map(Node::entries).unwrap_or_default() {
        let path = path.key(&binding.key);
        for value in binding.value.entries() {
            check_value(value, &path.key(&value.key), faults);
        }
    }
}

fn check_value(entry: &Entry, path: &Path<'_>, faults: &mut Vec<Fault>) {
    if !BindingType::ANY_KEY.contains(&entry.key.as_str()) {
        let message = format!("`{}` is a key of no type of binding", entry.key);
        let hint = nearest_or_all(&entry.key, BindingType::ANY_KEY.iter().copied(), "there are");
        faults.push(Fault::new("UnknownKey", entry.key_span, path, message).hint(hint));
    }
    if !matches!(entry.value.data, Data::Map(_)) {
        return;
    }
    let message = match (entry.value.get("value"), entry.value.get("secret")) {
        (Some(_), Some(_)) => format!("{} has both a `value` and a `secret`", path.words()),
        (None, None) => format!("{} has no value", path.words()),
        _ => return,
    };
    faults.push(Fault::new("BindingValue", entry.key_span, path, message).hint("give it either `value` or `secret`"));
}
