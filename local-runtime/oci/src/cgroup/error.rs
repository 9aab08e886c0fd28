//! What can go wrong with cgroups. Fields are named as in the configuration, below `linux.resources`.

use std::io;
use std::path::PathBuf;

/// An operation on cgroups that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot find out how cgroups are mounted")]
    Detect { source: io::Error },
    #[error("no cgroup file system is mounted")]
    NotMounted,
    #[error("`{path}` is no cgroup path: {reason}")]
    Path { path: String, reason: &'static str },
    /// The process may not make cgroups here, as is usual without root on cgroup v1: go on without limits.
    #[error("cgroup `{}` is not delegated to this user", path.display())]
    NoDelegation { path: PathBuf, source: io::Error },
    #[error("cannot create cgroup `{}`", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot open cgroup `{}`", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("cgroup `{}` exists and has processes", path.display())]
    InUse { path: PathBuf },
    #[error("`{field}` is {value}, and {reason}")]
    Invalid {
        field: &'static str,
        value: String,
        reason: &'static str,
    },
    #[error("`{field}` needs cgroup controller `{controller}`, which this machine does not offer")]
    NoController { field: String, controller: String },
    #[error("cannot set `{field}`: writing `{value}` to `{}`", file.display())]
    Set {
        field: String,
        value: String,
        file: PathBuf,
        source: io::Error,
    },
    #[error("cannot enforce the list of devices on cgroup `{}`", path.display())]
    Devices { path: PathBuf, source: io::Error },
    #[error("cannot move process {pid} into cgroup `{}`", path.display())]
    Attach { pid: i32, path: PathBuf, source: io::Error },
    #[error("cannot read `{}`", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("cannot {verb} cgroup `{}`", path.display())]
    Control {
        verb: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cgroup `{}` did not {verb} within {limit_ms} ms", path.display())]
    TooSlow {
        verb: &'static str,
        path: PathBuf,
        limit_ms: u128,
    },
    #[error("cannot delete cgroup `{}`", path.display())]
    Delete { path: PathBuf, source: io::Error },
}

impl Error {
    /// Whether going on without a cgroup is the right answer.
    pub fn is_no_delegation(&self) -> bool {
        matches!(self, Error::NoDelegation { .. })
    }
}
