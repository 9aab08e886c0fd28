//! Desired state -> requests of Amazon's APIs. Pure.
//!
//! A service becomes a task definition and a service of the cluster, with a log group and, where the Target names none, a role by
//! which ECS reads what the containers need; target groups and rules behind a load balancer lead to its public ports and its
//! domains, Service Connect and Cloud Map to it by its name, and Application Auto Scaling moves its number. A job becomes a task
//! that is run, or a schedule that runs it; a volume a folder of a file system. What the cloud would refuse is told here.

mod container;
mod discovery;
mod files;
pub(crate) mod health;
mod job;
mod logs;
mod network;
mod roles;
mod rollout;
mod scaling;
mod service;
mod target_group;
mod task;

use std::collections::BTreeMap;

use portolan_core::capability::{Capability, Degraded};
use portolan_core::desired::{After, DesiredJob, DesiredService, DesiredState, DesiredVolume};
use portolan_core::fault::Fault;
use portolan_core::manifest::{ECS_PROVIDER, EcsCapacity, EcsTarget};
use portolan_core::observation::ObservedResource;
use portolan_core::plan::{FieldChange, Scope, field_changes};
use portolan_core::resource::{Edge, EdgeCondition, Resource, ResourceId, Resources};
use portolan_provider_api::Shape;
use serde::Serialize;
use serde_json::Value;

use crate::capabilities;
use crate::document;
use crate::kinds::{ACCESS_POINT, Kind, SCHEDULE, SERVICE, TASK};
use crate::names::{Arns, Names, tag};
use crate::requests::around::{CreateAccessPoint, CreationInfo, RootDirectory};
use crate::requests::{Late, Tags, capital_tags};

/// The pure half of the provider.
pub struct EcsShape {
    pub target: EcsTarget,
}

impl Shape for EcsShape {
    fn name(&self) -> &'static str {
        ECS_PROVIDER
    }

    fn capabilities(&self) -> &'static [Capability] {
        capabilities::of(self.target.capacity)
    }

    fn realm(&self) -> Option<String> {
        Some(realm(&self.target))
    }

    fn render(&self, desired: &DesiredState) -> Result<Resources, Vec<Fault>> {
        let rendered = self.rendered(desired);
        match rendered.faults.is_empty() {
            true => Ok(rendered.resources),
            false => Err(rendered.faults),
        }
    }

    fn remarks(&self, desired: &DesiredState) -> Vec<Degraded> {
        self.rendered(desired).remarks
    }

    fn document(&self, scope: &Scope, resource: &Resource) -> Value {
        document::document(scope, resource)
    }

    fn diff(&self, resource: &Resource, observed: &ObservedResource) -> Vec<FieldChange> {
        field_changes(&observed.body, &resource.body)
    }
}

/// What an owner's last word is: an account, and a cluster in one of its regions.
pub fn realm(target: &EcsTarget) -> String {
    format!("{}/{}/{}", target.account, target.region, target.cluster)
}

/// What is made of an app, whether the cloud takes it or not.
#[derive(Debug, Default)]
pub struct Rendered {
    pub resources: Resources,
    /// What the cloud would refuse.
    pub faults: Vec<Fault>,
    /// What comes out otherwise than the manifest's numbers say.
    pub remarks: Vec<Degraded>,
}

impl EcsShape {
    /// All of it, by force: what is refused is rendered too.
    pub fn rendered(&self, desired: &DesiredState) -> Rendered {
        let mut renderer = Renderer {
            target: &self.target,
            names: Names(&desired.scope),
            arns: Arns(&self.target),
            desired,
            rendered: Rendered::default(),
        };
        desired.volumes.values().for_each(|volume| renderer.volume(volume));
        desired.jobs.values().for_each(|job| renderer.job(job));
        desired.services.values().for_each(|service| renderer.service(service));
        renderer.rendered
    }
}

struct Renderer<'a> {
    target: &'a EcsTarget,
    names: Names<'a>,
    arns: Arns<'a>,
    desired: &'a DesiredState,
    rendered: Rendered,
}

/// What a thing stands for, in the manifest's words.
#[derive(Clone, Copy)]
struct Part<'a> {
    name: &'a str,
    component: &'a str,
    origin: &'a str,
    revision: Option<&'a str>,
}

impl<'a> Part<'a> {
    fn service(service: &'a DesiredService) -> Self {
        Self {
            name: &service.name,
            component: "service",
            origin: &service.origin,
            revision: service.revision.as_deref(),
        }
    }

    fn job(job: &'a DesiredJob) -> Self {
        Self {
            name: &job.name,
            component: "job",
            origin: &job.origin,
            revision: job.revision.as_deref(),
        }
    }
}

