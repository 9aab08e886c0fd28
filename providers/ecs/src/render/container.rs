//! One container of a task.

use std::time::Duration;

use portolan_core::desired::{DesiredContainer, DesiredPort, DesiredProbes, EnvValue};
use portolan_core::manifest::{EcsSecretStore, Protocol, SecretReference};
use portolan_core::resolve::REVISION_VARIABLE;

use super::task::Task;
use super::{Renderer, seconds};
use crate::requests::Late;
use crate::requests::task::{
    AppProtocol, ContainerDefinition, KeyValuePair, MountPoint, PortMapping, ResourceRequirement, ResourceSort,
    RestartPolicy, Secret, Transport, Ulimit, UlimitName,
};

/// For how long a sidecar has to run before it is started again; the least that ECS takes.
const RESTART_SECONDS: u64 = 60;

/// A container, and what its workload says of it.
pub(super) struct Running<'a> {
    pub name: &'a str,
    pub origin: String,
    pub container: &'a DesiredContainer,
    pub ports: &'a [DesiredPort],
    pub probes: DesiredProbes,
    /// How long it may take to end.
    pub grace: Option<Duration>,
}

impl<'a> Running<'a> {
    pub fn plain(name: &'a str, container: &'a DesiredContainer, origin: String) -> Self {
        Self {
            name,
            origin,
            container,
            ports: &[],
            probes: DesiredProbes::default(),
            grace: None,
        }
    }
}

impl Renderer<'_> {
    pub(super) fn container(&mut self, running: &Running<'_>, task: &Task<'_>) -> ContainerDefinition {
        let container = running.container;
        let (entry_point, command) = command(container);
        let (environment, secrets) = self.variables(running);
        let asked = &container.resources;
        ContainerDefinition {
            name: running.name.to_string(),
            image: image(container),
            entry_point,
            command,
            working_directory: container.working_dir.clone(),
            user: container.user.clone(),
            essential: true,
            cpu: asked.cpu_millis.map(|millis| (millis * 1024).div_ceil(1000)),
            memory: asked.memory_bytes.map(|bytes| bytes.div_ceil(1 << 20)),
            environment,
            secrets,
            port_mappings: running.ports.iter().map(port).collect(),
            mount_points: container.mounts.iter().map(mount).collect(),
            depends_on: Vec::new(),
            health_check: self.health_check(running),
            restart_policy: None,
            stop_timeout: running.grace.map(|grace| seconds(grace).max(2)),
            ulimits: Vec::new(),
            resource_requirements: gpus(container),
            log_configuration: Some(self.log_configuration(task, running.name)),
            firelens_configuration: None,
        }
    }

    /// One that ends is started again, and takes the service nowhere.
    pub(super) fn sidecar(&mut self, running: &Running<'_>, task: &Task<'_>) -> ContainerDefinition {
        ContainerDefinition {
            essential: false,
            restart_policy: Some(RestartPolicy {
                enabled: true,
                restart_attempt_period: RESTART_SECONDS,
            }),
            ..self.container(running, task)
        }
    }

    /// One that the app does not name and its task needs: with nothing of the app's, and over in a moment unless it says else.
    pub(super) fn own_container(&self, task: &Task<'_>, name: &str, image: String, memory: u64) -> ContainerDefinition {
        ContainerDefinition {
            name: name.to_string(),
            image: Late::Known(image),
            entry_point: None,
            command: None,
            working_directory: None,
            user: Some("0".to_string()),
            essential: false,
            cpu: None,
            memory: (!self.is_fargate()).then_some(memory),
            environment: Vec::new(),
            secrets: Vec::new(),
            port_mappings: Vec::new(),
            mount_points: Vec::new(),
            depends_on: Vec::new(),
            health_check: None,
            restart_policy: None,
            stop_timeout: None,
            ulimits: Vec::new(),
            resource_requirements: Vec::new(),
            log_configuration: Some(self.log_configuration(task, name)),
            firelens_configuration: None,
        }
    }

    pub(super) fn limit_open_files(&self, containers: &mut [ContainerDefinition]) {
        let Some(limit) = self.target.open_files else { return };
        for container in containers {
            container.ulimits = vec![Ulimit {
                name: UlimitName::Nofile,
                soft_limit: limit,
                hard_limit: limit,
            }];
        }
    }

    fn variables(&mut self, running: &Running<'_>) -> (Vec<KeyValuePair>, Vec<Secret>) {
        let (mut plain, mut secret) = (Vec::new(), Vec::new());
        for (name, value) in &running.container.env {
            match value.secret() {
                Some(reference) => secret.push(Secret {
                    name: name.clone(),
                    value_from: self.value_from(reference),
                }),
                None => plain.extend(self.variable(name, value, &running.origin)),
            }
        }
        if running.container.image.digest.is_none() && !running.container.env.contains_key(REVISION_VARIABLE) {
            plain.push(KeyValuePair {
                name: REVISION_VARIABLE.to_string(),
                value: Late::after_build(),
            });
        }
        (plain, secret)
    }

    fn variable(&mut self, name: &str, value: &EnvValue, origin: &str) -> Option<KeyValuePair> {
        let (desired, host_of) = (self.desired, |service: &str| self.host(service));
        let address = |service: &str, field| desired.address(service, &host_of(service), field);
        let text = value.text_without_secrets(name, origin, address);
        match text {
            Ok(text) => Some(KeyValuePair {
                name: name.to_string(),
                value: Late::Known(text),
            }),
            Err(fault) => {
                self.rendered.faults.push(fault);
                None
            }
        }
    }

    /// Where ECS reads it, which alone reads it.
    fn value_from(&self, secret: &SecretReference) -> String {
        let key = secret.key.as_deref();
        match self.target.secret_store {
            EcsSecretStore::SecretsManager => {
                let arn = self.arns.secret(&secret.name);
                key.map_or(arn.clone(), |key| format!("{arn}:{key}::"))
            }
            EcsSecretStore::ParameterStore => self.arns.parameter(&secret.to_string()),
        }
    }
}

