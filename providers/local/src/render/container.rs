//! One container in the supervisor's words.

use std::collections::BTreeMap;

use portolan_core::desired::{DesiredContainer, DesiredProbe, DesiredProbes, EnvValue, ProbeCheck};
use portolan_core::fault::Fault;
use portolan_supervisor::spec;

use super::Renderer;

impl Renderer<'_> {
    pub(super) fn container(&mut self, name: &str, container: &DesiredContainer, origin: &str) -> spec::ContainerSpec {
        let (env, secret_env) = self.env(container, origin);
        let digest = container
            .image
            .digest
            .as_ref()
            .map(|digest| digest.to_string())
            .unwrap_or_default();
        spec::ContainerSpec {
            name: name.to_string(),
            image: format!("{}@{digest}", container.image.reference),
            layers: Vec::new(),
            command: container.argv.clone().unwrap_or_default(),
            env,
            secret_env,
            working_dir: container.working_dir.clone().unwrap_or_default(),
            user: container.user.clone().unwrap_or_default(),
            files: container
                .files
                .iter()
                .map(|file| spec::FileSpec {
                    path: file.path.clone(),
                    content: file.content.clone(),
                    mode: 0o644,
                })
                .collect(),
            volumes: container
                .mounts
                .iter()
                .map(|mount| spec::VolumeMount {
                    name: mount.volume.clone(),
                    path: mount.path.clone(),
                    read_only: mount.read_only,
                })
                .collect(),
            resources: spec::Resources {
                memory_bytes: container.resources.memory_bytes,
                cpu_millis: container.resources.cpu_millis,
                pids: container.resources.pids,
            },
            health: spec::Health::default(),
        }
    }

    /// The image's variables below the manifest's; secrets apart, as references.
    fn env(
        &mut self,
        container: &DesiredContainer,
        origin: &str,
    ) -> (BTreeMap<String, String>, BTreeMap<String, spec::SecretRef>) {
        let from_image = container.image.env.iter().filter_map(|entry| entry.split_once('='));
        let mut env: BTreeMap<String, String> = from_image.map(|(name, value)| (name.into(), value.into())).collect();
        let mut secret_env = BTreeMap::new();
        for (name, value) in &container.env {
            match self.value(name, value, origin) {
                Some(Rendered::Text(text)) => {
                    env.insert(name.clone(), text);
                }
                Some(Rendered::Secret(secret)) => {
                    env.remove(name);
                    secret_env.insert(name.clone(), secret);
                }
                None => {}
            }
        }
        (env, secret_env)
    }

    fn value(&mut self, name: &str, value: &EnvValue, origin: &str) -> Option<Rendered> {
        if let Some(secret) = value.secret() {
            if self.shape.target.secret_files.is_empty() {
                self.faults.push(no_secret_files(name, origin));
                return None;
            }
            let files = self.shape.target.secret_files.clone();
            return Some(Rendered::Secret(spec::SecretRef {
                files,
                key: secret.env_entry(),
            }));
        }
        let desired = self.desired;
        let address = |service: &str, field| desired.address(service, service, field);
        let text = value.text_without_secrets(name, origin, address);
        let text = text.map_err(|fault| self.faults.push(fault)).ok()?;
        Some(Rendered::Text(text))
    }
}

enum Rendered {
    Text(String),
    Secret(spec::SecretRef),
}

pub(super) fn health(probes: &DesiredProbes) -> spec::Health {
    spec::Health {
        startup: probes.startup.as_ref().map(probe),
        ready: probes.ready.as_ref().map(probe),
        live: probes.live.as_ref().map(probe),
    }
}

fn probe(probe: &DesiredProbe) -> spec::Probe {
    spec::Probe {
        check: match &probe.check {
            ProbeCheck::Http { path, port } => spec::Check::Http {
                port: *port,
                path: path.clone(),
            },
            ProbeCheck::Tcp { port } => spec::Check::Tcp { port: *port },
            ProbeCheck::Exec { command } => spec::Check::Exec {
                command: command.clone(),
            },
        },
        interval: probe.interval,
        timeout: probe.timeout,
        success_threshold: 1,
        failure_threshold: probe.threshold,
    }
}

fn no_secret_files(name: &str, origin: &str) -> Fault {
    Fault::new(
        "SecretStoreMissing",
        format!("`{name}` is a secret, and this target names no env file"),
        format!("{origin}/secrets/{name}"),
    )
    .with_hint("name one in the Target: `secrets: {files: [.env]}`")
}
