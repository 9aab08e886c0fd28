//! Starting a supervisor that is not there: exactly one per app, whoever asks, however often.

use std::ffi::OsString;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use rustix::event::{PollFd, PollFlags, poll};

use crate::balance::HostSockets;
use crate::client::Client;
use crate::driver::{Paths, Settings};
use crate::error::{ClientError, LaunchError};
use crate::outside;

/// The supervisor's own log, in its runtime directory.
pub const LOG_FILE: &str = "supervisor.log";

/// A supervisor that takes over many containers may need some seconds before it answers.
const PATIENCE: Duration = Duration::from_secs(20);
/// An ending supervisor holds the lock for a moment: the start is tried again after this.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// Everything that a supervisor is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program `portolan-supervisor`.
    pub binary: PathBuf,
    /// The program `portolan-runtime`.
    pub runtime: PathBuf,
    /// `NAMESPACE/NAME`.
    pub app: String,
    /// Sockets, bundles and fifos: short-lived, best on a tmpfs. Gone after the last object. At most 80 bytes long.
    pub run_dir: PathBuf,
    /// `state.json`, logs and the containers' writable layers: needs a file system that overlayfs can write to.
    pub state_dir: PathBuf,
    /// Volumes and job records: what outlives the app.
    pub data_dir: PathBuf,
    /// The socket of the process that makes listening sockets of the host, where the app's processes are in another
    /// network namespace.
    pub port_helper: Option<PathBuf>,
}

impl Launch {
    fn arguments(&self) -> Vec<OsString> {
        let paths = Paths {
            run: self.run_dir.clone(),
            state: self.state_dir.clone(),
            data: self.data_dir.clone(),
        };
        let mut settings = Settings::new(self.app.clone(), paths, self.runtime.clone());
        if let Some(helper) = &self.port_helper {
            settings.host = HostSockets::Helper(helper.clone());
        }
        settings.arguments()
    }
}

