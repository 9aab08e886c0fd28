//! App: everything that belongs to one application, for all the targets it goes to.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ApiVersion, AppMetadata, Binding, Job, LOCAL_PROVIDER, Service, Use, grammar, limits};

/// An application: its services, its jobs, and what it needs from where it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// Version of this document's schema.
    pub api_version: ApiVersion,
    /// What this document describes.
    pub kind: AppKind,
    /// Who this App is.
    pub metadata: AppMetadata,
    /// What it shall be.
    pub spec: AppSpec,
}

/// `App`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AppKind {
    #[default]
    App,
}

/// What an App shall be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppSpec {
    /// Names of the Targets that the app goes to. `local`, this machine, needs no Target document.
    #[serde(default = "default_targets")]
    #[schemars(length(min = 1, max = limits::TARGETS), inner(regex(pattern = grammar::LABEL.pattern)), extend("x-kubernetes-list-type" = "set"))]
    pub targets: Vec<String>,
    /// Replicas of the app's one service, said of the app as a whole: what `kubectl scale app/NAME` and autoscalers of an App
    /// write. It stands for `scale.min`, and that service says no `scale` of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000))]
    pub replicas: Option<u32>,
    /// What runs all the time, by name. Other services reach one by its name, as in `http://catalog:8080`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = grammar::name_schema(), "maxProperties" = limits::SERVICES))]
    pub services: BTreeMap<String, Box<Service>>,
    /// What runs to its end, by name. A job runs once for each revision of the job.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = grammar::name_schema(), "maxProperties" = limits::JOBS))]
    pub jobs: BTreeMap<String, Job>,
    /// What the app needs from outside, by type and not by product; each Target gives the values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = grammar::name_schema(), "maxProperties" = limits::BINDINGS))]
    pub bindings: BTreeMap<String, Binding>,
    /// Services of other apps, by the name that they have in this one, as in `http://catalog:8080`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = grammar::name_schema(), "maxProperties" = limits::USES))]
    pub uses: BTreeMap<String, Use>,
    /// Differences by target, merged over `services`, `jobs` and `bindings`: maps merge; lists of named things merge
    /// by `name`, files and volumes by `path`, domains by `host`; other lists are replaced; `null` removes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = grammar::label_schema(), "maxProperties" = limits::TARGETS))]
    pub overrides: BTreeMap<String, Override>,
}

/// What is different on one target, not yet merged: the shape of `spec` with every field optional and nullable.
/// Its schema is derived from that of [`AppSpec`] in `schema`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Override(pub Value);

fn default_targets() -> Vec<String> {
    vec![LOCAL_PROVIDER.to_string()]
}
