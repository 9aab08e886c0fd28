//! `delete`: ends what is left of a container and removes all that was made for it.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::cgroup::{self, Cgroup, CgroupPath, Layout};
use crate::container::{Container, Record, Status, Store};
use crate::error::{Error, Result, invalid};
use crate::identity::ended_within;
use crate::sys;

/// How long killed processes may take to be gone: one that waits for a disk does not die at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes a container that has ended; with `force` one that runs, too, and one that is not there is success.
pub fn delete(store: &Store, id: &str, force: bool) -> Result<()> {
    let container = match store.open(id) {
        Err(Error::NotFound { .. }) if force => return Ok(()),
        container => container?,
    };
    if !force {
        let record = container.record()?;
        let status = record.map_or(Status::Stopped, |record| container.status(&record));
        if status != Status::Stopped {
            return Err(container.is(status));
        }
    }
    destroy(container)
}

/// Safe to repeat: the folder goes last, so that a second try finds what the first one left.
pub(crate) fn destroy(container: Container) -> Result<()> {
    if let Some(record) = container.record()? {
        kill_init(&record)?;
        remove_cgroup(&record)?;
    }
    container.remove()
}

fn kill_init(record: &Record) -> Result<()> {
    let Some(pidfd) = record.init.as_ref().and_then(|init| init.open()) else {
        return Ok(());
    };
    sys::send_signal(pidfd.as_fd(), libc::SIGKILL).map_err(Error::system("kill", "the container"))?;
    match ended_within(pidfd.as_fd(), PATIENCE) {
        true => Ok(()),
        false => Err(invalid(
            "the container's first process does not end though it was killed",
        )),
    }
}

/// With the folders above it that are empty now. Processes are left where the pid namespace was another's.
fn remove_cgroup(record: &Record) -> Result<()> {
    let Some(path) = &record.cgroup else { return Ok(()) };
    let cgroup = match Cgroup::open(&Layout::detect()?, &CgroupPath::parse(path)?) {
        Err(cgroup::Error::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        cgroup => cgroup?,
    };
    cgroup.kill_all(PATIENCE)?;
    cgroup.delete_with_parents(PATIENCE)?;
    Ok(())
}