/// Connects to the app's supervisor, starting it first if none answers.
///
/// Safe to call at once from several processes: the supervisors that were started in vain find the lock taken and end.
/// A stale socket or a pid in use again does not matter, for neither is trusted. One of an older program gives way to ours: its
/// containers are taken over, its connections end. Errors: see [`LaunchError`].
pub async fn ensure_running(launch: &Launch) -> Result<Client, LaunchError> {
    let begun = Instant::now();
    let mut started: Option<Instant> = None;
    loop {
        match Client::connect(&launch.run_dir).await {
            Ok(client) if is_older(&client.welcome().program_version) => end_older(client).await,
            Ok(client) => return Ok(client),
            Err(ClientError::NotRunning { .. } | ClientError::Closed | ClientError::Receive { .. }) => {}
            Err(other) => return Err(LaunchError::Speak(other)),
        }
        if begun.elapsed() > PATIENCE {
            return Err(LaunchError::Silent {
                seconds: PATIENCE.as_secs(),
            });
        }
        if started.is_none_or(|at| at.elapsed() > TRY_AGAIN) {
            start(launch).await?;
            started = Some(Instant::now());
            continue;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// By the numbers of `MAJOR.MINOR.PATCH`; what is not of that form is left alone.
fn is_older(other: &str) -> bool {
    let numbers = |version: &str| {
        let parts = version.split('.').map(|part| part.parse::<u32>().ok());
        parts.collect::<Option<Vec<u32>>>()
    };
    matches!((numbers(other), numbers(env!("CARGO_PKG_VERSION"))), (Some(theirs), Some(own)) if theirs < own)
}

/// Tells it to hand over, by the signal that every version knows; its keeper ends with it.
async fn end_older(client: Client) {
    let pid = nix::unistd::Pid::from_raw(client.welcome().pid as i32);
    // One that has ended meanwhile is as good.
    _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    client.closed().await;
}

/// Starts the program, which goes on as two: one ends when the supervisor listens or has failed, the other is the keeper,
/// which starts the supervisor. So both are no children of ours: they stay no zombies here, and end with nobody's terminal.
async fn start(launch: &Launch) -> Result<(), LaunchError> {
    let mut command = tokio::process::Command::new(&launch.binary);
    command
        .args(launch.arguments())
        .arg("--keep")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let failed = |source| LaunchError::Start {
        binary: launch.binary.clone(),
        source,
    };
    let status = command.status().await.map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    Err(LaunchError::Ended {
        report: last_line(&launch.run_dir.join(LOG_FILE)).unwrap_or_else(|| status.to_string()),
    })
}

/// As whom [`detach`] returns.
pub enum Detached {
    /// The app's keeper, in the background: a process of its own.
    Keeper,
    /// The one who was called, once the supervisor listens.
    Caller,
    /// The same, when there is no supervisor: the log says why.
    Failed,
}

/// What the program does first with `--keep`: goes on as a keeper, and waits beside it until the supervisor listens.
///
/// It hears of that over the keeper's standard output, which the keeper hands on to the first supervisor. To be called while
/// the process has one thread.
pub fn detach(arguments: &[OsString], settings: &Settings) -> std::io::Result<Detached> {
    let run_dir = &settings.paths.run;
    crate::storage::create_folder(run_dir).map_err(std::io::Error::other)?;
    let log = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(run_dir.join(LOG_FILE))?;
    let mut begun_outside = None;
    if let HostSockets::Helper(socket) = &settings.host
        && outside::enter(socket, run_dir, || outside::start(arguments, &log))?
    {
        begun_outside = Some(socket);
    }
    let (mut ready, report) = std::io::pipe()?;
    // SAFETY: there is no other thread whose locks the child could find taken; a second start of the program would cost
    // half a millisecond of each first `up`.
    let keeper = match unsafe { fork() }? {
        ForkResult::Child => {
            stand_apart(report, log)?;
            return Ok(Detached::Keeper);
        }
        ForkResult::Parent { child } => child,
    };
    // Our own copy of the other end: it closes when nobody is left to speak.
    drop(report);
    let begun = Instant::now();
    if says_ready(&mut ready)? {
        return Ok(Detached::Caller);
    }
    // The first supervisor is gone. The keeper may be starting another one, which says nothing.
    let socket = crate::protocol::socket_path(run_dir);
    while begun.elapsed() < PATIENCE {
        if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
            return Ok(Detached::Caller);
        }
        match end_of(keeper)? {
            None => std::thread::sleep(Duration::from_millis(2)),
            Some(true) => return Ok(Detached::Caller),
            Some(false) => {
                begun_outside.into_iter().for_each(|socket| outside::end(socket));
                return Ok(Detached::Failed);
            }
        }
    }
    Ok(Detached::Caller)
}

/// Nothing of the caller's is held: neither its streams nor its folder.
fn stand_apart(output: std::io::PipeWriter, log: std::fs::File) -> std::io::Result<()> {
    nix::unistd::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    nix::unistd::dup2_stdout(output)?;
    nix::unistd::dup2_stderr(log)?;
    std::env::set_current_dir("/")
}

/// Whether a child has ended, and then whether well.
fn end_of(child: Pid) -> std::io::Result<Option<bool>> {
    Ok(match waitpid(child, Some(WaitPidFlag::WNOHANG))? {
        WaitStatus::StillAlive => None,
        status => Some(matches!(status, WaitStatus::Exited(_, 0))),
    })
}

/// False if it has closed without a word, or when patience is at its end.
fn says_ready(ready: &mut std::io::PipeReader) -> std::io::Result<bool> {
    let patience = PATIENCE.try_into().expect("seconds fit");
    let heard = poll(&mut [PollFd::new(&ready, PollFlags::IN)], Some(&patience))?;
    Ok(heard > 0 && ready.read(&mut [0])? > 0)
}

/// Says to the one who waits in [`detach`], if there is one, that the supervisor listens.
pub(crate) fn tell_ready() {
    let mut output = std::io::stdout();
    // Nobody may be there to hear it.
    _ = output.write_all(b"\n").and_then(|()| output.flush());
    forget_output();
}

/// Nothing is said on standard output from here on, and whoever waits for its end may know.
pub(crate) fn forget_output() {
    if let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
        _ = nix::unistd::dup2_stdout(null);
    }
}

fn last_line(path: &Path) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(4096))).ok()?;
    let mut bytes = vec![];
    file.read_to_end(&mut bytes).ok()?;
    String::from_utf8_lossy(&bytes)
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_older_gives_way() {
        for (reason, version, older) in [
            ("older", "0.0.9", true),
            ("the very same", env!("CARGO_PKG_VERSION"), false),
            ("newer", "999.0.0", false),
            ("of another form", "0.0.1-rc1", false),
        ] {
            assert_eq!(is_older(version), older, "{reason}");
        }
    }
}
