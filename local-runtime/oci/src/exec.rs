//! `exec`: a further process in a container that runs.
//!
//! It enters the container's cgroup and namespaces and gets no more than the container's own process may have: the
//! container's filter and no_new_privs, and capabilities only within the container's bounding set.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use oci_spec::runtime::{Capabilities, LinuxCapabilities, Process, Spec, User};

use crate::bundle::{self, check_process};
use crate::cgroup::{Cgroup, CgroupPath, Entry, Layout};
use crate::container::{Record, Status, Store};
use crate::create::write_pid;
use crate::error::{Error, Result, invalid};
use crate::identity::exit_code;
use crate::init::fail;
use crate::namespaces::ALL_BUT_PID;
use crate::process::Entrance;
use crate::run::wait;
use crate::sys::{self, Side, clone3};
use crate::terminal;

/// What to run. What is not given is as the container's own process has it.
#[derive(Debug, Default)]
pub struct Options {
    /// A `process` of the OCI configuration, instead of the container's own.
    pub process: Option<PathBuf>,
    pub args: Vec<String>,
    pub cwd: Option<PathBuf>,
    /// User and group; without a group it is 0, as it is for a user whom no file describes.
    pub user: Option<(u32, u32)>,
    /// `NAME=value`, added to the process's own.
    pub env: Vec<String>,
    pub terminal: bool,
    pub console_socket: Option<PathBuf>,
    pub pid_file: Option<PathBuf>,
    pub detach: bool,
}

/// Runs the process and answers its exit code, 128 + N after signal N; 0 at once if it is detached. Signals that this
/// process gets go on to it. The calling process must have one thread.
pub fn exec(store: &Store, id: &str, options: &Options) -> Result<u8> {
    let signals = sys::divert_signals().map_err(Error::system("divert", "signals"))?;
    let container = store.open(id)?;
    let record = container.record()?.ok_or_else(|| container.is(Status::Stopped))?;
    let init = match container.status(&record) {
        Status::Running => record.init.open(),
        status => return Err(container.is(status)),
    };
    let init = init.ok_or_else(|| container.is(Status::Stopped))?;
    let spec = container.config()?;
    container.unlock();
    let process = process(&spec, options)?;
    let console = terminal::console(&process, options.console_socket.as_deref())?;
    let entrance = Entrance::new(process, bundle::seccomp(&spec).as_deref())?;
    let guest = Guest {
        init,
        entrance,
        cgroup: cgroup(&record)?,
        console,
    };
    let (pid, pidfd) = guest.start()?;
    if let Some(file) = &options.pid_file {
        write_pid(file, pid)?;
    }
    match options.detach {
        true => Ok(0),
        false => wait(pidfd.as_fd(), signals.as_fd()),
    }
}

struct Guest {
    init: OwnedFd,
    entrance: Entrance,
    cgroup: Option<(Cgroup, Entry)>,
    console: Option<UnixStream>,
}

impl Guest {
    /// Answers once the program runs, or why it does not.
    fn start(&self) -> Result<(i32, OwnedFd)> {
        let (mut ready, report) = UnixStream::pair().map_err(Error::system("make", "a pair of sockets"))?;
        // A pid namespace is entered by children alone.
        sys::enter_namespaces(self.init.as_fd(), libc::CLONE_NEWPID as u64)
            .map_err(Error::system("join", "the container's pid namespace"))?;
        let into = self.cgroup.as_ref().and_then(|(cgroup, _)| cgroup.unified());
        // SAFETY: this program starts no thread, as the contract of `exec` says.
        match unsafe { clone3(0, into) }.map_err(Error::system("clone", "this process"))? {
            Side::Child => {
                drop(ready);
                let error = match self.enter() {
                    Ok(never) => match never {},
                    Err(error) => error,
                };
                fail(report, &error)
            }
            Side::Parent { pid, pidfd } => {
                drop(report);
                let mut said = Vec::new();
                ready
                    .read_to_end(&mut said)
                    .map_err(Error::system("hear from", "the new process"))?;
                match said.as_slice() {
                    [] => Ok((pid, pidfd)),
                    reason => {
                        // Left as a zombie, it would keep the container's pid namespace from ending.
                        exit_code(pidfd.as_fd())?;
                        Err(invalid(String::from_utf8_lossy(reason)))
                    }
                }
            }
        }
    }

    /// The child's way.
    fn enter(&self) -> Result<std::convert::Infallible> {
        self.entrance.begin()?;
        if let Some((_, entry)) = &self.cgroup {
            entry.enter().map_err(Error::system("enter", "the cgroup"))?;
        }
        sys::enter_namespaces(self.init.as_fd(), ALL_BUT_PID)
            .map_err(Error::system("join", "the container's namespaces"))?;
        if let Some(console) = &self.console {
            let terminal = terminal::open(console, &self.entrance.process)?;
            terminal::take(&terminal)?;
        }
        let program = self.entrance.settle()?;
        self.entrance.exec(&program)
    }
}

fn cgroup(record: &Record) -> Result<Option<(Cgroup, Entry)>> {
    let Some(path) = &record.cgroup else { return Ok(None) };
    let cgroup = Cgroup::open(&Layout::detect()?, &CgroupPath::parse(path)?)?;
    let entry = cgroup.entry()?;
    Ok(Some((cgroup, entry)))
}

