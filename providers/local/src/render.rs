//! Desired state -> the supervisor's objects, and how two of them differ. Pure.

mod container;
pub mod room;

use std::time::Duration;

use portolan_core::capability::Capability;
use portolan_core::desired::{
    After, DesiredContainer, DesiredJob, DesiredLogs, DesiredPort, DesiredService, DesiredSidecar, DesiredState,
    DesiredUse, OtherApp,
};
use portolan_core::fault::Fault;
use portolan_core::manifest::{Egress, RolloutStrategy};
use portolan_core::observation::ObservedResource;
use portolan_core::plan::{FieldChange, field_changes};
use portolan_core::resolve::REVISION_VARIABLE;
use portolan_core::resource::{Edge, EdgeCondition, KnownAfter, Open, Resource, ResourceId, Resources};
use portolan_provider_api::Shape;
use portolan_supervisor::spec;
use serde::Serialize;
use serde_json::{Value, json};

use crate::capabilities;
use crate::client::folder_of;
use crate::{TargetSettings, protocols};

/// Kinds of resources on this target. All but `Image` are the supervisor's own.
pub mod kind {
    pub const NETWORK: &str = "Network";
    pub const IMAGE: &str = "Image";
    pub const VOLUME: &str = "Volume";
    pub const JOB: &str = "Job";
    pub const SERVICE: &str = "Service";
}

/// Name of the one network of an app.
pub const NETWORK_NAME: &str = "app";

/// The output of an `Image` that a container's `layers` refer to.
pub const LAYERS: &str = "layers";

/// Body keys that say which revision an object is of; compared like any other.
const REVISION: &str = "revision";

pub struct LocalShape {
    target: TargetSettings,
    /// Of the machine, in bytes.
    memory: Option<u64>,
}

impl LocalShape {
    pub fn new(target: TargetSettings, memory: Option<u64>) -> Self {
        Self { target, memory }
    }
}

impl Shape for LocalShape {
    fn name(&self) -> &'static str {
        "local"
    }

    fn capabilities(&self) -> &'static [Capability] {
        capabilities::of_this_machine()
    }

    fn render(&self, desired: &DesiredState) -> Result<Resources, Vec<Fault>> {
        let mut renderer = Renderer {
            shape: self,
            desired,
            resources: Resources::new(),
            faults: Vec::new(),
        };
        renderer.network();
        desired.volumes.values().for_each(|volume| renderer.volume(volume));
        desired.jobs.values().for_each(|job| renderer.job(job));
        desired.services.values().for_each(|service| renderer.service(service));
        if renderer.faults.is_empty() {
            Ok(renderer.resources)
        } else {
            Err(renderer.faults)
        }
    }

    /// The store keeps images for whoever needs them, and `image rm` takes them out of it.
    fn is_pruned(&self, id: &ResourceId) -> bool {
        id.kind != kind::IMAGE
    }

    /// The supervisor answers from what it has just stored.
    fn read_lag(&self) -> Duration {
        Duration::ZERO
    }

    /// A socket of this machine: as many as it can take.
    fn requests_per_second(&self) -> u32 {
        10_000
    }

    fn diff(&self, resource: &Resource, observed: &ObservedResource) -> Vec<FieldChange> {
        let mut changes = field_changes(&observed.body, &resource.body);
        // Layers follow from the image; they are told apart only where the same image lies elsewhere now.
        let image_changes = |changes: &[FieldChange]| changes.iter().any(|change| change.field.ends_with(".image"));
        if image_changes(&changes) {
            changes.retain(|change| !change.field.ends_with(".layers"));
        }
        forget_what_an_open_image_brings(&mut changes);
        if recreates(resource) {
            for change in changes.iter_mut().filter(|change| change.field.starts_with("pod.")) {
                change.downtime = Some(ALL_STOP.into());
            }
        }
        changes
    }
}

const ALL_STOP: &str = "all replicas stop before new ones start: rollout.strategy says so, or their memory limits leave no room \
                        for one more on this machine";

/// A variable that an image has brought is missing from the body while the next image is not known: it may come again.
fn forget_what_an_open_image_brings(changes: &mut Vec<FieldChange>) {
    let is_open = |change: &FieldChange| change.new.as_ref().and_then(Open::of).is_some();
    let containers: Vec<String> = changes
        .iter()
        .filter(|change| is_open(change))
        .filter_map(|change| Some(format!("{}.env.", change.field.strip_suffix(".image")?)))
        .collect();
    let goes = |change: &FieldChange| change.new.is_none();
    changes.retain(|change| !(goes(change) && containers.iter().any(|env| change.field.starts_with(env))));
}

