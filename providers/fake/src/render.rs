//! Desired state -> the platform's objects. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use portolan_core::capability::{Capability, Support};
use portolan_core::desired::{After, DesiredContainer, DesiredState, EnvPart, EnvValue};
use portolan_core::fault::Fault;
use portolan_core::name::{NameGrammar, native_name};
use portolan_core::observation::ObservedResource;
use portolan_core::plan::{FieldChange, Scope, field_changes};
use portolan_core::resource::{Edge, EdgeCondition, Open, Resource, ResourceId, Resources, digest_or_open};
use portolan_provider_api::Shape;
use serde_json::{Value, json};

use crate::kinds::{JOB, Kind, NETWORK, SERVICE, VOLUME};

/// The pure half of the fake provider.
#[derive(Clone, Copy, Debug, Default)]
pub struct FakeShape {
    /// What the provider believes about the platform's reads.
    pub read_lag: Duration,
}

const CAPABILITIES: &[Capability] = &[Capability {
    field: "*",
    support: Support::Exact,
}];

impl Shape for FakeShape {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn capabilities(&self) -> &'static [Capability] {
        CAPABILITIES
    }

    fn render(&self, desired: &DesiredState) -> Result<Resources, Vec<Fault>> {
        let scope = &desired.scope;
        let resource =
            |kind: Kind, name: &str, body, origin: &str| resource(kind, object(scope, kind, name), body, origin);
        let edges = |container, after| edges(scope, container, after);
        let workload = |container| workload(scope, container);
        let volumes = desired.volumes.values();
        let volumes = volumes.map(|volume| resource(VOLUME, &volume.name, json!({}), &volume.origin));
        let jobs = desired.jobs.values().map(|job| Resource {
            revision: job.revision.clone(),
            edges: edges(&job.container, &job.after),
            ..resource(JOB, &job.name, workload(&job.container), &job.origin)
        });
        let services = desired.services.values().map(|service| {
            let mut body = workload(&service.container);
            let public = service.ports.iter().filter(|port| port.public);
            let published: Vec<u16> = public.map(|port| port.port).collect();
            body["replicas"] = json!(service.replicas);
            body["publishes"] = json!(published);
            Resource {
                revision: service.revision.clone(),
                edges: edges(&service.container, &service.after),
                claims: published.iter().map(|port| format!("port/{port}")).collect(),
                ..resource(SERVICE, &service.name, body, &service.origin)
            }
        });
        let network = resource(NETWORK, NETWORK_NAME, json!({}), "/spec");
        let all = volumes.chain(jobs).chain(services).chain([network]);
        Ok(all.map(|resource| (resource.id.clone(), resource)).collect())
    }

    fn read_lag(&self) -> Duration {
        self.read_lag
    }

    fn diff(&self, resource: &Resource, observed: &ObservedResource) -> Vec<FieldChange> {
        field_changes(&observed.body, &resource.body)
    }
}

const NETWORK_NAME: &str = "app";

/// The object that stands for `name` of the app: names of the platform are the account's, and shared by all its apps.
pub fn object(scope: &Scope, kind: Kind, name: &str) -> ResourceId {
    let parts = [scope.namespace.as_str(), &scope.app, &scope.target, name];
    ResourceId::new(kind.name, native_name(&parts, NameGrammar::LABEL))
}

fn resource(kind: Kind, id: ResourceId, body: Value, origin: &str) -> Resource {
    Resource {
        id,
        body,
        edges: Vec::new(),
        origin: origin.to_string(),
        holds_data: kind.holds_data,
        create_is_idempotent: kind.names_are_unique,
        awaited: kind.name == SERVICE.name || kind.runs_to_end,
        claims: Vec::new(),
        revision: None,
    }
}

fn workload(scope: &Scope, container: &DesiredContainer) -> Value {
    let env: BTreeMap<&String, String> = container.env.iter().map(|(name, value)| (name, text(value))).collect();
    let mounts: BTreeMap<&String, Value> = container
        .mounts
        .iter()
        .map(|mount| (&mount.path, volume_path(scope, &mount.volume)))
        .collect();
    let volumes = container
        .mounts
        .iter()
        .map(|mount| object(scope, VOLUME, &mount.volume));
    let uses: Vec<ResourceId> = volumes.chain([object(scope, NETWORK, NETWORK_NAME)]).collect();
    json!({
        "image": digest_or_open(container.image.digest.as_ref()),
        "env": env,
        "mounts": mounts,
        "uses": uses,
    })
}

fn volume_path(scope: &Scope, volume: &str) -> Value {
    let resource = object(scope, VOLUME, volume);
    let output = "path".to_string();
    Open::Ref { resource, output }.into_value()
}

/// Only the shape of references matters here: nobody reads a secret.
fn text(value: &EnvValue) -> String {
    let part = |part: &EnvPart| match part {
        EnvPart::Text(text) => text.clone(),
        EnvPart::Secret(secret) => format!("secret {secret:?}"),
        EnvPart::Service { service, field } => format!("{field:?} of {service}"),
    };
    value.0.iter().map(part).collect()
}

fn edges(scope: &Scope, container: &DesiredContainer, after: &[After]) -> Vec<Edge> {
    let volumes = container.mounts.iter();
    let volumes = volumes.map(|mount| (object(scope, VOLUME, &mount.volume), EdgeCondition::Ready));
    let after = after.iter().map(|after| match after {
        After::Job(job) => (object(scope, JOB, job), EdgeCondition::Completed),
        After::Service(service) => (object(scope, SERVICE, service), EdgeCondition::Ready),
    });
    let network = (object(scope, NETWORK, NETWORK_NAME), EdgeCondition::Exists);
    let all = volumes.chain(after).chain([network]);
    all.map(|(to, condition)| Edge { to, condition }).collect()
}
