//! Writes an archive: ustar headers, and a PAX header before each member that they cannot express. The same members
//! give the same bytes; user names and times of access are never written.

use std::io::{self, Read, Write};

use super::header::{Fields, MAX_LONG, MAX_SHORT};
use super::{BLOCK, Entry, Kind};

/// Writes members one after the other; [`TarWriter::finish`] ends the archive.
pub struct TarWriter<W: Write> {
    inner: W,
    buffer: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            buffer: vec![0; 128 << 10],
        }
    }

    /// Adds a member with `entry.size` bytes of `content`.
    ///
    /// # Errors
    /// Besides failures to write: content that is shorter than announced. What is longer is left unread.
    pub fn append(&mut self, entry: &Entry, content: impl Read) -> io::Result<()> {
        let records = records(entry);
        if !records.is_empty() {
            self.write_extended(&records)?;
        }
        self.inner.write_all(&fields(entry, &written_name(entry)).block())?;
        self.copy(content, entry.size)?;
        self.pad(entry.size)
    }

    /// Ends the archive with two blocks of zeros and gives the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.inner.write_all(&[0; 2 * BLOCK])?;
        Ok(self.inner)
    }

    fn copy(&mut self, mut content: impl Read, size: u64) -> io::Result<()> {
        let mut left = size;
        while left > 0 {
            let piece = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match content.read(&mut self.buffer[..piece]) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the content is shorter than announced",
                    ));
                }
                Ok(length) => {
                    self.inner.write_all(&self.buffer[..length])?;
                    left -= length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_extended(&mut self, records: &[u8]) -> io::Result<()> {
        let header = Fields {
            kind: b'x',
            name: b"././@PaxHeader",
            link: b"",
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: records.len() as u64,
            mtime: 0,
            device: (0, 0),
        };
        self.inner.write_all(&header.block())?;
        self.inner.write_all(records)?;
        self.pad(records.len() as u64)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
        self.inner.write_all(&[0; BLOCK][..padding])
    }
}

fn fields<'a>(entry: &'a Entry, name: &'a [u8]) -> Fields<'a> {
    let (kind, link, device) = match &entry.kind {
        Kind::File => (b'0', &b""[..], (0, 0)),
        Kind::HardLink(target) => (b'1', &target[..], (0, 0)),
        Kind::Symlink(target) => (b'2', &target[..], (0, 0)),
        Kind::CharDevice(major, minor) => (b'3', &b""[..], (*major, *minor)),
        Kind::BlockDevice(major, minor) => (b'4', &b""[..], (*major, *minor)),
        Kind::Directory => (b'5', &b""[..], (0, 0)),
        Kind::Fifo => (b'6', &b""[..], (0, 0)),
    };
    Fields {
        kind,
        name,
        link,
        mode: entry.meta.mode,
        uid: entry.meta.uid.into(),
        gid: entry.meta.gid.into(),
        size: entry.size,
        mtime: u64::try_from(entry.meta.mtime.seconds).unwrap_or(0),
        device,
    }
}

/// A directory is written with a slash at its end, and the root as `./`.
fn written_name(entry: &Entry) -> Vec<u8> {
    match (&entry.kind, entry.path.is_empty()) {
        (_, true) => b"./".to_vec(),
        (Kind::Directory, _) => [&entry.path[..], b"/"].concat(),
        _ => entry.path.clone(),
    }
}

/// The PAX records for all that the ustar header cannot hold, in a fixed order.
fn records(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    let name = written_name(entry);
    if name.len() > 100 {
        put_record(&mut records, b"path", &name);
    }
    if let Kind::HardLink(target) | Kind::Symlink(target) = &entry.kind
        && target.len() > 100
    {
        put_record(&mut records, b"linkpath", target);
    }
    let mut number = |key: &[u8], number: u64, most: u64| {
        if number > most {
            put_record(&mut records, key, number.to_string().as_bytes());
        }
    };
    number(b"size", entry.size, MAX_LONG);
    number(b"uid", entry.meta.uid.into(), MAX_SHORT);
    number(b"gid", entry.meta.gid.into(), MAX_SHORT);
    let mtime = entry.meta.mtime.seconds;
    if !(0..=MAX_LONG as i64).contains(&mtime) {
        put_record(&mut records, b"mtime", mtime.to_string().as_bytes());
    }
    for (key, value) in &entry.meta.xattrs {
        put_record(&mut records, &[b"SCHILY.xattr.", &key[..]].concat(), value);
    }
    records
}

/// `LENGTH KEY=VALUE\n`, the length counting its own digits too.
fn put_record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let without = key.len() + value.len() + 3;
    let digits = |number: usize| number.to_string().len();
    let mut length = without + digits(without);
    if digits(length) > digits(without) {
        length = without + digits(length);
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}
