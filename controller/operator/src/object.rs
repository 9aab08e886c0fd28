//! Apps and Targets as the API server has them: what of an object is looked at, and nothing else of it is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kube::api::DynamicObject;
use kube::discovery::ApiResource;
use portolan_core::manifest::API_VERSION;
use serde_json::{Value, json};

use crate::status;

/// Keeps an App until what was applied for it is gone.
pub const FINALIZER: &str = "portolan.dev/cleanup";

/// Beside the finalizer: the targets where something of the App may be, with commas between them.
pub const TARGETS: &str = "portolan.dev/targets";

/// `"true"`: the App is left alone.
pub const SUSPEND: &str = "portolan.dev/suspend";
/// Any text: a new one has the App reconciled at once, with tags looked up anew.
pub const RECONCILE_AT: &str = "portolan.dev/reconcile-at";
/// The digest of a plan that waits for a yes.
pub const APPROVE: &str = "portolan.dev/approve";
/// The word for a pause of a rollout, to end it; with `/full` to come to the rollout's end.
pub const PROMOTE: &str = "portolan.dev/promote";
/// `"true"`: a deleted App is let go, whatever is left of it.
pub const ORPHAN: &str = "portolan.dev/orphan";

/// An App's object is known by its KubeNamespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppName {
    pub namespace: String,
    pub name: String,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectName {
    App(AppName),
    Target(String),
}

/// What is known of an object besides its manifest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head {
    pub uid: String,
    pub version: String,
    pub generation: i64,
    pub deleting: bool,
    pub finalizers: Vec<String>,
    /// Those that begin with our domain.
    pub annotations: BTreeMap<String, String>,
    /// As text: of many thousand objects a tree of it takes most of the memory.
    status: Box<str>,
    /// The targets that it has entries for.
    entries: Vec<String>,
    observed: Option<i64>,
}

pub fn app_resource() -> ApiResource {
    resource("App", "apps")
}

pub fn target_resource() -> ApiResource {
    resource("Target", "targets")
}

fn resource(kind: &str, plural: &str) -> ApiResource {
    let (group, version) = API_VERSION.split_once('/').unwrap_or_default();
    ApiResource {
        group: group.into(),
        version: version.into(),
        api_version: API_VERSION.into(),
        kind: kind.into(),
        plural: plural.into(),
    }
}

impl AppName {
    pub fn of(object: &DynamicObject) -> Self {
        Self {
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            name: object.metadata.name.clone().unwrap_or_default(),
        }
    }

    /// How the engine names who wrote the intent.
    pub fn source(&self) -> String {
        format!("kubernetes/{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(name) => write!(f, "app {}/{}", name.namespace, name.name),
            Self::Target(name) => write!(f, "target {name}"),
        }
    }
}

impl Head {
    pub fn of(object: &mut DynamicObject) -> Self {
        let metadata = &mut object.metadata;
        let mut annotations = metadata.annotations.take().unwrap_or_default();
        annotations.retain(|name, _| name.starts_with("portolan.dev/"));
        let status = object.data["status"].take();
        let entries = status["targets"].as_object().into_iter().flatten();
        Self {
            uid: metadata.uid.take().unwrap_or_default(),
            version: metadata.resource_version.take().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            finalizers: metadata.finalizers.take().unwrap_or_default(),
            annotations,
            entries: entries.map(|(target, _)| target.clone()).collect(),
            observed: status::observed(&status),
            status: status.to_string().into(),
        }
    }

    /// `null` where there is none.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.status).unwrap_or_default()
    }

    /// Whether `other` was read later. Versions grow; where one is no number nobody can tell.
    pub fn is_older_than(&self, other: &Self) -> bool {
        let number = |head: &Self| head.version.parse::<u128>().ok();
        self.uid == other.uid && matches!((number(self), number(other)), (Some(one), Some(two)) if one < two)
    }

    pub fn has_finalizer(&self) -> bool {
        self.finalizers.iter().any(|one| one == FINALIZER)
    }

    pub fn says(&self, annotation: &str) -> bool {
        self.annotations.get(annotation).is_some_and(|value| value == "true")
    }

    /// What it says for as long as something of the App may be anywhere; none where it has not said so yet, or has lost it.
    pub fn record(&self) -> Option<BTreeSet<&str>> {
        let said = self.annotations.get(TARGETS).filter(|_| self.has_finalizer())?;
        Some(said.split(',').collect())
    }

    /// Targets where something of it may be: those on record, and what its status speaks of.
    pub fn told_targets(&self) -> impl Iterator<Item = &str> {
        let of_status = self.entries.iter().map(String::as_str);
        self.record().into_iter().flatten().chain(of_status)
    }

    /// The generation that its status is about; none while nobody has written one.
    pub fn observed(&self) -> Option<i64> {
        self.observed
    }

    /// The object with our finalizer and where something of it may be, or without both, and with everybody else's.
    pub fn record_patch(&self, targets: &BTreeSet<&str>) -> Value {
        let mut finalizers = self.finalizers.clone();
        finalizers.retain(|one| one != FINALIZER);
        let mut said = Value::Null;
        if !targets.is_empty() {
            finalizers.push(FINALIZER.to_string());
            said = targets.iter().copied().collect::<Vec<_>>().join(",").into();
        }
        json!({ "metadata": {
            "resourceVersion": self.version, "uid": self.uid,
            "finalizers": finalizers, "annotations": { TARGETS: said },
        } })
    }
}
