//! This program's own file, which a container must never get to write (CVE-2019-5736).
//!
//! An image may name `/proc/self/exe` as its program, as a script's interpreter or as a loader. Whoever executes that is
//! still this program at that moment, so the container's process comes to hold our file, and could write to it once
//! nobody runs it. Therefore this program runs from a read-only mount of its file that is attached nowhere: no path leads
//! to it, and no process in a container can change it. It starts itself so, in `bin/portolan-runtime/entry.rs`.

use std::fs::File;
use std::os::fd::{AsRawFd, IntoRawFd};

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::process::DumpableBehavior;

use crate::error::{Error, Result, invalid};

/// To be called first of all by a program that makes containers or enters them: refuses to go on from a file that could be
/// written. Also hides this process, and by that its children, from whoever has the same user in a container.
pub fn protect() -> Result<()> {
    let own = File::open("/proc/self/exe").map_err(Error::system("open", "this program"))?;
    let found = rustix::fs::fstatvfs(&own).map_err(Error::system("look at", "this program"))?;
    if !found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(invalid(
            "this program could not start itself from a read-only mount of its file",
        ));
    }
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Error::system("hide", "this process"))
}

/// Standard streams that the caller left closed become the null device: else a file of ours would be opened under such a
/// number, and would be a stream of the container's.
pub fn open_streams() -> Result<()> {
    loop {
        // Without O_CLOEXEC: the container's program is to have them.
        let null =
            rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()).map_err(Error::system("open", "/dev/null"))?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        _ = null.into_raw_fd();
    }
}