fn image(container: &DesiredContainer) -> Late<String> {
    match &container.image.digest {
        Some(digest) => {
            let reference = container.image.reference.to_string();
            Late::Known(format!("{}@{digest}", repository(&reference)))
        }
        None => Late::after_build(),
    }
}

/// Without tag and digest: a digest says all that a tag does.
pub(super) fn repository(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

/// The whole command line, so that nothing of the image's is left in it.
fn command(container: &DesiredContainer) -> (Option<Late<Vec<String>>>, Option<Vec<String>>) {
    let Some(argv) = &container.argv else {
        return (Some(Late::after_build()), None);
    };
    let (program, arguments) = argv.split_at(argv.len().min(1));
    let some = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    (some(program).map(Late::Known), some(arguments))
}

fn port(port: &DesiredPort) -> PortMapping {
    PortMapping {
        name: port.name.clone(),
        container_port: port.port,
        host_port: None,
        protocol: match port.protocol {
            Protocol::Udp => Transport::Udp,
            Protocol::Http | Protocol::Tcp => Transport::Tcp,
        },
        app_protocol: (port.protocol == Protocol::Http).then_some(AppProtocol::Http),
    }
}

fn mount(mount: &portolan_core::desired::DesiredMount) -> MountPoint {
    MountPoint {
        source_volume: mount.volume.clone(),
        container_path: mount.path.clone(),
        read_only: mount.read_only,
    }
}

fn gpus(container: &DesiredContainer) -> Vec<ResourceRequirement> {
    let gpu = container.resources.gpu.iter();
    gpu.map(|gpu| ResourceRequirement {
        sort: ResourceSort::Gpu,
        value: gpu.count.to_string(),
    })
    .collect()
}
