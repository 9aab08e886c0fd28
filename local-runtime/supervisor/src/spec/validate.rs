//! What an object must fulfil before it is accepted: every fault at once, each with the path of its field.

use std::collections::BTreeSet;

use super::{
    Check, ContainerSpec, JobSpec, LogSpec, Object, PodSpec, PortSpec, Probe, RolloutSpec, ServiceSpec, Strategy,
    UseSpec,
};

/// Half of what the app's /24 has left for replicas, so that an update always finds addresses.
pub const MAX_REPLICAS: u32 = 90;

/// One fault of a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecFault {
    /// `pod.main.files[1].path`.
    pub field: String,
    pub message: String,
}

impl std::fmt::Display for SpecFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl Object {
    /// All faults, in the order of the fields; empty if the object can be put.
    pub fn faults(&self) -> Vec<SpecFault> {
        let mut faults = Faults::default();
        faults.dns_label("name", self.name());
        match self {
            Object::Network(spec) => uses(&spec.uses, &mut faults),
            Object::Volume(_) => {}
            Object::Service(spec) => service(spec, &mut faults),
            Object::Job(spec) => job(spec, &mut faults),
        }
        faults.0
    }
}

/// An app is named by a folder, and by nothing that leads out of where all of them lie.
fn app_folder(field: &str, name: &str, faults: &mut Faults) {
    let fits = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    faults.check(fits, field, || format!("`{name}` is no name of a folder"));
}

fn uses(uses: &[UseSpec], faults: &mut Faults) {
    let mut names = BTreeSet::new();
    for (i, one) in uses.iter().enumerate() {
        let at = format!("uses[{i}]");
        faults.dns_label(&format!("{at}.name"), &one.name);
        faults.check(names.insert(&one.name), &format!("{at}.name"), || {
            format!("`{}` is used twice", one.name)
        });
        app_folder(&format!("{at}.app"), &one.app, faults);
        faults.check(one.port != 0, &format!("{at}.port"), || "0 is no port".into());
    }
}

fn service(spec: &ServiceSpec, faults: &mut Faults) {
    for (i, app) in spec.allow.iter().enumerate() {
        app_folder(&format!("allow[{i}]"), app, faults);
    }
    faults.check(spec.replicas <= MAX_REPLICAS, "replicas", || {
        format!("{} is more than this machine's {MAX_REPLICAS} a service", spec.replicas)
    });
    pod(&spec.pod, faults);
    ports(&spec.ports, faults);
    signal(&spec.stop.signal, faults);
    steps(&spec.rollout, faults);
    logs(&spec.logs, faults);
}

/// Shares below everything that grow; for blue and green, one of nothing.
fn steps(rollout: &RolloutSpec, faults: &mut Faults) {
    for (i, step) in rollout.steps.iter().enumerate() {
        let before = i.checked_sub(1).map(|before| rollout.steps[before].weight);
        let fits = match rollout.strategy {
            Strategy::Canary => step.weight > before.unwrap_or(0) && step.weight < 100,
            Strategy::BlueGreen => step.weight == 0 && before.is_none(),
            Strategy::Rolling | Strategy::Recreate => false,
        };
        faults.check(fits, &format!("rollout.steps[{i}]"), || {
            format!("{}% is no step of this strategy here", step.weight)
        });
    }
}

fn job(spec: &JobSpec, faults: &mut Faults) {
    faults.check(!spec.revision.is_empty(), "revision", || {
        "a job needs one: it runs once per revision".into()
    });
    pod(&spec.pod, faults);
    signal(&spec.stop.signal, faults);
    logs(&spec.logs, faults);
}

fn logs(logs: &LogSpec, faults: &mut Faults) {
    let smallest = LogSpec::SMALLEST_FILE_BYTES;
    faults.check(logs.max_size_bytes >= smallest, "logs.max_size_bytes", || {
        format!("{} bytes are less than {smallest}", logs.max_size_bytes)
    });
    let files = 1..=LogSpec::MOST_FILES;
    faults.check(files.contains(&logs.max_files), "logs.max_files", || {
        format!("{} is not between 1 and {}", logs.max_files, LogSpec::MOST_FILES)
    });
    faults.check(logs.max_age.is_none_or(|age| !age.is_zero()), "logs.max_age_ms", || {
        "must be longer than 0".into()
    });
}

