//! The default configuration of a container, made the same way for services, jobs and build steps.
//!
//! Shape: OCI runtime-spec 1.3, `config.json`. Defaults are those that Docker documents: capabilities, masked and
//! read-only paths, mounts, seccomp profile.

use std::collections::HashMap;
use std::path::PathBuf;

use oci_spec::runtime::{Capability, Spec};
use serde_json::{Value, json};

/// Annotations by which a bundle asks this runtime for more than the specification has.
pub mod annotation {
    /// An overlay as the root, mounted inside the container's own mount namespace, so that no mount ever shows on the
    /// host: a JSON array of folders (the top layer first), and two folders.
    pub const LOWER: &str = "dev.portolan.overlay.lower";
    pub const UPPER: &str = "dev.portolan.overlay.upper";
    pub const WORK: &str = "dev.portolan.overlay.work";
    /// `default` means the runtime's own filter for the bounding set of the process, in place of `linux.seccomp`.
    pub const SECCOMP: &str = "dev.portolan.seccomp";
}

/// Of the specification whose shape configurations have here.
pub const VERSION: &str = "1.2.0";

/// What differs from one container to the next. Everything else is a default.
#[derive(Clone, Debug, Default)]
pub struct ContainerParams {
    /// Unpacked layers, the top one first.
    pub lower: Vec<PathBuf>,
    /// Where writes go, and overlayfs' scratch folder beside it; without them the root is read-only.
    pub writable: Option<Writable>,
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Absolute; empty means `/`.
    pub working_dir: String,
    pub user: User,
    pub hostname: Option<String>,
    pub network: Network,
    pub mounts: Vec<BindMount>,
    pub limits: Limits,
    pub cgroups_path: Option<String>,
    pub terminal: bool,
}

/// Both on one file system, which overlayfs can write to.
#[derive(Clone, Debug)]
pub struct Writable {
    pub upper: PathBuf,
    pub work: PathBuf,
}

#[derive(Clone, Debug, Default)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub additional_gids: Vec<u32>,
}

#[derive(Clone, Debug, Default)]
pub enum Network {
    /// Loopback alone.
    #[default]
    New,
    Host,
    /// A namespace that somebody holds open.
    Path(PathBuf),
}

#[derive(Clone, Debug)]
pub struct BindMount {
    pub source: PathBuf,
    pub destination: PathBuf,
    pub read_only: bool,
}

/// What is missing is unlimited.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub memory_bytes: Option<u64>,
    /// Thousandths of a core.
    pub cpu_millis: Option<u64>,
    pub pids: Option<u64>,
}

/// The configuration for `params`.
pub fn container_spec(params: &ContainerParams) -> Spec {
    let config = json!({
        "ociVersion": VERSION,
        "root": {"path": "rootfs", "readonly": params.writable.is_none()},
        "hostname": params.hostname,
        "process": process(params),
        "mounts": mounts(params),
        "annotations": annotations(params),
        "linux": {
            "cgroupsPath": params.cgroups_path,
            "namespaces": namespaces(&params.network),
            "resources": resources(&params.limits),
            "maskedPaths": MASKED_PATHS,
            "readonlyPaths": READONLY_PATHS,
        },
    });
    serde_json::from_value(config).expect("the configuration has the specification's shape")
}

/// Docker's default capabilities.
const CAPABILITIES: [Capability; 14] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Mknod,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

const MASKED_PATHS: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/firmware",
];

const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn process(params: &ContainerParams) -> Value {
    let user = &params.user;
    let working_dir = if params.working_dir.is_empty() {
        "/"
    } else {
        &params.working_dir
    };
    // Inheritable and ambient stay empty: a file could otherwise hand them on (CVE-2022-24769). Only root keeps any.
    let held: &[Capability] = if user.uid == 0 { &CAPABILITIES } else { &[] };
    json!({
        "terminal": params.terminal,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": user.additional_gids},
        "args": params.args,
        "env": params.env,
        "cwd": working_dir,
        "noNewPrivileges": true,
        "capabilities": {"bounding": CAPABILITIES, "effective": held, "permitted": held},
    })
}

