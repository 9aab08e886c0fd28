//! Network namespaces, each made on a thread of its own that ends with it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::mpsc;

use nix::sched::{CloneFlags, setns, unshare};

use super::NetworkError;

/// A new namespace. `outside` runs here with its descriptor, then `inside` runs on a thread within it.
///
/// unshare(2) moves the calling thread alone; the thread is never used for anything else.
pub fn create(
    outside: impl FnOnce(&OwnedFd) -> Result<(), NetworkError>,
    inside: impl FnOnce() -> Result<(), NetworkError> + Send,
) -> Result<OwnedFd, NetworkError> {
    std::thread::scope(|scope| {
        let (opened_tx, opened) = mpsc::sync_channel(1);
        let (go_tx, go) = mpsc::sync_channel::<()>(1);
        let thread = scope.spawn(move || {
            let sent = opened_tx.send(enter_new());
            match (sent, go.recv()) {
                (Ok(()), Ok(())) => inside(),
                _ => Ok(()),
            }
        });
        let namespace = opened.recv().unwrap_or_else(|_| Err(lost()))?;
        outside(&namespace)?;
        go_tx.send(()).map_err(|_| lost())?;
        thread.join().unwrap_or_else(|_| Err(lost()))?;
        Ok(namespace)
    })
}

/// Runs `inside` on a thread within the namespace.
pub fn within(
    namespace: &OwnedFd,
    inside: impl FnOnce() -> Result<(), NetworkError> + Send,
) -> Result<(), NetworkError> {
    let enter = || setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|e| NetworkError::Namespace { source: e.into() });
    let thread = std::thread::scope(|scope| scope.spawn(|| enter().and_then(|()| inside())).join());
    thread.unwrap_or_else(|_| Err(lost()))
}

fn enter_new() -> Result<OwnedFd, NetworkError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| NetworkError::Namespace { source: errno.into() })?;
    let file = File::open("/proc/thread-self/ns/net").map_err(|source| NetworkError::Namespace { source })?;
    Ok(file.into())
}

fn lost() -> NetworkError {
    NetworkError::Namespace {
        source: std::io::Error::other("the thread in it has ended early"),
    }
}
