//! The OCI bundle of a RUN step (OCI runtime specification 1.2, "config.md"): Docker's default capabilities, masked
//! and read-only paths, and the overlay that `portolan-runtime` mounts.
//!
//! A step has a loopback device and no other network, so that a build depends on nothing but its inputs and a command
//! of a foreign image reaches nothing of this machine. `RUN --network=host` gives it this machine's network, with the
//! resolver.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::StepError;
use super::users::User;
use super::view::View;
use crate::dockerfile::RunNetwork;

/// What a step runs, and on what.
#[derive(Debug)]
pub(super) struct Bundle<'a> {
    pub args: &'a [String],
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Without links, inside the image.
    pub cwd: PathBuf,
    pub user: &'a User,
    /// Unpacked layers, top first.
    pub lower: &'a [PathBuf],
    pub upper: &'a Path,
    pub work: &'a Path,
    pub network: RunNetwork,
    pub cgroup: String,
}

/// A file of the host that the command sees, read-only.
#[derive(Debug)]
pub(super) struct Bind {
    pub source: PathBuf,
    pub destination: PathBuf,
}

const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The file systems of the container: where, which, and how.
const MOUNTS: [(&str, &str, &[&str]); 6] = [
    ("/proc", "proc", &["nosuid", "noexec", "nodev"]),
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
];

impl Bundle<'_> {
    /// The content of `config.json`.
    pub fn config(&self, binds: &[Bind]) -> Value {
        let fixed = MOUNTS
            .map(|(to, kind, options)| json!({"destination": to, "type": kind, "source": kind, "options": options}));
        let binds = binds.iter().map(|bind| {
            let options = ["bind", "ro", "nosuid", "nodev", "noexec"];
            json!({"destination": bind.destination, "type": "bind", "source": bind.source, "options": options})
        });
        let held: &[&str] = if self.user.owner.uid == 0 { &CAPABILITIES } else { &[] };
        let lower = serde_json::to_string(self.lower).expect("paths of the store are text");
        let own: &[&str] = match self.network {
            RunNetwork::Loopback => &["pid", "ipc", "uts", "mount", "cgroup", "network"],
            RunNetwork::Host => &["pid", "ipc", "uts", "mount", "cgroup"],
        };
        let namespaces: Vec<Value> = own.iter().map(|kind| json!({"type": kind})).collect();
        json!({
            "ociVersion": "1.2.0",
            "root": {"path": "rootfs", "readonly": false},
            "hostname": "build",
            "process": {
                "terminal": false,
                "user": {"uid": self.user.owner.uid, "gid": self.user.owner.gid, "additionalGids": self.user.groups},
                "args": self.args,
                "env": self.env,
                "cwd": self.cwd,
                // A set-user-ID program gains nothing in a build step.
                "noNewPrivileges": true,
                "capabilities": {"bounding": CAPABILITIES, "effective": held, "permitted": held},
            },
            "mounts": fixed.into_iter().chain(binds).collect::<Vec<_>>(),
            "annotations": {
                "dev.portolan.overlay.lower": lower,
                "dev.portolan.overlay.upper": self.upper,
                "dev.portolan.overlay.work": self.work,
                // The runtime's own filter for the capabilities above.
                "dev.portolan.seccomp": "default",
            },
            "linux": {
                "cgroupsPath": self.cgroup,
                "namespaces": namespaces,
                "resources": {"devices": [{"allow": false, "access": "rwm"}]},
                "maskedPaths": MASKED,
                "readonlyPaths": READ_ONLY,
            },
        })
    }
}

/// The names that a step knows, and with a network the configuration of the resolver, at the places where the image wants them: a link of
/// the image is followed here, inside the image, so that the runtime meets none.
pub(super) fn binds(view: &View, hosts: PathBuf, network: RunNetwork) -> Result<Vec<Bind>, StepError> {
    let mut files = vec![(hosts, "/etc/hosts")];
    if network == RunNetwork::Host {
        files.push((PathBuf::from("/etc/resolv.conf"), "/etc/resolv.conf"));
    }
    let mut binds = Vec::new();
    for (source, destination) in files {
        let Ok(source) = source.canonicalize() else { continue };
        let resolved = view
            .resolve(Path::new(destination))
            .map_err(StepError::rootfs(destination))?;
        let is_file = resolved.node.is_none_or(|node| node.metadata.is_file());
        if is_file {
            binds.push(Bind {
                source,
                destination: Path::new("/").join(resolved.path),
            });
        }
    }
    Ok(binds)
}

/// The paths, from the root, that the runtime has to make in order to mount on them, children before parents.
pub(super) fn mount_points(view: &View, binds: &[Bind]) -> Result<Vec<PathBuf>, StepError> {
    let fixed = ["/proc", "/dev", "/sys"].map(PathBuf::from);
    let mut made = BTreeSet::new();
    for destination in fixed.iter().chain(binds.iter().map(|bind| &bind.destination)) {
        let name = destination.display().to_string();
        for path in destination.ancestors().filter(|path| path.parent().is_some()) {
            if view
                .resolve(path)
                .map_err(StepError::rootfs(name.clone()))?
                .node
                .is_none()
            {
                made.insert(path.strip_prefix("/").unwrap_or(path).to_owned());
            }
        }
    }
    Ok(made.into_iter().rev().collect())
}