fn recreates(resource: &Resource) -> bool {
    resource.id.kind == kind::SERVICE && resource.body.pointer("/rollout/strategy") == Some(&json!("recreate"))
}

struct Renderer<'a> {
    shape: &'a LocalShape,
    desired: &'a DesiredState,
    resources: Resources,
    faults: Vec<Fault>,
}

impl Renderer<'_> {
    fn network(&mut self) {
        let body = spec::NetworkSpec {
            name: NETWORK_NAME.into(),
            revision: String::new(),
            labels: spec::Labels::new(),
            egress: match self.shape.target.egress {
                Egress::Nat => spec::Egress::Nat,
                Egress::None => spec::Egress::None,
            },
            uses: self.desired.uses.iter().map(|(name, one)| used(name, one)).collect(),
        };
        self.add(resource(kind::NETWORK, NETWORK_NAME, body_of(&body), "/spec"));
    }

    fn volume(&mut self, volume: &portolan_core::desired::DesiredVolume) {
        let body = spec::VolumeSpec {
            name: volume.name.clone(),
            revision: String::new(),
            labels: spec::Labels::new(),
        };
        let mut rendered = resource(kind::VOLUME, &volume.name, body_of(&body), &volume.origin);
        rendered.holds_data = true;
        self.add(rendered);
    }

    fn job(&mut self, job: &DesiredJob) {
        let main = self.container(&job.name, &job.container, &job.origin);
        let body = spec::JobSpec {
            name: job.name.clone(),
            revision: job.revision.clone().unwrap_or_default(),
            labels: spec::Labels::new(),
            pod: spec::PodSpec {
                main,
                sidecars: Vec::new(),
                init: Vec::new(),
            },
            retries: job.retries,
            timeout: Some(job.timeout),
            stop: spec::StopSpec::default(),
            logs: logs(&job.logs),
        };
        let mut body = body_of(&body);
        open_container(&mut body["pod"]["main"], &job.container);
        open_revision(&mut body, job.revision.as_deref());
        let mut rendered = resource(kind::JOB, &job.name, body, &job.origin);
        rendered.awaited = true;
        rendered.revision = job.revision.clone();
        rendered.edges = self.edges([&job.container], &job.after);
        self.images([&job.container], &job.origin);
        self.add(rendered);
    }

    fn service(&mut self, service: &DesiredService) {
        self.check_replicas(service);
        let mut body = body_of(&self.service_spec(service));
        say_protocols(&mut body, service);
        open_container(&mut body["pod"]["main"], &service.container);
        for (at, sidecar) in service.sidecars.values().enumerate() {
            open_container(&mut body["pod"]["sidecars"][at], &sidecar.container);
        }
        for (at, (_, init)) in service.init.iter().enumerate() {
            open_container(&mut body["pod"]["init"][at], init);
        }
        open_revision(&mut body, service.revision.as_deref());
        let containers: Vec<&DesiredContainer> = containers(service).collect();
        let mut rendered = resource(kind::SERVICE, &service.name, body, &service.origin);
        rendered.awaited = true;
        rendered.revision = service.revision.clone();
        rendered.claims = self.claims(service);
        rendered.edges = self.edges(containers.iter().copied(), &service.after);
        self.images(containers, &service.origin);
        self.add(rendered);
    }

    fn service_spec(&mut self, service: &DesiredService) -> spec::ServiceSpec {
        let mut main = self.container(&service.name, &service.container, &service.origin);
        main.health = container::health(&service.probes);
        let sidecars = service
            .sidecars
            .iter()
            .map(|(name, sidecar)| self.sidecar(name, sidecar, service))
            .collect();
        let init = service
            .init
            .iter()
            .enumerate()
            .map(|(at, (name, container))| self.container(name, container, &format!("{}/init/{at}", service.origin)))
            .collect();
        spec::ServiceSpec {
            name: service.name.clone(),
            revision: service.revision.clone().unwrap_or_default(),
            labels: spec::Labels::new(),
            replicas: service.replicas,
            pod: spec::PodSpec { main, sidecars, init },
            ports: ports(service).map(|port| self.port(port)).collect(),
            stop: spec::StopSpec {
                signal: service.stop.signal.clone(),
                drain: service.stop.drain,
                grace_period: service.stop.grace_period,
            },
            rollout: self.rollout(service),
            logs: logs(&service.logs),
            allow: service.allow.iter().map(folder).collect(),
        }
    }

    /// One by one wants room for one more; without it the old replicas have to go first.
    fn rollout(&self, service: &DesiredService) -> spec::RolloutSpec {
        let rollout = &service.rollout;
        let steps = rollout.steps.iter().map(|step| spec::RolloutStep {
            weight: step.weight_percent,
            pause: step.pause,
        });
        let has_room = || room::is_there_for_one_more(service, self.desired, self.shape.memory);
        spec::RolloutSpec {
            strategy: match rollout.strategy {
                RolloutStrategy::Rolling if has_room() => spec::Strategy::Rolling,
                RolloutStrategy::Rolling | RolloutStrategy::Recreate => spec::Strategy::Recreate,
                RolloutStrategy::Canary => spec::Strategy::Canary,
                RolloutStrategy::BlueGreen => spec::Strategy::BlueGreen,
            },
            steps: steps.collect(),
            deadline: rollout.deadline,
        }
    }

    fn sidecar(&mut self, name: &str, sidecar: &DesiredSidecar, service: &DesiredService) -> spec::ContainerSpec {
        let origin = format!("{}/sidecars/{name}", service.origin);
        let mut rendered = self.container(name, &sidecar.container, &origin);
        rendered.health = container::health(&sidecar.probes);
        rendered
    }

    /// More would not fit into the app's network.
    fn check_replicas(&mut self, service: &DesiredService) {
        if service.replicas <= spec::MAX_REPLICAS {
            return;
        }
        let message = format!(
            "{} replicas are more than this target runs of one service",
            service.replicas
        );
        let fault = Fault::new("OutOfRange", message, format!("{}/scale/min", service.origin));
        self.faults.push(fault.with_hint(format!(
            "at most {} here; `overrides` can say so for this target alone",
            spec::MAX_REPLICAS
        )));
    }

    fn port(&self, port: &DesiredPort) -> spec::PortSpec {
        spec::PortSpec {
            name: port.name.clone(),
            port: port.port,
            // `say_protocols` puts the manifest's word into the body.
            protocol: protocols::carried(port.protocol.as_str()),
            publish: port.public.then_some(spec::Publish {
                address: self.shape.target.publish_address,
                port: port.port,
            }),
        }
    }

    /// The ports of the host that a service and its sidecars publish. One that another service has already is a fault.
    fn claims(&mut self, service: &DesiredService) -> Vec<String> {
        let mut claims = Vec::new();
        for (pointer, port) in public_ports(service) {
            let carried = protocols::carried(port.protocol.as_str());
            let claim = protocols::claim(carried, self.shape.target.publish_address, port.port);
            let holder = self.resources.values().find(|other| other.claims.contains(&claim));
            if let Some(holder) = holder {
                self.faults.push(port_twice(port.port, &holder.id.name, pointer));
            }
            claims.push(claim);
        }
        claims
    }

    /// One `Image` for each digest; while it is open, one for each container that waits for it.
    fn images<'a>(&mut self, containers: impl IntoIterator<Item = &'a DesiredContainer>, origin: &str) {
        for container in containers {
            let body = json!({
                "digest": portolan_core::resource::digest_or_open(container.image.digest.as_ref()),
            });
            self.add(resource(kind::IMAGE, &image_id(container).name, body, origin));
        }
    }

    fn edges<'a>(&self, containers: impl IntoIterator<Item = &'a DesiredContainer>, after: &[After]) -> Vec<Edge> {
        let mut edges = vec![edge(
            ResourceId::new(kind::NETWORK, NETWORK_NAME),
            EdgeCondition::Exists,
        )];
        for container in containers {
            edges.push(edge(image_id(container), EdgeCondition::Exists));
            let volumes = container
                .mounts
                .iter()
                .map(|mount| ResourceId::new(kind::VOLUME, &mount.volume));
            edges.extend(volumes.map(|volume| edge(volume, EdgeCondition::Exists)));
        }
        edges.extend(after.iter().map(|after| match after {
            After::Job(job) => edge(ResourceId::new(kind::JOB, job), EdgeCondition::Completed),
            After::Service(service) => edge(ResourceId::new(kind::SERVICE, service), EdgeCondition::Ready),
        }));
        edges.sort();
        edges.dedup();
        edges
    }

    fn add(&mut self, resource: Resource) {
        self.resources.entry(resource.id.clone()).or_insert(resource);
    }
}

