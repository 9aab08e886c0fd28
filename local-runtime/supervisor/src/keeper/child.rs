//! The supervisor as the keeper's child: started, seen to end, started again.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::time::Instant;

use super::protocol::Reaped;
use crate::launch;
use crate::machine::Process;
use crate::process::start_ticks;

/// The first end of a supervisor costs no time; from the second in a row on this is waited for, each time twice as long,
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// up to this for one that did get as far as to connect,
const LONGEST_AFTER_WORK: Duration = Duration::from_secs(1);
/// and up to this for one that did not, and probably cannot.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A supervisor that has been connected for so long has done what it is there for: the ends before it are forgotten.
const FORGIVEN_AFTER: Duration = Duration::from_secs(1);

/// An app has no more containers that all end while no supervisor is there.
const MOST_STRANGERS: usize = 1024;

/// How a supervisor has ended that never connected.
pub enum Ended {
    /// Another one serves the app.
    Well,
    /// Its last words are in the log.
    Badly,
}

/// Starts supervisors with the arguments that this process was given.
pub struct Starter {
    arguments: Vec<OsString>,
    /// Of open files, as this process began.
    limit: Rlimit,
    pid: Option<Pid>,
    joined: bool,
    ends: u32,
    since: Instant,
    start_at: Option<Instant>,
    strangers: VecDeque<Reaped>,
}

impl Starter {
    pub fn new(arguments: Vec<OsString>, limit: Rlimit) -> Starter {
        Starter {
            arguments,
            limit,
            pid: None,
            joined: false,
            ends: 0,
            since: Instant::now(),
            start_at: None,
            strangers: VecDeque::new(),
        }
    }

    /// Whatever there is to say is said before: after a failure the last line of the log is to be the supervisor's own.
    pub fn start(&mut self) -> io::Result<()> {
        if self.ends > 0 {
            let times = self.ends;
            tracing::warn!(times, "the supervisor has ended unasked: another one is started");
        }
        self.start_at = None;
        self.joined = false;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("portolan-supervisor").args(&self.arguments);
        // The first one says on it that it is there; for later ones it is the null device.
        command.stdin(Stdio::null()).stdout(Stdio::inherit());
        let limit = self.limit;
        // SAFETY: between fork and exec there is one system call on a value that was copied in: no allocation, no lock.
        unsafe { command.pre_exec(move || Ok(setrlimit(Resource::Nofile, limit)?)) };
        self.pid = Some(Pid::from_raw(command.spawn()?.id() as i32));
        launch::forget_output();
        self.since = Instant::now();
        Ok(())
    }

    /// The supervisor has ended, or its connection has, without a word: another one will be started at the time told.
    pub fn lost(&mut self) {
        if self.joined && self.since.elapsed() > FORGIVEN_AFTER {
            self.ends = 0;
        }
        let longest = if self.joined { LONGEST_AFTER_WORK } else { LONGEST_PAUSE };
        self.start_at = Some(Instant::now() + pause_after(self.ends).min(longest));
        self.ends += 1;
    }

    /// At once, unless one is on its way.
    pub fn hurry(&mut self) {
        if self.pid.is_none() || self.start_at.is_some() {
            self.start_at = Some(Instant::now());
        }
    }

    /// One has connected.
    pub fn joined(&mut self) {
        self.start_at = None;
        self.since = Instant::now();
        self.joined = true;
    }

    /// Returns when one is to be started; never, if none is.
    pub async fn due(&self) {
        match self.start_at {
            None => std::future::pending().await,
            // A timer rounds up to the next millisecond, which a first start would wait for.
            Some(at) if at <= Instant::now() => {}
            Some(at) => tokio::time::sleep_until(at).await,
        }
    }

    /// Every child that has ended is reaped: containers too come to this process, the subreaper, when a supervisor is
    /// killed. Tells the end of a supervisor that had not connected; of others the connection tells it.
    pub fn reap(&mut self) -> Option<Ended> {
        let mut own = None;
        while let Some(reaped) = reap_one() {
            if self.pid != Some(Pid::from_raw(reaped.process.pid as i32)) {
                self.note(reaped);
                continue;
            }
            self.pid = None;
            own = (!self.joined).then_some(match reaped.code {
                0 => Ended::Well,
                _ => Ended::Badly,
            });
        }
        own
    }

    /// The last of the others that have ended.
    pub fn strangers(&self) -> Vec<Reaped> {
        self.strangers.iter().copied().collect()
    }

    fn note(&mut self, reaped: Reaped) {
        if self.strangers.len() == MOST_STRANGERS {
            self.strangers.pop_front();
        }
        self.strangers.push_back(reaped);
    }
}

/// `None` when no child has ended.
fn reap_one() -> Option<Reaped> {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let (pid, code) = match waitid(Id::All, look) {
        Ok(WaitStatus::Exited(pid, code)) => (pid, code),
        Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
        _ => return None,
    };
    let (raw, pid) = (pid.as_raw() as u32, Id::Pid(pid));
    let start_ticks = start_ticks(raw).unwrap_or_default();
    waitid(pid, WaitPidFlag::WEXITED).ok()?;
    let process = Process { pid: raw, start_ticks };
    Some(Reaped { process, code })
}

fn pause_after(ends: u32) -> Duration {
    match ends {
        0 => Duration::ZERO,
        _ => FIRST_PAUSE * 2u32.saturating_pow(ends - 1).min(1 << 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_started_at_once_and_later_ones_wait() {
        let millis: Vec<u128> = [0, 1, 2, 3, 99].map(|ends| pause_after(ends).as_millis()).into();
        assert_eq!(millis, [0, 250, 500, 1000, 256_000]);
    }
}