/// The container's own process, or the given one, changed by the options.
fn process(spec: &Spec, options: &Options) -> Result<Process> {
    let own = spec.process().clone().unwrap_or_default();
    let mut process = match &options.process {
        None => own.clone(),
        Some(path) => {
            let text = std::fs::read(path).map_err(Error::system("read", path.display()))?;
            serde_json::from_slice(&text).map_err(|error| Error::system("read", path.display())(error))?
        }
    };
    if options.process.is_none() {
        process.set_terminal(Some(false));
    }
    if options.terminal {
        process.set_terminal(Some(true));
    }
    if !options.args.is_empty() {
        process.set_args(Some(options.args.clone()));
    } else if options.process.is_none() {
        return Err(invalid("there is nothing to execute"));
    }
    if let Some(cwd) = &options.cwd {
        process.set_cwd(cwd.clone());
    }
    let env = process.env().clone().unwrap_or_default();
    process.set_env(Some(merged(env, &options.env)));
    if let Some((uid, gid)) = options.user {
        let mut user = User::default();
        user.set_uid(uid).set_gid(gid).set_umask(process.user().umask());
        process.set_user(user);
    }
    confine(&mut process, &own);
    check_process(&process)?;
    Ok(process)
}

/// A later value of a name takes the place of an earlier one.
fn merged(env: Vec<String>, more: &[String]) -> Vec<String> {
    let name = |entry: &str| entry.split_once('=').map_or(entry, |(name, _)| name).to_owned();
    let mut merged: Vec<String> = env
        .into_iter()
        .filter(|entry| !more.iter().any(|new| name(new) == name(entry)))
        .collect();
    merged.extend(more.iter().cloned());
    merged
}

/// No more than the container may have: capabilities within its bounding set, none but by explicit list for another user
/// than root (CVE-2026-30892), none to inherit (CVE-2022-29162), and never out of no_new_privs.
fn confine(process: &mut Process, own: &Process) {
    let none = Capabilities::new();
    let bounding = own
        .capabilities()
        .as_ref()
        .and_then(|sets| sets.bounding().clone())
        .unwrap_or_default();
    let listed = process.capabilities().clone();
    let same_user = process.user().uid() == own.user().uid();
    let held = match (&listed, process.user().uid()) {
        // What the configuration lists is for its own user; what a process file lists may be, too.
        (Some(sets), uid) if uid == 0 || same_user => sets.permitted().clone().unwrap_or_default(),
        (None, 0) => bounding.clone(),
        _ => none.clone(),
    };
    let held: Capabilities = if process.user().uid() == 0 && !same_user {
        bounding.clone()
    } else {
        held.intersection(&bounding).copied().collect()
    };
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(bounding))
        .set_effective(Some(held.clone()))
        .set_permitted(Some(held))
        .set_inheritable(Some(none.clone()))
        .set_ambient(Some(none));
    process.set_capabilities(Some(sets));
    let forbidden = [own, &*process].iter().any(|one| one.no_new_privileges() == Some(true));
    process.set_no_new_privileges(Some(forbidden));
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Capability;

    use super::*;

    /// A container's process as user `uid`, with these capabilities held and Kill and Chown in its bounding set.
    fn own(uid: u32, held: &[Capability]) -> Process {
        let mut sets = LinuxCapabilities::default();
        let held: Capabilities = held.iter().copied().collect();
        sets.set_bounding(Some([Capability::Kill, Capability::Chown].into_iter().collect()))
            .set_inheritable(Some(held.clone()))
            .set_effective(Some(held.clone()))
            .set_permitted(Some(held));
        let mut user = User::default();
        user.set_uid(uid);
        let mut process = Process::default();
        process
            .set_user(user)
            .set_capabilities(Some(sets))
            .set_no_new_privileges(Some(true));
        process
    }

    #[test]
    fn nobody_gets_more_than_the_container_has() {
        let both = [Capability::Kill, Capability::Chown];
        let cases = [
            (own(0, &both), 0, 2, "root as the container's root"),
            (own(0, &both), 1000, 0, "another user holds nothing"),
            (own(1000, &[]), 1000, 0, "the container's own user, without any"),
            (own(1000, &[]), 0, 2, "root beside another user: the bounding set"),
            (
                own(0, &[Capability::SysAdmin]),
                0,
                0,
                "nothing outside the bounding set",
            ),
        ];
        for (own, uid, held, reason) in cases {
            let mut process = own.clone();
            let mut user = User::default();
            user.set_uid(uid);
            process.set_user(user);
            confine(&mut process, &own);
            let sets = process.capabilities().clone().unwrap();
            assert_eq!(sets.permitted().as_ref().unwrap().len(), held, "{reason}");
            assert!(sets.inheritable().as_ref().unwrap().is_empty(), "{reason}");
            assert_eq!(process.no_new_privileges(), Some(true), "{reason}");
        }
    }

    #[test]
    fn a_later_variable_takes_the_place_of_an_earlier_one() {
        let env = vec!["A=1".to_owned(), "B=2".to_owned()];
        assert_eq!(merged(env, &["A=3".to_owned()]), ["B=2", "A=3"]);
    }
}
