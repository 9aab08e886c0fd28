//! Packing: a directory becomes a layer, the same bytes whenever the directory is the same. One pass reads each file
//! once and hashes, compresses, hashes again and writes as it goes.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use portolan_core::reference::Algorithm;
use rustix::fs::{self, Mode, OFlags};

use super::compression::{Compression, Encoder};
use super::tar::{Entry, Kind, Meta, TarWriter, Time};
use super::walk::{self, Found, full_path};
use super::{OPAQUE_MARKER, WHITEOUT_PREFIX};
use crate::error::{Error, Result};
use crate::manifest::Descriptor;
use crate::store::{Content, Hasher};

/// How to pack.
#[derive(Debug, Clone)]
pub struct PackOptions {
    pub compression: Compression,
    /// Later times of modification become this one (seconds since the epoch), as SOURCE_DATE_EPOCH asks.
    pub latest_mtime: Option<i64>,
    /// Owner and group of everything, instead of those on the disk.
    pub owner: Option<(u32, u32)>,
}

impl Default for PackOptions {
    /// gzip, which every registry and runtime reads; times and owners as they are.
    fn default() -> Self {
        Self {
            compression: Compression::Gzip,
            latest_mtime: None,
            owner: None,
        }
    }
}

/// A packed layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedLayer {
    pub compression: Compression,
    /// Digest and size of the archive before compression: its digest is the diff id.
    pub diff: Content,
    /// Digest and size of what was written.
    pub packed: Content,
    pub entries: u64,
}

impl PackedLayer {
    /// The descriptor for a manifest.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.compression.media_type(), self.packed.clone())
    }
}

/// Packs `directory` into `sink` and gives the sink back. Whiteouts and opaque directories of overlayfs take the form
/// they have in layers.
///
/// # Errors
/// [`Error::LayerInexpressible`] for a file whose name would read as a whiteout, and for what overlayfs notes when it
/// is mounted with `redirect_dir` or `metacopy`: such an upper directory lacks part of its content.
pub fn pack<W: Write>(directory: &Path, options: &PackOptions, sink: W) -> Result<(PackedLayer, W)> {
    let failed = Error::file("pack", directory);
    let packed = Hashing::new(sink);
    let encoder = options
        .compression
        .encoder(BufWriter::with_capacity(128 << 10, packed))
        .map_err(failed)?;
    let writer = TarWriter::new(Hashing::new(Compressing(encoder)));
    let mut packing = Packing {
        top: directory,
        options,
        writer,
        entries: 0,
    };
    walk::walk(directory, &mut |found| packing.take(found))?;
    let entries = packing.entries;
    packing.finish(entries).map_err(Error::file("pack", directory))
}

/// Compresses an archive that exists already, and takes both digests on the way. `entries` is not counted.
pub fn compress<W: Write>(mut archive: impl Read, compression: Compression, sink: W) -> Result<(PackedLayer, W)> {
    let run = || -> io::Result<(PackedLayer, W)> {
        let encoder = compression.encoder(BufWriter::with_capacity(128 << 10, Hashing::new(sink)))?;
        let mut writer = Hashing::new(Compressing(encoder));
        io::copy(&mut archive, &mut writer)?;
        let (encoder, diff) = writer.finish();
        let (sink, packed) = encoder
            .0
            .finish()?
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .finish();
        Ok((
            PackedLayer {
                compression,
                diff,
                packed,
                entries: 0,
            },
            sink,
        ))
    };
    run().map_err(|source| Error::BlobRead { source })
}

struct Packing<'a, W: Write> {
    top: &'a Path,
    options: &'a PackOptions,
    writer: TarWriter<Hashing<Compressing<W>>>,
    entries: u64,
}

