//! Walks a directory in the order in which a layer lists it: parents first, names sorted by their bytes. Every step
//! goes through descriptors and follows no link, so a directory that changes meanwhile cannot lead elsewhere.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::tar::{Kind, Meta, Time};
use crate::error::{Error, Result};

/// One thing found.
pub(super) struct Found<'a> {
    /// Relative to the top, which itself is empty.
    pub path: Vec<u8>,
    pub kind: Kind,
    pub meta: Meta,
    pub size: u64,
    /// The directory that it lies in, and its name there.
    pub parent: BorrowedFd<'a>,
    pub name: &'a [u8],
    /// `trusted.overlay.*` and the like: overlayfs's own notes, not part of `meta`.
    pub overlay: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Calls `visit` for everything below `top`, and first for `top` itself. Sockets are passed over: no archive can
/// hold one, and it would be dead in a container.
pub(super) fn walk(top: &Path, visit: &mut dyn FnMut(Found<'_>) -> Result<()>) -> Result<()> {
    let failed = |error: Errno| Error::LayerPack {
        path: top.to_owned(),
        source: error.into(),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = fs::open(top, flags, Mode::empty()).map_err(failed)?;
    let mut walker = Walker {
        top,
        links: HashMap::new(),
        visit,
    };
    let found = walker.found(Vec::new(), directory.as_fd(), b".").map_err(failed)?;
    if let Some(found) = found {
        (walker.visit)(found)?;
    }
    walker.children(&directory, &[])
}

struct Walker<'v> {
    top: &'v Path,
    /// First path of each file that has several names, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
    visit: &'v mut dyn FnMut(Found<'_>) -> Result<()>,
}

impl Walker<'_> {
    fn children(&mut self, directory: &OwnedFd, path: &[u8]) -> Result<()> {
        let names = sorted_names(directory).map_err(|error| self.failed(path, error))?;
        for name in names {
            let child = if path.is_empty() {
                name.clone()
            } else {
                [path, b"/", &name].concat()
            };
            let found = self
                .found(child.clone(), directory.as_fd(), &name)
                .map_err(|error| self.failed(&child, error))?;
            let Some(found) = found else { continue };
            let is_directory = found.kind == Kind::Directory;
            (self.visit)(found)?;
            if is_directory {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = fs::openat(directory, name.as_slice(), flags, Mode::empty());
                self.children(&opened.map_err(|error| self.failed(&child, error))?, &child)?;
            }
        }
        Ok(())
    }

    fn found<'a>(&mut self, path: Vec<u8>, parent: BorrowedFd<'a>, name: &'a [u8]) -> Result<Option<Found<'a>>, Errno> {
        let stat = fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let (mut size, mut kind) = (
            0,
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Kind::Directory,
                FileType::Symlink => Kind::Symlink(fs::readlinkat(parent, name, Vec::new())?.into_bytes()),
                FileType::CharacterDevice => Kind::CharDevice(fs::major(stat.st_rdev), fs::minor(stat.st_rdev)),
                FileType::BlockDevice => Kind::BlockDevice(fs::major(stat.st_rdev), fs::minor(stat.st_rdev)),
                FileType::Fifo => Kind::Fifo,
                FileType::Socket => return Ok(None),
                _ => Kind::File,
            },
        );
        let is_whiteout = kind == Kind::CharDevice(0, 0);
        if kind != Kind::Directory && !is_whiteout && stat.st_nlink > 1 {
            let first = self
                .links
                .entry((stat.st_dev, stat.st_ino))
                .or_insert_with(|| path.clone());
            if *first != path {
                kind = Kind::HardLink(first.clone());
            }
        }
        if kind == Kind::File {
            size = stat.st_size as u64;
        }
        let (overlay, xattrs) = attributes(parent, name)?
            .into_iter()
            .partition(|(name, _)| is_overlay(name));
        Ok(Some(Found {
            path,
            kind,
            meta: meta_of(&stat, xattrs),
            size,
            parent,
            name,
            overlay,
        }))
    }

    fn failed(&self, path: &[u8], error: Errno) -> Error {
        Error::LayerPack {
            path: full_path(self.top, path),
            source: io::Error::from(error),
        }
    }
}

pub(super) fn full_path(top: &Path, path: &[u8]) -> PathBuf {
    top.join(OsStr::from_bytes(path))
}

fn meta_of(stat: &Stat, xattrs: Vec<(Vec<u8>, Vec<u8>)>) -> Meta {
    Meta {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Time {
            seconds: stat.st_mtime,
            nanoseconds: 0,
        },
        xattrs,
    }
}

fn sorted_names(directory: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Name and value.
type Attribute = (Vec<u8>, Vec<u8>);

/// The attributes that a layer carries, and those of overlayfs, sorted by name.
fn attributes(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<Attribute>, Errno> {
    let path = [format!("/proc/self/fd/{}/", parent.as_raw_fd()).as_bytes(), name].concat();
    let mut list = vec![0; 64 << 10];
    let length = match fs::llistxattr(path.as_slice(), &mut list[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        other => other?,
    };
    let mut found = Vec::new();
    for attribute in list[..length]
        .split(|byte| *byte == 0)
        .filter(|attribute| is_carried(attribute))
    {
        let mut value = vec![0; 64 << 10];
        let length = fs::lgetxattr(path.as_slice(), attribute, &mut value[..])?;
        value.truncate(length);
        found.push((attribute.to_vec(), value));
    }
    found.sort();
    Ok(found)
}

fn is_carried(name: &[u8]) -> bool {
    let exact: [&[u8]; 3] = [
        b"security.capability",
        b"system.posix_acl_access",
        b"system.posix_acl_default",
    ];
    exact.contains(&name) || name.starts_with(b"user.") || is_overlay(name)
}

fn is_overlay(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}
