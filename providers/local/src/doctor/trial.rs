//! What can only be found out by doing it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
};
use rustix::mount::{fsmount, fsopen};

/// Mounts an overlay of empty folders, attached nowhere, as a container's root is mounted.
pub fn overlay(data: &Path) -> io::Result<()> {
    let scratch = Scratch::beside(data)?;
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, folder) in [("lowerdir+", "lower"), ("upperdir", "upper"), ("workdir", "work")] {
        let path = scratch.0.join(folder);
        fs::create_dir(&path)?;
        fsconfig_set_string(&context, key, path)?;
    }
    fsconfig_set_flag(&context, "userxattr")?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    Ok(())
}

/// A folder on the file system of another, gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn beside(folder: &Path) -> io::Result<Scratch> {
        let existing = super::existing(folder).ok_or(io::ErrorKind::NotFound)?;
        let path = existing.join(format!(".portolan-trial-{}", std::process::id()));
        fs::create_dir(&path).map(|()| Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}
