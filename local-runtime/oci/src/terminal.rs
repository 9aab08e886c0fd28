//! A terminal for a process in a container: made by the container's own devpts, its master handed out by a socket
//! (the OCI runtimes' `--console-socket`: one message with the descriptor).

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use oci_spec::runtime::Process;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, Uid};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::error::{Error, Result, invalid};

/// Connects before anything is started; a terminal without a socket, or the other way round, is refused.
pub(crate) fn console(process: &Process, socket: Option<&Path>) -> Result<Option<UnixStream>> {
    match (process.terminal().unwrap_or(false), socket) {
        (false, None) => Ok(None),
        (true, Some(path)) => UnixStream::connect(path)
            .map(Some)
            .map_err(Error::system("connect to", path.display())),
        (true, None) => Err(invalid("a terminal needs --console-socket")),
        (false, Some(_)) => Err(invalid("--console-socket needs a process with `terminal`")),
    }
}

/// Inside the container: a new terminal, whose master goes to `console`.
pub(crate) fn open(console: &UnixStream, process: &Process) -> Result<OwnedFd> {
    let failed = || Error::system("open", "a terminal");
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master =
        rustix::fs::openat2(CWD, "/dev/pts/ptmx", flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).map_err(failed())?;
    // Anything else under that name would be the image's (CVE-2025-52565).
    const DEVPTS: u64 = 0x1cd1;
    if rustix::fs::fstatfs(&master).map_err(failed())?.f_type as u64 != DEVPTS {
        return Err(invalid("a terminal needs a devpts at /dev/pts"));
    }
    let terminal = peer(&master).map_err(Error::system("open", "a terminal"))?;
    // The group is devpts' own choice (`gid=5`) and stays.
    let owner = Uid::from_raw(process.user().uid());
    rustix::fs::fchown(&terminal, Some(owner), None).map_err(failed())?;
    if let Some(size) = process.console_size() {
        resize(&terminal, size.height() as u16, size.width() as u16).map_err(Error::system("size", "a terminal"))?;
    }
    send(console, &master).map_err(Error::system("send", "the terminal's master"))?;
    Ok(terminal)
}

/// Makes it the session's terminal and the standard streams.
pub(crate) fn take(terminal: &OwnedFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(terminal).map_err(Error::system("take", "the terminal"))?;
    for stream in 0..3 {
        // SAFETY: the standard streams belong to the process to come; nothing here writes to them meanwhile.
        if unsafe { libc::dup2(terminal.as_raw_fd(), stream) } < 0 {
            return Err(Error::system("take", "the terminal")(io::Error::last_os_error()));
        }
    }
    Ok(())
}

/// Unlocks the terminal and opens its other side without a path, so that no mount over /dev/pts can stand in for it.
fn peer(master: &OwnedFd) -> io::Result<OwnedFd> {
    let unlocked: libc::c_int = 0;
    // SAFETY: the request reads one int, which lives through the call.
    if unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the request takes a number and answers a descriptor that is ours alone.
    match unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: as above.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

fn resize(terminal: &OwnedFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the request reads the structure, which lives through the call.
    match unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn send(console: &UnixStream, master: &OwnedFd) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [master.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(
        console,
        &[IoSlice::new(b"/dev/ptmx")],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}
