//! The file that remembers which namespace is this user's: the number that the kernel gave it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::error::{Error, Result};
use crate::sys;

const OWN: &str = "/proc/self/ns/user";

/// Locked for as long as this lives, so that two commands do not make two namespaces.
pub(super) struct Record {
    path: PathBuf,
    file: File,
}

impl Record {
    pub fn lock(path: &Path) -> Result<Record> {
        if let Some(folder) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(Error::system("make", folder.display()))?;
        }
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).open(path);
        let file = opened.map_err(Error::system("open", path.display()))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(Error::system("lock", path.display()))?;
        Ok(Record {
            path: path.into(),
            file,
        })
    }

    /// The namespace, if anything lives in it. The kernel may have given its number away since: one of another owner is
    /// a stranger's, and one of the same owner is as good.
    pub fn namespace(&self) -> Result<Option<File>> {
        let mut text = String::new();
        let read = (&self.file).read_to_string(&mut text);
        read.map_err(Error::system("read", self.path.display()))?;
        let Ok(number) = text.trim().parse::<u64>() else {
            return Ok(None);
        };
        let me = rustix::process::geteuid().as_raw();
        let is_ours = |namespace: &File| sys::namespace_owner_id(namespace.as_fd()).is_ok_and(|owner| owner == me);
        Ok(processes()?
            .find_map(|process| namespace_of(&process, number))
            .filter(is_ours))
    }

    /// Remembers this process's own.
    pub fn write(mut self) -> Result<()> {
        let number = fs::metadata(OWN).map_err(Error::system("look at", OWN))?.ino();
        let written = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        written
            .and_then(|_| write!(self.file, "{number}"))
            .map_err(Error::system("write", self.path.display()))
    }
}

fn processes() -> Result<impl Iterator<Item = PathBuf>> {
    let entries = fs::read_dir("/proc").map_err(Error::system("read", "/proc"))?;
    let is_process = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    };
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_process))
}

/// What may not be looked at is no process of this user's.
fn namespace_of(process: &Path, number: u64) -> Option<File> {
    let file = File::open(process.join("ns/user")).ok()?;
    (file.metadata().ok()?.ino() == number).then_some(file)
}

/// Whether two descriptors mean one namespace.
pub(super) fn same(one: &File, other: &File) -> Result<bool> {
    let number = |file: &File| file.metadata().map_err(Error::system("look at", "a namespace"));
    Ok(number(one)?.ino() == number(other)?.ino())
}
