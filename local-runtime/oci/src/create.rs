//! `create`: everything but the program's first instruction. The container's first process waits on a socket in the
//! container's folder; this program is gone then, and whoever is the reaper of its children reaps that one.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxResources};

use crate::bundle::{self, Bundle};
use crate::cgroup::{self, Cgroup, CgroupPath, Layout};
use crate::container::{Container, Record, Store};
use crate::delete;
use crate::error::{Error, Result, invalid};
use crate::identity::{Identity, exit_code};
use crate::init::{Init, READY};
use crate::namespaces::Namespaces;
use crate::process::Entrance;
use crate::sys::{self, Side, clone3};
use crate::terminal;

/// How a container is to be made.
#[derive(Debug)]
pub struct Options {
    pub bundle: PathBuf,
    pub pid_file: Option<PathBuf>,
    pub console_socket: Option<PathBuf>,
}

/// Makes the container `id`, which then waits for its start. The calling process must have one thread.
pub fn create(store: &Store, id: &str, options: &Options) -> Result<()> {
    make(store, id, options).map(|(container, _)| container.unlock())
}

/// Answers the container with its lock, and its first process. Nothing is left of one that could not be made.
pub(crate) fn make(store: &Store, id: &str, options: &Options) -> Result<(Container, OwnedFd)> {
    let bundle = Bundle::read(&options.bundle)?;
    let container = store.create(id)?;
    match build(&container, &bundle, options) {
        Ok(init) => Ok((container, init)),
        Err(error) => {
            _ = delete::destroy(container);
            Err(error)
        }
    }
}

/// Each step is in the record before the next begins, so that `delete` knows what there is, whenever this is cut off.
fn build(container: &Container, bundle: &Bundle, options: &Options) -> Result<OwnedFd> {
    let linux = bundle.spec.linux().clone().unwrap_or_default();
    let process = bundle.spec.process().clone().unwrap_or_default();
    let mut namespaces = Namespaces::of(linux.namespaces().as_deref().unwrap_or_default())?;
    let console = terminal::console(&process, options.console_socket.as_deref())?;
    let entrance = Entrance::new(process, bundle::seccomp(&bundle.spec).as_ref())?;
    let mut record = Record {
        oci_version: bundle.spec.version().clone(),
        bundle: bundle.folder.clone(),
        annotations: bundle.spec.annotations().clone().unwrap_or_default(),
        init: None,
        cgroup: None,
    };
    container.write_config(&bundle.text)?;
    let cgroup = make_cgroup(&container.id, &linux)?;
    record.cgroup = cgroup.as_ref().map(|(path, _)| path.clone());
    container.write_record(&record)?;
    let entry = cgroup.as_ref().map(|(_, cgroup)| cgroup.entry()).transpose()?;
    namespaces.join_pid()?;
    let init = Init {
        bundle,
        entrance: &entrance,
        namespaces: &namespaces,
        cgroup: cgroup.as_ref().map(|(_, cgroup)| cgroup).zip(entry.as_ref()),
        console: console.as_ref(),
    };
    let (pid, pidfd, ready) = spawn(container, &init)?;
    let made = namespaces.leave_pid().and_then(|()| {
        record.init = Some(Identity::of_child(pid)?);
        container.write_record(&record)?;
        wait_until_ready(ready)?;
        options.pid_file.as_deref().map_or(Ok(()), |file| write_pid(file, pid))
    });
    match made {
        Ok(()) => Ok(pidfd),
        Err(error) => {
            _ = sys::send_signal(pidfd.as_fd(), libc::SIGKILL);
            _ = exit_code(pidfd.as_fd());
            Err(error)
        }
    }
}

fn spawn(container: &Container, init: &Init<'_>) -> Result<(i32, OwnedFd, UnixStream)> {
    let start = UnixListener::bind(container.start_socket()).map_err(Error::system("make", "the start socket"))?;
    let (ready, report) = UnixStream::pair().map_err(Error::system("make", "a pair of sockets"))?;
    let into = init.cgroup.and_then(|(cgroup, _)| cgroup.unified());
    // SAFETY: this program starts no thread, as the contract of `create` says.
    match unsafe { clone3(init.namespaces.cloned(), into) }.map_err(Error::system("clone into", "new namespaces"))? {
        Side::Child => {
            drop(ready);
            container.leave_lock_to_parent();
            init.run(report, &start)
        }
        Side::Parent { pid, pidfd } => Ok((pid, pidfd, ready)),
    }
}

fn wait_until_ready(mut ready: UnixStream) -> Result<()> {
    let mut said = Vec::new();
    ready
        .read_to_end(&mut said)
        .map_err(Error::system("hear from", "the new process"))?;
    match said.as_slice() {
        READY => Ok(()),
        [] => Err(invalid("the container's first process was killed while it was made")),
        reason => Err(invalid(String::from_utf8_lossy(reason))),
    }
}

/// The container's cgroup with its limits. Without the right to make one, a container without limits goes on without.
fn make_cgroup(id: &str, linux: &Linux) -> Result<Option<(String, Cgroup)>> {
    let configured = linux.cgroups_path().as_ref().map(|path| path.display().to_string());
    let path = configured.unwrap_or_else(|| format!("/portolan/{id}"));
    let resources = linux.resources().clone().unwrap_or_default();
    let parsed = CgroupPath::parse(&path)?;
    let made = Layout::detect().and_then(|layout| retry(|| Cgroup::create(&layout, &parsed, &resources)));
    match made {
        Ok(cgroup) => Ok(Some((path, cgroup))),
        Err(cgroup::Error::NoDelegation { .. } | cgroup::Error::NotMounted) if !asks_limits(&resources) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Another container's `delete` may take the folder above away as empty in just this moment.
fn retry(
    create: impl Fn() -> std::result::Result<Cgroup, cgroup::Error>,
) -> std::result::Result<Cgroup, cgroup::Error> {
    const ATTEMPTS: usize = 20;
    let vanished = |answer: &std::result::Result<Cgroup, cgroup::Error>| match answer {
        Err(cgroup::Error::Create { source, .. } | cgroup::Error::Open { source, .. }) => {
            source.kind() == io::ErrorKind::NotFound || source.raw_os_error() == Some(libc::ENODEV)
        }
        _ => false,
    };
    let mut answer = create();
    for _ in 1..ATTEMPTS {
        if !vanished(&answer) {
            break;
        }
        answer = create();
    }
    answer
}

/// A list of devices is a limit as well: without it a container that may make nodes has every disk of the machine.
fn asks_limits(resources: &LinuxResources) -> bool {
    *resources != LinuxResources::default()
}

/// As a whole: who waits for the file never reads half a number.
pub(crate) fn write_pid(file: &Path, pid: i32) -> Result<()> {
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, pid.to_string())
        .and_then(|()| fs::rename(&new, file))
        .map_err(Error::system("write", file.display()))
}
