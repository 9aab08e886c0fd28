//! Making a cgroup and setting its limits.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use oci_spec::runtime::LinuxResources;
use rustix::fs::OFlags;

use super::devices::Devices;
use super::dir::Dir;
use super::error::Error;
use super::layout::{CgroupPath, Hierarchy, Kind, Layout, Version};
use super::setting::{self, Setting};
use super::{Cgroup, Member, bpf, collect_pids, v2};

impl Cgroup {
    /// Makes the cgroup in every hierarchy and sets its limits. What was made is gone again when a part of it fails.
    ///
    /// Errors: [`Error::NoDelegation`] where the user may not; [`Error::InUse`] where it exists and has processes; an
    /// error that names the field where a limit is out of range or cannot be enforced on this machine.
    pub fn create(layout: &Layout, path: &CgroupPath, resources: &LinuxResources) -> Result<Cgroup, Error> {
        let settings = setting::settings(layout, resources)?;
        let devices = Devices::of(resources.devices().as_deref().unwrap_or(&[]))?;
        let mut made = Made {
            layout,
            directories: Vec::new(),
        };
        let cgroup = made.everywhere(path, &settings)?;
        cgroup.set(&settings)?;
        cgroup.restrict(&devices)?;
        made.directories.clear();
        Ok(cgroup)
    }

    /// Changes limits; what `resources` does not name stays as it is.
    pub fn update(&self, resources: &LinuxResources) -> Result<(), Error> {
        self.check_usage(resources)?;
        self.set(&setting::settings(&self.layout, resources)?)?;
        match resources.devices() {
            Some(rules) => self.restrict(&Devices::of(rules)?),
            None => Ok(()),
        }
    }

    /// `checkBeforeUpdate`: a limit below what is in use would have processes killed.
    fn check_usage(&self, resources: &LinuxResources) -> Result<(), Error> {
        let Some(memory) = resources.memory() else {
            return Ok(());
        };
        let in_use = self.stats().memory.current.and_then(|bytes| i64::try_from(bytes).ok());
        match (memory.check_before_update(), memory.limit(), in_use) {
            (Some(true), Some(limit), Some(in_use)) if limit > 0 && limit < in_use => {
                let reason = "more memory than that is in use, and memory.checkBeforeUpdate is set";
                Err(super::limits::invalid("memory.limit", limit, reason))
            }
            _ => Ok(()),
        }
    }

    fn set(&self, settings: &[Setting]) -> Result<(), Error> {
        let mut by_controller: BTreeMap<&str, Vec<&Setting>> = BTreeMap::new();
        for setting in settings {
            by_controller.entry(&setting.controller).or_default().push(setting);
        }
        for (controller, settings) in by_controller {
            let Some((_, dir)) = self.controller(controller) else {
                let field = settings[0].field.clone();
                return Err(Error::NoController {
                    field,
                    controller: controller.to_owned(),
                });
            };
            setting::apply(dir, &settings)?;
        }
        Ok(())
    }

    fn restrict(&self, devices: &Devices) -> Result<(), Error> {
        let failed = |dir: &Dir, source| Error::Devices {
            path: dir.path().to_owned(),
            source,
        };
        if let Some((_, dir)) = self.controller("devices") {
            return write_lines(dir, &devices.lines()).map_err(|source| failed(dir, source));
        }
        let Some(unified) = self.find(Version::V2) else {
            return Err(Error::NoController {
                field: "devices".into(),
                controller: "devices".into(),
            });
        };
        match bpf::enforce(unified.dir.as_fd(), devices) {
            // In a user namespace no device can be made, and the kernel takes no programs from it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && in_user_namespace() => Ok(()),
            answer => answer.map_err(|source| failed(&unified.dir, source)),
        }
    }
}

/// The lists of version 1 take one line a write.
fn write_lines(dir: &Dir, lines: &[(&str, String)]) -> io::Result<()> {
    for lines in lines.chunk_by(|one, next| one.0 == next.0) {
        let file = dir.open_file(lines[0].0, OFlags::WRONLY)?;
        for (_, line) in lines {
            rustix::io::write(&file, line.as_bytes())?;
        }
    }
    Ok(())
}

