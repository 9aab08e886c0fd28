//! System calls that no library wraps: clone3(2) and mount_setattr(2).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Which side of a clone this is.
pub enum Side {
    Child,
    Parent { pidfd: OwnedFd },
}

/// Forks into new namespaces (`CLONE_NEW*`), with a pidfd for the parent.
///
/// # Safety
/// The calling process must have one thread: the child goes on with a copy of its memory, and a lock that another thread
/// held would stay locked for ever.
pub unsafe fn clone3(namespaces: u64) -> io::Result<Side> {
    let mut pidfd: i32 = -1;
    let arguments = CloneArguments {
        flags: namespaces | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArguments::default()
    };
    // SAFETY: the structure has the kernel's layout and lives through the call; without CLONE_VM the child has a stack of
    // its own. That there is one thread is the caller's promise.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        _ => {
            // SAFETY: the kernel has just made this descriptor for us alone.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Side::Parent { pidfd })
        }
    }
}

/// Sets and clears attributes (`MOUNT_ATTR_*`) of the mount at `mount`, of all mounts below it if `recursive`.
pub fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, set: u64, clear: u64, propagation: u64) -> io::Result<()> {
    let attributes = MountAttributes {
        set,
        clear,
        propagation,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: path and structure live through the call, and the structure has the kernel's layout.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `struct clone_args` of linux/sched.h, version 2.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}
