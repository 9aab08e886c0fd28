//! Desired state -> the platform's objects. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portolan_core::capability::{Capability, Support};
use portolan_core::desired::{
    After, DesiredContainer, DesiredJob, DesiredService, DesiredState, DesiredUse, DesiredVolume, EnvPart, EnvValue,
};
use portolan_core::fault::Fault;
use portolan_core::mutant::Mutant;
use portolan_core::name::{NameGrammar, hash_of, native_name};
use portolan_core::observation::ObservedResource;
use portolan_core::plan::{FieldChange, Scope, field_changes};
use portolan_core::resolve::REVISION_VARIABLE;
use portolan_core::resource::{Edge, EdgeCondition, Open, Resource, ResourceId, Resources, digest_or_open};
use portolan_provider_api::Shape;
use serde_json::{Value, json};

use crate::kinds::{BALANCER, JOB, Kind, NETWORK, SERVICE, VOLUME};
use crate::platform::{PLAIN, Platform};
use crate::read;
use crate::rules::{KindRules, Rules};
use crate::vault::reference;

/// The pure half of the fake provider.
#[derive(Clone, Debug)]
pub struct FakeShape {
    /// What the provider believes about the platform's reads.
    pub read_lag: Duration,
    rules: Arc<Rules>,
}

const CAPABILITIES: &[Capability] = &[
    Capability {
        field: "*",
        support: Support::Exact,
    },
    Capability {
        field: "services.*.scale.max",
        support: Support::Degraded("nothing scales by itself in memory: `min` replicas are there"),
    },
];

impl Default for FakeShape {
    fn default() -> Self {
        Self::of(&PLAIN)
    }
}

impl FakeShape {
    /// For accounts of that platform. Their reads are believed to lag no longer than the table says.
    pub fn of(platform: &Platform) -> Self {
        let rules = Rules::of(platform);
        Self {
            read_lag: Duration::from_millis(rules.list_lag_ms.max(rules.description_lag_ms)),
            rules: Arc::new(rules),
        }
    }

    /// Which believes something else of reads than the table says.
    pub fn with_read_lag(self, read_lag: Duration) -> Self {
        Self { read_lag, ..self }
    }

    /// The object that stands for `name` of the app.
    pub fn object(&self, scope: &Scope, kind: Kind, name: &str) -> ResourceId {
        let grammar = self
            .rules
            .kind(kind.name)
            .map_or(NameGrammar::LABEL, |rules| rules.grammar);
        named(scope, kind, name, grammar)
    }
}

impl Shape for FakeShape {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn capabilities(&self) -> &'static [Capability] {
        CAPABILITIES
    }

    fn render(&self, desired: &DesiredState) -> Result<Resources, Vec<Fault>> {
        let native = Native {
            scope: &desired.scope,
            shape: self,
        };
        let volumes = desired.volumes.values();
        let volumes = volumes.map(|volume| native.volume(volume));
        let jobs = desired.jobs.values().map(|job| native.job(job));
        let services = desired.services.values().map(|service| native.service(service));
        let balanced = desired.services.values().filter(|service| native.has_balancer(service));
        let balancers = balanced.map(|service| native.balancer(service));
        let network = native.network(&desired.uses);
        let all = volumes.chain(jobs).chain(services).chain(balancers).chain([network]);
        Ok(all
            .map(|resource| (resource.id.clone(), native.normal(resource)))
            .collect())
    }

    fn read_lag(&self) -> Duration {
        self.read_lag
    }

    fn requests_per_second(&self) -> u32 {
        self.rules.requests_per_second().unwrap_or(20)
    }

    fn diff(&self, resource: &Resource, observed: &ObservedResource) -> Vec<FieldChange> {
        let mut changes = field_changes(&observed.body, &resource.body);
        if let Some(rules) = self.rules.kind(&resource.id.kind) {
            changes.retain(|change| !is_default(rules, change));
            changes.iter_mut().for_each(|change| mark_replacement(rules, change));
        }
        changes
    }
}

const NETWORK_NAME: &str = "app";

/// The object that stands for `name` of the app: names of the platform are the account's, and shared by all its apps.
pub fn object(scope: &Scope, kind: Kind, name: &str) -> ResourceId {
    named(scope, kind, name, NameGrammar::LABEL)
}