fn ports(ports: &[PortSpec], faults: &mut Faults) {
    let (mut names, mut numbers, mut published) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (i, port) in ports.iter().enumerate() {
        let at = format!("ports[{i}]");
        faults.check(port.port != 0, &format!("{at}.port"), || "0 is no port".into());
        faults.check(names.insert(&port.name), &format!("{at}.name"), || {
            format!("`{}` is used twice", port.name)
        });
        let number = (port.protocol, port.port);
        faults.check(numbers.insert(number), &format!("{at}.port"), || {
            format!("{} is used twice", port.port)
        });
        if let Some(publish) = port.publish {
            let at = format!("{at}.publish");
            faults.check(publish.port != 0, &at, || "0 is no port".into());
            faults.check(
                published.insert((port.protocol, publish.address, publish.port)),
                &at,
                || format!("{}:{} is used twice", publish.address, publish.port),
            );
        }
    }
}

fn signal(name: &str, faults: &mut Faults) {
    faults.check(crate::signal::number(name).is_some(), "stop.signal", || {
        format!("`{name}` is no signal name")
    });
}

fn pod(pod: &PodSpec, faults: &mut Faults) {
    let mut names = BTreeSet::new();
    let named = std::iter::once(("pod.main".to_string(), &pod.main))
        .chain(
            pod.sidecars
                .iter()
                .enumerate()
                .map(|(i, c)| (format!("pod.sidecars[{i}]"), c)),
        )
        .chain(pod.init.iter().enumerate().map(|(i, c)| (format!("pod.init[{i}]"), c)));
    for (at, spec) in named {
        faults.check(names.insert(&spec.name), &format!("{at}.name"), || {
            format!("`{}` is used twice", spec.name)
        });
        container(&at, spec, faults);
    }
}

fn container(at: &str, spec: &ContainerSpec, faults: &mut Faults) {
    faults.dns_label(&format!("{at}.name"), &spec.name);
    faults.check(!spec.layers.is_empty(), &format!("{at}.layers"), || {
        "no layer to run from".into()
    });
    for (i, layer) in spec.layers.iter().enumerate() {
        faults.check(layer.is_absolute(), &format!("{at}.layers[{i}]"), || {
            "not an absolute path".into()
        });
    }
    faults.check(!spec.command.is_empty(), &format!("{at}.command"), || {
        "nothing to run".into()
    });
    faults.check(
        spec.working_dir.is_empty() || spec.working_dir.starts_with('/'),
        &format!("{at}.working_dir"),
        || format!("`{}` is not an absolute path", spec.working_dir),
    );
    for key in spec.env.keys().chain(spec.secret_env.keys()) {
        faults.check(
            !key.is_empty() && !key.contains(['=', '\0']),
            &format!("{at}.env"),
            || format!("`{key}` is no variable name"),
        );
    }
    for (key, secret) in &spec.secret_env {
        faults.check(
            !secret.files.is_empty() && secret.files.iter().all(|file| file.is_absolute()),
            &format!("{at}.secret_env.{key}"),
            || "not an absolute path".into(),
        );
    }
    for (i, file) in spec.files.iter().enumerate() {
        faults.container_path(&format!("{at}.files[{i}].path"), &file.path);
    }
    for (i, volume) in spec.volumes.iter().enumerate() {
        faults.dns_label(&format!("{at}.volumes[{i}].name"), &volume.name);
        faults.container_path(&format!("{at}.volumes[{i}].path"), &volume.path);
    }
    let health = &spec.health;
    for (name, checked) in [
        ("startup", &health.startup),
        ("ready", &health.ready),
        ("live", &health.live),
    ] {
        if let Some(checked) = checked {
            probe(&format!("{at}.health.{name}"), checked, faults);
        }
    }
}

fn probe(at: &str, probe: &Probe, faults: &mut Faults) {
    faults.check(!probe.timeout.is_zero(), &format!("{at}.timeout_ms"), || {
        "must be longer than 0".into()
    });
    faults.check(!probe.interval.is_zero(), &format!("{at}.interval_ms"), || {
        "must be longer than 0".into()
    });
    faults.check(probe.failure_threshold > 0, &format!("{at}.failure_threshold"), || {
        "must be at least 1".into()
    });
    let check = format!("{at}.check");
    match &probe.check {
        Check::Http { port, path } => {
            faults.check(*port != 0, &check, || "0 is no port".into());
            let plain = path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic());
            faults.check(plain, &check, || format!("`{path}` is no path for a request"));
        }
        Check::Tcp { port } => faults.check(*port != 0, &check, || "0 is no port".into()),
        Check::Exec { command } => faults.check(!command.is_empty(), &check, || "nothing to run".into()),
    }
}