impl<W: Write> Packing<'_, Hashing<W>> {
    fn finish(self, entries: u64) -> io::Result<(PackedLayer, W)> {
        let (encoder, diff) = self.writer.finish()?.finish();
        let (sink, packed) = encoder
            .0
            .finish()?
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .finish();
        Ok((
            PackedLayer {
                compression: self.options.compression,
                diff,
                packed,
                entries,
            },
            sink,
        ))
    }
}

impl<W: Write> Packing<'_, W> {
    fn take(&mut self, mut found: Found<'_>) -> Result<()> {
        let path = full_path(self.top, &found.path);
        if found.name.starts_with(WHITEOUT_PREFIX) {
            return Err(Error::LayerInexpressible {
                path,
                reason: "its name would be read as a whiteout",
            });
        }
        let opaque = overlay_notes(&found).map_err(|reason| Error::LayerInexpressible {
            path: path.clone(),
            reason,
        })?;
        let at = std::mem::take(&mut found.path);
        self.settle(&mut found.meta);
        let failed = |source| Error::LayerPack { path, source };
        match found.kind {
            Kind::CharDevice(0, 0) => self.marker(hidden(&at)),
            Kind::File => open(&found).and_then(|file| self.append(at, &found, file)),
            _ => self
                .append(at.clone(), &found, io::empty())
                .and_then(|()| match opaque {
                    true => self.marker([&at[..], b"/", OPAQUE_MARKER].concat()),
                    false => Ok(()),
                }),
        }
        .map_err(failed)
    }

    fn settle(&self, meta: &mut Meta) {
        if let Some(latest) = self.options.latest_mtime {
            meta.mtime.seconds = meta.mtime.seconds.min(latest);
        }
        if let Some((uid, gid)) = self.options.owner {
            (meta.uid, meta.gid) = (uid, gid);
        }
    }

    fn append(&mut self, path: Vec<u8>, found: &Found<'_>, content: impl Read) -> io::Result<()> {
        self.entries += 1;
        let entry = Entry {
            path,
            kind: found.kind.clone(),
            meta: found.meta.clone(),
            size: found.size,
        };
        self.writer.append(&entry, content)
    }

    /// A whiteout or an opaque marker. It has no time of its own: the moment of a deletion is not content.
    fn marker(&mut self, path: Vec<u8>) -> io::Result<()> {
        self.entries += 1;
        let meta = Meta {
            mode: 0o600,
            mtime: Time::default(),
            ..Meta::default()
        };
        self.writer.append(
            &Entry {
                path,
                kind: Kind::File,
                meta,
                size: 0,
            },
            io::empty(),
        )
    }
}

/// Whether the directory is opaque; `Err` for notes that make it incomplete.
fn overlay_notes(found: &Found<'_>) -> Result<bool, &'static str> {
    let mut opaque = false;
    for (name, value) in &found.overlay {
        let note = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
        match note {
            b"opaque" if matches!(&name[..], b"trusted.overlay.opaque" | b"user.overlay.opaque") => {
                opaque |= value == b"y"
            }
            b"redirect" => return Err("overlayfs was mounted with redirect_dir, and part of it lies elsewhere"),
            b"metacopy" => return Err("overlayfs was mounted with metacopy, and its content lies elsewhere"),
            _ => {}
        }
    }
    Ok(opaque && found.kind == Kind::Directory && !found.path.is_empty())
}

/// `a/b` is hidden by `a/.wh.b`.
fn hidden(path: &[u8]) -> Vec<u8> {
    let name = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    [&path[..name], WHITEOUT_PREFIX, &path[name..]].concat()
}

fn open(found: &Found<'_>) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(fs::openat(found.parent, found.name, flags, Mode::empty())?))
}

/// Passes bytes on and takes their digest.
struct Hashing<W> {
    inner: W,
    hasher: Hasher,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Hasher::new(Algorithm::Sha256),
        }
    }

    fn finish(self) -> (W, Content) {
        (self.inner, self.hasher.finish())
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The compressor over a buffered sink.
struct Compressing<W: Write>(Encoder<BufWriter<W>>);

impl<W: Write> Write for Compressing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
