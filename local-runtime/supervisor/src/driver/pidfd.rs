//! One process by a descriptor: alive, signalled, waited for. A pid alone may name another process tomorrow.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::machine::Process;
use crate::process::start_ticks;

#[derive(Clone)]
pub struct Pidfd(Arc<OwnedFd>);

impl Pidfd {
    /// Errors: ESRCH if the process is gone, or another one has its pid now.
    pub fn open(process: Process) -> io::Result<Pidfd> {
        let pidfd = Pidfd::open_pid(process.pid)?;
        // Read after the open: if it is still the same now, the descriptor is of that one.
        if start_ticks(process.pid)? == process.start_ticks {
            Ok(pidfd)
        } else {
            Err(Errno::ESRCH.into())
        }
    }

    /// A process that cannot have been reaped, being a child of ours, and what it is known by from now on.
    pub fn open_child(pid: u32) -> io::Result<(Pidfd, Process)> {
        let pidfd = Pidfd::open_pid(pid)?;
        Ok((
            pidfd,
            Process {
                pid,
                start_ticks: start_ticks(pid)?,
            },
        ))
    }

    fn open_pid(pid: u32) -> io::Result<Pidfd> {
        let pid = Pid::from_raw(pid as i32).ok_or(Errno::ESRCH)?;
        Ok(Pidfd(Arc::new(pidfd_open(pid, PidfdFlags::NONBLOCK)?)))
    }

    /// A process that has ended is success.
    pub fn signal(&self, number: i32) -> io::Result<()> {
        let signal = Signal::from_named_raw(number).ok_or(Errno::EINVAL)?;
        match pidfd_send_signal(&self.0, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => other.map_err(io::Error::from),
        }
    }

    /// Waits for the end, reaps the process if it is a child of ours, and tells its code: 128 + N after signal N.
    /// `None` if it is not ours and the kernel does not tell.
    pub async fn wait(&self) -> io::Result<Option<i32>> {
        // SAFETY: the descriptor is owned by the `Arc` that is handed over, so it stays open and the same.
        let readable = unsafe { AsyncFd::register_with_interest(self.0.clone(), Interest::READABLE) }?;
        drop(readable.readable().await?);
        match waitid(Id::PIDFd(self.0.as_fd()), WaitPidFlag::WEXITED) {
            Ok(WaitStatus::Exited(_, code)) => Ok(Some(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => Ok(Some(128 + signal as i32)),
            Ok(_) => Ok(None),
            Err(Errno::ECHILD) => Ok(self.code_of_foreign().await),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The kernel knows the code once the parent has reaped the process, which takes it a moment.
    async fn code_of_foreign(&self) -> Option<i32> {
        for _ in 0..20 {
            if let Some(status) = exit_info::exit_status(&self.0) {
                return Some(if status & 0x7f == 0 {
                    (status >> 8) & 0xff
                } else {
                    128 + (status & 0x7f)
                });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }
}

mod exit_info {
    //! PIDFD_GET_INFO (linux/pidfd.h, since 6.13; exit codes since 6.15).

    use std::os::fd::{AsRawFd, OwnedFd};

    const PIDFD_INFO_EXIT: u64 = 1 << 3;

    /// `struct pidfd_info` in its first published size, 64 bytes.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup_id: u64,
        /// pid, tgid, ppid, then real, effective, saved and file system ids.
        ids: [u32; 11],
        exit_code: i32,
    }

    nix::ioctl_readwrite!(pidfd_get_info, 0xff, 11, Info);

    /// The wait status, if the kernel has it.
    pub fn exit_status(pidfd: &OwnedFd) -> Option<i32> {
        let mut info = Info {
            mask: PIDFD_INFO_EXIT,
            ..Info::default()
        };
        // SAFETY: the kernel writes at most as many bytes as the request number tells it, the size of `Info`, which
        // lives on this stack and has no invalid bit patterns.
        let asked = unsafe { pidfd_get_info(pidfd.as_raw_fd(), &mut info) };
        (asked.is_ok() && info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code)
    }
}

#[cfg(test)]
// The pidfd under test is what waits for them.
#[allow(clippy::zombie_processes)]
mod tests {
    use super::*;
    use std::process::Command;

    #[tokio::test]
    async fn codes_of_children_and_identity_of_strangers() {
        let child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let (pidfd, process) = Pidfd::open_child(child.id()).unwrap();
        assert_eq!(pidfd.wait().await.unwrap(), Some(7));
        assert!(Pidfd::open(process).is_err(), "a pid that is gone");
        let own = std::process::id();
        let other = Process {
            pid: own,
            start_ticks: start_ticks(own).unwrap() + 1,
        };
        assert!(
            Pidfd::open(other).is_err(),
            "the same pid, but of a process that started at another time"
        );
    }

    #[tokio::test]
    async fn a_signal_ends_as_128_and_its_number() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let (pidfd, _) = Pidfd::open_child(child.id()).unwrap();
        pidfd.signal(9).unwrap();
        assert_eq!(pidfd.wait().await.unwrap(), Some(137));
        pidfd.signal(9).unwrap();
    }
}
