//! A cgroup's directory, held by a descriptor: whatever happens to paths, its files are those that were meant.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir as Entries, FileType, Mode, OFlags, ResolveFlags};

/// An open directory of a cgroup file system.
#[derive(Debug)]
pub(super) struct Dir {
    fd: OwnedFd,
    /// For messages only.
    path: PathBuf,
}

const CGROUP: u64 = 0x0027_e0eb;
const CGROUP2: u64 = 0x6367_7270;

impl Dir {
    /// Opens a mount point, and makes sure that what is seen there is the cgroup file system with that device number.
    pub(super) fn mounted_at(path: &Path, device: u64) -> io::Result<Dir> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        let is_cgroup = [CGROUP, CGROUP2].contains(&(rustix::fs::fstatfs(&fd)?.f_type as u64));
        if !is_cgroup || rustix::fs::fstat(&fd)?.st_dev != device {
            return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
        }
        let path = path.to_owned();
        Ok(Dir { fd, path })
    }

    /// Opens a directory at or below this one.
    pub(super) fn open(&self, below: &str) -> io::Result<Dir> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let fd = rustix::fs::openat2(&self.fd, relative(below), flags, Mode::empty(), STAY)?;
        Ok(Dir {
            fd,
            path: self.path_of(below),
        })
    }

    /// Makes a directory below this one; false if it was there.
    pub(super) fn make(&self, below: &str) -> io::Result<bool> {
        match rustix::fs::mkdirat(&self.fd, below, Mode::from_raw_mode(0o755)) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes an empty directory below this one; success if it is gone already.
    pub(super) fn remove(&self, below: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, below, AtFlags::REMOVEDIR) {
            Err(errno) if errno != rustix::io::Errno::NOENT => Err(errno.into()),
            _ => Ok(()),
        }
    }

    /// The names of the cgroups directly in this one.
    pub(super) fn children(&self) -> io::Result<Vec<String>> {
        let mut children = Vec::new();
        for entry in Entries::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy();
            if entry.file_type() == FileType::Directory && name != "." && name != ".." {
                children.push(name.into_owned());
            }
        }
        Ok(children)
    }

    /// The content of a file.
    pub(super) fn read(&self, file: &str) -> io::Result<String> {
        crate::sys::read_text(self.open_file(file, OFlags::RDONLY)?)
    }

    /// Gives a file its new content in one call, as the kernel wants it.
    pub(super) fn write(&self, file: &str, value: &str) -> io::Result<()> {
        let fd = self.open_file(file, OFlags::WRONLY)?;
        rustix::io::write(&fd, value.as_bytes())?;
        Ok(())
    }

    pub(super) fn open_file(&self, file: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(rustix::fs::openat(&self.fd, file, flags, Mode::empty())?)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn path_of(&self, below: &str) -> PathBuf {
        if below.is_empty() {
            self.path.clone()
        } else {
            self.path.join(below)
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const STAY: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

fn relative(below: &str) -> &str {
    if below.is_empty() { "." } else { below }
}
