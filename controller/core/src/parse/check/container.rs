//! One container: where its image comes from, and what is put into it.

use std::collections::HashMap;

use super::{AppView, Fault, Kind, Path};
use crate::parse::node::{Entry, Node, Span};

/// `entry` holds the container; for an init container, the list in which it is.
pub fn check(entry: &Entry, node: &Node, kind: Kind, path: &Path<'_>, faults: &mut Vec<Fault>) {
    check_image(entry, node, kind, path, faults);
    check_env(node, path, faults);
    check_paths(node, path, faults);
}

/// An image is built or named, and not both; an init container may leave it to its service.
fn check_image(entry: &Entry, node: &Node, kind: Kind, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let name = path.words();
    match (node.entry("build"), node.entry("image")) {
        (Some(build), Some(image)) => {
            let (first, second) = if build.key_span < image.key_span {
                (build, image)
            } else {
                (image, build)
            };
            let message = format!("{name} has both `{}` and `{}`", first.key, second.key);
            let fault = Fault::new("BuildAndImage", second.key_span, &path.key(&second.key), message);
            faults.push(fault.hint("`build` makes the image, `image` names one that exists: keep one of them"));
        }
        (None, None) if kind != Kind::Init && is_map(node) => {
            let message = format!("{name} has no image");
            let fault = Fault::new("NoImage", entry.key_span, path, message);
            faults.push(fault.hint("add `build: {context: ./FOLDER}` or `image: REFERENCE`"));
        }
        _ => {}
    }
}

/// An environment variable comes from one place, and not from under our own names.
fn check_env(node: &Node, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let env = node.get("env").map(Node::entries).unwrap_or_default();
    let secrets = node.get("secrets").map(Node::entries).unwrap_or_default();
    for secret in secrets {
        if let Some(plain) = env.iter().find(|plain| plain.key == secret.key) {
            let message = format!("`{}` stands in `env` and in `secrets`", secret.key);
            let fault = Fault::new(
                "DuplicateName",
                secret.key_span,
                &path.key("secrets").key(&secret.key),
                message,
            );
            faults.push(fault.because(format!("it has a value on line {} already", plain.key_span.start.line)));
        }
    }
    for (group, entries) in [("env", env), ("secrets", secrets)] {
        for entry in entries.iter().filter(|entry| entry.key.starts_with("PORTOLAN_")) {
            let message = format!("`{}` is a name that Portolan sets itself", entry.key);
            let path = path.key(group);
            let fault = Fault::new("ReservedName", entry.key_span, &path.key(&entry.key), message);
            faults.push(fault.hint("choose a name that does not begin with `PORTOLAN_`"));
        }
    }
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
    for (container, _) in app.containers() {
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

fn is_map(node: &Node) -> bool {
    matches!(node.data, crate::parse::node::Data::Map(_))
}
