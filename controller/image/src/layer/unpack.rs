//! Unpacking: an untrusted archive becomes a directory, or nothing does. Entries are checked by the strict reader,
//! resolved beneath the directory by the kernel, and the first fault ends it all; the caller throws away what was
//! written until then.
//!
//! What the image specification allows is kept: owners, set-uid bits, device nodes, file capabilities, times. None of
//! it may lie outside the directory. The store is closed to other users, and a container's device rules decide what a
//! node is good for.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use rustix::fs::{self, AtFlags, Dev, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::limits::{Counted, Metered};
use super::root::{self, Former, Found, Root, Stop};
use super::tar::{Entry, Kind, Meta, TarReader, Time};
use super::{Compression, Fault, Limits, OPAQUE_MARKER, WHITEOUT_PREFIX};
use crate::error::{Error, Result};
use crate::store::Content;
use crate::userns;

/// How to unpack.
#[derive(Debug, Clone, Default)]
pub struct UnpackOptions {
    pub limits: Limits,
    pub whiteouts: Whiteouts,
}

/// What a name that begins with `.wh.` means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Whiteouts {
    /// This is a layer: they become what overlayfs understands.
    #[default]
    Overlay,
    /// This is an archive of another kind, in which they have no meaning: refused.
    Refused,
}

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackedLayer {
    /// Diff id and size of the decompressed archive.
    pub diff: Content,
    pub entries: u64,
}

/// Unpacks the archive that `reader` gives into the existing directory `into`.
///
/// # Errors
/// [`Error::LayerRejected`] names the entry and its fault; [`Error::LayerWrite`] when the file system fails.
pub fn unpack(
    reader: impl Read,
    compression: Compression,
    into: &Path,
    options: &UnpackOptions,
) -> Result<UnpackedLayer> {
    let root = Root::open(into).map_err(Error::file("open", into))?;
    let (counted, packed) = Counted::new(reader);
    let decoder = compression
        .decoder(counted)
        .map_err(Error::file("decompress into", into))?;
    let metered = Metered::new(decoder, packed, options.limits.clone());
    let archive = TarReader::new(BufReader::with_capacity(128 << 10, metered), options.limits.clone());
    let mut unpacking = Unpacking {
        archive,
        root,
        whiteouts: options.whiteouts,
        times: Vec::new(),
        buffer: Vec::new(),
    };
    unpacking.run()?;
    let entries = unpacking.archive.entries();
    Ok(UnpackedLayer {
        diff: unpacking.archive.into_inner().into_inner().finish(),
        entries,
    })
}

struct Unpacking<R> {
    archive: TarReader<R>,
    root: Root,
    whiteouts: Whiteouts,
    /// Times of directories, set at the end: what is written into a directory changes its time.
    times: Vec<(Vec<u8>, Time)>,
    buffer: Vec<u8>,
}

