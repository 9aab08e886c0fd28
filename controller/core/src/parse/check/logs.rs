//! Logs: files that a line fits into, and ages that pass.

use super::service::check_positive;
use super::{AppView, Fault, Path};
use crate::manifest::{ByteQuantity, Logs};
use crate::parse::node::{Data, Node};

pub fn check(app: &AppView<'_>, spec: &Path<'_>, faults: &mut Vec<Fault>) {
    for (group, workloads) in [("services", app.services), ("jobs", app.jobs)] {
        let group = spec.key(group);
        for workload in workloads {
            let Some(logs) = workload.value.get("logs") else {
                continue;
            };
            let path = group.key(&workload.key);
            let path = path.key("logs");
            check_size(logs, &path, faults);
            check_positive(Some(logs), "maxAge", &path, faults);
        }
    }
}

fn check_size(logs: &Node, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let Some(node) = logs.get("maxSize") else { return };
    if bytes(node).is_some_and(|size| size < Logs::SMALLEST_FILE) {
        let path = path.key("maxSize");
        let message = format!("{} is less than the longest line needs", path.words());
        let hint = format!(
            "at least {}; {} if left out",
            Logs::SMALLEST_FILE,
            Logs::default().max_size
        );
        faults.push(Fault::new("OutOfRange", node.span, &path, message).hint(hint));
    }
}

/// As the reader of quantities takes it: a number or a text.
fn bytes(node: &Node) -> Option<ByteQuantity> {
    match &node.data {
        Data::Integer(bytes) => u64::try_from(*bytes).ok().map(ByteQuantity::from_bytes),
        Data::Text(text) => text.parse().ok(),
        _ => None,
    }
}
