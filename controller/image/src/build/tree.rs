//! What COPY, ADD and WORKDIR are about to write: a small tree in memory, decided before a byte is written.
//!
//! A tree says everything that the layer will hold, so its digest is the step's cache key, whatever the names of the
//! sources were. Its invariant makes writing safe: whatever lies above an entry is a directory of the tree, never a
//! link, so no entry is ever written through another.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Timespec, Timestamps, Uid};
use sha2::{Digest as _, Sha256};

use super::context::{Context, Stamp};
use super::error::StepError;
use super::view::View;
use super::workspace::Stop;
use crate::userns::owned;

/// Entries by their path from the root, parents before children; the root itself is the empty path.
#[derive(Debug, Default)]
pub(super) struct Tree {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub kind: Kind,
    /// The twelve permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File(Content),
    Symlink(Vec<u8>),
}

/// A file's bytes: where they come from, and what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub origin: Origin,
    pub sha256: [u8; 32],
    pub size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A file of the context, as it was when its bytes were hashed.
    Context {
        path: PathBuf,
        stamp: Stamp,
    },
    /// A file of an unpacked layer; `links` identifies it when it has several names.
    Layer {
        path: PathBuf,
        links: Option<(u64, u64)>,
    },
    Inline(Vec<u8>),
}

/// Owner and group of what a step makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Owner {
    pub uid: u32,
    pub gid: u32,
}

impl Entry {
    pub fn directory(mode: u32, owner: Owner) -> Self {
        Self {
            kind: Kind::Directory,
            mode,
            uid: owner.uid,
            gid: owner.gid,
            xattrs: Vec::new(),
        }
    }
}

impl Tree {
    /// Makes sure of the directory `path` and of all above it: what the image has keeps its owner and mode, what is
    /// missing is made for `owner` with mode 0755.
    pub fn ensure_directory(&mut self, path: &Path, view: &View, owner: Owner) -> Result<(), StepError> {
        if let Some(entry) = self.entries.get(path) {
            return match entry.kind {
                Kind::Directory => Ok(()),
                _ => Err(not_a_directory(path)),
            };
        }
        if let Some(parent) = path.parent() {
            self.ensure_directory(parent, view, owner)?;
        }
        let entry = existing_directory(path, view)?.unwrap_or_else(|| Entry::directory(0o755, owner));
        self.entries.insert(path.to_owned(), entry);
        Ok(())
    }

