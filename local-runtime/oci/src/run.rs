//! A container in the foreground: what a build step needs, and the first form of every other verb.
//!
//! The parent clones once into the new namespaces. The child builds its file systems, takes on user, capabilities and
//! filter, and becomes the process; what fails before that is told through a pipe that closes by itself on exec. The
//! parent waits by pidfd and passes signals on.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Process, Spec};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::WaitIdOptions;

use crate::capabilities::{CapSet, Capabilities, keep_permitted, set_no_new_privs};
use crate::error::{Error, Result, chain};
use crate::mounts;
use crate::seccomp::{self, Program};
use crate::sys::{Side, clone3};

/// Runs the bundle's container to its end and answers the process's exit code, 128 + N after signal N.
///
/// The calling process must have one thread. Limits and joined namespaces are refused: they come with cgroups.
pub fn run(bundle: &Path) -> Result<u8> {
    let plan = Plan::read(bundle)?;
    let (report, told) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(Error::system("make", "a pipe"))?;
    // SAFETY: this program starts no thread before or during a run, as the contract above says.
    match unsafe { clone3(plan.namespaces) }.map_err(Error::system("clone into", "new namespaces"))? {
        Side::Child => {
            drop(report);
            let Err(error) = become_process(&plan);
            _ = io::Write::write_all(&mut fs::File::from(told), chain(&error).as_bytes());
            std::process::exit(127);
        }
        Side::Parent { pidfd } => {
            drop(told);
            let mut message = String::new();
            _ = fs::File::from(report).read_to_string(&mut message);
            let code = wait(&pidfd)?;
            if message.is_empty() {
                Ok(code)
            } else {
                Err(Error::Invalid { what: message })
            }
        }
    }
}

/// Everything that can be known to fail before anything is started.
struct Plan {
    spec: Spec,
    process: Process,
    rootfs: PathBuf,
    namespaces: u64,
    capabilities: Capabilities,
    filter: Option<Program>,
}

impl Plan {
    fn read(bundle: &Path) -> Result<Plan> {
        let path = bundle.join("config.json");
        let failed = |source| Error::Config {
            path: path.clone(),
            source,
        };
        let bundle = bundle.canonicalize().map_err(failed)?;
        let bytes = fs::read(&path).map_err(failed)?;
        let spec: Spec = serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
        let process = spec
            .process()
            .clone()
            .ok_or_else(|| invalid("the configuration has no process"))?;
        let root = spec
            .root()
            .as_ref()
            .ok_or_else(|| invalid("the configuration has no root"))?;
        let linux = spec
            .linux()
            .as_ref()
            .ok_or_else(|| invalid("the configuration has no linux section"))?;
        refuse_unsupported(&spec)?;
        let have = CapSet::permitted().map_err(Error::system("read", "our own capabilities"))?;
        Ok(Plan {
            rootfs: bundle.join(root.path()),
            namespaces: linux
                .namespaces()
                .iter()
                .flatten()
                .map(|one| flag(one.typ()))
                .fold(0, |all, one| all | one),
            capabilities: Capabilities::from_spec(process.capabilities().as_ref())
                .grantable(have)
                .0,
            filter: linux.seccomp().as_ref().map(seccomp::compile).transpose()?,
            process,
            spec,
        })
    }
}

/// Nothing is dropped silently: what this form cannot do ends the run before it begins.
fn refuse_unsupported(spec: &Spec) -> Result<()> {
    let unsupported = |what: &str| Err(Error::Unsupported { what: what.into() });
    let Some(linux) = spec.linux() else { return Ok(()) };
    let namespaces = linux.namespaces().clone().unwrap_or_default();
    if !namespaces.iter().any(|one| one.typ() == LinuxNamespaceType::Mount) {
        return unsupported("a container without a mount namespace");
    }
    if namespaces.iter().any(|one| one.path().is_some()) {
        return unsupported("joining a namespace");
    }
    if namespaces
        .iter()
        .any(|one| matches!(one.typ(), LinuxNamespaceType::User | LinuxNamespaceType::Time))
    {
        return unsupported("a user or time namespace");
    }
    if linux
        .resources()
        .as_ref()
        .is_some_and(|limits| limits.memory().is_some() || limits.cpu().is_some() || limits.pids().is_some())
    {
        return unsupported("a limit on memory, cpu or pids");
    }
    if spec.hooks().is_some() {
        return unsupported("a hook");
    }
    let process = spec.process().as_ref();
    if process.is_some_and(|process| process.terminal().unwrap_or(false)) {
        return unsupported("a terminal");
    }
    if process.is_some_and(|process| process.apparmor_profile().is_some() || process.selinux_label().is_some()) {
        return unsupported("an AppArmor profile or SELinux label");
    }
    Ok(())
}

fn flag(kind: LinuxNamespaceType) -> u64 {
    let flag = match kind {
        LinuxNamespaceType::Mount => libc::CLONE_NEWNS,
        LinuxNamespaceType::Cgroup => libc::CLONE_NEWCGROUP,
        LinuxNamespaceType::Uts => libc::CLONE_NEWUTS,
        LinuxNamespaceType::Ipc => libc::CLONE_NEWIPC,
        LinuxNamespaceType::Pid => libc::CLONE_NEWPID,
        LinuxNamespaceType::Network => libc::CLONE_NEWNET,
        LinuxNamespaceType::User => libc::CLONE_NEWUSER,
        LinuxNamespaceType::Time => return 0,
    };
    flag as u32 as u64
}

