//! This program's own file, which a container must never get to write (CVE-2019-5736).
//!
//! An image may name `/proc/self/exe` as its program, as a script's interpreter or as a loader. Whoever executes that is
//! still this program at that moment, so the container's process comes to hold our file, and could write to it once
//! nobody runs it. Therefore this program runs from a read-only mount of its file that is attached nowhere: no path leads
//! to it, and no process in a container can change it.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::StatVfsMountFlags;
use rustix::mount::OpenTreeFlags;
use rustix::process::DumpableBehavior;

use crate::error::{Error, Result};
use crate::sys;

const OWN: &str = "/proc/self/exe";

/// To be called first of all by a program that makes containers or enters them; may execute the program again. Also
/// hides this process, and by that its children, from whoever has the same user in a container.
pub fn protect() -> Result<()> {
    if !is_read_only()? {
        execute_read_only()?;
    }
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Error::system("hide", "this process"))
}

fn is_read_only() -> Result<bool> {
    let own = File::open(OWN).map_err(Error::system("open", "this program"))?;
    let found = rustix::fs::fstatvfs(&own).map_err(Error::system("look at", "this program"))?;
    Ok(found.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Comes back only with an error.
fn execute_read_only() -> Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let copy = rustix::mount::open_tree(rustix::fs::CWD, Path::new(OWN), flags)
        .map_err(Error::system("clone the mount of", "this program"))?;
    sys::mount_setattr(copy.as_fd(), false, libc::MOUNT_ATTR_RDONLY, 0, libc::MS_PRIVATE)
        .map_err(Error::system("make read-only", "this program"))?;
    let arguments: Vec<CString> = std::env::args_os()
        .filter_map(|word| CString::new(word.into_vec()).ok())
        .collect();
    let environment = std::env::vars_os().map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'='));
    let environment: Vec<CString> = environment.filter_map(|entry| CString::new(entry).ok()).collect();
    let failed = sys::execute(copy.as_fd(), &arguments, &environment);
    Err(Error::system("execute", "this program again")(failed))
}
