//! What a schema cannot say: whether the parts of a manifest fit each other.
//!
//! The checks read the tree, not the types, so that they also see what is wrong in a file that has faults of shape: a
//! part that is missing or of a wrong type is simply not looked at here. Each check is one function and one rule.

mod container;
mod domains;
mod logs;
mod names;
mod order;
mod references;
mod rollout;
mod scale;
mod service;
mod sharing;
mod target;

pub use target::check_target;

use super::fault::Fault;
use super::node::{Entry, Node};
use super::path::Path;

/// Faults of an App's tree.
pub fn check_app(root: &Node, faults: &mut Vec<Fault>) {
    let Some(spec) = root.entry("spec") else { return };
    let path = Path::ROOT.key("spec");
    let app = AppView::of(&spec.value);
    if app.services.is_empty() && app.jobs.is_empty() {
        let message = "an app with neither services nor jobs is nothing";
        faults.push(Fault::new("EmptyApp", spec.key_span, &path, message).hint("add one under `services` or `jobs`"));
    }
    names::check(&app, &path, faults);
    order::check(&app, &path, faults);
    references::check(&app, &path, faults);
    service::check(&app, &path, faults);
    logs::check(&app, &path, faults);
    sharing::check(&app, &path, faults);
    for (container, kind) in app.containers() {
        container.with_path(&path, |path| {
            container::check(container.entry, container.node(), kind, path, faults)
        });
    }
    container::check_volumes(&app, &path, faults);
    check_overrides(&spec.value, &path, faults);
}

/// An App's tree, opened where every check looks.
pub struct AppView<'a> {
    pub services: &'a [Entry],
    pub jobs: &'a [Entry],
    pub bindings: &'a [Entry],
    pub uses: &'a [Entry],
}

/// A container, and the way to it from `spec`.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// `services` or `jobs`.
    group: &'static str,
    owner: &'a Entry,
    /// `sidecars` or `init`, and which.
    inner: Option<(&'static str, Inner<'a>)>,
    /// Key and value of the container; for an init container, of its list.
    entry: &'a Entry,
}

#[derive(Clone, Copy)]
enum Inner<'a> {
    Key(&'a Entry),
    Index(usize, &'a Node),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Service,
    Sidecar,
    Init,
    Job,
}

impl<'a> AppView<'a> {
    fn of(spec: &'a Node) -> Self {
        let entries = |key: &str| spec.get(key).map(Node::entries).unwrap_or_default();
        Self {
            services: entries("services"),
            jobs: entries("jobs"),
            bindings: entries("bindings"),
            uses: entries("uses"),
        }
    }

    /// Every container, with what kind it is.
    fn containers(&self) -> Vec<(Place<'a>, Kind)> {
        let mut all = Vec::new();
        for owner in self.services {
            all.push((
                Place {
                    group: "services",
                    owner,
                    inner: None,
                    entry: owner,
                },
                Kind::Service,
            ));
            for entry in owner.value.get("sidecars").map(Node::entries).unwrap_or_default() {
                let inner = Some(("sidecars", Inner::Key(entry)));
                all.push((
                    Place {
                        group: "services",
                        owner,
                        inner,
                        entry,
                    },
                    Kind::Sidecar,
                ));
            }
            let Some(list) = owner.value.entry("init") else {
                continue;
            };
            for (index, item) in list.value.items().iter().enumerate() {
                let inner = Some(("init", Inner::Index(index, item)));
                all.push((
                    Place {
                        group: "services",
                        owner,
                        inner,
                        entry: list,
                    },
                    Kind::Init,
                ));
            }
        }
        all.extend(self.jobs.iter().map(|owner| {
            (
                Place {
                    group: "jobs",
                    owner,
                    inner: None,
                    entry: owner,
                },
                Kind::Job,
            )
        }));
        all
    }
}

impl<'a> Place<'a> {
    fn node(&self) -> &'a Node {
        match self.inner {
            Some((_, Inner::Index(_, node))) => node,
            _ => &self.entry.value,
        }
    }

    /// Runs `check` with the path of the container.
    fn with_path<T>(&self, spec: &Path<'_>, check: impl FnOnce(&Path<'_>) -> T) -> T {
        let group = spec.key(self.group);
        let owner = group.key(&self.owner.key);
        match self.inner {
            None => check(&owner),
            Some((key, Inner::Key(entry))) => check(&owner.key(key).key(&entry.key)),
            Some((key, Inner::Index(index, _))) => check(&owner.key(key).index(index)),
        }
    }
}

/// An override is for one of the app's targets.
fn check_overrides(spec: &Node, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let targets: Vec<&str> = match spec.get("targets") {
        Some(targets) => targets.items().iter().filter_map(Node::text).collect(),
        None => vec![crate::manifest::LOCAL_PROVIDER],
    };
    let overrides = path.key("overrides");
    for entry in spec.get("overrides").map(Node::entries).unwrap_or_default() {
        if !targets.contains(&entry.key.as_str()) {
            let message = format!("`{}` is not a target of this app", entry.key);
            let hint = super::fault::nearest_or_all(&entry.key, targets.iter().copied(), "its targets are");
            faults.push(Fault::new("UnknownTarget", entry.key_span, &overrides.key(&entry.key), message).hint(hint));
        }
    }
}
