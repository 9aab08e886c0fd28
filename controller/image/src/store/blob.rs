//! Blobs: content under its own digest. Bytes are hashed and counted as they stream into a temporary file, which gets
//! its final name only when they are what was announced; nothing is held in memory.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use portolan_core::reference::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha512};
use tempfile::NamedTempFile;

use super::{Hold, Store, invalid, private_dir_all};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, MAX_DOCUMENT};

/// Identity and length of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// Computes the [`Content`] of bytes that pass by.
#[derive(Debug, Clone)]
pub struct Hasher {
    state: State,
    size: u64,
}

#[derive(Debug, Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

/// A blob on its way into the store; dropped before [`BlobWriter::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    file: NamedTempFile,
    hasher: Hasher,
    limit: Option<u64>,
    _hold: Hold,
}

/// Passes bytes through, and fails the read that would end them early, late or changed.
#[derive(Debug)]
pub struct VerifyingReader<R> {
    inner: R,
    hasher: Option<Hasher>,
    expected: Content,
}

impl Store {
    /// Streams `reader` into the store. With `expected`, other bytes are refused and leave no trace.
    ///
    /// # Errors
    /// [`Error::BlobMismatch`]; [`Error::BlobRead`] when `reader` fails.
    pub fn put_blob(&self, mut reader: impl Read, expected: Option<&Content>) -> Result<Content> {
        let mut writer = self.blob_writer(expected)?;
        let mut buffer = vec![0; 128 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return writer.commit(expected),
                Ok(length) => writer.append(&buffer[..length])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::BlobRead { source }),
            }
        }
    }

    /// Stores a document that is already in memory.
    pub fn put_bytes(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        self.put_blob(bytes, None)
            .map(|content| Descriptor::new(media_type, content))
    }

    /// A writer for content that comes in pieces; give it the `expected` content where that is known.
    pub fn blob_writer(&self, expected: Option<&Content>) -> Result<BlobWriter> {
        let root = self.temp_root();
        Ok(BlobWriter {
            store: self.clone(),
            _hold: self.hold()?,
            file: NamedTempFile::new_in(&root).map_err(Error::file("make a temporary file in", root))?,
            hasher: Hasher::new(expected.map_or(Algorithm::Sha256, |content| content.digest.algorithm())),
            limit: expected.map(|content| content.size),
        })
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// [`Error::BlobMissing`].
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::BlobMissing { digest: digest.clone() },
            _ => Error::file("open", path)(error),
        })
    }

    /// Whether exactly this content is here.
    pub fn has_blob(&self, content: &Content) -> bool {
        fs::metadata(self.blob_path(&content.digest)).is_ok_and(|found| found.is_file() && found.len() == content.size)
    }

    /// Size of a blob in bytes, if it is here.
    pub fn blob_size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.blob_path(digest)).ok().map(|found| found.len())
    }

    /// Reads a whole small blob and checks it again: a disk may have changed it since.
    pub fn read_document(&self, digest: &Digest) -> Result<Vec<u8>> {
        let file = self.open_blob(digest)?;
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT + 1)
            .read_to_end(&mut bytes)
            .map_err(Error::file("read", self.blob_path(digest)))?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(Error::DocumentTooLarge {
                digest: digest.to_string(),
                limit: MAX_DOCUMENT,
            });
        }
        if Hasher::content_of(digest.algorithm(), &bytes).digest != *digest {
            return Err(invalid("blob", digest, "its bytes have changed on the disk"));
        }
        Ok(bytes)
    }

    /// Where a blob is or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blob_dir().join(digest.algorithm().name()).join(digest.hex())
    }
}

impl BlobWriter {
    /// Adds bytes; more than were announced are refused at once.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        if let Some(limit) = self.limit
            && self.hasher.size > limit
        {
            let actual = format!("longer than {limit} bytes");
            return Err(Error::BlobMismatch {
                expected: format!("{limit} bytes"),
                actual,
            });
        }
        self.file
            .write_all(bytes)
            .map_err(Error::file("write", self.file.path()))
    }

    /// Checks the bytes against `expected`, makes them durable and gives them their name.
    pub fn commit(self, expected: Option<&Content>) -> Result<Content> {
        let content = self.hasher.finish();
        if let Some(expected) = expected
            && *expected != content
        {
            return Err(Error::BlobMismatch {
                expected: describe(expected),
                actual: describe(&content),
            });
        }
        let path = self.store.blob_path(&content.digest);
        if !self.store.has_blob(&content) {
            persist(self.file, &path)?;
        }
        Ok(content)
    }
}

/// So that a packer or a copy can write straight into the store.
impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Box::new(Sha512::new())),
        };
        Self { state, size: 0 }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        match &mut self.state {
            State::Sha256(hash) => hash.update(bytes),
            State::Sha512(hash) => hash.update(bytes),
        }
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn finish(self) -> Content {
        let digest = match self.state {
            State::Sha256(hash) => Digest::from_bytes(Algorithm::Sha256, &hash.finalize()),
            State::Sha512(hash) => Digest::from_bytes(Algorithm::Sha512, &hash.finalize()),
        };
        Content {
            digest: digest.expect("a hash has the length of its algorithm"),
            size: self.size,
        }
    }

    /// The content of bytes in memory.
    pub fn content_of(algorithm: Algorithm, bytes: &[u8]) -> Content {
        let mut hasher = Self::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }
}

impl<R: Read> VerifyingReader<R> {
    pub fn new(inner: R, expected: Content) -> Self {
        let hasher = Some(Hasher::new(expected.digest.algorithm()));
        Self {
            inner,
            hasher,
            expected,
        }
    }

    fn check_end(&mut self) -> io::Result<()> {
        match self.hasher.take().map(Hasher::finish) {
            Some(content) if content != self.expected => Err(mismatch(format!(
                "{} is {}",
                describe(&self.expected),
                describe(&content)
            ))),
            _ => Ok(()),
        }
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let length = self.inner.read(buffer)?;
        if length == 0 {
            self.check_end()?;
        } else if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..length]);
            if hasher.size() > self.expected.size {
                return Err(mismatch(format!("{} is longer", describe(&self.expected))));
            }
        }
        Ok(length)
    }
}

fn mismatch(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("content announced as {text}"))
}

fn describe(content: &Content) -> String {
    format!("{} of {} bytes", content.digest, content.size)
}

/// Data first, then the name, then the directory that holds the name.
fn persist(file: NamedTempFile, path: &Path) -> Result<()> {
    let directory = path.parent().expect("a blob lies in a directory of the store");
    private_dir_all(directory)?;
    let write = || -> io::Result<()> {
        file.as_file().sync_data()?;
        file.persist(path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(Error::file("store", path))
}
