//! Reads an archive member by member, and refuses it at the first thing that is not as it should be.

use std::io::{self, Read};

use super::header::{Header, MAX_LONG};
use super::pax::{self, Extended};
use super::{BLOCK, Entry, Kind, Meta, Time, name};
use crate::layer::{Fault, Limits};

/// Iterates over the members of an archive. After [`TarReader::next_entry`], the reader itself gives that member's
/// content, padding excluded; what is not read of it is skipped by the next call.
pub struct TarReader<R> {
    inner: R,
    limits: Limits,
    entries: u64,
    names: u64,
    /// Bytes of content, and then of padding, still to come.
    content: u64,
    padding: u64,
}

/// What stands before an entry and belongs to it.
#[derive(Default)]
struct Before {
    pax: Option<Extended>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> TarReader<R> {
    pub fn new(inner: R, limits: Limits) -> Self {
        Self {
            inner,
            limits,
            entries: 0,
            names: 0,
            content: 0,
            padding: 0,
        }
    }

    /// Members handed out so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The next member; `None` after the last, when nothing but zeros is left.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Fault> {
        self.skip_content()?;
        let mut before = Before::default();
        loop {
            let Some(header) = Header::parse(self.block()?)? else {
                return self.finish(&before);
            };
            match header.kind() {
                b'x' => fill(&mut before.pax, pax::parse(&self.extended(&header)?)?)?,
                b'g' => pax::check_global(&self.extended(&header)?)?,
                b'L' => fill(&mut before.long_name, self.long(&header)?)?,
                b'K' => fill(&mut before.long_link, self.long(&header)?)?,
                _ => return self.entry(&header, before).map(Some),
            }
        }
    }

    /// The underlying reader, once the archive has ended.
    pub fn into_inner(self) -> R {
        self.inner
    }

    fn entry(&mut self, header: &Header, before: Before) -> Result<Entry, Fault> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(Fault::Entries(self.limits.entries));
        }
        let Before {
            pax,
            long_name,
            long_link,
        } = before;
        let mut pax = pax.unwrap_or_default();
        let written = one_of(pax.path.take(), long_name)?.map_or_else(|| header.name(), Ok)?;
        let link = one_of(pax.link.take(), long_link)?.map_or_else(|| header.link().map(<[u8]>::to_vec), Ok)?;
        let path = self.count_name(&written)?;
        let size = size_of(header, &pax)?;
        let kind = self.kind(header, &written, link)?;
        if size != 0 && kind != Kind::File {
            return Err(Fault::Content(size));
        }
        self.content = size;
        self.padding = padding_of(size);
        Ok(Entry {
            path,
            kind,
            meta: meta_of(header, pax)?,
            size,
        })
    }

    fn kind(&self, header: &Header, written: &[u8], link: Vec<u8>) -> Result<Kind, Fault> {
        Ok(match header.kind() {
            b'0' if written.ends_with(b"/") => Kind::Directory,
            b'0' | b'7' => Kind::File,
            b'1' => Kind::HardLink(name::normalise(&link, self.limits.path)?),
            b'2' => {
                name::check_target(&link)?;
                Kind::Symlink(link)
            }
            b'3' | b'4' => device(header)?,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'S' => return Err(Fault::Unsupported("a sparse file")),
            b'M' => return Err(Fault::Unsupported("an archive of several volumes")),
            other => return Err(Fault::Type(other)),
        })
    }

    fn count_name(&mut self, written: &[u8]) -> Result<Vec<u8>, Fault> {
        let path = name::normalise(written, self.limits.path)?;
        self.names += path.len() as u64;
        match self.names > self.limits.names {
            true => Err(Fault::Names(self.limits.names)),
            false => Ok(path),
        }
    }

    /// The content of a header that describes another one.
    fn extended(&mut self, header: &Header) -> Result<Vec<u8>, Fault> {
        let size = ranged(header.size()?, "size", self.limits.extended)?;
        let mut bytes = vec![0; usize::try_from(size).map_err(|_| Fault::Extended("it is too long"))?];
        self.inner.read_exact(&mut bytes)?;
        self.padding = padding_of(size);
        self.skip_content()?;
        Ok(bytes)
    }

    /// A GNU long name: the text and one NUL.
    fn long(&mut self, header: &Header) -> Result<Vec<u8>, Fault> {
        let mut bytes = self.extended(header)?;
        if bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(bytes)
    }

    /// After the first block of zeros: a second one, and then only zeros.
    fn finish(&mut self, before: &Before) -> Result<Option<Entry>, Fault> {
        if before.pax.is_some() || before.long_name.is_some() || before.long_link.is_some() {
            return Err(Fault::Extended("no entry follows it"));
        }
        if self.block()?.iter().any(|byte| *byte != 0) {
            return Err(Fault::Trailing);
        }
        let mut buffer = vec![0; 64 << 10];
        loop {
            match retry(|| self.inner.read(&mut buffer))? {
                0 => return Ok(None),
                length if buffer[..length].iter().any(|byte| *byte != 0) => return Err(Fault::Trailing),
                _ => {}
            }
        }
    }

    fn block(&mut self) -> Result<[u8; BLOCK], Fault> {
        let mut block = [0; BLOCK];
        self.inner.read_exact(&mut block)?;
        Ok(block)
    }

    /// Reads past what is left of the current member.
    fn skip_content(&mut self) -> Result<(), Fault> {
        let mut buffer = [0; 8 << 10];
        let mut left = std::mem::take(&mut self.content) + std::mem::take(&mut self.padding);
        while left > 0 {
            let piece = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.inner.read_exact(&mut buffer[..piece])?;
            left -= piece as u64;
        }
        Ok(())
    }
}

