//! What a schema cannot say: whether the parts of a manifest fit each other.
//!
//! The checks read the tree, not the types, so that they also see what is wrong in a file that has faults of shape: a
//! part that is missing or of a wrong type is simply not looked at here. What can be said of one part is a rule of
//! `crate::rules`, which an API server knows too (`rules.rs`); what takes a look at the whole app is a function here.

mod container;
mod domains;
mod names;
mod order;
mod references;
mod rules;
mod scale;
mod service;

use super::fault::Fault;
use super::node::{Entry, Node};
use super::path::Path;
use crate::rules::{app_rules, target_rules};

/// Faults of a Target's tree.
pub fn check_target(root: &Node, faults: &mut Vec<Fault>) {
    rules::check(root, target_rules(), faults);
}

/// Faults of an App's tree.
pub fn check_app(root: &Node, faults: &mut Vec<Fault>) {
    let Some(spec) = root.entry("spec") else { return };
    rules::check(root, app_rules(), faults);
    let path = Path::ROOT.key("spec");
    let app = AppView::of(&spec.value);
    names::check(&app, &path, faults);
    order::check(&app, &path, faults);
    references::check(&app, &path, faults);
    service::check(&app, &path, faults);
    for container in app.containers() {
        container.with_path(&path, |path| container::check(container.node(), path, faults));
    }
    container::check_volumes(&app, &path, faults);
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

    /// Every container.
    fn containers(&self) -> Vec<Place<'a>> {
        let of = |group, owner, inner, entry| Place {
            group,
            owner,
            inner,
            entry,
        };
        let mut all = Vec::new();
        for owner in self.services {
            all.push(of("services", owner, None, owner));
            for entry in owner.value.get("sidecars").map(Node::entries).unwrap_or_default() {
                all.push(of("services", owner, Some(("sidecars", Inner::Key(entry))), entry));
            }
            let Some(list) = owner.value.entry("init") else {
                continue;
            };
            for (index, item) in list.value.items().iter().enumerate() {
                all.push(of("services", owner, Some(("init", Inner::Index(index, item))), list));
            }
        }
        all.extend(self.jobs.iter().map(|owner| of("jobs", owner, None, owner)));
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
