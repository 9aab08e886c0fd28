//! One container of a pod.

use std::time::Duration;

use portolan_core::desired::{DesiredContainer, DesiredPort, DesiredProbe, DesiredProbes, EnvValue, ProbeCheck};
use portolan_core::fault::Fault;
use portolan_core::manifest::{ByteQuantity, CpuQuantity, SecretReference};
use portolan_core::resolve::REVISION_VARIABLE;
use serde_json::{Value, json};

use super::network::transport;
use super::pod::Files;
use super::{Renderer, after_build};

/// A container, and what its workload says of it.
pub(super) struct Running<'a> {
    pub name: &'a str,
    pub origin: String,
    pub container: &'a DesiredContainer,
    pub ports: &'a [DesiredPort],
    pub probes: DesiredProbes,
    /// How long it runs on before it is sent the signal.
    pub drain: Duration,
}

/// Whole seconds, rounded up: Kubernetes knows no others, and nought is no interval.
pub(super) fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

impl Renderer<'_> {
    pub(super) fn container(&mut self, running: &Running<'_>, files: &Files) -> Value {
        let container = running.container;
        let mut body = json!({
            "name": running.name,
            "image": image(container),
            // A digest is the same wherever it is found.
            "imagePullPolicy": "IfNotPresent",
        });
        put(&mut body, "command", command(container));
        put(&mut body, "workingDir", json!(container.working_dir));
        put(&mut body, "env", json!(self.env(running)));
        put(
            &mut body,
            "ports",
            json!(running.ports.iter().map(port).collect::<Vec<_>>()),
        );
        put(&mut body, "resources", resources(container));
        put(&mut body, "volumeMounts", json!(self.mounts(running, files)));
        put(&mut body, "securityContext", self.user(running));
        probes(&mut body, &running.probes);
        if running.drain > Duration::ZERO {
            let sleep = json!({ "sleep": { "seconds": seconds(running.drain) } });
            body["lifecycle"] = json!({ "preStop": sleep });
        }
        body
    }

    fn env(&mut self, running: &Running<'_>) -> Vec<Value> {
        let mut env = Vec::new();
        for (name, value) in &running.container.env {
            env.extend(self.variable(name, value, &running.origin));
        }
        if running.container.image.digest.is_none() && !running.container.env.contains_key(REVISION_VARIABLE) {
            env.push(json!({ "name": REVISION_VARIABLE, "value": after_build() }));
        }
        env
    }

    fn variable(&mut self, name: &str, value: &EnvValue, origin: &str) -> Option<Value> {
        if let Some(secret) = value.secret() {
            let key = self.secret_key(name, secret, origin)?;
            return Some(json!({ "name": name, "valueFrom": { "secretKeyRef": key } }));
        }
        let (desired, names) = (self.desired, self.names);
        let address = |service: &str, field| desired.address(service, &names.of(service), field);
        let text = value.text_without_secrets(name, origin, address);
        let text = text.map_err(|fault| self.faults.push(fault)).ok()?;
        Some(match text.is_empty() {
            true => json!({ "name": name }),
            false => json!({ "name": name, "value": literal(&text) }),
        })
    }

    fn secret_key(&mut self, variable: &str, secret: &SecretReference, origin: &str) -> Option<Value> {
        if self.shape.choices.secret_store.is_some() {
            return Some(self.stored_key(secret));
        }
        let pointer = format!("{origin}/secrets/{variable}");
        let Some(key) = &secret.key else {
            self.faults.push(secret_without_key(variable, pointer));
            return None;
        };
        if !is_subdomain(&secret.name) {
            self.faults.push(secret_name(secret, pointer));
            return None;
        }
        Some(json!({ "name": secret.name, "key": key }))
    }

    fn mounts(&self, running: &Running<'_>, files: &Files) -> Vec<Value> {
        let mounts = running.container.mounts.iter().map(|mount| {
            let mut one = json!({ "name": mount.volume, "mountPath": mount.path });
            if mount.read_only {
                one["readOnly"] = json!(true);
            }
            one
        });
        let secrets = self.secrets_mount(running.container);
        mounts.chain(files.mounts(running.container)).chain(secrets).collect()
    }

    /// By number. A name is left to the image, which alone knows whose it is, and must be the one that it has there.
    fn user(&mut self, running: &Running<'_>) -> Value {
        let container = running.container;
        match (user_of(container), &container.user) {
            (Some(User { user, group: None }), _) => json!({ "runAsUser": user }),
            (Some(User { user, group }), _) => json!({ "runAsUser": user, "runAsGroup": group }),
            (None, Some(name)) if container.image.digest.is_some() && container.image.user.as_ref() != Some(name) => {
                self.faults.push(user_by_name(name, &running.origin));
                Value::Null
            }
            (None, _) => Value::Null,
        }
    }
}

/// A user, and a group, by number.
pub(super) struct User {
    pub user: i64,
    pub group: Option<i64>,
}

pub(super) fn user_of(container: &DesiredContainer) -> Option<User> {
    let number = |text: &str| if text == "root" { Some(0) } else { text.parse().ok() };
    let text = container.user.as_deref()?;
    Some(match text.split_once(':') {
        Some((user, group)) => User {
            user: number(user)?,
            group: Some(number(group)?),
        },
        None => User {
            user: number(text)?,
            group: None,
        },
    })
}

