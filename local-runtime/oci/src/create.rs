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
use crate::delete::PATIENCE;
use crate::error::{Error, Result, invalid};
use crate::identity::{Identity, exit_code};
use crate::init::{Init, READY};
use crate::namespaces::Namespaces;
use crate::process::Entrance;
use crate::sys::{self, Side, clone3};
use crate::terminal;
use crate::userns::Ids;

/// How a container is to be made.
#[derive(Debug)]
pub struct Options {
    pub bundle: PathBuf,
    pub pid_file: Option<PathBuf>,
    pub console_socket: Option<PathBuf>,
}

/// A container that waits for its start.
#[derive(Debug)]
pub(crate) struct Made {
    /// A pidfd of its first process.
    pub init: OwnedFd,
    pub cgroup: Option<Cgroup>,
    /// To its first process, where that waits for its maker and not on the start socket.
    pub start: UnixStream,
}

/// Who starts the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Starter {
    /// A later call, over the start socket.
    Anyone,
    /// This one, at once.
    Maker,
}

/// Makes the container `id`, which then waits for its start. The calling process must have one thread.
pub fn create(store: &Store, id: &str, options: &Options) -> Result<()> {
    make(store, id, options, Starter::Anyone).map(|(container, _)| container.unlock())
}

/// Answers the container with its lock. Nothing is left of one that could not be made.
pub(crate) fn make(store: &Store, id: &str, options: &Options, starter: Starter) -> Result<(Container, Made)> {
    let bundle = Bundle::read(&options.bundle)?;
    let container = store.create(id)?;
    match build(&container, &bundle, options, starter) {
        Ok(made) => Ok((container, made)),
        Err(error) => {
            _ = container.remove();
            Err(error)
        }
    }
}

/// The configuration is kept before anything is made, and the record before the container can be ready: so `delete` knows
/// what there may be, whenever this is cut off.
fn build(container: &Container, bundle: &Bundle, options: &Options, starter: Starter) -> Result<Made> {
    let linux = bundle.linux();
    let process = bundle.spec.process().clone().unwrap_or_default();
    let plan = Plan {
        namespaces: Namespaces::of(linux.namespaces().as_deref().unwrap_or_default())?,
        console: terminal::console(&process, options.console_socket.as_deref())?,
        entrance: Entrance::new(process, bundle::seccomp(&bundle.spec).as_deref())?,
        ids: Ids::here()?,
        bundle,
        starter,
    };
    container.write_config(&bundle.text)?;
    let cgroup = make_cgroup(&cgroup_path(&container.id, linux), linux, plan.ids)?;
    match plan.begin(container, cgroup.as_ref(), options) {
        Ok((init, start)) => Ok(Made { init, cgroup, start }),
        Err(error) => {
            _ = cgroup.map(|cgroup| cgroup.end(PATIENCE));
            Err(error)
        }
    }
}

/// All that is known before the first process is cloned.
struct Plan<'a> {
    bundle: &'a Bundle,
    namespaces: Namespaces,
    entrance: Entrance,
    console: Option<UnixStream>,
    ids: Ids,
    starter: Starter,
}

