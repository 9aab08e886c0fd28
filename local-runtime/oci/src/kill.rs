//! `kill`: a signal to a container's first process, or to all its processes.

use std::os::fd::AsFd;

use crate::cgroup::{Cgroup, CgroupPath, Layout};
use crate::container::{Record, Status, Store};
use crate::error::{Error, Result, invalid};
use crate::sys;

/// Sends `signal` (its number). A container that has ended cannot be signalled, unless it is `all` that is left of it.
pub fn kill(store: &Store, id: &str, signal: i32, all: bool) -> Result<()> {
    let container = store.open(id)?;
    let record = container.record()?.ok_or_else(|| container.is(Status::Stopped))?;
    if all {
        return signal_all(&record, signal);
    }
    let init = record.init.open();
    let sent = match &init {
        Some(pidfd) => sys::send_signal(pidfd.as_fd(), signal).map_err(Error::system("signal", "the container"))?,
        None => false,
    };
    match sent {
        true => Ok(()),
        false => Err(container.is(Status::Stopped)),
    }
}

fn signal_all(record: &Record, signal: i32) -> Result<()> {
    let Some(path) = &record.cgroup else {
        return Err(invalid("a container without a cgroup does not know all its processes"));
    };
    Cgroup::open(&Layout::detect()?, &CgroupPath::parse(path)?)?.signal_all(signal)?;
    Ok(())
}

/// A signal by its name, with or without `SIG`, in any case, or by its number.
pub fn parse_signal(text: &str) -> Result<i32> {
    if let Ok(number) = text.parse::<i32>() {
        let known = (1..=libc::SIGRTMAX()).contains(&number);
        return known.then_some(number).ok_or_else(|| unknown(text));
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let found = NAMES.iter().find(|(known, _)| *known == name);
    found.map(|(_, number)| *number).ok_or_else(|| unknown(text))
}

fn unknown(text: &str) -> Error {
    invalid(format!("`{text}` is no signal"))
}

#[rustfmt::skip]
const NAMES: [(&str, i32); 31] = [
    ("HUP", libc::SIGHUP), ("INT", libc::SIGINT), ("QUIT", libc::SIGQUIT), ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP), ("ABRT", libc::SIGABRT), ("BUS", libc::SIGBUS), ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL), ("USR1", libc::SIGUSR1), ("SEGV", libc::SIGSEGV), ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE), ("ALRM", libc::SIGALRM), ("TERM", libc::SIGTERM), ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD), ("CONT", libc::SIGCONT), ("STOP", libc::SIGSTOP), ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN), ("TTOU", libc::SIGTTOU), ("URG", libc::SIGURG), ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ), ("VTALRM", libc::SIGVTALRM), ("PROF", libc::SIGPROF), ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO), ("PWR", libc::SIGPWR), ("SYS", libc::SIGSYS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        let cases = [
            ("TERM", Some(15), "a name"),
            ("sigkill", Some(9), "with SIG, in any case"),
            ("34", Some(34), "a number"),
            ("0", None, "no signal"),
            ("65", None, "beyond the last"),
            ("FOO", None, "no name"),
        ];
        for (text, expected, reason) in cases {
            assert_eq!(parse_signal(text).ok(), expected, "{text}: {reason}");
        }
    }
}