fn used(name: &str, one: &DesiredUse) -> spec::UseSpec {
    spec::UseSpec {
        name: name.into(),
        app: folder(&one.of),
        service: one.service.clone(),
        port: one.port,
    }
}

/// Supervisors know each other by their folders, which lie beside each other.
fn folder(other: &OtherApp) -> String {
    folder_of(&other.namespace, &other.app)
}

fn containers(service: &DesiredService) -> impl Iterator<Item = &DesiredContainer> {
    let sidecars = service.sidecars.values().map(|sidecar| &sidecar.container);
    [&service.container]
        .into_iter()
        .chain(sidecars)
        .chain(service.init.iter().map(|(_, container)| container))
}

/// Ports of a service and its sidecars, in the order of the spec.
fn ports(service: &DesiredService) -> impl Iterator<Item = &DesiredPort> {
    let beside = service.sidecars.values().flat_map(|sidecar| &sidecar.ports);
    service.ports.iter().chain(beside)
}

fn logs(logs: &DesiredLogs) -> spec::LogSpec {
    spec::LogSpec {
        max_size_bytes: logs.max_size_bytes,
        max_files: logs.max_files,
        max_age: logs.max_age,
    }
}

fn say_protocols(body: &mut Value, service: &DesiredService) {
    for (at, port) in ports(service).enumerate() {
        body["ports"][at]["protocol"] = json!(port.protocol.as_str());
    }
}