#[derive(Default)]
struct Faults(Vec<SpecFault>);

impl Faults {
    fn check(&mut self, ok: bool, field: &str, message: impl FnOnce() -> String) {
        if !ok {
            self.0.push(SpecFault {
                field: field.into(),
                message: message(),
            });
        }
    }

    /// RFC 1123: 1 to 63 of `a-z`, `0-9` and `-`, the last not at an end.
    fn dns_label(&mut self, field: &str, name: &str) {
        let inner = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let ok = inner && (1..=63).contains(&name.len()) && !name.starts_with('-') && !name.ends_with('-');
        self.check(ok, field, || format!("`{name}` is no DNS label"));
    }

    fn container_path(&mut self, field: &str, path: &str) {
        let ok = path.starts_with('/') && path.len() > 1 && !path.contains('\0') && !path.split('/').any(|p| p == "..");
        self.check(ok, field, || format!("`{path}` is not an absolute path below the root"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Protocol;
    use crate::spec::Publish;
    use crate::testing;

    fn check(reason: &str, change: impl FnOnce(&mut ServiceSpec), expected: &[&str]) {
        let mut spec = testing::service("web", 1);
        change(&mut spec);
        let fields: Vec<String> = Object::Service(spec).faults().into_iter().map(|f| f.field).collect();
        assert_eq!(fields, expected, "{reason}");
    }

    #[test]
    fn faults_name_their_fields() {
        check("a plain service is accepted", |_| {}, &[]);
        check("a name goes into host names", |s| s.name = "Web".into(), &["name"]);
        check(
            "all faults at once",
            |s| (s.replicas, s.pod.main.command) = (1000, vec![]),
            &["replicas", "pod.main.command"],
        );
        check(
            "a relative layer depends on a folder nobody named",
            |s| s.pod.main.layers = vec!["x".into()],
            &["pod.main.layers[0]"],
        );
        check(
            "containers are addressed by name",
            |s| s.pod.sidecars = vec![s.pod.main.clone()],
            &["pod.sidecars[0].name"],
        );
        check(
            "one number is two ports where two protocols are spoken",
            |s| {
                let udp = PortSpec {
                    name: "quic".into(),
                    protocol: Protocol::Udp,
                    ..s.ports[0].clone()
                };
                s.ports.push(udp);
            },
            &[],
        );
        check(
            "one socket cannot stand for two ports",
            |s| {
                s.ports[0].publish = Some(Publish {
                    address: [127, 0, 0, 1].into(),
                    port: 80,
                });
                let port = PortSpec {
                    name: "other".into(),
                    port: 9090,
                    ..s.ports[0].clone()
                };
                s.ports.push(port);
            },
            &["ports[1].publish"],
        );
        check(
            "an unknown signal could not be sent later",
            |s| s.stop.signal = "TERM9".into(),
            &["stop.signal"],
        );
        check(
            "a log that no line fits into, or that is kept for no time, is none",
            |s| {
                let (max_size_bytes, max_files, max_age) = (1024, 0, Some(std::time::Duration::ZERO));
                s.logs = LogSpec {
                    max_size_bytes,
                    max_files,
                    max_age,
                };
            },
            &["logs.max_size_bytes", "logs.max_files", "logs.max_age_ms"],
        );
    }

    #[test]
    fn a_job_needs_a_revision() {
        let mut job = testing::job("migrate", "1");
        job.revision.clear();
        assert_eq!(Object::Job(job).faults()[0].field, "revision");
    }

    #[test]
    fn objects_survive_the_wire() {
        let object = Object::Service(testing::service("web", 2));
        let text = serde_json::to_string(&object).unwrap();
        assert!(text.starts_with(r#"{"kind":"service""#), "{text}");
        assert_eq!(serde_json::from_str::<Object>(&text).unwrap(), object);
        let unknown = text.replacen("\"replicas\"", "\"replica\"", 1);
        assert!(
            serde_json::from_str::<Object>(&unknown).is_err(),
            "unknown keys are refused"
        );
    }
}