/// Whether this process's user namespace is not the machine's own.
fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// Directories made so far, to be removed unless all goes well.
struct Made<'a> {
    layout: &'a Layout,
    directories: Vec<(usize, String)>,
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        for (hierarchy, below) in self.directories.iter().rev() {
            // A parent that another container has begun to use meanwhile stays.
            _ = self.layout.hierarchies[*hierarchy].root.remove(below);
        }
    }
}

impl Made<'_> {
    fn everywhere(&mut self, path: &CgroupPath, settings: &[Setting]) -> Result<Cgroup, Error> {
        let mut members = Vec::with_capacity(self.layout.hierarchies.len());
        for index in 0..self.layout.hierarchies.len() {
            members.push(self.member(index, path, settings)?);
        }
        Ok(Cgroup {
            layout: self.layout.clone(),
            members,
        })
    }

    fn member(&mut self, index: usize, path: &CgroupPath, settings: &[Setting]) -> Result<Member, Error> {
        let hierarchy = &self.layout.hierarchies[index];
        let below = hierarchy.below(path);
        let denied = |source: io::Error| creation_error(hierarchy, &below, source);
        let new = self.make(index, &below).map_err(denied)?;
        let dir = hierarchy.root.open(&below).map_err(denied)?;
        if !new {
            refuse_used(&dir)?;
        }
        let wanted = wanted(self.layout.kind(), hierarchy, settings);
        v2::hand_down(&hierarchy.root, &below, &wanted).map_err(denied)?;
        if hierarchy.version == Version::V1 && hierarchy.has("cpuset") {
            fill_cpuset(&hierarchy.root, &below, "cpuset.cpus").map_err(denied)?;
            fill_cpuset(&hierarchy.root, &below, "cpuset.mems").map_err(denied)?;
        }
        Ok(Member {
            hierarchy: index,
            below,
            dir,
        })
    }

    /// Makes the directory, false if it was there. Those above it mostly are there, and are made only where they are not.
    fn make(&mut self, index: usize, below: &str) -> io::Result<bool> {
        let root = &self.layout.hierarchies[index].root;
        let new = match (root.make(below), below.rsplit_once('/')) {
            (Err(error), Some((parent, _))) if error.kind() == io::ErrorKind::NotFound => {
                self.make(index, parent)?;
                root.make(below)?
            }
            (made, _) => made?,
        };
        if new {
            self.directories.push((index, below.to_owned()));
        }
        Ok(new)
    }
}

/// The controllers that a cgroup in the unified hierarchy needs handed down: all there are where it is the only one,
/// so that their figures can be read; beside hierarchies of version 1 those that are to be set.
fn wanted<'a>(kind: Kind, hierarchy: &'a Hierarchy, settings: &[Setting]) -> Vec<&'a str> {
    let set = |controller: &&str| settings.iter().any(|setting| setting.controller == **controller);
    match (kind, hierarchy.version) {
        (_, Version::V1) => Vec::new(),
        (Kind::V2, _) => hierarchy.controllers().iter().map(String::as_str).collect(),
        _ => hierarchy.controllers().iter().map(String::as_str).filter(set).collect(),
    }
}

/// A new cpuset of version 1 has no processors, and takes no process until it has: gives it those of the one above it.
/// Answers what is in the file then.
fn fill_cpuset(root: &Dir, below: &str, file: &str) -> io::Result<String> {
    let path = format!("{below}/{file}");
    let path = path.trim_start_matches('/');
    let value = root.read(path)?;
    if below.is_empty() || !value.trim().is_empty() {
        return Ok(value);
    }
    let parent = below.rsplit_once('/').map_or("", |(parent, _)| parent);
    let value = fill_cpuset(root, parent, file)?;
    root.write(path, value.trim())?;
    Ok(value)
}

/// A cgroup left over from a crash may be taken over, one with processes may not.
fn refuse_used(dir: &Dir) -> Result<(), Error> {
    let mut pids = Vec::new();
    collect_pids(dir, &mut pids)?;
    if pids.is_empty() {
        Ok(())
    } else {
        Err(Error::InUse {
            path: dir.path().to_owned(),
        })
    }
}

fn creation_error(hierarchy: &Hierarchy, below: &str, source: io::Error) -> Error {
    let path = hierarchy.root.path_of(below);
    match source.raw_os_error() {
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => Error::NoDelegation { path, source },
        _ => Error::Create { path, source },
    }
}