fn image(container: &DesiredContainer) -> Value {
    match &container.image.digest {
        Some(digest) => json!(format!(
            "{}@{digest}",
            repository(&container.image.reference.to_string())
        )),
        None => after_build(),
    }
}

/// Without tag and digest: a digest says all that a tag does.
fn repository(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

/// The whole command line, so that the image's words are not a second time in it.
fn command(container: &DesiredContainer) -> Value {
    match &container.argv {
        Some(argv) => json!(argv.iter().map(|word| literal(word)).collect::<Vec<_>>()),
        None => after_build(),
    }
}

/// A kubelet replaces `$(NAME)`, and takes `$$` for one `$`.
fn literal(text: &str) -> String {
    match text.contains("$(") || text.contains("$$") {
        true => text.replace('$', "$$"),
        false => text.to_string(),
    }
}

fn port(port: &DesiredPort) -> Value {
    json!({ "containerPort": port.port, "protocol": transport(port.protocol) })
}

/// Limits alone: what is not asked for besides is asked for as much as the limit is.
fn resources(container: &DesiredContainer) -> Value {
    let asked = &container.resources;
    let mut limits = json!({});
    let cpu = asked.cpu_millis.map(CpuQuantity::from_millicores);
    let memory = asked.memory_bytes.map(ByteQuantity::from_bytes);
    put(&mut limits, "cpu", json!(cpu.map(|cpu| cpu.to_string())));
    put(&mut limits, "memory", json!(memory.map(|memory| memory.to_string())));
    match limits == json!({}) {
        true => Value::Null,
        false => json!({ "limits": limits }),
    }
}

fn probes(body: &mut Value, probes: &DesiredProbes) {
    for (field, asked) in [
        ("startupProbe", &probes.startup),
        ("readinessProbe", &probes.ready),
        ("livenessProbe", &probes.live),
    ] {
        put(body, field, asked.as_ref().map_or(Value::Null, probe));
    }
}

fn probe(probe: &DesiredProbe) -> Value {
    let mut body = json!({
        "periodSeconds": seconds(probe.interval).max(1),
        "timeoutSeconds": seconds(probe.timeout).max(1),
        "failureThreshold": probe.threshold,
    });
    match &probe.check {
        ProbeCheck::Http { path, port } => body["httpGet"] = json!({ "path": path, "port": port }),
        ProbeCheck::Tcp { port } => body["tcpSocket"] = json!({ "port": port }),
        ProbeCheck::Exec { command } => body["exec"] = json!({ "command": command }),
    }
    body
}

/// What is empty is left out, as an API server does.
fn put(body: &mut Value, field: &str, value: Value) {
    let is_empty = match &value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    if !is_empty {
        body[field] = value;
    }
}

/// RFC 1123, as names of KubeSecrets are.
fn is_subdomain(name: &str) -> bool {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |label: &str| {
        let inside = label.chars().all(|c| is_end(c) || c == '-');
        inside && label.starts_with(is_end) && label.ends_with(is_end)
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn secret_without_key(variable: &str, pointer: String) -> Fault {
    let message = format!("`{variable}` is a whole secret, and a variable can hold one key of it in a cluster");
    Fault::new("SecretKeyMissing", message, pointer).with_hint("name the key: `{name: ..., key: ...}`")
}

fn secret_name(secret: &SecretReference, pointer: String) -> Fault {
    let message = format!("`{}` is no name of a secret in a cluster", secret.name);
    let hint = "lower-case letters, digits, `-` and `.`; `overrides` can say so for this target alone";
    Fault::new("SecretNameUnsupported", message, pointer).with_hint(hint)
}

fn user_by_name(name: &str, origin: &str) -> Fault {
    let message =
        format!("`{name}` is a user by name, and a cluster takes another user than the image's by number only");
    Fault::new("UserUnsupported", message, format!("{origin}/user"))
        .with_hint("give its number, as in `1000` or `1000:1000`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_reach_the_process_as_they_are() {
        for (reason, text, expected) in [
            ("nothing to replace", "a $b", "a $b"),
            ("a variable of a kubelet's", "$(HOME)", "$$(HOME)"),
            ("two dollars are one to a kubelet", "a$$b $c", "a$$$$b $$c"),
        ] {
            assert_eq!(literal(text), expected, "{reason}");
        }
    }

    #[test]
    fn a_repository_is_a_reference_without_tag_and_digest() {
        for (reason, reference, expected) in [
            ("a tag", "registry.example/shop:1", "registry.example/shop"),
            (
                "a port and no tag",
                "registry.example:5000/shop",
                "registry.example:5000/shop",
            ),
            (
                "both",
                "registry.example:5000/shop:1@sha256:aa",
                "registry.example:5000/shop",
            ),
        ] {
            assert_eq!(repository(reference), expected, "{reason}");
        }
    }

    #[test]
    fn whole_seconds_are_rounded_up() {
        for (reason, millis, expected) in [("whole", 2000, 2), ("a part", 1, 1), ("nought", 0, 0)] {
            assert_eq!(seconds(Duration::from_millis(millis)), expected, "{reason}");
        }
    }

    #[test]
    fn names_of_secrets_are_kubernetes() {
        for (reason, name, expected) in [
            ("a label", "api-key", true),
            ("a subdomain", "a.b", true),
            ("a path", "prod/shop/db", false),
            ("capitals", "Api", false),
            ("an end", "api-", false),
        ] {
            assert_eq!(is_subdomain(name), expected, "{reason}");
        }
    }
}
