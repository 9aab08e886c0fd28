//! Loading a compiled filter into the calling thread. Nothing here allocates: it runs in the child, last of all.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use super::{Instruction, Program};

/// Loads `program` by seccomp(2). Needs no_new_privs, or CAP_SYS_ADMIN in the thread's user namespace.
///
/// Returns the descriptor to listen on when a rule says NOTIFY; it is close-on-exec.
pub fn install(program: &Program) -> io::Result<Option<OwnedFd>> {
    let filter = libc::sock_fprog {
        len: program
            .instructions
            .len()
            .try_into()
            .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?,
        filter: program.instructions.as_ptr().cast_mut().cast(),
    };
    const { assert!(size_of::<Instruction>() == size_of::<libc::sock_filter>()) };
    // SAFETY: `filter` points at `len` instructions of the kernel's layout, which the kernel only reads.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::c_ulong::from(program.flags),
            &filter,
        )
    };
    match answer {
        0 => Ok(None),
        // SAFETY: with SECCOMP_FILTER_FLAG_NEW_LISTENER a positive answer is a descriptor that is ours alone.
        fd if fd > 0 && program.wants_listener() => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) })),
        // With SECCOMP_FILTER_FLAG_TSYNC it is the thread that could not follow.
        thread if thread > 0 => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        _ => Err(io::Error::last_os_error()),
    }
}