    /// Puts `entry` at `path`, over what is there. A directory over a directory brings its own owner and mode; a
    /// directory and anything else do not replace each other, neither here nor in the image below.
    pub fn put(&mut self, path: &Path, entry: Entry, view: &View, owner: Owner) -> Result<(), StepError> {
        if let Some(parent) = path.parent() {
            self.ensure_directory(parent, view, owner)?;
        }
        let is_directory = entry.kind == Kind::Directory;
        let was_directory = match self.entries.get(path) {
            Some(former) => Some(former.kind == Kind::Directory),
            None => below(path, view)?.map(|node| node.is_dir()),
        };
        match (was_directory, is_directory) {
            (Some(true), false) => Err(StepError::Invalid {
                cause: format!("a file would replace the directory /{}", path.display()),
                hint: Some("end the destination with a slash to copy into the directory".into()),
            }),
            (Some(false), true) => Err(not_a_directory(path)),
            _ => {
                self.entries.insert(path.to_owned(), entry);
                Ok(())
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The identity of all that the tree holds, times aside.
    pub fn sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        for (path, entry) in &self.entries {
            field(path.as_os_str().as_bytes());
            field(format!("{:o} {} {} {}", entry.mode, entry.uid, entry.gid, entry.xattrs.len()).as_bytes());
            for (name, value) in &entry.xattrs {
                field(name);
                field(value);
            }
            match &entry.kind {
                Kind::Directory => field(b"directory"),
                Kind::File(content) => {
                    field(b"file");
                    field(&content.sha256);
                }
                Kind::Symlink(target) => {
                    field(b"link");
                    field(target);
                }
            }
        }
        hash.finalize().into()
    }

    /// Writes the tree into the empty directory `into`; everything gets the time `mtime`.
    pub fn write(&self, into: &Path, context: &Context, mtime: i64, stop: &Stop) -> Result<(), StepError> {
        let mut linked: HashMap<(u64, u64), (PathBuf, &Entry)> = HashMap::new();
        for (path, entry) in &self.entries {
            stop.check()?;
            let target = into.join(path);
            if let Kind::File(Content {
                origin: Origin::Layer { links: Some(links), .. },
                ..
            }) = &entry.kind
            {
                match linked.get(links) {
                    Some((first, same)) if *same == entry => {
                        fs::hard_link(first, &target).map_err(StepError::file("write", &target))?;
                        continue;
                    }
                    _ => drop(linked.insert(*links, (target.clone(), entry))),
                }
            }
            write_entry(&target, path, entry, context)?;
            settle(&target, entry, mtime).map_err(StepError::file("write", &target))?;
        }
        let directories = self
            .entries
            .iter()
            .rev()
            .filter(|(_, entry)| entry.kind == Kind::Directory);
        for (path, _) in directories {
            let target = into.join(path);
            set_time(&target, mtime).map_err(StepError::file("write", &target))?;
        }
        Ok(())
    }
}

/// The directory at `path` in the image, as an entry that leaves it as it is.
fn existing_directory(path: &Path, view: &View) -> Result<Option<Entry>, StepError> {
    use std::os::unix::fs::MetadataExt;
    match below(path, view)? {
        None => Ok(None),
        Some(node) if node.is_dir() => {
            let metadata = &node.metadata;
            let xattrs = attributes(&node.path).map_err(StepError::rootfs(format!("/{}", path.display())))?;
            let kind = Kind::Directory;
            let mode = metadata.mode() & 0o7777;
            Ok(Some(Entry {
                kind,
                mode,
                uid: metadata.uid(),
                gid: metadata.gid(),
                xattrs,
            }))
        }
        Some(_) => Err(not_a_directory(path)),
    }
}

/// What the image has at `path` itself; `path` has no links above its last component.
fn below(path: &Path, view: &View) -> Result<Option<super::view::Node>, StepError> {
    let failed = || StepError::rootfs(format!("/{}", path.display()));
    let mut node = view.root().map_err(failed())?;
    for name in path {
        node = match node.filter(|node| node.is_dir()) {
            Some(directory) => directory.child(name).map_err(failed())?,
            None => None,
        };
    }
    Ok(node)
}

fn not_a_directory(path: &Path) -> StepError {
    StepError::Invalid {
        cause: format!("a directory would replace /{}, which is none", path.display()),
        hint: Some("where the image has a link to a directory, copy to the directory's own path".into()),
    }
}

fn write_entry(target: &Path, path: &Path, entry: &Entry, context: &Context) -> Result<(), StepError> {
    match &entry.kind {
        Kind::Directory if path.as_os_str().is_empty() => Ok(()),
        Kind::Directory => DirBuilder::new()
            .mode(0o700)
            .create(target)
            .map_err(StepError::file("make", target)),
        Kind::Symlink(link) => {
            std::os::unix::fs::symlink(OsStr::from_bytes(link), target).map_err(StepError::file("write", target))
        }
        Kind::File(content) => {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(target);
            let file = file
                .as_mut()
                .map_err(|error| io::Error::from(error.kind()))
                .map_err(StepError::file("make", target))?;
            content.origin.copy(file, target, context)
        }
    }
}

impl Origin {
    fn copy(&self, file: &mut File, target: &Path, context: &Context) -> Result<(), StepError> {
        match self {
            Origin::Inline(bytes) => file.write_all(bytes).map_err(StepError::file("write", target)),
            Origin::Layer { path, .. } => {
                let mut from = File::open(path).map_err(StepError::file("read", path))?;
                io::copy(&mut from, file)
                    .map(drop)
                    .map_err(StepError::file("write", target))
            }
            Origin::Context { path, stamp } => {
                let mut from = context.open_file(path)?;
                io::copy(&mut from, file).map_err(StepError::file("write", target))?;
                // What was hashed is what was copied, or the cache would remember a lie.
                match Stamp::of(&from).map_err(StepError::file("read", path))? == *stamp {
                    true => Ok(()),
                    false => Err(StepError::Changed { path: path.clone() }),
                }
            }
        }
    }
}

/// Owner, mode, attributes and time; the owner first, because it clears set-uid bits.
fn settle(target: &Path, entry: &Entry, mtime: i64) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    owned(rustix::fs::chownat(
        CWD,
        target,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    ))?;
    if !matches!(entry.kind, Kind::Symlink(_)) {
        fs::set_permissions(target, fs::Permissions::from_mode(entry.mode))?;
    }
    for (name, value) in &entry.xattrs {
        rustix::fs::lsetxattr(target, name.as_slice(), value, rustix::fs::XattrFlags::empty())?;
    }
    set_time(target, mtime)
}

/// Sets the time of `path` itself, in whole seconds since the epoch.
pub(super) fn set_time(path: &Path, mtime: i64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: mtime,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(rustix::fs::utimensat(
        CWD.as_fd(),
        path,
        &times,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

/// The extended attributes that a copy keeps: file capabilities, access lists, the user's own.
pub(super) fn attributes(path: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut list = vec![0; 64 << 10];
    let length = match rustix::fs::llistxattr(path, &mut list[..]) {
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        other => other?,
    };
    let mut found = Vec::new();
    for name in list[..length].split(|byte| *byte == 0).filter(|name| is_carried(name)) {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        value.truncate(length);
        found.push((name.to_vec(), value));
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
    exact.contains(&name) || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}
