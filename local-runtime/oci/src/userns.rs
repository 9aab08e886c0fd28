//! A user namespace for all that an unprivileged user starts: whoever is in it is root there, and what it makes belongs to
//! the user outside. Everything else (image store, overlays, mounts, networks) then works as for root.
//!
//! There is one for each user's folders, not one for each command: what an earlier command has started can be signalled
//! and looked into only from the same namespace. It lives as long as a process in it does. A file remembers it by its
//! number, and the next command finds a process of that number and joins it.
//!
//! The user's own id becomes 0 in it. Further ids come from `newuidmap` and `newgidmap`, where the administrator has given
//! the user some (subuid(5)); without them 0 is all there is.

mod ids;
mod map;
mod record;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use crate::error::{Error, Result};
use crate::sys;

pub use ids::Ids;
pub use map::{Foreseen, foreseen};
use record::Record;

const USER: u64 = libc::CLONE_NEWUSER as u64;
const MOUNT: u64 = libc::CLONE_NEWNS as u64;

/// Whether this process is nobody who may start containers as it is.
pub fn is_needed() -> bool {
    !rustix::process::geteuid().is_root()
}

/// Moves this process into the namespace that `record` remembers, or into a new one if nothing lives there any more; and
/// into a mount namespace of its own. The calling process must have one thread.
pub fn enter(record: &Path) -> Result<Ids> {
    let record = Record::lock(record)?;
    match record.namespace()? {
        Some(namespace) => join(&namespace)?,
        None => {
            map::make(USER | MOUNT)?;
            record.write()?;
        }
    }
    Ids::here()
}

fn join(namespace: &File) -> Result<()> {
    sys::enter_namespaces(namespace.as_fd(), USER).map_err(Error::system("join", "this user's namespace"))?;
    sys::new_namespaces(MOUNT).map_err(Error::system("make", "a mount namespace"))
}

/// Whether this process may make links and addresses in the network namespace that it is in: not where only its user
/// namespace is its own.
pub fn owns_network() -> Result<bool> {
    let open = |kind: &str| {
        let path = format!("/proc/self/ns/{kind}");
        File::open(&path).map_err(Error::system("open", path))
    };
    let owner = match sys::namespace_owner(open("net")?.as_fd()) {
        // It belongs to one above ours, which is not shown.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => return Ok(false),
        owner => owner.map_err(Error::system("find the owner of", "the network namespace"))?,
    };
    record::same(&owner.into(), &open("user")?)
}
