//! Desired state -> objects of Kubernetes. Pure.
//!
//! A service becomes a Deployment, or a StatefulSet where it writes to a volume: a claim is held by one node at a time, and two
//! pods over one claim must not overlap. Beside it stand a KubeService for its ports, another one for those that are
//! public, an Ingress or an HTTPRoute for its domains, a NetworkPolicy that says who may reach them, a ConfigMap for its
//! files, what scales it, and a PodDisruptionBudget where there is more than one replica; a volume becomes a claim, a job a
//! Job or a CronJob. One service account is the app's.

mod container;
mod gpu;
mod job;
mod network;
mod outside;
mod pod;
mod policy;
mod scaling;
pub mod stored;
#[cfg(test)]
mod tests;
mod workload;

use std::collections::BTreeMap;

use portolan_core::capability::Capability;
use portolan_core::desired::{DesiredService, DesiredState, DesiredVolume};
use portolan_core::fault::Fault;
use portolan_core::manifest::ByteQuantity;
use portolan_core::observation::ObservedResource;
use portolan_core::plan::{FieldChange, Scope};
use portolan_core::resource::{Edge, EdgeCondition, KnownAfter, Open, Resource, ResourceId, Resources, is_closed};
use portolan_provider_api::Shape;
use serde_json::{Value, json};

use crate::Choices;
use crate::capabilities::CAPABILITIES;
use crate::kinds::{CLAIM, Kind, SERVICE_ACCOUNT};
use crate::names::{Names, annotation, hash_of_text, label};
use crate::{diff, write};
use stored::Stored;

/// What a claim asks for where the manifest names no size; a cluster has to be told one.
const USUAL_VOLUME_BYTES: u64 = 1 << 30;

/// The pure half of the provider.
pub struct KubernetesShape {
    /// The KubeNamespace of all its apps; each app's own where the Target names none.
    pub kube_namespace: Option<String>,
    pub choices: Choices,
    /// Whether looks cost the API server nothing, so that what is counted are writes.
    pub is_watched: bool,
}

impl KubernetesShape {
    /// Where the objects of an app of `namespace` are.
    pub fn kube_namespace<'a>(&'a self, namespace: &'a str) -> &'a str {
        self.kube_namespace.as_deref().unwrap_or(namespace)
    }
}

impl Shape for KubernetesShape {
    fn name(&self) -> &'static str {
        portolan_core::manifest::KUBERNETES_PROVIDER
    }

    fn capabilities(&self) -> &'static [Capability] {
        CAPABILITIES
    }

    fn render(&self, desired: &DesiredState) -> Result<Resources, Vec<Fault>> {
        let mut renderer = Renderer {
            shape: self,
            names: Names(&desired.scope),
            desired,
            resources: Resources::new(),
            stored: Stored::new(),
            faults: Vec::new(),
        };
        renderer.account();
        desired.volumes.values().for_each(|volume| renderer.volume(volume));
        desired.jobs.values().for_each(|job| renderer.job(job));
        desired.services.values().for_each(|service| renderer.service(service));
        desired.uses.iter().for_each(|(name, used)| renderer.used(name, used));
        renderer.external_secrets();
        match renderer.faults.is_empty() {
            true => Ok(renderer.resources),
            false => Err(renderer.faults),
        }
    }

    fn document(&self, scope: &Scope, resource: &Resource) -> Value {
        let mut object = resource.body.clone();
        write::tag(
            &mut object,
            scope,
            self.kube_namespace(&scope.namespace),
            &resource.id.name,
        );
        object
    }

    fn diff(&self, resource: &Resource, observed: &ObservedResource) -> Vec<FieldChange> {
        diff::changes(resource, observed)
    }

    /// An API server reads what was written last.
    fn read_lag(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    /// A look is nine lists. What is written has the API server's own fairness between itself and others; the budget keeps
    /// a mistake from taking all of it.
    fn requests_per_second(&self) -> u32 {
        match self.is_watched {
            true => 1_000,
            false => 100,
        }
    }
}

struct Renderer<'a> {
    shape: &'a KubernetesShape,
    names: Names<'a>,
    desired: &'a DesiredState,
    resources: Resources,
    stored: Stored,
    faults: Vec<Fault>,
}

/// What an object stands for, in the manifest's words.
#[derive(Clone, Copy)]
struct Part<'a> {
    name: &'a str,
    component: &'a str,
    origin: &'a str,
}

impl<'a> Part<'a> {
    fn service(service: &'a DesiredService) -> Self {
        Self {
            name: &service.name,
            component: "service",
            origin: &service.origin,
        }
    }
}

impl Renderer<'_> {
    fn account(&mut self) {
        let part = Part {
            name: &self.desired.scope.app,
            component: "app",
            origin: "/spec",
        };
        // Pods of an app have no business with the API server.
        let body = json!({ "automountServiceAccountToken": false });
        let account = self.object(&SERVICE_ACCOUNT, self.names.app(), part, body);
        self.add(account);
    }

    fn volume(&mut self, volume: &DesiredVolume) {
        let part = Part {
            name: &volume.name,
            component: "volume",
            origin: &volume.origin,
        };
        let size = ByteQuantity::from_bytes(volume.size_bytes.unwrap_or(USUAL_VOLUME_BYTES));
        let body = json!({ "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": size.to_string() } },
        }});
        let mut claim = self.object(&CLAIM, self.names.of(&volume.name), part, body);
        claim.holds_data = true;
        self.add(claim);
    }

    /// A resource whose body is `fields` and what all objects have in common.
    fn object(&self, kind: &Kind, name: String, part: Part<'_>, fields: Value) -> Resource {
        let mut body = fields;
        body["apiVersion"] = json!(kind.api_version());
        body["kind"] = json!(kind.name);
        body["metadata"] = json!({ "labels": self.names.labels(part.name, part.component) });
        Resource {
            id: kind.id(name),
            body,
            edges: Vec::new(),
            origin: part.origin.to_string(),
            holds_data: false,
            // A POST of what is there is answered by 409, and what is there is looked at.
            create_is_idempotent: true,
            awaited: false,
            claims: Vec::new(),
            revision: None,
        }
    }

    fn add(&mut self, mut resource: Resource) {
        resource.edges.sort();
        resource.edges.dedup();
        seal(&mut resource.body);
        self.resources.insert(resource.id.clone(), resource);
    }
}

/// Writes into the body what it is a hash of, once all of it is known.
fn seal(body: &mut Value) {
    let applied = match is_closed(body) {
        true => json!(hash_of_text("applied", &body.to_string())),
        false => after_build(),
    };
    body["metadata"]["annotations"][annotation::APPLIED] = applied;
}

fn after_build() -> Value {
    Open::Unknown(KnownAfter::AfterBuild).into_value()
}

/// The labels of an object that has a revision.
fn with_revision(labels: BTreeMap<String, String>, revision: Option<&str>) -> Value {
    let mut labels = json!(labels);
    labels[label::REVISION] = revision.map_or_else(after_build, |revision| json!(revision));
    labels
}

fn exists(to: ResourceId) -> Edge {
    Edge {
        to,
        condition: EdgeCondition::Exists,
    }
}
