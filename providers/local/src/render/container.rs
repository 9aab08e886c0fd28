//! One container in the supervisor's words.

use std::collections::BTreeMap;

use portolan_core::desired::{DesiredContainer, DesiredProbe, DesiredProbes, EnvPart, EnvValue, ProbeCheck};
use portolan_core::fault::Fault;
use portolan_core::interpolate::ServiceField;
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
        if let [EnvPart::Secret(secret)] = value.0.as_slice() {
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
        let mut text = String::new();
        for part in &value.0 {
            match part {
                EnvPart::Text(literal) => text.push_str(literal),
                EnvPart::Service { service, field } => text.push_str(&self.address(service, *field)),
                EnvPart::Secret(_) => {
                    self.faults.push(secret_inside_text(name, origin));
                    return None;
                }
            }
        }
        Some(Rendered::Text(text))
    }

    /// Services answer under their own name, on their first port.
    fn address(&self, service: &str, field: ServiceField) -> String {
        let port = self
            .desired
            .services
            .get(service)
            .and_then(|service| service.ports.first());
        match (field, port) {
            (ServiceField::Host, _) => service.to_string(),
            (ServiceField::Port, Some(port)) => port.port.to_string(),
            (ServiceField::Url, Some(port)) => format!("{}://{service}:{}", port.protocol.as_str(), port.port),
            // resolve lets no reference through to a port of a service that has none
            (_, None) => String::new(),
        }
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

fn secret_inside_text(name: &str, origin: &str) -> Fault {
    Fault::new(
        "SecretInsideText",
        format!("`{name}` holds a secret inside other text, which this target cannot put together"),
        format!("{origin}/env/{name}"),
    )
    .with_hint("let the variable be the secret alone, and put it together in the app")
}