/// The content of the current member.
impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = buffer.len().min(usize::try_from(self.content).unwrap_or(usize::MAX));
        if piece == 0 {
            return Ok(0);
        }
        match self.inner.read(&mut buffer[..piece])? {
            0 => Err(Fault::Truncated.into()),
            length => {
                self.content -= length as u64;
                Ok(length)
            }
        }
    }
}

fn fill<T>(slot: &mut Option<T>, value: T) -> Result<(), Fault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::Ambiguous),
    }
}

fn one_of(a: Option<Vec<u8>>, b: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, Fault> {
    match (a, b) {
        (Some(_), Some(_)) => Err(Fault::Ambiguous),
        (a, b) => Ok(a.or(b)),
    }
}

/// Two sizes may differ only where the header's field cannot hold the real one (CVE-2025-62518, CVE-2026-33055).
fn size_of(header: &Header, pax: &Extended) -> Result<u64, Fault> {
    let size = ranged(header.size()?, "size", i64::MAX as u64)?;
    match pax.size {
        None => Ok(size),
        Some(extended) if extended == size || extended > MAX_LONG => ranged(extended.into(), "size", i64::MAX as u64),
        Some(extended) => Err(Fault::Sizes { header: size, extended }),
    }
}

fn meta_of(header: &Header, pax: Extended) -> Result<Meta, Fault> {
    // The number with all bits set means "no change" to chown, and so would be the owner of nobody's choice.
    let owner = |number, field| ranged(number, field, u64::from(u32::MAX) - 1).map(|number| number as u32);
    let mtime = header.mtime()?;
    let seconds = i64::try_from(mtime).map_err(|_| Fault::Range {
        field: "mtime",
        value: mtime,
    })?;
    Ok(Meta {
        // Some writers add the bits of the file type above the permissions.
        mode: (header.mode()? & 0o7777) as u32,
        uid: owner(pax.uid.map_or_else(|| header.uid(), |uid| Ok(uid.into()))?, "uid")?,
        gid: owner(pax.gid.map_or_else(|| header.gid(), |gid| Ok(gid.into()))?, "gid")?,
        mtime: pax.mtime.unwrap_or(Time {
            seconds,
            nanoseconds: 0,
        }),
        xattrs: pax.xattrs,
    })
}

fn device(header: &Header) -> Result<Kind, Fault> {
    let (major, minor) = header.device()?;
    // Linux has 12 bits for the major number and 20 for the minor one.
    let major = ranged(major, "major", 0xfff)? as u32;
    let minor = ranged(minor, "minor", 0xf_ffff)? as u32;
    Ok(if header.kind() == b'3' {
        Kind::CharDevice(major, minor)
    } else {
        Kind::BlockDevice(major, minor)
    })
}

fn ranged(value: i128, field: &'static str, most: u64) -> Result<u64, Fault> {
    match u64::try_from(value) {
        Ok(number) if number <= most => Ok(number),
        _ => Err(Fault::Range { field, value }),
    }
}

fn padding_of(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

fn retry(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
