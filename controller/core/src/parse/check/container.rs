//! One container: what is put into it.

use std::collections::HashMap;

use super::{AppView, Fault, Path};
use crate::parse::node::{Node, Span};

pub fn check(node: &Node, path: &Path<'_>, faults: &mut Vec<Fault>) {
    check_paths(node, path, faults);
}

/// One thing at each path.
fn check_paths(node: &Node, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let at = |key: &str| node.get(key).map(Node::items).unwrap_or_default();
    let volumes: HashMap<&str, Span> = at("volumes").iter().filter_map(path_of).collect();
    for (index, file) in at("files").iter().enumerate() {
        let Some((text, span)) = path_of(file) else { continue };
        if let Some(volume) = volumes.get(text) {
            let message = format!("a file and a volume are both at `{text}`");
            let fault = Fault::new(
                "DuplicatePath",
                span,
                &path.key("files").index(index).key("path"),
                message,
            );
            faults.push(fault.because(format!("the volume stands on line {}", volume.start.line)));
        }
    }
    for (group, what) in [("volumes", "a volume"), ("files", "a file")] {
        for (index, item) in at(group).iter().enumerate() {
            if let Some((_, span)) = path_of(item).filter(|(text, _)| *text == "/") {
                let message = format!("{what} cannot be at `/`, where the image is");
                faults.push(Fault::new(
                    "InvalidPath",
                    span,
                    &path.key(group).index(index).key("path"),
                    message,
                ));
            }
        }
    }
}

/// A volume has one size, wherever it is mounted.
pub fn check_volumes(app: &AppView<'_>, spec: &Path<'_>, faults: &mut Vec<Fault>) {
    let mut first: HashMap<&str, &Node> = HashMap::new();
    for container in app.containers() {
        for (index, volume) in container
            .node()
            .get("volumes")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .enumerate()
        {
            let (Some(name), Some(size)) = (volume.text_at("name"), volume.get("size")) else {
                continue;
            };
            let known = *first.entry(name).or_insert(size);
            if known.data != size.data {
                let message = format!("volume `{name}` has two sizes");
                let why = format!("it has another one on line {}", known.span.start.line);
                faults.push(container.with_path(spec, |path| {
                    let volumes = path.key("volumes");
                    let volume = volumes.index(index);
                    Fault::new("VolumeSizes", size.span, &volume.key("size"), message).because(why)
                }));
            }
        }
    }
}

fn path_of(item: &Node) -> Option<(&str, Span)> {
    item.get("path").and_then(|path| Some((path.text()?, path.span)))
}