/// The child's way: it ends in exec, or in the reason why not.
fn become_process(plan: &Plan) -> Result<Infallible> {
    let process = &plan.process;
    // Nobody in the container may look into this process or at its program while it is still ours (CVE-2019-5736).
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(Error::system("hide", "this process"))?;
    if let Some(name) = plan.spec.hostname() {
        rustix::system::sethostname(name.as_bytes()).map_err(Error::system("set the host name", name))?;
    }
    mounts::enter(&plan.spec, &plan.rootfs)?;
    plan.capabilities
        .drop_bounding()
        .map_err(Error::system("drop", "capabilities"))?;
    take_user(process)?;
    plan.capabilities
        .apply()
        .map_err(Error::system("take on", "capabilities"))?;
    enter_working_dir(process.cwd())?;
    let program = find_program(process)?;
    close_others()?;
    if process.no_new_privileges().unwrap_or(false) {
        set_no_new_privs().map_err(Error::system("set", "no_new_privs"))?;
    }
    if let Some(filter) = &plan.filter {
        seccomp::install(filter).map_err(Error::system("install", "the seccomp filter"))?;
    }
    exec(&program, process)
}

fn take_user(process: &Process) -> Result<()> {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    let user = process.user();
    let (uid, gid) = (
        rustix::fs::Uid::from_raw(user.uid()),
        rustix::fs::Gid::from_raw(user.gid()),
    );
    let groups: Vec<_> = user
        .additional_gids()
        .iter()
        .flatten()
        .map(|gid| rustix::fs::Gid::from_raw(*gid))
        .collect();
    keep_permitted().map_err(Error::system("keep", "capabilities"))?;
    set_thread_groups(&groups).map_err(Error::system("set", "groups"))?;
    set_thread_res_gid(gid, gid, gid).map_err(Error::system("become group", user.gid()))?;
    set_thread_res_uid(uid, uid, uid).map_err(Error::system("become user", user.uid()))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(user.umask().unwrap_or(0o022)));
    Ok(())
}

/// The folder must be inside: a descriptor that leaked, or a link of /proc, would lead to the host (CVE-2024-21626).
fn enter_working_dir(path: &Path) -> Result<()> {
    rustix::process::chdir(path).map_err(Error::system("enter", path.display()))?;
    let reached = rustix::process::getcwd(Vec::new()).map_err(Error::system("find", path.display()))?;
    match reached.as_bytes().starts_with(b"/") {
        true => Ok(()),
        false => Err(invalid("the working directory is outside the container")),
    }
}

/// The first element as it is if it has a slash, else the first on the process's own `PATH`.
fn find_program(process: &Process) -> Result<PathBuf> {
    let arguments = process.args().as_deref().unwrap_or_default();
    let name = arguments
        .first()
        .ok_or_else(|| invalid("the process has no arguments"))?;
    let executable = |path: &Path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
    if name.contains('/') {
        let path = PathBuf::from(name);
        return if executable(&path) {
            Ok(path)
        } else {
            Err(not_found(name))
        };
    }
    let env = process.env().as_deref().unwrap_or_default();
    let path = env
        .iter()
        .find_map(|entry| entry.strip_prefix("PATH="))
        .unwrap_or("/usr/bin:/bin");
    path.split(':')
        .map(|folder| Path::new(folder).join(name))
        .find(|path| executable(path))
        .ok_or_else(|| not_found(name))
}

fn not_found(name: &str) -> Error {
    invalid(&format!("`{name}` is no executable file in the container"))
}

/// Everything but the three standard streams closes on exec; the pipe to the parent too, which is how it learns of it.
fn close_others() -> Result<()> {
    // SAFETY: close_range takes numbers alone, and with CLOEXEC closes nothing that this process still uses.
    match unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) } {
        0 => Ok(()),
        _ => Err(Error::system("close", "descriptors")(io::Error::last_os_error())),
    }
}

fn exec(program: &Path, process: &Process) -> Result<Infallible> {
    let strings = |words: Option<&[String]>| -> Result<Vec<CString>> {
        let words = words.unwrap_or_default().iter();
        words
            .map(|word| CString::new(word.as_bytes()).map_err(|_| invalid("an argument holds a NUL")))
            .collect()
    };
    let (arguments, env) = (strings(process.args().as_deref())?, strings(process.env().as_deref())?);
    let path = CString::new(program.as_os_str().as_bytes()).map_err(|_| invalid("a path holds a NUL"))?;
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings
            .iter()
            .map(|one| one.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    // SAFETY: both lists end in a null pointer, and every string outlives the call.
    unsafe { libc::execve(path.as_ptr(), pointers(&arguments).as_ptr(), pointers(&env).as_ptr()) };
    Err(Error::system("execute", program.display())(io::Error::last_os_error()))
}

/// Waits for the end. A pidfd becomes readable then; nothing is lost if it has ended already.
fn wait(pidfd: &OwnedFd) -> Result<u8> {
    let mut watched = [PollFd::new(pidfd, PollFlags::IN)];
    loop {
        match poll(&mut watched, None) {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(Error::system("wait for", "the process")(error)),
        }
    }
    let ended = rustix::process::waitid(rustix::process::WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
        .map_err(Error::system("wait for", "the process"))?;
    let Some(status) = ended else {
        return Err(invalid("the process ended without a status"));
    };
    let signalled = status.terminating_signal().map(|signal| 128 + signal);
    Ok(status.exit_status().or(signalled).unwrap_or(255) as u8)
}

fn invalid(what: &str) -> Error {
    Error::Invalid { what: what.to_string() }
}
