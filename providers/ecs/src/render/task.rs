//! The task definition of a workload: its containers in the order in which they start, its size, its volumes.

use std::collections::BTreeMap;

use portolan_core::desired::{DesiredContainer, DesiredService};
use portolan_core::manifest::EcsCapacity;
use portolan_core::resource::ResourceId;

use super::container::Running;
use super::{Part, Places, Renderer, exists};
use crate::fargate::{self, Size};
use crate::kinds::{ACCESS_POINT, TASK_DEFINITION};
use crate::requests::task::{
    Compatibility, Condition, ContainerDefinition, ContainerDependency, CpuArchitecture, EfsAuthorizationConfig,
    EfsVolumeConfiguration, NetworkMode, OperatingSystemFamily, RegisterTaskDefinition, RuntimePlatform, Switch,
    Volume,
};
use crate::requests::{Late, tags};

/// What a task is made of, in the manifest's words.
pub(super) struct Task<'a> {
    pub part: Part<'a>,
    pub main: Running<'a>,
    /// They start before it, and are started again where they end.
    pub sidecars: Vec<Running<'a>>,
    /// In order.
    pub init: Vec<Running<'a>>,
    pub logs: super::logs::Kept,
}

/// A task definition, and what belongs to it.
pub(super) struct Defined {
    pub request: RegisterTaskDefinition,
    pub places: Places,
    pub id: ResourceId,
}

impl Defined {
    /// By which the others name it.
    pub fn arn(&self) -> Late<String> {
        Late::output(self.id.clone(), "taskDefinitionArn")
    }
}

impl<'a> Task<'a> {
    pub fn of_service(service: &'a DesiredService) -> Self {
        let origin = &service.origin;
        let sidecars = service.sidecars.iter().map(|(name, sidecar)| Running {
            ports: &sidecar.ports,
            probes: sidecar.probes.clone(),
            ..Running::plain(name, &sidecar.container, format!("{origin}/sidecars/{name}"))
        });
        let init = service.init.iter().enumerate();
        let init = init.map(|(at, (name, one))| Running::plain(name, one, format!("{origin}/init/{at}")));
        Self {
            part: Part::service(service),
            main: Running {
                ports: &service.ports,
                probes: service.probes.clone(),
                grace: Some(service.stop.grace_period),
                ..Running::plain(&service.name, &service.container, origin.clone())
            },
            sidecars: sidecars.collect(),
            init: init.collect(),
            logs: super::logs::Kept::of(service.logs.max_age),
        }
    }

    pub fn running(&self) -> impl Iterator<Item = &Running<'a>> {
        [&self.main].into_iter().chain(&self.sidecars).chain(&self.init)
    }

    pub fn containers(&self) -> impl Iterator<Item = &'a DesiredContainer> {
        self.running().map(|one| one.container)
    }
}