impl Plan<'_> {
    /// Answers once the container is ready, or with an error once its first process is gone.
    fn begin(
        mut self,
        container: &Container,
        cgroup: Option<&Cgroup>,
        options: &Options,
    ) -> Result<(OwnedFd, UnixStream)> {
        self.namespaces.join_pid()?;
        let (pid, pidfd, mut ready) = self.spawn(container, cgroup)?;
        let begun = self.namespaces.leave_pid().and_then(|()| {
            container.write_record(&self.record(container, cgroup, pid)?)?;
            wait_until_ready(&mut ready)?;
            options.pid_file.as_deref().map_or(Ok(()), |file| write_pid(file, pid))
        });
        match begun {
            Ok(()) => Ok((pidfd, ready)),
            Err(error) => {
                _ = sys::send_signal(pidfd.as_fd(), libc::SIGKILL);
                _ = exit_code(pidfd.as_fd());
                Err(error)
            }
        }
    }

    fn spawn(&self, container: &Container, cgroup: Option<&Cgroup>) -> Result<(i32, OwnedFd, UnixStream)> {
        let entry = cgroup.map(Cgroup::entry).transpose()?;
        let bind = || UnixListener::bind(container.start_socket()).map_err(Error::system("make", "the start socket"));
        let start = (self.starter == Starter::Anyone).then(bind).transpose()?;
        let (ready, report) = UnixStream::pair().map_err(Error::system("make", "a pair of sockets"))?;
        let init = Init {
            bundle: self.bundle,
            entrance: &self.entrance,
            namespaces: &self.namespaces,
            cgroup: cgroup.zip(entry.as_ref()),
            console: self.console.as_ref(),
            ids: self.ids,
            start: start.as_ref(),
        };
        let into = cgroup.and_then(Cgroup::unified);
        // SAFETY: this program starts no thread, as the contract of `create` says.
        match unsafe { clone3(self.namespaces.cloned(), into) }
            .map_err(Error::system("clone into", "new namespaces"))?
        {
            Side::Child => {
                drop(ready);
                container.leave_lock_to_parent();
                init.run(report)
            }
            Side::Parent { pid, pidfd } => Ok((pid, pidfd, ready)),
        }
    }

    fn record(&self, container: &Container, cgroup: Option<&Cgroup>, pid: i32) -> Result<Record> {
        let spec = &self.bundle.spec;
        Ok(Record {
            oci_version: spec.version().clone(),
            bundle: self.bundle.folder.clone(),
            annotations: spec.annotations().clone().unwrap_or_default(),
            init: Identity::of_child(pid)?,
            cgroup: cgroup.map(|_| cgroup_path(&container.id, self.bundle.linux())),
        })
    }
}

fn wait_until_ready(ready: &mut UnixStream) -> Result<()> {
    let mut said = vec![0];
    let heard = ready.read_exact(&mut said);
    match heard {
        Ok(()) if said == [READY] => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(invalid("the container's first process was killed while it was made"));
        }
        heard => heard
            .and_then(|()| ready.read_to_end(&mut said))
            .map_err(Error::system("hear from", "the new process"))?,
    };
    Err(invalid(String::from_utf8_lossy(&said)))
}

/// Where the container's cgroup is, by its configuration.
pub(crate) fn cgroup_path(id: &str, linux: &Linux) -> String {
    let configured = linux.cgroups_path().as_ref().map(|path| path.display().to_string());
    configured.unwrap_or_else(|| format!("/portolan/{id}"))
}

/// The container's cgroup with its limits. Without the right to make one, a container without limits goes on without.
fn make_cgroup(path: &str, linux: &Linux, ids: Ids) -> Result<Option<Cgroup>> {
    let resources = linux.resources().clone().unwrap_or_default();
    let path = CgroupPath::parse(path)?;
    let made = Layout::detect().and_then(|layout| retry(|| Cgroup::create(&layout, &path, &resources)));
    match made {
        Ok(cgroup) => Ok(Some(cgroup)),
        Err(cgroup::Error::NoDelegation { .. } | cgroup::Error::NotMounted) if !asks_limits(resources.clone(), ids) => {
            Ok(None)
        }
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

/// A list of devices is a limit as well: without it a container that may make nodes has every disk of the machine. In a
/// user namespace nobody may make one.
fn asks_limits(mut resources: LinuxResources, ids: Ids) -> bool {
    if ids != Ids::All {
        resources.set_devices(None);
    }
    resources != LinuxResources::default()
}

/// As a whole: who waits for the file never reads half a number.
pub(crate) fn write_pid(file: &Path, pid: i32) -> Result<()> {
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, pid.to_string())
        .and_then(|()| fs::rename(&new, file))
        .map_err(Error::system("write", file.display()))
}
