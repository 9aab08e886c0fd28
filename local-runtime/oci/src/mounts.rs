//! The container's file systems, built inside its own mount namespace: nothing of them ever shows on the host.
//!
//! Every file system is made detached (fsopen, fsmount; open_tree for binds), given its attributes, and only then moved
//! onto a mount point that was resolved beneath the root. The child calls [`enter`] once, before it changes its user.

mod cgroups;
mod devices;
mod lock;
mod nodes;
mod options;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{Mount, Spec};
use rustix::fs::{CWD, FileType, Mode};
use rustix::mount::{
    self, FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::cgroup::Cgroup;
use crate::error::{Error, Result, unsupported};
use crate::root::Root;
use crate::spec::annotation;
use crate::sys::mount_setattr;
use crate::userns::Ids;
pub use lock::lock;
use options::Options;

/// Makes the bundle's root file system the root of this process, with everything that the configuration mounts in it.
/// `rootfs` is `root.path`, absolute; `cgroup` is what shows of the host's hierarchies; `ids` those that there are.
pub fn enter(spec: &Spec, rootfs: &Path, cgroup: Option<&Cgroup>, ids: Ids) -> Result<()> {
    // Modes are as they are named here, until the process gets its own mask.
    rustix::process::umask(Mode::empty());
    let propagation = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    mount::mount_change("/", propagation).map_err(Error::system("make private", "/"))?;
    mount_root(spec, rootfs, ids)?;
    let root = Root::open(rootfs)?;
    let mut dev = None;
    for one in spec.mounts().iter().flatten() {
        let mounted = mount_one(&root, one, cgroup, ids)?;
        if one.destination() == Path::new("/dev") {
            dev = Some(mounted);
        }
    }
    let null = match &dev {
        Some(dev) => devices::populate(dev.as_fd())?,
        None => {
            return Err(Error::Unsupported {
                what: "a container without a file system of its own at /dev".into(),
            });
        }
    };
    if let Some(linux) = spec.linux() {
        let nodes = linux.devices().iter().flatten();
        nodes.into_iter().try_for_each(|device| nodes::make(&root, device))?;
        linux
            .readonly_paths()
            .iter()
            .flatten()
            .try_for_each(|path| make_read_only(&root, Path::new(path)))?;
        linux
            .masked_paths()
            .iter()
            .flatten()
            .try_for_each(|path| mask(&root, Path::new(path), null.as_fd()))?;
    }
    pivot(&root)?;
    if spec
        .root()
        .as_ref()
        .is_some_and(|root| root.readonly().unwrap_or(false))
    {
        let own = Root::open(Path::new("/"))?;
        mount_setattr(own.as_fd(), false, libc::MOUNT_ATTR_RDONLY, 0, 0)
            .map_err(Error::system("make read-only", "/"))?;
    }
    Ok(())
}

/// The root itself: an overlay of unpacked layers if the annotations say so, else the folder, bound onto itself.
fn mount_root(spec: &Spec, rootfs: &Path, ids: Ids) -> Result<()> {
    let annotations = spec.annotations().clone().unwrap_or_default();
    let detached = match annotations.get(annotation::LOWER) {
        Some(lower) => {
            let layers: Vec<String> = serde_json::from_str(lower).map_err(|error| Error::Invalid {
                what: format!("the annotation {}: {error}", annotation::LOWER),
            })?;
            let folder = |name: &str| annotations.get(name).map(String::as_str);
            overlay(&layers, folder(annotation::UPPER), folder(annotation::WORK), ids)?
        }
        None => clone_tree(rootfs, true)?,
    };
    attach(detached.as_fd(), Root::open(rootfs)?.as_fd(), rootfs)
}

/// overlayfs takes its layers one by one (`lowerdir+`, Linux 6.8), so that no limit on the length of options holds. Its
/// own notes are attributes `trusted.*`, which in a user namespace nobody may set: there they are `user.*`.
fn overlay(layers: &[String], upper: Option<&str>, work: Option<&str>, ids: Ids) -> Result<OwnedFd> {
    let failed = || Error::system("mount the layers as", "an overlay");
    let context = mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed())?;
    let set = |key: &str, value: &str| {
        mount::fsconfig_set_string(&context, key, value).map_err(Error::system("add to the overlay", value))
    };
    layers.iter().try_for_each(|layer| set("lowerdir+", layer))?;
    if let (Some(upper), Some(work)) = (upper, work) {
        set("upperdir", upper)?;
        set("workdir", work)?;
    }
    if ids != Ids::All {
        mount::fsconfig_set_flag(&context, "userxattr").map_err(failed())?;
    }
    mount::fsconfig_create(&context).map_err(failed())?;
    mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map_err(failed())
}

/// One entry of `mounts`; answers the mount, which stays usable as a folder.
fn mount_one(root: &Root, one: &Mount, cgroup: Option<&Cgroup>, ids: Ids) -> Result<OwnedFd> {
    let mut options = Options::parse(one.options().as_deref().unwrap_or_default());
    let destination = one.destination();
    let kind = one.typ().as_deref().unwrap_or("bind");
    if options.bind || kind == "bind" {
        return bind(root, one, &options);
    }
    let point = root.folder(destination)?;
    let detached = match kind {
        "cgroup" | "cgroup2" => return cgroups::show(point, destination, &options, cgroup),
        "sysfs" => sysfs(&options, destination)?,
        "devpts" => {
            options
                .data
                .retain(|(key, value)| !is_foreign_id(key, value.as_deref(), ids));
            new_file_system(kind, &options, destination)?
        }
        "proc" | "tmpfs" | "mqueue" => new_file_system(kind, &options, destination)?,
        other => {
            return Err(Error::Unsupported {
                what: format!("a mount of the type {other}"),
            });
        }
    };
    attach(detached.as_fd(), point.as_fd(), destination)?;
    Ok(detached)
}

