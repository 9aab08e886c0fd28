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

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{LinuxSeccompAction, LinuxSeccompBuilder, LinuxSyscallBuilder};

    use super::*;
    use crate::capabilities::{CapSet, set_no_new_privs};
    use crate::seccomp::{compile, default_profile};

    /// A filter holds for a thread, so that each test loads its own in one that ends with it.
    fn under<T: Send + 'static>(program: Program, check: impl FnOnce(Option<OwnedFd>) -> T + Send + 'static) -> T {
        let thread = std::thread::spawn(move || {
            set_no_new_privs().unwrap();
            check(install(&program).unwrap())
        });
        thread.join().unwrap()
    }

    fn errno_of(call: libc::c_long, args: [libc::c_long; 3]) -> i32 {
        // SAFETY: only calls that a filter refuses, or that take plain numbers, are made here.
        let answer = unsafe { libc::syscall(call, args[0], args[1], args[2]) };
        if answer < 0 {
            io::Error::last_os_error().raw_os_error().unwrap()
        } else {
            0
        }
    }

    #[test]
    fn the_kernel_enforces_the_default_profile() {
        let cases = [
            (libc::SYS_getpid, [0; 3], 0, "ordinary calls go through"),
            (
                libc::SYS_unshare,
                [0; 3],
                libc::EPERM,
                "calls that need a capability are refused",
            ),
            (libc::SYS_clone3, [0; 3], libc::ENOSYS, "clone3 seems not to exist"),
            (
                libc::SYS_io_uring_setup,
                [0; 3],
                libc::EPERM,
                "io_uring is not in the profile",
            ),
            (
                libc::SYS_socket,
                [libc::AF_VSOCK.into(), libc::SOCK_STREAM.into(), 0],
                libc::EPERM,
                "no vsock",
            ),
            (
                libc::SYS_socket,
                [libc::AF_UNIX.into(), 99, 0],
                libc::EINVAL,
                "Unix sockets reach the kernel",
            ),
            (
                libc::SYS_personality,
                [0xffff_ffff, 0, 0],
                0,
                "the personality may be asked for",
            ),
            (
                libc::SYS_personality,
                [0x040_0000, 0, 0],
                libc::EPERM,
                "and not have READ_IMPLIES_EXEC",
            ),
            (100_000, [0; 3], libc::ENOSYS, "calls of the future do not exist"),
        ];
        let program = compile(&default_profile(CapSet::EMPTY)).unwrap();
        let answers = under(program, move |_| cases.map(|(call, args, _, _)| errno_of(call, args)));
        for ((call, _, expected, reason), errno) in cases.into_iter().zip(answers) {
            assert_eq!(errno, expected, "call {call}: {reason}");
        }
    }

    #[test]
    fn a_profile_that_notifies_answers_a_listener() {
        let entry = LinuxSyscallBuilder::default()
            .names(["swapon".to_owned()])
            .action(LinuxSeccompAction::ScmpActNotify);
        let profile = LinuxSeccompBuilder::default()
            .default_action(LinuxSeccompAction::ScmpActAllow)
            .syscalls([entry.build().unwrap()])
            .build()
            .unwrap();
        let program = compile(&profile).unwrap();
        assert!(program.wants_listener());
        assert!(under(program, |listener| listener.is_some()));
    }
}
