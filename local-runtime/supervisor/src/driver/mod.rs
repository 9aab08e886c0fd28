//! The shell around the machine: facts in, effects out, the socket beside it.
//!
//! One task owns the state and takes one thing after the other: an event, a request, the time it asked for. The state
//! is in its file before its effects are begun, and on the disk before a request is answered. Everything that waits
//! (containers, probes, connections) runs in a task of its own and comes back as an event.

mod bundle;
mod carry_out;
mod commands;
mod connection;
mod containers;
mod durable;
mod exec;
mod http;
mod keeping;
mod orphans;
mod pidfd;
mod probes;
mod resume;
mod runtime;
mod server;
mod settings;
mod tending;
mod usage;
mod users;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::balance::HostSockets;
use crate::clock;
use crate::launch;
use crate::limits;
use crate::lock::{Lock, LockError};
use crate::logs::{self, Written};
use crate::machine::{self, Event, Millis, State, step};
use crate::network::{Network, NetworkError};
use crate::outside;
use crate::protocol::ErrorBody;
pub use crate::storage::Paths;
use crate::storage::{self, Records, StorageError};
use commands::Command;
use containers::Containers;
use durable::Durable;
use keeping::{Keeping, News};
use runtime::Runtime;
pub use settings::Settings;

/// A supervisor that holds nothing waits this long for its first connection,
const FIRST_CONNECTION: Duration = Duration::from_secs(10);
/// and this long after its last one.
const LAST_CONNECTION: Duration = Duration::from_millis(200);
/// So often logs that nobody writes are looked at for their age.
const PRUNE_LOGS: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("cannot take the app's network up again")]
    Network(#[from] NetworkError),
    #[error("cannot listen on {}", path.display())]
    Listen { path: PathBuf, source: io::Error },
    #[error("cannot {operation}")]
    System { operation: &'static str, source: io::Error },
}

/// Why the supervisor ended in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Another one serves this app.
    AlreadyRunning,
    /// Told to go; containers run on.
    HandedOver,
    /// Nothing was left to supervise.
    NothingLeft,
}

/// Serves the app until there is nothing left of it or a signal comes.
pub async fn run(settings: Settings) -> Result<Ending, DriverError> {
    let Some(lock) = Lock::take(&settings.paths.run, "lock")? else {
        return Ok(Ending::AlreadyRunning);
    };
    nix::sys::prctl::set_child_subreaper(true).map_err(|e| system("adopt containers as children", e.into()))?;
    let (events, incoming) = mpsc::unbounded_channel();
    let mut platform = Platform::load(settings.clone(), events).await?;
    platform.resume().await?;
    let (written, containers) = (platform.log_written.clone(), platform.containers.clone());
    let (server, commands) = server::Server::start(&settings, written, containers)?;
    launch::tell_ready();
    let reaper = tokio::spawn(orphans::reap());
    let ending = platform.serve(incoming, commands, &server).await?;
    reaper.abort();
    drop(server);
    platform.keeper.end().await;
    match ending {
        Ending::NothingLeft => platform.leave_nothing(lock),
        _ => drop(lock),
    }
    Ok(ending)
}

/// The state and everything that is kept in step with it.
struct Platform {
    settings: Arc<Settings>,
    boot_id: String,
    state: State,
    saved: Vec<u8>,
    durable: Durable,
    same_boot: bool,
    records: Records,
    network: Network,
    keeper: Keeping,
    containers: Containers,
    events: mpsc::UnboundedSender<Event>,
    log_written: Written,
    log_rules: logs::Rules,
    wake_at: Option<Millis>,
    /// As the pods' hosts files have them.
    service_names: BTreeMap<String, Ipv4Addr>,
}

