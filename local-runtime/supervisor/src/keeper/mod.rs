//! The second process of an app: it holds the listening sockets and carries the connections, so that both outlive a
//! supervisor; and it starts another supervisor when one ends unasked.
//!
//! `portolan-supervisor --keep` is started first and starts the supervisor, which connects to it and tells it the whole
//! table. It decides nothing: without a supervisor it goes on with the last table. It ends when the supervisor says so.
//! When it is killed, the supervisor starts another one (`driver/keeping.rs`), and open connections are lost.

mod child;
mod line;
mod protocol;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::balance::{Balance, HostSockets};
use crate::limits;
use crate::lock::{Lock, LockError};
use crate::peer;
use crate::storage::{self, StorageError};
use child::{Ended, Starter};
pub use line::Line;
pub use protocol::{Answer, Hello, Reaped, Role, Started, ToKeeper, ToSupervisor, VERSION, Welcome, socket_path};

/// Whoever connects says hello within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// The first supervisor says what there is to keep within this time.
const FIRST_TABLE: Duration = Duration::from_secs(20);

/// What the program was told.
#[derive(Clone, Debug)]
pub struct Settings {
    pub run_dir: PathBuf,
    pub host: HostSockets,
    /// For the supervisors that are started.
    pub arguments: Vec<OsString>,
    /// False when a supervisor runs that has lost its keeper, and will connect.
    pub start: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("cannot listen on {}", path.display())]
    Listen { path: PathBuf, source: io::Error },
    #[error("cannot {operation}")]
    System { operation: &'static str, source: io::Error },
    /// Its last words are in the log already.
    #[error("the supervisor ended before there was anything to keep")]
    NothingBegun,
    /// Its last words are in the log already.
    #[error("the supervisor has ended again")]
    EndedAgain,
}

/// Whether there is one for an app with this runtime directory: its ports are held then, supervisor or not.
pub fn is_there(run_dir: &Path) -> bool {
    // Whoever says nothing is let go.
    std::os::unix::net::UnixStream::connect(socket_path(run_dir)).is_ok()
}

/// Keeps the app's connections until the supervisor tells it to end.
pub async fn keep(settings: Settings) -> Result<(), KeeperError> {
    let Some(lock) = Lock::take(&settings.run_dir, "keeper.lock")? else {
        return ask_for_a_supervisor(&settings.run_dir).await;
    };
    let limit = limits::raise();
    nix::sys::prctl::set_child_subreaper(true).map_err(|e| system("adopt containers as children", e.into()))?;
    let path = socket_path(&settings.run_dir);
    let listener = listen(&path)?;
    let mut keeper = Keeper {
        balance: Balance::new(settings.host, limits::max_connections()),
        starter: Starter::new(settings.arguments, limit),
        supervisor: None,
        callers: vec![],
        begun: false,
    };
    if settings.start {
        keeper.starter.hurry();
    }
    let ending = keeper.serve(listener).await;
    drop(keeper);
    // A supervisor that began with us waits for these to be gone before it removes the folder.
    _ = fs::remove_file(path);
    lock.remove_file();
    ending
}

struct Keeper {
    balance: Balance,
    starter: Starter,
    supervisor: Option<Line>,
    /// Those who wait for one.
    callers: Vec<Line>,
    /// A table has come: from now on there is something to keep.
    begun: bool,
}

/// What the loop is woken by.
enum Woken {
    Joined(Line, Role),
    Said(io::Result<ToKeeper>),
    Drained,
    ChildEnded,
    StartDue,
    NobodyCame,
}

impl Keeper {
    async fn serve(&mut self, listener: UnixListener) -> Result<(), KeeperError> {
        let mut children = signal(SignalKind::child()).map_err(|e| system("wait for signals", e))?;
        let (joining, mut joined) = mpsc::channel(4);
        tokio::spawn(accept(listener, joining));
        let patience = tokio::time::sleep(FIRST_TABLE);
        tokio::pin!(patience);
        loop {
            let drained = self.balance.drained();
            let woken = tokio::select! {
                Some((line, role)) = joined.recv() => Woken::Joined(line, role),
                said = said(&mut self.supervisor) => Woken::Said(said),
                () = drained => Woken::Drained,
                _ = children.recv() => Woken::ChildEnded,
                () = self.starter.due() => Woken::StartDue,
                () = &mut patience, if !self.begun => Woken::NobodyCame,
            };
            if self.follow(woken).await? {
                return Ok(());
            }
        }
    }