/// The /proc of this process's namespaces, attached nowhere.
pub fn detached_proc() -> Result<OwnedFd> {
    new_file_system("proc", &Options::default(), Path::new("nowhere"))
}

/// `gid=5`, where no such group can be: terminals then belong to the container's root.
fn is_foreign_id(key: &str, value: Option<&str>, ids: Ids) -> bool {
    let id = value.and_then(|value| value.parse().ok());
    matches!(key, "uid" | "gid") && id.is_some_and(|id| !ids.have(id))
}

/// What it shows is a network namespace's, so that only whoever has that one may mount it. In the machine's own network
/// an unprivileged user gets the machine's.
fn sysfs(options: &Options, destination: &Path) -> Result<OwnedFd> {
    match new_file_system("sysfs", options, destination) {
        Err(Error::System { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            let copy = clone_tree(Path::new("/sys"), true)?;
            mount_setattr(copy.as_fd(), true, options.set, options.clear, libc::MS_PRIVATE)
                .map_err(Error::system("set the attributes of", destination.display()))?;
            Ok(copy)
        }
        mounted => mounted,
    }
}

fn new_file_system(kind: &str, options: &Options, destination: &Path) -> Result<OwnedFd> {
    let failed = || Error::system("mount", format!("{kind} at {}", destination.display()));
    let context = mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed())?;
    for (key, value) in &options.data {
        match value {
            Some(value) => mount::fsconfig_set_string(&context, key.as_str(), value.as_str()).map_err(failed())?,
            None => mount::fsconfig_set_flag(&context, key.as_str()).map_err(failed())?,
        }
    }
    mount::fsconfig_create(&context).map_err(failed())?;
    let attributes = MountAttrFlags::from_bits_retain(options.set as u32);
    mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed())
}

/// A folder or file of the host. The source is resolved on the host, the destination beneath the root.
fn bind(root: &Root, one: &Mount, options: &Options) -> Result<OwnedFd> {
    let destination = one.destination();
    let source = one.source().as_deref().ok_or_else(|| Error::Invalid {
        what: format!("the mount at {} has no source", destination.display()),
    })?;
    if let Some((word, _)) = options.data.first() {
        return unsupported(format!(
            "the option `{word}` of the bind mount at {}",
            destination.display()
        ));
    }
    let detached = clone_tree(source, options.recursive)?;
    mount_setattr(
        detached.as_fd(),
        options.recursive,
        options.set,
        options.clear,
        libc::MS_PRIVATE,
    )
    .map_err(Error::system("set the attributes of", destination.display()))?;
    let point = if source.is_dir() {
        root.folder(destination)?
    } else {
        root.file(destination)?
    };
    attach(detached.as_fd(), point.as_fd(), destination)?;
    Ok(detached)
}

fn make_read_only(root: &Root, path: &Path) -> Result<()> {
    let Some(found) = root.find(path)? else { return Ok(()) };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let detached = mount::open_tree(&found, "", flags).map_err(Error::system("clone", path.display()))?;
    mount_setattr(detached.as_fd(), true, libc::MOUNT_ATTR_RDONLY, 0, 0)
        .map_err(Error::system("make read-only", path.display()))?;
    attach(detached.as_fd(), found.as_fd(), path)
}

/// Folders are covered by an empty read-only one, files by the null device that we made ourselves: one that the image
/// brought could be anything (CVE-2025-31133).
fn mask(root: &Root, path: &Path, null: BorrowedFd<'_>) -> Result<()> {
    let Some(found) = root.find(path)? else { return Ok(()) };
    let kind = rustix::fs::fstat(&found)
        .map_err(Error::system("look at", path.display()))?
        .st_mode;
    let cover = match FileType::from_raw_mode(kind) {
        FileType::Directory => {
            let empty = Options {
                set: libc::MOUNT_ATTR_RDONLY,
                ..Options::default()
            };
            new_file_system("tmpfs", &empty, path)?
        }
        _ => {
            let flags =
                OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
            mount::open_tree(null, "", flags).map_err(Error::system("clone", "the null device"))?
        }
    };
    attach(cover.as_fd(), found.as_fd(), path)
}

/// /dev/console is the container's own terminal. Called inside, where /dev is the file system that we made.
pub fn show_console(terminal: &OwnedFd) -> Result<()> {
    let path = Path::new("/dev/console");
    let point = Root::open(Path::new("/"))?.file(path)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let detached = mount::open_tree(terminal, "", flags).map_err(Error::system("clone", "the terminal"))?;
    attach(detached.as_fd(), point.as_fd(), path)
}

fn clone_tree(path: &Path, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    mount::open_tree(CWD, path, flags).map_err(Error::system("clone the mount of", path.display()))
}

fn attach(detached: BorrowedFd<'_>, point: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    mount::move_mount(detached, "", point, "", flags).map_err(Error::system("attach a mount at", path.display()))
}

/// The old root ends below the new one and is let go; `.` twice needs no folder for it (pivot_root(2)).
fn pivot(root: &Root) -> Result<()> {
    rustix::process::fchdir(root.as_fd()).map_err(Error::system("enter", "the root"))?;
    rustix::process::pivot_root(".", ".").map_err(Error::system("pivot to", "the root"))?;
    mount::unmount(".", UnmountFlags::DETACH).map_err(Error::system("let go of", "the old root"))?;
    rustix::process::chdir("/").map_err(Error::system("enter", "/"))
}