impl Renderer<'_> {
    /// The task definition, and before it the log group and the roles that it needs.
    pub(super) fn task_definition(&mut self, task: &Task<'_>) -> Defined {
        let family = self.names.of(task.part.name);
        let log_group = self.log_group(task);
        let mut containers = self.containers(task);
        let mut volumes = self.volumes_of(task);
        self.with_files(task, &mut containers, &mut volumes);
        self.with_log_router(task, &mut containers);
        self.limit_open_files(&mut containers);
        let size = self.size(task, &containers);
        let execution = self.execution_role(task);
        let own = self.task_role(task);
        let request = RegisterTaskDefinition {
            family: family.clone(),
            network_mode: NetworkMode::Awsvpc,
            requires_compatibilities: vec![compatibility(self.target.capacity)],
            cpu: size.as_ref().map(|size| size.cpu.to_string()),
            memory: size.as_ref().map(|size| size.memory.to_string()),
            execution_role_arn: execution.arn,
            task_role_arn: own.arn,
            runtime_platform: self.platform(task),
            container_definitions: containers,
            volumes,
            tags: tags(&self.tags_of(task.part)),
        };
        let mut resource = self.resource(&TASK_DEFINITION, family, task.part, &request);
        resource.revision = task.part.revision.map(String::from);
        resource.edges = [log_group, execution.resource, own.resource]
            .into_iter()
            .flatten()
            .chain(self.access_points(task))
            .map(exists)
            .collect();
        let id = self.add(resource);
        Defined {
            request,
            places: places(task),
            id,
        }
    }

    fn containers(&mut self, task: &Task<'_>) -> Vec<ContainerDefinition> {
        let mut containers = vec![self.container(&task.main, task)];
        for sidecar in &task.sidecars {
            containers.push(self.sidecar(sidecar, task));
        }
        for init in &task.init {
            let mut container = self.container(init, task);
            container.essential = false;
            containers.push(container);
        }
        in_order(task, &mut containers);
        containers
    }

    /// Of EFS, each once.
    fn volumes_of(&self, task: &Task<'_>) -> Vec<Volume> {
        let mounts = task.containers().flat_map(|container| &container.mounts);
        let file_system = self.target.file_system.as_ref();
        let volume = |name: &String| Volume {
            name: name.clone(),
            efs_volume_configuration: file_system.map(|id| EfsVolumeConfiguration {
                file_system_id: id.clone(),
                transit_encryption: Switch::Enabled,
                authorization_config: EfsAuthorizationConfig {
                    access_point_id: Late::output(ACCESS_POINT.id(self.names.of(name)), "accessPointId"),
                    iam: Switch::Enabled,
                },
            }),
        };
        let volumes: BTreeMap<&String, Volume> = mounts.map(|mount| (&mount.volume, volume(&mount.volume))).collect();
        volumes.into_values().collect()
    }

    fn access_points(&self, task: &Task<'_>) -> Vec<ResourceId> {
        let mounts = task.containers().flat_map(|container| &container.mounts);
        let points = mounts.map(|mount| ACCESS_POINT.id(self.names.of(&mount.volume)));
        match self.target.file_system {
            Some(_) => points.collect(),
            None => Vec::new(),
        }
    }

    /// On Fargate the next size that holds the sum of its containers; elsewhere the sum, where all of them say so much.
    fn size(&mut self, task: &Task<'_>, containers: &[ContainerDefinition]) -> Option<Size> {
        let sum = Size {
            cpu: containers.iter().filter_map(|one| one.cpu).sum(),
            memory: containers.iter().filter_map(|one| one.memory).sum(),
        };
        match self.is_fargate() {
            true => Some(self.next_size(task, sum)),
            false => {
                let is_whole = containers.iter().all(|one| one.cpu.is_some() && one.memory.is_some());
                // Less than an eighth of a core is no size of a task.
                is_whole.then(|| Size {
                    cpu: sum.cpu.max(128),
                    ..sum
                })
            }
        }
    }

    fn next_size(&mut self, task: &Task<'_>, sum: Size) -> Size {
        let pointer = format!("{}/resources", task.part.origin);
        let Some(size) = fargate::size_for(sum.cpu, sum.memory) else {
            let (cpu, memory) = (fargate::LARGEST.cpu / 1024, fargate::LARGEST.memory / 1024);
            let message = format!(
                "the containers of `{}` ask for {} of processor time and {} MiB together, more than Fargate's largest task has",
                task.part.name,
                cores(sum.cpu),
                sum.memory
            );
            let hint = format!(
                "up to {cpu} cores and {memory} GiB; `capacity: ec2` in the Target has what its instances have"
            );
            self.fault("SizeUnsupported", message, pointer).hint(&hint);
            return sum;
        };
        if size != sum {
            let asked = match (sum.cpu, sum.memory) {
                (0, 0) => "its containers say no size".to_string(),
                (cpu, memory) => format!(
                    "its containers ask for {} of processor time and {memory} MiB",
                    cores(cpu)
                ),
            };
            let because = format!(
                "{asked}; the next size of Fargate that holds them is {} and {} MiB",
                cores(size.cpu),
                size.memory
            );
            self.remark(pointer, because);
        }
        size
    }

    /// That of all its images, where a digest says so.
    fn platform(&mut self, task: &Task<'_>) -> Option<RuntimePlatform> {
        let architecture = |running: &Running<'_>| running.container.image.architecture.clone();
        let mut known = task.running().filter_map(|one| Some((one, architecture(one)?)));
        let (_, first) = known.next()?;
        if let Some((one, other)) = known.find(|(_, other)| *other != first) {
            let message = format!("the image runs on {other}, and another one of the same task on {first}");
            self.fault("ArchitecturesDiffer", message, format!("{}/image", one.origin))
                .hint("name an image for several platforms, or one for the same as the others");
        }
        let cpu_architecture = match first.as_str() {
            "arm64" => CpuArchitecture::Arm64,
            _ => CpuArchitecture::X86_64,
        };
        Some(RuntimePlatform {
            cpu_architecture,
            operating_system_family: OperatingSystemFamily::Linux,
        })
    }
}

fn compatibility(capacity: EcsCapacity) -> Compatibility {
    match capacity {
        EcsCapacity::Fargate => Compatibility::Fargate,
        EcsCapacity::Ec2 => Compatibility::Ec2,
        EcsCapacity::ManagedInstances => Compatibility::ManagedInstances,
    }
}

/// As the manifest says them: `500m`, `2`.
fn cores(units: u64) -> String {
    match units % 1024 {
        0 => (units / 1024).to_string(),
        _ => format!("{}m", units * 1000 / 1024),
    }
}

/// Sidecars first, then what runs to its end, one after the other, then the service itself.
fn in_order(task: &Task<'_>, containers: &mut [ContainerDefinition]) {
    let sidecars: Vec<ContainerDependency> = task
        .sidecars
        .iter()
        .filter_map(|sidecar| containers.iter().find(|one| one.name == sidecar.name))
        .map(|sidecar| ContainerDependency {
            container_name: sidecar.name.clone(),
            condition: match sidecar.health_check {
                Some(_) => Condition::Healthy,
                None => Condition::Start,
            },
        })
        .collect();
    let mut before = sidecars.clone();
    for init in &task.init {
        say_after(containers, init.name, &before);
        before = vec![ContainerDependency {
            container_name: init.name.to_string(),
            condition: Condition::Success,
        }];
    }
    if !task.init.is_empty() {
        before.extend(sidecars);
    }
    say_after(containers, task.main.name, &before);
}

fn say_after(containers: &mut [ContainerDefinition], name: &str, before: &[ContainerDependency]) {
    if let Some(container) = containers.iter_mut().find(|one| one.name == name) {
        container.depends_on = before.to_vec();
    }
}

fn places(task: &Task<'_>) -> Places {
    task.running()
        .map(|one| (one.name.to_string(), one.origin.clone()))
        .collect()
}
