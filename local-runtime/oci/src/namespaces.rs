//! Namespaces of a container: new ones by the clone, those of others by descriptor.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType};

use crate::error::{Error, Result, invalid};
use crate::sys;

const PID: u64 = libc::CLONE_NEWPID as u64;
const NETWORK: u64 = libc::CLONE_NEWNET as u64;
const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;

/// All kinds that an exec enters.
pub(crate) const ALL_BUT_PID: u64 =
    (libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWNET | libc::CLONE_NEWCGROUP) as u64;

#[derive(Debug)]
pub(crate) struct Namespaces {
    /// `CLONE_NEW*`.
    new: u64,
    joined: Vec<(u64, OwnedFd)>,
    /// This process's own, to go back to.
    own_pid: Option<OwnedFd>,
}

impl Namespaces {
    /// Opens what is to be joined, before anything is made.
    pub fn of(configured: &[LinuxNamespace]) -> Result<Namespaces> {
        let mut namespaces = Namespaces {
            new: 0,
            joined: Vec::new(),
            own_pid: None,
        };
        for one in configured {
            let kind = flag(one.typ());
            if namespaces.has(kind) {
                return Err(invalid(format!("the namespace {} is configured twice", one.typ())));
            }
            match one.path() {
                None => namespaces.new |= kind,
                Some(path) => {
                    let file = File::open(path).map_err(Error::system("open the namespace", path.display()))?;
                    if sys::namespace_kind(file.as_fd()).ok() != Some(kind) {
                        return Err(invalid(format!("{} is no {} namespace", path.display(), one.typ())));
                    }
                    namespaces.joined.push((kind, file.into()));
                }
            }
        }
        Ok(namespaces)
    }

    fn has(&self, kind: u64) -> bool {
        self.new & kind != 0 || self.joined.iter().any(|(joined, _)| *joined == kind)
    }

    /// What the clone makes. A cgroup namespace shows the cgroup that its maker is in, so that one comes later.
    pub fn cloned(&self) -> u64 {
        self.new & !CGROUP
    }

    /// Before the clone: a pid namespace is joined by children alone.
    pub fn join_pid(&mut self) -> Result<()> {
        let Some((kind, namespace)) = self.joined.iter().find(|(kind, _)| *kind == PID) else {
            return Ok(());
        };
        let own = File::open("/proc/self/ns/pid").map_err(Error::system("open", "our own pid namespace"))?;
        sys::enter_namespaces(namespace.as_fd(), *kind).map_err(Error::system("join", "the pid namespace"))?;
        self.own_pid = Some(own.into());
        Ok(())
    }

    /// After the clone: what is started from here on belongs to this process's own namespace again.
    pub fn leave_pid(&mut self) -> Result<()> {
        match self.own_pid.take() {
            Some(own) => sys::enter_namespaces(own.as_fd(), PID).map_err(Error::system("leave", "the pid namespace")),
            None => Ok(()),
        }
    }

    /// The child's part, once it is in its cgroup.
    pub fn enter(&self) -> Result<()> {
        for (kind, namespace) in self.joined.iter().filter(|(kind, _)| *kind != PID) {
            sys::enter_namespaces(namespace.as_fd(), *kind).map_err(Error::system("join", "a namespace"))?;
        }
        if self.new & CGROUP != 0 {
            sys::new_namespaces(CGROUP).map_err(Error::system("make", "a cgroup namespace"))?;
        }
        if self.new & NETWORK != 0 {
            sys::loopback_up().map_err(Error::system("bring up", "the loopback device"))?;
        }
        Ok(())
    }
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
        LinuxNamespaceType::Time => libc::CLONE_NEWTIME,
    };
    flag as u32 as u64
}
