//! A directory that untrusted entries are written into. Every path is resolved by the kernel, relative to one
//! descriptor, and may pass neither a symbolic link, nor a mount, nor the directory itself on the way up
//! (`openat2(2)`, RESOLVE_BENEATH and its companions). Existing names are unlinked and made anew, never written
//! through: a link planted by an earlier entry leads nowhere.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::Fault;
use super::tar::{Meta, Time};
use crate::userns::{opaque_xattr, owned};

/// Why an entry was not written: its own fault, or the file system's.
pub(super) enum Stop {
    Rejected(Fault),
    Failed(io::Error),
}

/// The directory, and the parent that the last entry was written into.
pub(super) struct Root {
    dir: OwnedFd,
    last: Option<(Vec<u8>, OwnedFd)>,
}

/// What a name was before [`Root::make_room`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Former {
    Nothing,
    Whiteout,
    /// A directory, which stays where a directory is wanted again.
    Directory,
}

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Whiteout,
    Directory,
    Other,
}

const WITHIN: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);
// Without O_NOFOLLOW, which would call a link "no directory": RESOLVE_NO_SYMLINKS covers the last component too.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let dir = fs::open(
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self { dir, last: None })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Opens the directory `path`, and makes it and its missing parents on the way (mode 0755, owned by root, as
    /// archives that leave directories out mean them).
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, Stop> {
        let known = self.last.as_ref().is_some_and(|(last, _)| last == path);
        if !known {
            let opened = match self.resolve(path) {
                Err(Errno::NOENT) => self.make_all(path)?,
                other => other.map_err(way_fault)?,
            };
            self.last = Some((path.to_vec(), opened));
        }
        let (_, opened) = self.last.as_ref().expect("it was set just now");
        Ok(opened.as_fd())
    }

    /// Opens the existing directory that holds a hard link's target.
    pub(super) fn existing_directory(&self, path: &[u8]) -> Result<OwnedFd, Stop> {
        self.resolve(path).map_err(|error| match error {
            Errno::NOENT => Stop::Rejected(Fault::LinkMissing),
            other => way_fault(other),
        })
    }

    /// Takes away what stands under `name` in `parent`, unless both it and what is to come are directories.
    pub(super) fn make_room(&mut self, parent: &[u8], name: &[u8], for_directory: bool) -> Result<Former, Stop> {
        let fd = self.directory(parent)?;
        match look(fd, name)? {
            Found::Nothing => return Ok(Former::Nothing),
            Found::Directory if for_directory => return Ok(Former::Directory),
            Found::Directory => match fs::unlinkat(fd, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => return Err(Fault::ReplacesDirectory.into()),
                other => other?,
            },
            Found::Whiteout => {
                fs::unlinkat(fd, name, AtFlags::empty())?;
                return Ok(Former::Whiteout);
            }
            Found::Other => fs::unlinkat(fd, name, AtFlags::empty())?,
        }
        // A removed directory may be the one that is kept open.
        self.last = None;
        Ok(Former::Nothing)
    }

    fn resolve(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        loop {
            match fs::openat2(&self.dir, path, DIRECTORY, Mode::empty(), WITHIN) {
                // The kernel gives up when something is renamed beside it.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    fn make_all(&self, path: &[u8]) -> Result<OwnedFd, Stop> {
        let mut current = self.resolve(b"").map_err(way_fault)?;
        for component in path.split(|byte| *byte == b'/') {
            current = match open_child(current.as_fd(), component) {
                Err(Errno::NOENT) => {
                    fs::mkdirat(&current, component, Mode::from_raw_mode(0o700))?;
                    let made = open_child(current.as_fd(), component)?;
                    chmod_path(made.as_fd(), 0o755)?;
                    made
                }
                other => other.map_err(way_fault)?,
            };
        }
        Ok(current)
    }
}

/// One step down, to a directory that is no link.
fn open_child(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    fs::openat2(parent, name, DIRECTORY, Mode::empty(), WITHIN)
}

/// What stands under `name`, itself and not what it may point to.
pub(super) fn look(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Found, Errno> {
    let stat = match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        other => other?,
    };
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice if stat.st_rdev == 0 => Found::Whiteout,
        FileType::Directory => Found::Directory,
        _ => Found::Other,
    })
}

/// Owner, mode, attributes and time of an open file, in the order in which each keeps the ones before it: a change of
/// owner clears set-uid bits and file capabilities.
pub(super) fn set_meta(fd: BorrowedFd<'_>, meta: &Meta) -> Result<(), Stop> {
    owned(fs::fchown(
        fd,
        Some(Uid::from_raw(meta.uid)),
        Some(Gid::from_raw(meta.gid)),
    ))?;
    fs::fchmod(fd, Mode::from_raw_mode(meta.mode))?;
    for (name, value) in &meta.xattrs {
        if is_kept(name)? {
            fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty())?;
        }
    }
    fs::futimens(fd, &times(meta.mtime))?;
    Ok(())
}

/// The same for what cannot be opened: links, devices and pipes. The name was made just now in `parent`.
pub(super) fn set_meta_at(parent: BorrowedFd<'_>, name: &[u8], meta: &Meta, is_link: bool) -> Result<(), Stop> {
    let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
    owned(fs::chownat(
        parent,
        name,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    ))?;
    if !is_link {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = fs::openat2(parent, name, flags, Mode::empty(), WITHIN)?;
        chmod_path(made.as_fd(), meta.mode)?;
    }
    for (attribute, value) in &meta.xattrs {
        if is_kept(attribute)? {
            let path = [format!("/proc/self/fd/{}/", parent.as_raw_fd()).as_bytes(), name].concat();
            fs::lsetxattr(path, attribute.as_slice(), value, XattrFlags::empty())?;
        }
    }
    fs::utimensat(parent, name, &times(meta.mtime), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

/// Hides all that lower layers have in this directory.
pub(super) fn set_opaque(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Stop> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = fs::openat2(parent, name, flags, Mode::empty(), WITHIN).map_err(way_fault)?;
    Ok(fs::fsetxattr(&directory, opaque_xattr(), b"y", XattrFlags::empty())?)
}

pub(super) fn times(mtime: Time) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime.seconds,
        tv_nsec: mtime.nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Whether an attribute of an archive is set. Labels of a security module belong to the host and are left out; what
/// overlayfs or the kernel's own bookkeeping would act on is refused.
fn is_kept(name: &[u8]) -> Result<bool, Fault> {
    let refused = || Fault::Attribute(String::from_utf8_lossy(name).into_owned());
    if name.contains(&0) || name.len() > 255 || name.starts_with(b"user.overlay.") {
        return Err(refused());
    }
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => Ok(true),
        user if user.starts_with(b"user.") => Ok(true),
        label if label.starts_with(b"security.") => Ok(false),
        _ => Err(refused()),
    }
}

/// `fchmod` refuses descriptors opened with O_PATH; their name under /proc leads to the same file and no other.
fn chmod_path(fd: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), Mode::from_raw_mode(mode))
}

/// What the kernel's refusal to walk a path says of the path.
fn way_fault(error: Errno) -> Stop {
    match error {
        Errno::LOOP => Fault::ThroughSymlink.into(),
        Errno::NOTDIR => Fault::ThroughFile.into(),
        Errno::XDEV => Fault::Outside.into(),
        other => other.into(),
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Rejected(fault)
    }
}

impl From<Errno> for Stop {
    fn from(error: Errno) -> Self {
        Self::Failed(error.into())
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}