fn named(scope: &Scope, kind: Kind, name: &str, grammar: NameGrammar) -> ResourceId {
    let parts = [scope.namespace.as_str(), &scope.app, &scope.target, name];
    ResourceId::new(kind.name, native_name(&parts, grammar))
}

/// A field that the platform has filled in by itself.
fn is_default(rules: &KindRules, change: &FieldChange) -> bool {
    let filled_in = |(field, value): &(&str, Value)| change.field == *field && change.old.as_ref() == Some(value);
    change.new.is_none() && !Mutant::DefaultsAreDrift.is_on() && rules.defaults.iter().any(filled_in)
}

fn mark_replacement(rules: &KindRules, change: &mut FieldChange) {
    if rules.immutable.contains(&change.field.as_str()) {
        change.replace = true;
        change.downtime = Some(format!("{} cannot be changed in place", change.field));
    }
}

/// Makes the objects of one app.
struct Native<'a> {
    scope: &'a Scope,
    shape: &'a FakeShape,
}

impl Native<'_> {
    fn id(&self, kind: Kind, name: &str) -> ResourceId {
        self.shape.object(self.scope, kind, name)
    }

    fn resource(&self, kind: Kind, name: &str, body: Value, origin: &str) -> Resource {
        let rules = self.shape.rules.kind(kind.name);
        Resource {
            id: self.id(kind, name),
            body,
            edges: Vec::new(),
            origin: origin.to_string(),
            holds_data: kind.holds_data,
            create_is_idempotent: rules.is_some_and(|rules| rules.kind.names_are_unique),
            awaited: kind.name == SERVICE.name || kind.runs_to_end,
            claims: Vec::new(),
            revision: None,
        }
    }

    /// In the order and the case in which it is read back.
    fn normal(&self, mut resource: Resource) -> Resource {
        if let Some(rules) = self.shape.rules.kind(&resource.id.kind) {
            read::normalise(&mut resource.body, rules);
        }
        resource
    }

    fn network(&self, uses: &BTreeMap<String, DesiredUse>) -> Resource {
        let body = match uses.is_empty() {
            true => json!({}),
            false => json!({ "serves": uses }),
        };
        self.resource(NETWORK, NETWORK_NAME, body, "/spec")
    }

    fn volume(&self, volume: &DesiredVolume) -> Resource {
        let body = volume
            .size_bytes
            .map_or(json!({}), |bytes| json!({ "sizeBytes": bytes }));
        self.resource(VOLUME, &volume.name, body, &volume.origin)
    }

    fn job(&self, job: &DesiredJob) -> Resource {
        let rest = json!([
            of_process(&job.container),
            job.retries,
            job.timeout,
            job.logs,
            job.schedule,
            job.runtime
        ]);
        let body = self.workload(&job.container, rest_of([&job.container], &rest));
        Resource {
            revision: job.revision.clone(),
            edges: self.edges(&job.container, &job.after),
            ..self.resource(JOB, &job.name, body, &job.origin)
        }
    }

    fn service(&self, service: &DesiredService) -> Resource {
        let mut body = self.workload(&service.container, rest_of_service(service));
        let public = service.ports.iter().filter(|port| port.public);
        let published: Vec<u16> = public.map(|port| port.port).collect();
        body["replicas"] = json!(service.replicas);
        body["publishes"] = json!(published);
        let mut edges = self.edges(&service.container, &service.after);
        if self.has_balancer(service) {
            let balancer = self.id(BALANCER, &service.name);
            body["balancer"] = self.output_of(balancer.clone(), "address");
            if let Some(Value::Array(uses)) = body.get_mut("uses") {
                uses.push(json!(balancer));
            }
            edges.push(Edge {
                to: balancer,
                condition: EdgeCondition::Exists,
            });
        }
        Resource {
            revision: service.revision.clone(),
            edges,
            claims: published.iter().map(|port| format!("port/{port}")).collect(),
            ..self.resource(SERVICE, &service.name, body, &service.origin)
        }
    }

    fn has_balancer(&self, service: &DesiredService) -> bool {
        self.shape.rules.has_balancers && service.ports.iter().any(|port| port.public)
    }

    fn balancer(&self, service: &DesiredService) -> Resource {
        let ports: Vec<u16> = service
            .ports
            .iter()
            .filter(|port| port.public)
            .map(|port| port.port)
            .collect();
        let network = self.id(NETWORK, NETWORK_NAME);
        let body = json!({ "ports": ports, "protocol": "http", "uses": [network] });
        Resource {
            edges: vec![Edge {
                to: network,
                condition: EdgeCondition::Exists,
            }],
            ..self.resource(BALANCER, &service.name, body, &service.origin)
        }
    }

    fn workload(&self, container: &DesiredContainer, rest: Value) -> Value {
        let env: BTreeMap<&String, String> = container.env.iter().map(|(name, value)| (name, text(value))).collect();
        let mounts: BTreeMap<&String, Value> = container
            .mounts
            .iter()
            .map(|mount| (&mount.path, self.output_of(self.id(VOLUME, &mount.volume), "path")))
            .collect();
        let volumes = container.mounts.iter().map(|mount| self.id(VOLUME, &mount.volume));
        let uses: Vec<ResourceId> = volumes.chain([self.id(NETWORK, NETWORK_NAME)]).collect();
        json!({
            "image": digest_or_open(container.image.digest.as_ref()),
            "env": env,
            "mounts": mounts,
            "uses": uses,
            "rest": rest,
        })
    }

    fn output_of(&self, resource: ResourceId, output: &str) -> Value {
        let output = output.to_string();
        Open::Ref { resource, output }.into_value()
    }

    fn edges(&self, container: &DesiredContainer, after: &[After]) -> Vec<Edge> {
        let volumes = container.mounts.iter();
        let volumes = volumes.map(|mount| (self.id(VOLUME, &mount.volume), EdgeCondition::Ready));
        let after = after.iter().map(|after| match after {
            After::Job(job) => (self.id(JOB, job), EdgeCondition::Completed),
            After::Service(service) => (self.id(SERVICE, service), EdgeCondition::Ready),
        });
        let network = (self.id(NETWORK, NETWORK_NAME), EdgeCondition::Exists);
        let all = volumes.chain(after).chain([network]);
        all.map(|(to, condition)| Edge { to, condition }).collect()
    }
}

