//! Mounts that stay as they are, also for a container that may administrate.
//!
//! CAP_SYS_ADMIN is enough to make a read-only mount writable again, and to take a mask off (CVE-2026-46695). But the kernel
//! locks the mounts of a namespace that is made from one of a more powerful user namespace: neither their flags nor
//! what they cover can be changed there, whoever asks (mount_namespaces(7), "Restrictions on mount namespaces"). So for
//! such a container the mount namespace is copied into a new user namespace, and the copy becomes the container's. Nothing
//! else of the container is in that user namespace.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::error::{Error, Result};
use crate::identity::exit_code;
use crate::sys::{self, Side, clone3};

/// Called inside, when all is mounted. The calling process must have one thread.
pub fn lock() -> Result<()> {
    let (holder, until) = hold_copy()?;
    sys::enter_namespaces(holder.as_fd(), libc::CLONE_NEWNS as u64).map_err(Error::system("enter", "locked mounts"))?;
    drop(until);
    exit_code(holder.as_fd()).map(drop)
}

/// A process that holds the copy until the socket is closed, which it is when this process ends, too.
fn hold_copy() -> Result<(OwnedFd, UnixStream)> {
    let (until, mut closed) = UnixStream::pair().map_err(Error::system("make", "a pair of sockets"))?;
    let kinds = (libc::CLONE_NEWUSER | libc::CLONE_NEWNS) as u64;
    // SAFETY: this program starts no thread, as the contract of `create` says.
    let side = unsafe { clone3(kinds, None) };
    match side.map_err(Error::system("lock", "the mounts of a container with CAP_SYS_ADMIN"))? {
        Side::Child => {
            drop(until);
            _ = closed.read(&mut [0]);
            std::process::exit(0)
        }
        Side::Parent { pidfd, .. } => Ok((pidfd, until)),
    }
}
