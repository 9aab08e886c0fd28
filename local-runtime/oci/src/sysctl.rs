//! `linux.sysctl`: settings of the kernel that belong to the container's own namespaces.
//!
//! They are written through a /proc that was made for this alone and is attached nowhere: what the image or another mount
//! has put at the container's /proc is not met (CVE-2025-52881).

use std::os::fd::AsFd;
use std::path::PathBuf;

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::error::{Error, Result, unsupported};
use crate::mounts::detached_proc;

/// Refuses a setting that is the whole machine's, or that of a namespace which is not the container's own.
pub fn check<'a>(names: impl Iterator<Item = &'a String>, namespaces: &[LinuxNamespace]) -> Result<()> {
    for name in names {
        let owner = owner(&parts(name));
        if !owner.is_some_and(|owner| namespaces.iter().any(|one| one.typ() == owner)) {
            return unsupported(format!("the setting `{name}`, which is not the container's own,"));
        }
    }
    Ok(())
}

/// Called by the container's first process, in its namespaces.
pub fn set<'a>(settings: impl Iterator<Item = (&'a String, &'a String)>) -> Result<()> {
    let mut proc = None;
    for (name, value) in settings {
        let proc = match &proc {
            Some(proc) => proc,
            None => proc.insert(detached_proc()?),
        };
        let file: PathBuf = ["sys".to_owned()].into_iter().chain(parts(name)).collect();
        let stay = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat2(proc.as_fd(), &file, flags, Mode::empty(), stay);
        let opened = opened.map_err(Error::system("find the setting", name))?;
        rustix::io::write(&opened, value.as_bytes()).map_err(Error::system("set", format!("`{name}` to `{value}`")))?;
    }
    Ok(())
}

/// Where a `/` comes first it separates the parts, which may hold dots then, as names of network devices do (sysctl(8)).
fn parts(name: &str) -> Vec<String> {
    let separator = match (name.find('.'), name.find('/')) {
        (Some(dot), Some(slash)) if slash < dot => '/',
        (None, Some(_)) => '/',
        _ => '.',
    };
    name.split(separator).map(str::to_owned).collect()
}

/// The kind of namespace that a setting belongs to; `None` for those of the machine.
fn owner(parts: &[String]) -> Option<LinuxNamespaceType> {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        // Below /proc/sys all are neighbours: one that climbs ends at the machine's.
        parts
            if parts
                .iter()
                .any(|part| [".", "..", ""].contains(part) || part.contains('/')) =>
        {
            None
        }
        ["net", ..] => Some(LinuxNamespaceType::Network),
        ["fs", "mqueue", _] => Some(LinuxNamespaceType::Ipc),
        ["kernel", name] if name.starts_with("shm") || name.starts_with("msg") || *name == "sem" => {
            Some(LinuxNamespaceType::Ipc)
        }
        ["kernel", "domainname"] => Some(LinuxNamespaceType::Uts),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_owners() {
        use LinuxNamespaceType::{Ipc, Network, Uts};
        let cases = [
            ("net.ipv4.ip_forward", Some(Network), "the network's"),
            (
                "net/ipv4/conf/eth0.100/forwarding",
                Some(Network),
                "with a device whose name has a dot",
            ),
            ("kernel.shmmax", Some(Ipc), "shared memory's"),
            ("kernel.sem", Some(Ipc), "semaphores'"),
            ("fs.mqueue.msg_max", Some(Ipc), "message queues'"),
            ("kernel.domainname", Some(Uts), "the names'"),
            ("kernel.hostname", None, "there is `hostname` for it"),
            (
                "kernel.core_pattern",
                None,
                "the machine's: a program of the host would be run",
            ),
            ("vm.overcommit_memory", None, "the machine's"),
            ("../kernel.shmmax", None, "no path"),
            ("net/../kernel/core_pattern", None, "a path that climbs"),
            ("net.x/../../kernel/core_pattern", None, "nor one within a part"),
        ];
        for (name, expected, reason) in cases {
            assert_eq!(owner(&parts(name)), expected, "{name}: {reason}");
        }
    }

    #[test]
    fn a_setting_needs_a_namespace_of_its_own() {
        let name = "net.ipv4.ip_forward".to_owned();
        let network: LinuxNamespace = serde_json::from_value(serde_json::json!({"type": "network"})).unwrap();
        assert!(check([&name].into_iter(), &[network]).is_ok());
        assert!(check([&name].into_iter(), &[]).is_err(), "the host's network");
    }
}