/// Public ports of a service and its sidecars, each with its place in the manifest.
fn public_ports(service: &DesiredService) -> Vec<(String, &DesiredPort)> {
    let beside = service
        .sidecars
        .iter()
        .map(|(name, sidecar)| (format!("{}/sidecars/{name}", service.origin), &sidecar.ports));
    let mut found = Vec::new();
    for (origin, ports) in std::iter::once((service.origin.clone(), &service.ports)).chain(beside) {
        let public = ports.iter().enumerate().filter(|(_, port)| port.public);
        found.extend(public.map(|(at, port)| (format!("{origin}/ports/{at}/port"), port)));
    }
    found
}

fn port_twice(port: u16, holder: &str, pointer: String) -> Fault {
    let message = format!("port {port} of this machine is published by the service `{holder}` already");
    Fault::new("DuplicatePort", message, pointer).with_hint("give one of them another port, or leave out `public`")
}

fn resource(kind: &str, name: &str, body: Value, origin: &str) -> Resource {
    Resource {
        id: ResourceId::new(kind, name),
        body,
        edges: Vec::new(),
        origin: origin.to_string(),
        holds_data: false,
        // Every put of the supervisor is by name: the same again is the same.
        create_is_idempotent: true,
        awaited: false,
        claims: Vec::new(),
        revision: None,
    }
}

fn edge(to: ResourceId, condition: EdgeCondition) -> Edge {
    Edge { to, condition }
}

/// Named by its digest, so that the platform can be asked for it by name alone.
fn image_id(container: &DesiredContainer) -> ResourceId {
    match &container.image.digest {
        Some(digest) => ResourceId::new(kind::IMAGE, digest.to_string()),
        None => ResourceId::new(kind::IMAGE, container.image.reference.to_string()),
    }
}

/// A spec as a body: without the labels, which carry the generation and change with every apply.
pub fn body_of(spec: &impl Serialize) -> Value {
    let mut body = serde_json::to_value(spec).expect("the supervisor's specs hold only string keys");
    if let Some(fields) = body.as_object_mut() {
        fields.remove("labels");
    }
    body
}

/// Layers are known once the image is unpacked; what its config says once it is built or looked up.
fn open_container(body: &mut Value, container: &DesiredContainer) {
    body["layers"] = Open::Ref {
        resource: image_id(container),
        output: LAYERS.into(),
    }
    .into_value();
    if container.image.digest.is_some() {
        return;
    }
    let open = || Open::Unknown(KnownAfter::AfterBuild).into_value();
    body["image"] = open();
    body["command"] = open();
    if container.user.is_none() {
        body["user"] = open();
    }
    if container.working_dir.is_none() {
        body["working_dir"] = open();
    }
}

/// The revision follows from all images of the pod, and every container of it is told.
fn open_revision(body: &mut Value, revision: Option<&str>) {
    if revision.is_some() {
        return;
    }
    let open = || Open::Unknown(KnownAfter::AfterBuild).into_value();
    body[REVISION] = open();
    body["pod"]["main"]["env"][REVISION_VARIABLE] = open();
    for list in ["sidecars", "init"] {
        let containers = body["pod"][list].as_array_mut().into_iter().flatten();
        containers.for_each(|container| container["env"][REVISION_VARIABLE] = open());
    }
}

#[cfg(test)]
mod tests;