/// All that nothing here behaves by, as a hash, so that a change of it is one. Open while an image is: its config is a part.
fn rest_of<'a>(containers: impl IntoIterator<Item = &'a DesiredContainer>, rest: &Value) -> Value {
    let pinned = |container: &DesiredContainer| container.image.digest.is_some();
    match containers.into_iter().all(pinned) {
        true => json!(hash_of(&["rest", &rest.to_string()])[..20]),
        false => digest_or_open(None),
    }
}

fn rest_of_service(service: &DesiredService) -> Value {
    let sidecars = service.sidecars.iter();
    let sidecars = sidecars.map(|(name, one)| json!([name, of_container(&one.container), one.ports, one.probes]));
    let init = service.init.iter().map(|(name, one)| json!([name, of_container(one)]));
    let beside: Vec<Value> = sidecars.chain(init).collect();
    let rest = json!([
        of_process(&service.container),
        beside,
        service.ports,
        service.probes,
        service.rollout,
        service.stop,
        service.logs,
        service.allow,
        service.domains,
        // How far is said by the table to be nobody's here.
        service.autoscale.as_ref().map(|scale| &scale.on),
        service.runtime,
    ]);
    let sidecars = service.sidecars.values().map(|one| &one.container);
    let init = service.init.iter().map(|(_, one)| one);
    rest_of([&service.container].into_iter().chain(sidecars).chain(init), &rest)
}

/// One that has no object of its own. Its revision follows from what else there is.
fn of_container(container: &DesiredContainer) -> Value {
    let told = container.env.iter().filter(|(name, _)| *name != REVISION_VARIABLE);
    let env: BTreeMap<&String, &EnvValue> = told.collect();
    json!([container.image, env, of_process(container)])
}

fn of_process(container: &DesiredContainer) -> Value {
    let DesiredContainer {
        argv,
        working_dir,
        user,
        files,
        mounts,
        resources,
        ..
    } = container;
    json!([argv, working_dir, user, files, mounts, resources])
}

/// A secret stays a reference: the platform alone reads it.
fn text(value: &EnvValue) -> String {
    let part = |part: &EnvPart| match part {
        EnvPart::Text(text) => text.clone(),
        EnvPart::Secret(secret) => reference(&secret.to_string()),
        EnvPart::Service { service, field } => format!("{field:?} of {service}"),
    };
    value.0.iter().map(part).collect()
}
