//! The last steps of every process in a container, its first one or one that entered later: limits, capabilities, user,
//! folder, filter, exec. The parent makes an [`Entrance`], so that a bad profile is known before anything is started.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Capability, LinuxSeccomp, PosixRlimitType, Process};
use rustix::io::Errno;

use crate::capabilities::{CapSet, Capabilities, keep_permitted, set_no_new_privs};
use crate::error::{Error, Result, invalid, unsupported};
use crate::seccomp::{self, Program};
use crate::sys;

#[derive(Debug)]
pub(crate) struct Entrance {
    pub process: Process,
    capabilities: Capabilities,
    filter: Option<Program>,
}

impl Entrance {
    pub fn new(process: Process, profile: Option<&LinuxSeccomp>) -> Result<Entrance> {
        let have = CapSet::permitted().map_err(Error::system("read", "our own capabilities"))?;
        let filter = profile.map(seccomp::compile).transpose()?;
        if filter.as_ref().is_some_and(Program::wants_listener) {
            return unsupported("a seccomp profile that notifies");
        }
        Ok(Entrance {
            capabilities: Capabilities::from_spec(process.capabilities().as_ref())
                .grantable(have)
                .0,
            filter,
            process,
        })
    }

    /// Whether the process, or one after it, may come to change mounts.
    pub fn may_administrate(&self) -> bool {
        self.capabilities.bounding.contains(Capability::SysAdmin)
    }

    /// First of all in the child, while /proc is still the host's.
    pub fn begin(&self) -> Result<()> {
        sys::reset_signals().map_err(Error::system("reset", "signals"))?;
        rustix::process::setsid().map_err(Error::system("begin", "a session"))?;
        match self.process.oom_score_adj() {
            Some(score) => fs::write("/proc/self/oom_score_adj", score.to_string())
                .map_err(Error::system("set", "`process.oomScoreAdj`")),
            None => Ok(()),
        }
    }

    /// Inside the container: becomes what the process is to be, short of its program. Answers the program's path.
    pub fn settle(&self) -> Result<PathBuf> {
        self.set_limits()?;
        // Without no_new_privs the kernel takes a filter only from who may administrate.
        if !self.no_new_privileges() {
            self.install_filter()?;
        }
        self.capabilities
            .drop_bounding()
            .map_err(Error::system("drop", "capabilities"))?;
        self.take_user()?;
        self.capabilities
            .apply()
            .map_err(Error::system("take on", "capabilities"))?;
        enter_working_dir(self.process.cwd())?;
        self.find_program()
    }

    /// Becomes the program. All descriptors but the standard ones close by that, which is how others learn of it.
    pub fn exec(&self, program: &Path) -> Result<Infallible> {
        sys::close_others_on_exec().map_err(Error::system("close", "descriptors"))?;
        if self.no_new_privileges() {
            set_no_new_privs().map_err(Error::system("set", "no_new_privs"))?;
            self.install_filter()?;
        }
        execve(program, &self.process)
    }

    fn no_new_privileges(&self) -> bool {
        self.process.no_new_privileges().unwrap_or(false)
    }

    fn install_filter(&self) -> Result<()> {
        match &self.filter {
            Some(filter) => seccomp::install(filter)
                .map(|_| ())
                .map_err(Error::system("install", "the seccomp filter")),
            None => Ok(()),
        }
    }

    fn set_limits(&self) -> Result<()> {
        self.process.rlimits().iter().flatten().try_for_each(|limit| {
            sys::set_limit(resource(limit.typ()), limit.soft(), limit.hard())
                .map_err(Error::system("set the limit", format!("{:?}", limit.typ())))
        })
    }

    fn take_user(&self) -> Result<()> {
        use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
        let user = self.process.user();
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
        match set_thread_groups(&groups) {
            Err(Errno::PERM) if groups.is_empty() && groups_are_fixed() => {}
            set => set.map_err(unmapped("set", "groups"))?,
        }
        set_thread_res_gid(gid, gid, gid).map_err(unmapped("become group", user.gid()))?;
        set_thread_res_uid(uid, uid, uid).map_err(unmapped("become user", user.uid()))?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(user.umask().unwrap_or(0o022)));
        Ok(())
    }

    /// The first argument as it is if it has a slash, else the first of that name on the process's own `PATH`.
    fn find_program(&self) -> Result<PathBuf> {
        let arguments = self.process.args().as_deref().unwrap_or_default();
        let name = arguments
            .first()
            .ok_or_else(|| invalid("the process has no arguments"))?;
        let executable = |path: &Path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
        let not_found = || invalid(format!("`{name}` is no executable file in the container"));
        if name.contains('/') {
            let path = PathBuf::from(name);
            return executable(&path).then_some(path).ok_or_else(not_found);
        }
        let env = self.process.env().as_deref().unwrap_or_default();
        let path = env.iter().find_map(|entry| entry.strip_prefix("PATH="));
        path.unwrap_or("/usr/bin:/bin")
            .split(':')
            .map(|folder| Path::new(folder).join(name))
            .find(|path| executable(path))
            .ok_or_else(not_found)
    }
}

/// In a user namespace with one id this process keeps the groups of the user outside, who has no more rights by them here.
fn groups_are_fixed() -> bool {
    fs::read_to_string("/proc/self/setgroups").is_ok_and(|word| word.trim() == "deny")
}

/// The kernel's EINVAL for an id that this user namespace has not, in words.
fn unmapped<S: ToString>(doing: &'static str, subject: S) -> impl FnOnce(Errno) -> Error {
    let subject = subject.to_string();
    move |errno| match errno {
        Errno::INVAL => invalid(format!(
            "cannot {doing} {subject}: this user has no such id for containers; `newuidmap` and ranges in /etc/subuid \
             and /etc/subgid give it more (`portolan doctor`)"
        )),
        errno => Error::system(doing, subject)(errno),
    }
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

fn execve(program: &Path, process: &Process) -> Result<Infallible> {
    let strings = |words: Option<&[String]>| -> Result<Vec<CString>> {
        let words = words.unwrap_or_default().iter();
        words
            .map(|word| CString::new(word.as_bytes()).map_err(|_| invalid("an argument holds a NUL")))
            .collect()
    };
    let (arguments, env) = (strings(process.args().as_deref())?, strings(process.env().as_deref())?);
    let path = CString::new(program.as_os_str().as_bytes()).map_err(|_| invalid("a path holds a NUL"))?;
    let failed = sys::execute(&path, &arguments, &env);
    Err(Error::system("execute", program.display())(failed))
}

fn resource(kind: PosixRlimitType) -> u32 {
    match kind {
        PosixRlimitType::RlimitCpu => libc::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => libc::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => libc::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => libc::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => libc::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => libc::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => libc::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => libc::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => libc::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => libc::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => libc::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => libc::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => libc::RLIMIT_RTTIME,
    }
}
