//! System calls that no library wraps, or not as this program needs them.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Which side of a clone this is.
pub enum Side {
    Child,
    Parent { pid: i32, pidfd: OwnedFd },
}

/// linux/sched.h; the constant of libc is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks into new namespaces (`CLONE_NEW*`) and into a cgroup of the unified hierarchy, with a pidfd for the parent.
///
/// # Safety
/// The calling process must have one thread: the child goes on with a copy of its memory, and a lock that another thread
/// held would stay locked for ever.
pub unsafe fn clone3(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    let mut pidfd: i32 = -1;
    let arguments = CloneArguments {
        flags: namespaces | libc::CLONE_PIDFD as u64 | cgroup.map_or(0, |_| CLONE_INTO_CGROUP),
        cgroup: cgroup.map_or(0, |cgroup| cgroup.as_raw_fd() as u64),
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArguments::default()
    };
    // SAFETY: the structure has the kernel's layout and lives through the call; without CLONE_VM the child has a stack of
    // its own. That there is one thread is the caller's promise.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        pid => {
            // SAFETY: the kernel has just made this descriptor for us alone.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Side::Parent { pid: pid as i32, pidfd })
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

/// Moves this process into namespaces (`CLONE_NEW*`): those of a process, by its pidfd, or one by its own descriptor. For
/// a pid namespace it is the children that move.
pub fn enter_namespaces(of: BorrowedFd<'_>, kinds: u64) -> io::Result<()> {
    // SAFETY: setns(2) takes two numbers; no other thread shares what it changes, as this program has none.
    check(unsafe { libc::setns(of.as_raw_fd(), kinds as libc::c_int) })
}

/// Moves this process into new namespaces.
pub fn new_namespaces(kinds: u64) -> io::Result<()> {
    // SAFETY: unshare(2) takes a number; no other thread shares what it changes, as this program has none.
    check(unsafe { libc::unshare(kinds as libc::c_int) })
}

/// Which kind of namespace (`CLONE_NEW*`) a descriptor is of; an error if it is of none.
pub fn namespace_kind(namespace: BorrowedFd<'_>) -> io::Result<u64> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: the request takes no argument and touches no memory.
    let kind = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE as _) };
    check(kind).map(|()| kind as u32 as u64)
}

/// The user namespace that a namespace belongs to; EPERM if that is above this process's own.
pub fn namespace_owner(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    // SAFETY: the request takes no argument and touches no memory.
    let owner = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS as _) };
    // SAFETY: the kernel has just made this descriptor for us alone.
    check(owner).map(|()| unsafe { OwnedFd::from_raw_fd(owner) })
}

/// Who made a user namespace.
pub fn namespace_owner_id(namespace: BorrowedFd<'_>) -> io::Result<u32> {
    const NS_GET_OWNER_UID: libc::c_ulong = 0xb704;
    let mut owner: libc::uid_t = 0;
    // SAFETY: the request writes one user id, which lives through the call.
    let answer = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_OWNER_UID as _, &raw mut owner) };
    check(answer).map(|()| owner)
}

/// Brings the loopback device of this network namespace up, as it is in every container's.
pub fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: all zeros is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request reads an `ifreq`, which lives through the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) })
}

/// Every signal as it was at the start of a program: this one's parent may have had some ignored, and Rust ignores one.
pub fn reset_signals() -> io::Result<()> {
    // The kernel's own call: the C library keeps two signals to itself. All zeros is the default action.
    let default = [0_u64; 4];
    for signal in 1..=libc::SIGRTMAX() {
        let old = std::ptr::null_mut::<u64>();
        // SAFETY: the structure lives through the call. Some signals cannot be changed, and need not be.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, size_of::<u64>()) };
    }
    // SAFETY: the set lives through the calls.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        check(libc::sigprocmask(
            libc::SIG_SETMASK,
            &raw const none,
            std::ptr::null_mut(),
        ))
    }
}

/// Holds back every signal that can be, and answers a descriptor from which they are read instead.
pub fn divert_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set lives through the calls; the descriptor is new and ours alone.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut()))?;
        let fd = libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(fd)?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// The next signal that arrived at `signals`, if there is one.
pub fn next_signal(signals: BorrowedFd<'_>) -> Option<i32> {
    let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(signals, &mut info) {
        Ok(length) if length == info.len() => Some(i32::from_ne_bytes([info[0], info[1], info[2], info[3]])),
        _ => None,
    }
}

/// Sends a signal to the process that a pidfd means; false if it has ended.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<bool> {
    // SAFETY: takes numbers and a null pointer, by which the kernel fills in who sends.
    let answer = unsafe {
        let none = std::ptr::null::<libc::siginfo_t>();
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0)
    };
    match check(answer as libc::c_int) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sets a limit (`RLIMIT_*`), hard and soft.
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the structure lives through the call; 0 means this process, and the old limit is not asked for.
    check(unsafe { libc::prlimit64(0, resource as _, &raw const limit, std::ptr::null_mut()) })
}

/// Becomes the program at a path; answers only if that fails.
pub fn execute(path: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        let pointers = strings.iter().map(|one| one.as_ptr());
        pointers.chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both lists end in a null pointer, and every string outlives the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// The content of a file whose size nobody knows before, as those of /proc. The kernel makes it anew for each read, so
/// that few and long ones are best.
pub fn read_text(file: impl AsFd) -> io::Result<String> {
    const STEP: usize = 4096;
    let mut text = Vec::with_capacity(STEP);
    loop {
        text.reserve(STEP);
        if rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text))? == 0 {
            return String::from_utf8(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
        }
    }
}

/// Everything but the three standard streams closes on exec.
pub fn close_others_on_exec() -> io::Result<()> {
    // SAFETY: close_range takes numbers alone, and with CLOEXEC closes nothing that this process still uses.
    check(unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) })
}

fn check(answer: libc::c_int) -> io::Result<()> {
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
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