impl Renderer<'_> {
    fn is_fargate(&self) -> bool {
        self.target.capacity == EcsCapacity::Fargate
    }

    fn volume(&mut self, volume: &DesiredVolume) {
        let part = Part {
            name: &volume.name,
            component: "volume",
            origin: &volume.origin,
            revision: None,
        };
        let Some(file_system) = &self.target.file_system else {
            let message = format!(
                "the volume `{}` needs a file system, and the Target names none",
                volume.name
            );
            self.fault("VolumeUnsupported", message, volume.origin.clone())
                .hint("`ecs: {fileSystem: fs-...}` in the Target");
            return;
        };
        let name = self.names.of(&volume.name);
        let (owner_uid, owner_gid) = self.owner_of(&volume.name);
        let request = CreateAccessPoint {
            client_token: name.clone(),
            file_system_id: file_system.clone(),
            root_directory: RootDirectory {
                path: format!("/{name}"),
                creation_info: CreationInfo {
                    owner_uid,
                    owner_gid,
                    permissions: "0755".to_string(),
                },
            },
            tags: capital_tags(&self.names.tags(part.name, part.component)),
        };
        let mut resource = self.resource(&ACCESS_POINT, name, part, &request);
        resource.holds_data = true;
        self.add(resource);
    }

    /// Whoever mounts it first in the manifest's order finds it its own; by number, since no image is read here.
    fn owner_of(&self, volume: &str) -> (u32, u32) {
        let services = self.desired.services.values().map(|service| &service.container);
        let jobs = self.desired.jobs.values().map(|job| &job.container);
        let mut users = services.chain(jobs).filter(|container| {
            let mut mounts = container.mounts.iter();
            mounts.any(|mount| mount.volume == volume)
        });
        let user = users.find_map(|container| container.user.clone()).unwrap_or_default();
        let (user, group) = user.split_once(':').unwrap_or((&user, &user));
        let number = |text: &str| text.parse().unwrap_or(0);
        (number(user), number(group))
    }

    /// What of a workload waits for what else of the app.
    fn after(&self, after: &[After]) -> Vec<Edge> {
        let edge = |after: &After| match after {
            After::Job(job) => {
                let is_scheduled = self.desired.jobs.get(job).is_some_and(|job| job.schedule.is_some());
                let kind = if is_scheduled { &SCHEDULE } else { &TASK };
                Edge {
                    to: kind.id(self.names.of(job)),
                    condition: EdgeCondition::Completed,
                }
            }
            After::Service(service) => Edge {
                to: SERVICE.id(self.names.of(service)),
                condition: EdgeCondition::Ready,
            },
        };
        after.iter().map(edge).collect()
    }

    /// Tags of what has a revision.
    fn tags_of(&self, part: Part<'_>) -> Tags {
        let mut tags = self.names.tags(part.name, part.component);
        let revision = part.revision.map_or_else(Late::after_build, Late::from);
        tags.insert(tag::REVISION.to_string(), revision);
        tags
    }

    fn resource(&self, kind: &Kind, name: String, part: Part<'_>, request: &impl Serialize) -> Resource {
        Resource {
            id: kind.id(name),
            body: serde_json::to_value(request).expect("requests hold only string keys"),
            edges: Vec::new(),
            origin: part.origin.to_string(),
            holds_data: false,
            create_is_idempotent: kind.create_is_idempotent,
            awaited: false,
            claims: Vec::new(),
            revision: None,
        }
    }

    fn add(&mut self, mut resource: Resource) -> ResourceId {
        resource.edges.sort();
        resource.edges.dedup();
        let id = resource.id.clone();
        self.rendered.resources.insert(id.clone(), resource);
        id
    }

    fn fault(&mut self, code: &'static str, message: impl Into<String>, pointer: impl Into<String>) -> Said<'_> {
        let faults = &mut self.rendered.faults;
        faults.push(Fault::new(code, message, pointer));
        Said(faults)
    }

    fn remark(&mut self, pointer: String, because: String) {
        self.rendered.remarks.push(Degraded { pointer, because });
    }
}

/// The fault that was told last.
struct Said<'a>(&'a mut Vec<Fault>);

impl Said<'_> {
    fn hint(self, hint: &str) {
        if let Some(fault) = self.0.last_mut() {
            fault.hint = Some(hint.to_string());
        }
    }
}

fn exists(to: ResourceId) -> Edge {
    Edge {
        to,
        condition: EdgeCondition::Exists,
    }
}

/// Containers of a workload by their names there, and where the manifest has them.
type Places = BTreeMap<String, String>;

/// Whole seconds, rounded up.
fn seconds(duration: std::time::Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Whole minutes, rounded up.
fn minutes(duration: std::time::Duration) -> u64 {
    seconds(duration).div_ceil(60)
}
