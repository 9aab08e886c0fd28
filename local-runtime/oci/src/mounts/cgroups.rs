//! The view of cgroups in a container: its own part of each hierarchy, and nothing of the host's.
//!
//! Shown is the container's own directory, never the root of a hierarchy: a `release_agent`, which runs a program of the
//! container's choice on the host, is only there (CVE-2022-0492).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::options::Options;
use super::{attach, clone_tree, new_file_system};
use crate::cgroup::{Cgroup, Hierarchy, Version};
use crate::error::{Error, Result};
use crate::sys::mount_setattr;

/// Mounts the view at `point`: the unified hierarchy as it is, or a folder with each hierarchy in it, as on the host.
pub(super) fn show(point: OwnedFd, destination: &Path, options: &Options, cgroup: Option<&Cgroup>) -> Result<OwnedFd> {
    let parts: Vec<_> = cgroup.into_iter().flat_map(Cgroup::directories).collect();
    if let [(hierarchy, _, below)] = parts.as_slice()
        && hierarchy.version() == Version::V2
    {
        let detached = part(hierarchy, below, options)?;
        attach(detached.as_fd(), point.as_fd(), destination)?;
        return Ok(detached);
    }
    let folder = Options {
        // Filled first, read-only then.
        set: options.set & !libc::MOUNT_ATTR_RDONLY,
        data: vec![("mode".into(), Some("755".into()))],
        ..Options::default()
    };
    let view = new_file_system("tmpfs", &folder, destination)?;
    attach(view.as_fd(), point.as_fd(), destination)?;
    for (hierarchy, _, below) in parts {
        add(view.as_fd(), hierarchy, below, options)?;
    }
    mount_setattr(view.as_fd(), false, options.set & libc::MOUNT_ATTR_RDONLY, 0, 0)
        .map_err(Error::system("make read-only", destination.display()))?;
    Ok(view)
}

/// A folder named like the hierarchy's controllers; where these are several, each is a link to it too.
fn add(view: BorrowedFd<'_>, hierarchy: &Hierarchy, below: &str, options: &Options) -> Result<()> {
    let name = folder_name(hierarchy);
    let failed = || Error::system("show the cgroup hierarchy", &name);
    rustix::fs::mkdirat(view, &name, Mode::from_raw_mode(0o755)).map_err(failed())?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let point = rustix::fs::openat(view, &name, flags, Mode::empty()).map_err(failed())?;
    let detached = part(hierarchy, below, options)?;
    attach(detached.as_fd(), point.as_fd(), Path::new(&name))?;
    if let [_, _, ..] = hierarchy.controllers() {
        for controller in hierarchy.controllers() {
            rustix::fs::symlinkat(&name, view, controller).map_err(failed())?;
        }
    }
    Ok(())
}

/// The container's own directory in one hierarchy, by the host's mount, which this mount namespace still has.
fn part(hierarchy: &Hierarchy, below: &str, options: &Options) -> Result<OwnedFd> {
    let path = hierarchy.mount_point().join(below);
    let detached = clone_tree(&path, false)?;
    mount_setattr(detached.as_fd(), false, options.set, options.clear, libc::MS_PRIVATE)
        .map_err(Error::system("set the attributes of", path.display()))?;
    Ok(detached)
}

fn folder_name(hierarchy: &Hierarchy) -> String {
    match hierarchy.version() {
        Version::V2 => "unified".into(),
        Version::V1 => hierarchy.controllers().join(",").trim_start_matches("name=").to_owned(),
    }
}
