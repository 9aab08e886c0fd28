//! `run`: create, start, wait, delete, in the foreground.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};

use crate::container::Store;
use crate::create::{Options, Starter, make};
use crate::delete::{clear, destroy};
use crate::error::{Error, Result};
use crate::identity::exit_code;
use crate::start::go;
use crate::sys;

/// Runs a container to its end and answers its exit code, 128 + N after signal N; nothing of it is left then. Signals
/// that this process gets go on to the container. The calling process must have one thread.
pub fn run(store: &Store, id: &str, options: &Options) -> Result<u8> {
    // Before anything is started: a signal that comes early is not lost, and none ends this process half way.
    let signals = sys::divert_signals().map_err(Error::system("divert", "signals"))?;
    let (container, made) = make(store, id, options, Starter::Maker)?;
    if let Err(error) = go(made.start) {
        _ = destroy(container);
        return Err(error);
    }
    // Other verbs may work on the container while it runs.
    container.pause_lock()?;
    let code = wait(made.init.as_fd(), signals.as_fd());
    match container.resume_lock()? {
        Some(container) if code.is_ok() => clear(container, made.cgroup)?,
        Some(container) => destroy(container)?,
        // Somebody else deleted it, which is what ended it.
        None => {}
    }
    code
}

/// Passes signals on until the process has ended. A pidfd becomes readable then; nothing is lost if it has already.
pub(crate) fn wait(process: BorrowedFd<'_>, signals: BorrowedFd<'_>) -> Result<u8> {
    loop {
        let mut watched = [
            PollFd::new(&process, PollFlags::IN),
            PollFd::new(&signals, PollFlags::IN),
        ];
        match poll(&mut watched, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::system("wait for", "the process")(error)),
        }
        if watched[0].revents().contains(PollFlags::IN) {
            return exit_code(process);
        }
        while let Some(signal) = sys::next_signal(signals) {
            // Children of this process are its own affair.
            if signal != libc::SIGCHLD {
                sys::send_signal(process, signal).map_err(Error::system("signal", "the process"))?;
            }
        }
    }
}