fn mounts(params: &ContainerParams) -> Vec<Value> {
    let fixed = [
        ("/proc", "proc", &["nosuid", "noexec", "nodev"][..]),
        ("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        (
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        (
            "/dev/shm",
            "tmpfs",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        ),
        ("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        ("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        (
            "/sys/fs/cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"],
        ),
    ];
    let fixed =
        fixed.map(|(to, kind, options)| json!({"destination": to, "type": kind, "source": kind, "options": options}));
    let binds = params.mounts.iter().map(|mount| {
        let access = if mount.read_only { "ro" } else { "rw" };
        json!({"destination": mount.destination, "type": "bind", "source": mount.source, "options": ["rbind", "rprivate", access]})
    });
    fixed.into_iter().chain(binds).collect()
}

fn annotations(params: &ContainerParams) -> HashMap<&'static str, String> {
    let lower = serde_json::to_string(&params.lower).expect("folders of layers are text");
    let mut annotations = HashMap::from([(annotation::LOWER, lower), (annotation::SECCOMP, "default".to_owned())]);
    if let Some(writable) = &params.writable {
        annotations.insert(annotation::UPPER, writable.upper.display().to_string());
        annotations.insert(annotation::WORK, writable.work.display().to_string());
    }
    annotations
}

fn namespaces(network: &Network) -> Vec<Value> {
    let new = ["pid", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({"type": kind}));
    let network = match network {
        Network::New => Some(json!({"type": "network"})),
        Network::Host => None,
        Network::Path(path) => Some(json!({"type": "network", "path": path})),
    };
    new.into_iter().chain(network).collect()
}

/// No device but the default ones; CPU as a quota of the usual period of 100 ms.
fn resources(limits: &Limits) -> Value {
    let mut resources = json!({"devices": [{"allow": false, "access": "rwm"}]});
    if let Some(bytes) = limits.memory_bytes {
        resources["memory"] = json!({"limit": bytes});
    }
    if let Some(millis) = limits.cpu_millis {
        resources["cpu"] = json!({"quota": millis * 100, "period": 100_000});
    }
    if let Some(pids) = limits.pids {
        resources["pids"] = json!({"limit": pids});
    }
    resources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_closed() {
        let spec = container_spec(&ContainerParams {
            args: vec!["/bin/true".into()],
            ..ContainerParams::default()
        });
        let process = spec.process().as_ref().unwrap();
        let capabilities = process.capabilities().as_ref().unwrap();
        assert_eq!(process.no_new_privileges(), Some(true));
        assert_eq!(
            spec.root().as_ref().unwrap().readonly(),
            Some(true),
            "nowhere to write is read-only"
        );
        assert!(capabilities.inheritable().as_ref().is_none_or(|set| set.is_empty()));
        assert!(capabilities.ambient().as_ref().is_none_or(|set| set.is_empty()));
        assert_eq!(spec.annotations().as_ref().unwrap()[annotation::SECCOMP], "default");
    }

    #[test]
    fn limits_and_users_are_passed_on() {
        let params = ContainerParams {
            user: User {
                uid: 1000,
                gid: 1000,
                additional_gids: vec![],
            },
            limits: Limits {
                memory_bytes: Some(1 << 20),
                cpu_millis: Some(500),
                pids: Some(9),
            },
            network: Network::Host,
            ..ContainerParams::default()
        };
        let value = serde_json::to_value(container_spec(&params)).unwrap();
        assert_eq!(
            value["linux"]["resources"]["cpu"]["quota"], 50_000,
            "half a core of 100 ms"
        );
        assert_eq!(value["linux"]["resources"]["memory"]["limit"], 1 << 20);
        assert_eq!(
            value["process"]["capabilities"]["effective"]
                .as_array()
                .map_or(0, Vec::len),
            0,
            "only root holds any"
        );
        let kinds: Vec<_> = value["linux"]["namespaces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["type"].clone())
            .collect();
        assert!(!kinds.contains(&json!("network")));
    }
}
