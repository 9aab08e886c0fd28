//! One container of a pod: its root file system, its process, its files and its limits.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Health;

/// What runs, already resolved: nothing here is looked up in an image any more but the names in `user`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerSpec {
    /// A DNS label, unique in its pod.
    pub name: String,
    /// For people alone: reference or digest of the image that the layers were unpacked from.
    #[serde(default)]
    pub image: String,
    /// Unpacked layers as absolute folders, the top one first, with overlayfs' own whiteouts. At least one.
    pub layers: Vec<PathBuf>,
    /// The whole argument vector; the first element is looked up in `PATH` of `env` if it has no slash.
    pub command: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Variables whose values the supervisor reads itself at each start of the container. The values never reach its
    /// state, the socket, a log or an answer.
    #[serde(default)]
    pub secret_env: BTreeMap<String, SecretRef>,
    /// Absolute; empty means `/`.
    #[serde(default)]
    pub working_dir: String,
    /// `uid`, `uid:gid`, `name` or `name:group`; names are looked up in the layers' `/etc/passwd` and `/etc/group`.
    /// Empty means root.
    #[serde(default)]
    pub user: String,
    #[serde(default)]
    pub files: Vec<FileSpec>,
    #[serde(default)]
    pub volumes: Vec<VolumeMount>,
    #[serde(default)]
    pub resources: Resources,
    #[serde(default)]
    pub health: Health,
}

/// One entry of env files (`KEY=value` lines, `#` comments, optional quotes), or a whole file when `key` is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// Absolute paths on this machine; the last one that has the entry counts.
    pub files: Vec<PathBuf>,
    /// The entry's name; empty takes the whole file, less one final newline.
    #[serde(default)]
    pub key: String,
}

impl std::fmt::Display for SecretRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
        write!(f, "the entry {} of {}", self.key, files.join(", "))
    }
}

/// A small file put into the container, read-only, owned by root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// Absolute path in the container.
    pub path: String,
    pub content: String,
    /// Permission bits, 0o644 unless given.
    #[serde(default = "readable")]
    pub mode: u32,
}

fn readable() -> u32 {
    0o644
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeMount {
    /// The name of a volume that has been put.
    pub name: String,
    /// Absolute path in the container.
    pub path: String,
    #[serde(default)]
    pub read_only: bool,
}

/// Limits; what is missing is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Thousandths of a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
}
