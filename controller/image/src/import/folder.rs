//! A directory whose content is not trusted: files are opened beneath it, by names that it gave itself.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::manifest::MAX_DOCUMENT;

pub(super) struct Folder {
    path: PathBuf,
    fd: OwnedFd,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::open(path, flags, Mode::empty()).map_err(Error::file("open", path))?;
        Ok(Self {
            path: path.to_owned(),
            fd,
        })
    }

    pub(super) fn holds(&self, name: &str) -> bool {
        self.file(name).is_ok()
    }

    /// Opens a regular file. Links are followed as long as they stay inside: `docker save` once used them for layers
    /// that images share.
    pub(super) fn file(&self, name: &str) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let opened = loop {
            match fs::openat2(&self.fd, name, flags, Mode::empty(), within) {
                // The kernel gives up on a `..` when something is renamed beside it.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => break other,
            }
        };
        let file = File::from(opened.map_err(Error::file("open", self.path.join(name)))?);
        let found = file.metadata().map_err(Error::file("read", self.path.join(name)))?;
        match found.is_file() {
            true => Ok(file),
            false => Err(self.malformed(name, "it is no regular file")),
        }
    }

    /// A small file.
    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.file(name)?.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes);
        read.map_err(Error::file("read", self.path.join(name)))?;
        match bytes.len() as u64 > MAX_DOCUMENT {
            true => Err(Error::DocumentTooLarge {
                digest: name.to_owned(),
                limit: MAX_DOCUMENT,
            }),
            false => Ok(bytes),
        }
    }

    pub(super) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let bytes = self.bytes(name)?;
        serde_json::from_slice(&bytes).map_err(|error| self.malformed(name, &error.to_string()))
    }

    pub(super) fn malformed(&self, name: &str, reason: &str) -> Error {
        Error::DocumentInvalid {
            what: "file",
            digest: name.to_owned(),
            reason: reason.to_owned(),
        }
    }
}
