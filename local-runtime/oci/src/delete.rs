//! `delete`: ends what is left of a container and removes all that was made for it.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::cgroup::{self, Cgroup, CgroupPath, Layout};
use crate::container::{Container, Record, Status, Store};
use crate::create::cgroup_path;
use crate::error::{Error, Result, invalid};
use crate::identity::ended_within;
use crate::sys;

/// How long killed processes may take to be gone: one that waits for a disk does not die at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

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
    let cgroup = match container.record()? {
        Some(record) => {
            kill_init(&record)?;
            record.cgroup.as_deref().map(open_cgroup).transpose()?.flatten()
        }
        None => {
            remove_unrecorded(&container)?;
            None
        }
    };
    clear(container, cgroup)
}

/// Removes what is left of a container whose first process is gone. Processes are left in the cgroup where the pid
/// namespace was another's.
pub(crate) fn clear(container: Container, cgroup: Option<Cgroup>) -> Result<()> {
    if let Some(cgroup) = cgroup {
        cgroup.end(PATIENCE)?;
    }
    container.remove()
}

fn kill_init(record: &Record) -> Result<()> {
    let Some(pidfd) = record.init.open() else {
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

fn open_cgroup(path: &str) -> Result<Option<Cgroup>> {
    match Cgroup::open(&Layout::detect()?, &CgroupPath::parse(path)?) {
        Err(cgroup::Error::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        cgroup => Ok(Some(cgroup?)),
    }
}

/// The cgroup of a container whose making was cut off. Nobody knows whether it was this one that made the cgroup: if there
/// are processes in it, it is another's.
fn remove_unrecorded(container: &Container) -> Result<()> {
    const FIRST_PROCESS_ENDS: Duration = Duration::from_secs(1);
    let Ok(config) = container.config() else {
        // Cut off before it was kept whole, and nothing is made before that.
        return Ok(());
    };
    let path = cgroup_path(&container.id, &config.linux().clone().unwrap_or_default());
    let cgroup = match open_cgroup(&path) {
        Err(Error::Cgroup(cgroup::Error::NotMounted)) => None,
        cgroup => cgroup?,
    };
    match cgroup.map(|cgroup| cgroup.delete_with_parents(FIRST_PROCESS_ENDS)) {
        Some(Err(cgroup::Error::Delete { source, .. })) if source.raw_os_error() == Some(libc::EBUSY) => Ok(()),
        Some(answer) => Ok(answer?),
        None => Ok(()),
    }
}