impl<R: Read> Unpacking<R> {
    fn run(&mut self) -> Result<()> {
        self.buffer.resize(256 << 10, 0);
        loop {
            let entry = match self.archive.next_entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(fault) => return Err(self.failed(b"", Stop::Rejected(fault))),
            };
            self.entry(&entry).map_err(|stop| self.failed(&entry.path, stop))?;
        }
        for (path, time) in std::mem::take(&mut self.times).iter().rev() {
            self.set_time(path, *time).map_err(|stop| self.failed(path, stop))?;
        }
        Ok(())
    }

    fn failed(&self, path: &[u8], stop: Stop) -> Error {
        let path = String::from_utf8_lossy(path).into_owned();
        match stop {
            Stop::Rejected(source) => Error::LayerRejected {
                entry: self.archive.entries(),
                path,
                source,
            },
            Stop::Failed(source) => Error::LayerWrite { path, source },
        }
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), Stop> {
        let (parent, name) = split(&entry.path);
        if parent
            .split(|byte| *byte == b'/')
            .any(|part| part.starts_with(WHITEOUT_PREFIX))
        {
            return Err(Fault::Whiteout.into());
        }
        match name {
            b"" => self.root_itself(entry),
            marked if marked.starts_with(WHITEOUT_PREFIX) => self.whiteout(parent, marked, entry),
            _ => self.member(parent, name, entry),
        }
    }

    fn root_itself(&mut self, entry: &Entry) -> Result<(), Stop> {
        if entry.kind != Kind::Directory {
            return Err(Fault::Root.into());
        }
        self.times.push((Vec::new(), entry.meta.mtime));
        root::set_meta(self.root.fd(), &entry.meta)
    }

    fn whiteout(&mut self, parent: &[u8], marked: &[u8], entry: &Entry) -> Result<(), Stop> {
        if self.whiteouts == Whiteouts::Refused {
            return Err(Fault::WhiteoutHere.into());
        }
        if entry.kind != Kind::File || entry.size != 0 {
            return Err(Fault::Whiteout.into());
        }
        if marked == OPAQUE_MARKER {
            return self.opaque(parent);
        }
        let hidden = &marked[WHITEOUT_PREFIX.len()..];
        if matches!(hidden, b"" | b"." | b"..") || hidden.starts_with(WHITEOUT_PREFIX) {
            return Err(Fault::Whiteout.into());
        }
        let fd = self.root.directory(parent)?;
        match root::look(fd, hidden)? {
            Found::Nothing => Ok(fs::mknodat(
                fd,
                hidden,
                FileType::CharacterDevice,
                Mode::empty(),
                Dev::default(),
            )?),
            // This layer's own directory stays, and hides the one below.
            Found::Directory => root::set_opaque(fd, hidden),
            // A whiteout touches lower layers only; a file of this layer hides them already.
            Found::Other | Found::Whiteout => Ok(()),
        }
    }

    fn opaque(&mut self, directory: &[u8]) -> Result<(), Stop> {
        if directory.is_empty() {
            return Err(Fault::OpaqueRoot.into());
        }
        self.root.directory(directory)?;
        let (parent, name) = split(directory);
        root::set_opaque(self.root.directory(parent)?, name)
    }

    fn member(&mut self, parent: &[u8], name: &[u8], entry: &Entry) -> Result<(), Stop> {
        if let Kind::HardLink(target) = &entry.kind {
            return self.hard_link(parent, name, entry, target);
        }
        let is_directory = entry.kind == Kind::Directory;
        let former = self.root.make_room(parent, name, is_directory)?;
        match &entry.kind {
            Kind::Directory => self.directory(parent, name, entry, former),
            Kind::File => self.file(parent, name, entry),
            Kind::Symlink(target) => {
                let fd = self.root.directory(parent)?;
                fs::symlinkat(target.as_slice(), fd, name)?;
                root::set_meta_at(fd, name, &entry.meta, true)
            }
            Kind::CharDevice(0, 0) => Err(Fault::WhiteoutDevice.into()),
            Kind::CharDevice(major, minor) => self.node(
                parent,
                name,
                &entry.meta,
                FileType::CharacterDevice,
                fs::makedev(*major, *minor),
            ),
            Kind::BlockDevice(major, minor) => self.node(
                parent,
                name,
                &entry.meta,
                FileType::BlockDevice,
                fs::makedev(*major, *minor),
            ),
            Kind::Fifo => self.node(parent, name, &entry.meta, FileType::Fifo, Dev::default()),
            Kind::HardLink(_) => unreachable!("hard links were taken above"),
        }
    }

    fn directory(&mut self, parent: &[u8], name: &[u8], entry: &Entry, former: Former) -> Result<(), Stop> {
        let fd = self.root.directory(parent)?;
        if former != Former::Directory {
            fs::mkdirat(fd, name, Mode::from_raw_mode(0o700))?;
        }
        if former == Former::Whiteout {
            root::set_opaque(fd, name)?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = fs::openat(fd, name, flags, Mode::empty())?;
        self.times.push((entry.path.clone(), entry.meta.mtime));
        root::set_meta(rustix::fd::AsFd::as_fd(&directory), &entry.meta)
    }

    fn file(&mut self, parent: &[u8], name: &[u8], entry: &Entry) -> Result<(), Stop> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(fs::openat(
            self.root.directory(parent)?,
            name,
            flags,
            Mode::from_raw_mode(0o600),
        )?);
        loop {
            match self.archive.read(&mut self.buffer).map_err(Fault::from)? {
                0 => break,
                length => file.write_all(&self.buffer[..length])?,
            }
        }
        root::set_meta(rustix::fd::AsFd::as_fd(&file), &entry.meta)
    }

    fn node(&mut self, parent: &[u8], name: &[u8], meta: &Meta, kind: FileType, device: Dev) -> Result<(), Stop> {
        let fd = self.root.directory(parent)?;
        match fs::mknodat(fd, name, kind, Mode::from_raw_mode(0o600), device) {
            // Left out where nobody may make a device: no container could use it there, and each has its own /dev.
            Err(Errno::PERM) if kind != FileType::Fifo && userns::is_inside() => return Ok(()),
            made => made?,
        }
        root::set_meta_at(fd, name, meta, false)
    }

    /// A second name for a member of this same layer; owner, mode and time are those it has already.
    fn hard_link(&mut self, parent: &[u8], name: &[u8], entry: &Entry, target: &[u8]) -> Result<(), Stop> {
        if target == entry.path {
            return Err(Fault::LinkMissing.into());
        }
        let (target_parent, target_name) = split(target);
        let from = self.root.existing_directory(target_parent)?;
        match root::look(rustix::fd::AsFd::as_fd(&from), target_name)? {
            _ if target_name.is_empty() => return Err(Fault::LinkKind.into()),
            Found::Nothing => return Err(Fault::LinkMissing.into()),
            Found::Directory | Found::Whiteout => return Err(Fault::LinkKind.into()),
            Found::Other => {}
        }
        self.root.make_room(parent, name, false)?;
        match fs::linkat(&from, target_name, self.root.directory(parent)?, name, AtFlags::empty()) {
            // Making room has taken the target away: it was inside an empty directory, or the same name.
            Err(Errno::NOENT) => Err(Fault::LinkMissing.into()),
            other => Ok(other?),
        }
    }

    /// Directories that were replaced since by something else keep no time.
    fn set_time(&mut self, path: &[u8], time: Time) -> Result<(), Stop> {
        let (parent, name) = split(path);
        if name.is_empty() {
            return Ok(fs::futimens(self.root.fd(), &root::times(time))?);
        }
        let fd = self.root.directory(parent)?;
        match root::look(fd, name)? {
            Found::Directory => Ok(fs::utimensat(fd, name, &root::times(time), AtFlags::SYMLINK_NOFOLLOW)?),
            _ => Ok(()),
        }
    }
}

/// Parent and last component; the root's name is empty.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}
