//! /dev: the nodes and links that every container has (OCI runtime-spec, config-linux.md "Default Devices").

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, FileType, Mode, OFlags, makedev};
use rustix::io::Errno;

use super::{attach, clone_tree};
use crate::error::{Error, Result};

const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Fills `dev`, the root of the file system that was just made for it: nothing that the image brought is met here.
/// Answers the null device.
pub fn populate(dev: BorrowedFd<'_>) -> Result<OwnedFd> {
    for (name, major, minor) in NODES {
        let made = fs::mknodat(
            dev,
            name,
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            makedev(major, minor),
        );
        // Nobody makes devices in a user namespace: the host's own are shown instead, with owner and mode as they are.
        if made == Err(Errno::PERM) {
            show(dev, name)?;
            continue;
        }
        made.map_err(Error::system("make the device", name))?;
    }
    for (name, target) in LINKS {
        fs::symlinkat(target, dev, name).map_err(Error::system("make the link", name))?;
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(dev, "null", flags, Mode::empty()).map_err(Error::system("open", "the null device"))
}

fn show(dev: BorrowedFd<'_>, name: &str) -> Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let point = fs::openat(dev, name, flags, Mode::from_raw_mode(0o666)).map_err(Error::system("make", name))?;
    let host = Path::new("/dev").join(name);
    attach(clone_tree(&host, false)?.as_fd(), point.as_fd(), &host)
}