impl Platform {
    async fn load(settings: Settings, events: mpsc::UnboundedSender<Event>) -> Result<Platform, DriverError> {
        let settings = Arc::new(settings);
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|id| id.trim().to_string())
            .map_err(|source| system("read the machine's boot id", source))?;
        storage::create_folder(&settings.paths.state)?;
        storage::create_folder(&settings.paths.data)?;
        let records = Records::of(&settings.paths);
        let (mut state, same_boot) = storage::load(&settings.paths.state_file(), &boot_id)?;
        state.volumes = records.volumes()?;
        let network = Network::of(&settings.instance);
        let (log_written, log_rules) = (Written::default(), logs::Rules::default());
        let runtime = Runtime::new(&settings.runtime, settings.paths.runtime_root(), limits::raise());
        let containers = Containers::new(
            settings.clone(),
            runtime,
            network.clone(),
            events.clone(),
            log_written.clone(),
            log_rules.clone(),
        );
        Ok(Platform {
            boot_id,
            state,
            saved: vec![],
            durable: Durable::default(),
            same_boot,
            records,
            network,
            keeper: Keeping::join(settings.clone()).await,
            containers,
            events,
            log_written,
            log_rules,
            wake_at: None,
            service_names: BTreeMap::new(),
            settings,
        })
    }

    async fn serve(
        &mut self,
        mut events: mpsc::UnboundedReceiver<Event>,
        mut commands: mpsc::Receiver<Command>,
        server: &server::Server,
    ) -> Result<Ending, DriverError> {
        let mut terminate = signal(SignalKind::terminate()).map_err(|e| system("wait for signals", e))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| system("wait for signals", e))?;
        let mut prune = tokio::time::interval(PRUNE_LOGS);
        let mut tend = tokio::time::interval(tending::EVERY);
        tend.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = prune.tick() => self.prune_logs(),
                _ = tend.tick() => self.tend().await,
                Some(event) = events.recv() => self.take(event).await,
                Some(command) = commands.recv() => self.answer(command).await,
                () = sleep_until(self.wake_at) => self.take(Event::Tick).await,
                news = self.keeper.news() => self.hear(news).await,
                () = server.idle(FIRST_CONNECTION, LAST_CONNECTION), if self.state.is_empty() => {
                    return Ok(Ending::NothingLeft);
                }
                _ = terminate.recv() => return Ok(Ending::HandedOver),
                _ = interrupt.recv() => return Ok(Ending::HandedOver),
            }
        }
    }

    /// One step after an outside event, and further ones if it has brought something to light. A state that cannot be
    /// written now is written with the next step.
    async fn take(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next {
            tracing::debug!(?event, "event");
            let outcome = step(&mut self.state, event, clock::now());
            if let Err(error) = self.save() {
                tracing::error!(error = crate::error::chain(&error), "the state is not on disk");
            }
            self.follow(outcome).await;
            next = self.said_by_keeper();
        }
    }

    /// One step after a request: all or nothing. Its effects need not wait until the disk has it: what they begin does not
    /// outlive the machine's power either. Whoever asked waits for that, by [`Durable::wait`].
    async fn take_request(&mut self, event: Event) -> Result<(), ErrorBody> {
        tracing::info!("{}", asked(&event));
        let before = self.state.clone();
        let durable = machine::outlives_power(&before, &event);
        let outcome = step(&mut self.state, event, clock::now());
        if let Err(error) = self.save() {
            self.state = before;
            return Err(commands::storage_refusal(&error));
        }
        if durable {
            self.durable.begin(self.settings.paths.state_file());
        }
        self.follow(outcome).await;
        if let Some(event) = self.said_by_keeper() {
            self.take(event).await;
        }
        Ok(())
    }

    async fn hear(&mut self, news: News) {
        match news {
            News::Connections(open) => self.take(Event::Connections { open }).await,
            News::Lost => {
                self.keeper.replace().await;
                if let Some(event) = self.said_by_keeper() {
                    self.take(event).await;
                }
            }
        }
    }

    /// What the keeper's last answers say and the state does not.
    fn said_by_keeper(&mut self) -> Option<Event> {
        if *self.keeper.failures() != self.state.port_failures() {
            let failures = self.keeper.failures().clone();
            for failure in failures.values() {
                tracing::error!("{}", failure.message);
            }
            return Some(Event::Listening { failures });
        }
        let open = self.keeper.take_connections()?;
        Some(Event::Connections { open })
    }

    /// For a supervisor after us.
    fn save(&mut self) -> Result<(), StorageError> {
        let path = self.settings.paths.state_file();
        if self.durable.has_failed() {
            self.saved.clear();
        }
        storage::save(&path, &self.boot_id, &self.state, &mut self.saved)
    }

    /// So that it is on the disk before anything else is.
    fn save_durably(&mut self) -> Result<(), StorageError> {
        self.save()?;
        self.durable.at_once(&self.settings.paths.state_file())
    }

    /// Ends with no file but the data, no link, no cgroup. The lock goes last.
    fn leave_nothing(&mut self, lock: Lock) {
        let paths = &self.settings.paths;
        crate::cgroups::remove_parents(&self.settings.instance);
        for folder in [paths.pods(), paths.runtime_root(), paths.all_logs(), paths.all_layers()] {
            if let Err(error) = storage::remove_folder(&folder) {
                tracing::error!(error = crate::error::chain(&error), "something is left over");
            }
        }
        for file in [paths.state_file(), paths.run.join(crate::launch::LOG_FILE)] {
            if let Err(error) = storage::remove_file(&file) {
                tracing::error!(error = crate::error::chain(&error), "something is left over");
            }
        }
        self.records.remove_empty_folders();
        // The client may keep files of its own in there: then it stays.
        let _ = fs::remove_dir(&paths.state);
        if let HostSockets::Helper(socket) = &self.settings.host {
            outside::end(socket);
        }
        lock.remove_with_folder(&paths.run);
    }
}

/// A request in a few words: a whole spec in each line would drown the log.
fn asked(event: &Event) -> String {
    match event {
        Event::Put { object, .. } => format!("put {} `{}` {}", object.kind(), object.name(), object.revision()),
        Event::Delete { kind, name } => format!("delete {kind} `{name}`"),
        Event::RunJob { name } => format!("run job `{name}` again"),
        Event::Retry { name } => format!("try service `{name}` again"),
        Event::Promote { name, full: false } => format!("take service `{name}` to its next step"),
        Event::Promote { name, full: true } => format!("take service `{name}` past its steps"),
        other => format!("{other:?}"),
    }
}

async fn sleep_until(at: Option<Millis>) {
    match at {
        None => std::future::pending().await,
        Some(at) => tokio::time::sleep(Duration::from_millis(at.0.saturating_sub(clock::now().at.0))).await,
    }
}

fn system(operation: &'static str, source: io::Error) -> DriverError {
    DriverError::System { operation, source }
}