    /// True at the end.
    async fn follow(&mut self, woken: Woken) -> Result<bool, KeeperError> {
        match woken {
            Woken::Joined(line, Role::Supervisor) => {
                self.starter.joined();
                self.supervisor = Some(line);
                self.tell_callers(Started(true)).await;
            }
            Woken::Joined(line, Role::Caller) => self.serve_caller(line).await,
            Woken::Said(Ok(ToKeeper::End)) => return Ok(true),
            Woken::Said(Ok(request)) => {
                let answer = self.carry_out(request);
                self.tell(&ToSupervisor::Answer(answer)).await;
            }
            Woken::Said(Err(_)) if !self.begun => return Err(KeeperError::NothingBegun),
            Woken::Said(Err(_)) => {
                self.supervisor = None;
                self.starter.lost();
            }
            Woken::Drained => self.tell(&ToSupervisor::Connections(self.balance.draining())).await,
            Woken::ChildEnded => return self.reap().await,
            Woken::StartDue => self.starter.start().map_err(|e| system("start a supervisor", e))?,
            Woken::NobodyCame => return Err(KeeperError::NothingBegun),
        }
        Ok(false)
    }

    fn carry_out(&mut self, request: ToKeeper) -> Answer {
        let (mut refused, mut ended) = (None, vec![]);
        match request {
            ToKeeper::Set(table) => {
                self.begun = true;
                self.balance.set(table);
            }
            ToKeeper::Reserve { service, ports } => refused = self.balance.reserve(&service, &ports).err(),
            ToKeeper::Release => self.balance.release_reserved(),
            ToKeeper::TryAgain => self.balance.try_again(),
            ToKeeper::Ended => ended = self.starter.strangers(),
            ToKeeper::End => {}
        }
        Answer {
            refused,
            ended,
            failures: self.balance.failures(),
            draining: self.balance.draining(),
        }
    }

    /// One that cannot be told will be seen to be gone.
    async fn tell(&mut self, message: &ToSupervisor) {
        if let Some(line) = &mut self.supervisor
            && let Err(error) = line.send(message).await
        {
            tracing::debug!(%error, "the supervisor does not listen");
        }
    }

    async fn serve_caller(&mut self, line: Line) {
        self.callers.push(line);
        match self.supervisor {
            Some(_) => self.tell_callers(Started(true)).await,
            None => self.starter.hurry(),
        }
    }

    async fn tell_callers(&mut self, outcome: Started) {
        for mut caller in self.callers.drain(..) {
            // One that is gone has given up waiting.
            _ = caller.send(&outcome).await;
        }
    }

    /// True at the end: the first supervisor has found another one that serves the app.
    async fn reap(&mut self) -> Result<bool, KeeperError> {
        match self.starter.reap() {
            None => {}
            Some(Ended::Well) if !self.begun => return Ok(true),
            Some(Ended::Badly) if !self.begun => return Err(KeeperError::NothingBegun),
            // One that was killed may hold its lock a moment longer: who waits is served by the next one.
            Some(Ended::Well) => self.starter.lost(),
            Some(Ended::Badly) => {
                self.starter.lost();
                self.tell_callers(Started(false)).await;
            }
        }
        Ok(false)
    }
}

async fn said(supervisor: &mut Option<Line>) -> io::Result<ToKeeper> {
    match supervisor {
        Some(line) => line.receive().await,
        None => std::future::pending().await,
    }
}

fn listen(path: &Path) -> Result<UnixListener, KeeperError> {
    // The lock is ours, so a socket that lies there belongs to nobody.
    storage::remove_file(path)?;
    peer::listen(path).map_err(|source| KeeperError::Listen {
        path: path.into(),
        source,
    })
}

async fn accept(listener: UnixListener, joining: mpsc::Sender<(Line, Role)>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if peer::may_speak(&stream) => {
                tokio::spawn(greet(stream, joining.clone()));
            }
            Ok(_) => tracing::warn!("a connection of another user is refused"),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a supervisor");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Whoever speaks another version is told ours, and left.
async fn greet(stream: UnixStream, joining: mpsc::Sender<(Line, Role)>) {
    let mut line = Line::new(stream);
    let Ok(Ok(hello)) = tokio::time::timeout(HELLO_TIMEOUT, line.receive::<Hello>()).await else {
        return;
    };
    let welcome = Welcome {
        version: VERSION,
        pid: std::process::id(),
        program_version: env!("CARGO_PKG_VERSION").into(),
    };
    if line.send(&welcome).await.is_ok() && hello.version == VERSION {
        // The receiver is gone only when the keeper ends.
        _ = joining.send((line, hello.role)).await;
    }
}

/// Another keeper is there. It may be waiting before it starts the next supervisor.
async fn ask_for_a_supervisor(run_dir: &Path) -> Result<(), KeeperError> {
    match ask(run_dir).await {
        Ok(Started(false)) => Err(KeeperError::EndedAgain),
        // A keeper that ends at this moment needs no supervisor, and the caller tries again.
        Ok(Started(true)) | Err(_) => Ok(()),
    }
}

async fn ask(run_dir: &Path) -> io::Result<Started> {
    let mut line = Line::new(UnixStream::connect(socket_path(run_dir)).await?);
    let hello = Hello {
        version: VERSION,
        role: Role::Caller,
    };
    line.send(&hello).await?;
    line.receive::<Welcome>().await?;
    line.receive().await
}

fn system(operation: &'static str, source: io::Error) -> KeeperError {
    KeeperError::System { operation, source }
}
