//! Which process is meant. A number alone may be a stranger's by now: the kernel gives numbers out again, and after a
//! reboot starts anew. So a process is its number, when it started, and in which life of the machine.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, invalid};
use crate::sys::read_text;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    pub pid: i32,
    /// In ticks since the machine started (proc_pid_stat(5), field 22).
    start_time: u64,
    boot: String,
}

impl Identity {
    /// Of a child that has not been waited for, so that its number is still its own.
    pub fn of_child(pid: i32) -> Result<Identity> {
        let (start_time, _) = stat(pid).map_err(Error::system("look at", "the new process"))?;
        let boot = boot().map_err(Error::system("read", "the machine's boot id"))?;
        Ok(Identity { pid, start_time, boot })
    }

    /// A descriptor of the process; `None` if it has ended, whether or not its parent knows.
    pub fn open(&self) -> Option<OwnedFd> {
        let pidfd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // The order matters: who is found now with our start time was there before the descriptor was made.
        let (start_time, state) = stat(self.pid).ok()?;
        let lives = start_time == self.start_time && !matches!(state, 'Z' | 'X');
        (lives && boot().ok()? == self.boot).then_some(pidfd)
    }
}

/// Start time and state. The name before them may hold anything, a `)` too.
fn stat(pid: i32) -> io::Result<(u64, char)> {
    let text = read_text(File::open(format!("/proc/{pid}/stat"))?)?;
    let fields = text.rsplit_once(") ").map(|(_, rest)| rest);
    let parsed = fields.and_then(|fields| {
        let start_time = fields.split(' ').nth(19)?.parse().ok()?;
        Some((start_time, fields.chars().next()?))
    });
    parsed.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn boot() -> io::Result<String> {
    let id = File::open("/proc/sys/kernel/random/boot_id").and_then(read_text)?;
    Ok(id.trim().to_owned())
}

/// Waits until the process has ended, without taking its status; false if it did not within `limit`.
pub(crate) fn ended_within(pidfd: BorrowedFd<'_>, limit: Duration) -> bool {
    let limit = limit.try_into().ok();
    loop {
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], limit.as_ref()) {
            Err(rustix::io::Errno::INTR) => continue,
            answer => return answer.is_ok_and(|ready| ready > 0),
        }
    }
}

/// The exit code of a child that has ended or will: its own, or 128 + N after signal N.
pub(crate) fn exit_code(pidfd: BorrowedFd<'_>) -> Result<u8> {
    let ended = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
        .map_err(Error::system("wait for", "the process"))?
        .ok_or_else(|| invalid("the process ended without a status"))?;
    let signalled = ended.terminating_signal().map(|signal| 128 + signal);
    Ok(ended.exit_status().or(signalled).unwrap_or(255) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_used_again_is_a_stranger() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let identity = Identity::of_child(child.id() as i32).unwrap();
        let cases = [
            (identity.clone(), true, "the process itself"),
            (
                Identity {
                    start_time: identity.start_time + 1,
                    ..identity.clone()
                },
                false,
                "one that started later under the same number",
            ),
            (
                Identity {
                    boot: "earlier".into(),
                    ..identity.clone()
                },
                false,
                "one of before a reboot",
            ),
        ];
        for (identity, found, reason) in cases {
            assert_eq!(identity.open().is_some(), found, "{reason}");
        }
        child.kill().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        assert!(ended_within(pidfd.as_fd(), Duration::from_secs(5)));
        assert!(
            identity.open().is_none(),
            "it has ended, though nobody waited for it yet"
        );
        child.wait().unwrap();
    }
}
