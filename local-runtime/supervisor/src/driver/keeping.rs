//! The supervisor's side of its keeper: found or started, told everything, and replaced when it is gone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Settings;
use crate::balance::Table;
use crate::error::chain;
use crate::keeper::{Answer, Hello, Line, Reaped, Role, ToKeeper, ToSupervisor, VERSION, Welcome, socket_path};
use crate::machine::PortFailure;
use crate::protocol::{Class, ErrorBody};
use crate::spec::ServiceSpec;

/// A keeper has nothing to do that takes longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// One that cannot be reached is looked for again after this.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The keeper as it was heard last.
pub(super) struct Keeping {
    settings: Arc<Settings>,
    line: Option<Line>,
    retry_at: Instant,
    table: Table,
    failures: BTreeMap<String, PortFailure>,
    /// Not yet told to the machine.
    connections: Option<BTreeMap<u64, u32>>,
}

/// What has become known without being asked for.
pub(super) enum News {
    Connections(BTreeMap<u64, u32>),
    Lost,
}

impl Keeping {
    /// Joins the keeper that is there, as there is where it started us; or starts one.
    pub async fn join(settings: Arc<Settings>) -> Keeping {
        let mut keeping = Keeping {
            settings,
            line: None,
            retry_at: Instant::now(),
            table: Table::default(),
            failures: BTreeMap::new(),
            connections: None,
        };
        keeping.line = keeping.connect_or_start().await;
        keeping
    }

    /// Returns once new connections go where the table says, and nowhere else.
    pub async fn set(&mut self, table: Table) {
        if table != self.table || self.line.is_none() {
            self.table = table;
            self.send_table().await;
        }
    }

    /// The same table once more: what it names is there anew.
    pub async fn set_again(&mut self) {
        self.send_table().await;
    }

    /// Ports of the host that a service is about to publish; held until the next table or `release`.
    pub async fn reserve(&mut self, spec: &ServiceSpec) -> Result<(), ErrorBody> {
        let request = ToKeeper::Reserve {
            service: spec.name.clone(),
            ports: spec.ports.clone(),
        };
        match self.ask(&request).await {
            Some(Answer { refused: None, .. }) => Ok(()),
            Some(Answer {
                refused: Some(body), ..
            }) => Err(body),
            None => Err(unreachable_keeper()),
        }
    }

    pub async fn release(&mut self) {
        self.ask(&ToKeeper::Release).await;
    }

    pub async fn try_again(&mut self) {
        self.ask(&ToKeeper::TryAgain).await;
    }

    /// Processes that have ended while no supervisor was there to see it.
    pub async fn ended(&mut self) -> Vec<Reaped> {
        self.ask(&ToKeeper::Ended).await.map_or(vec![], |answer| answer.ended)
    }

    /// Services with a port that cannot be listened on.
    pub fn failures(&self) -> &BTreeMap<String, PortFailure> {
        &self.failures
    }

    /// Open connections of replicas that are out of the routes, once after each answer.
    pub fn take_connections(&mut self) -> Option<BTreeMap<u64, u32>> {
        self.connections.take()
    }

    /// Waits for what the keeper says by itself. May be dropped half-way.
    pub async fn news(&mut self) -> News {
        match &mut self.line {
            None => {
                sleep_until(self.retry_at).await;
                News::Lost
            }
            Some(line) => match line.receive().await {
                Ok(ToSupervisor::Connections(open)) => News::Connections(open),
                // An answer to a question that was given up.
                Ok(ToSupervisor::Answer(_)) => News::Lost,
                Err(_) => News::Lost,
            },
        }
    }

    /// The keeper is gone, or does not answer: another one takes the table up.
    pub async fn replace(&mut self) {
        tracing::warn!("the keeper is gone; another one is started");
        self.line = self.connect_or_start().await;
        self.retry_at = Instant::now() + TRY_AGAIN;
        if self.line.is_some() {
            self.send_table().await;
        }
    }

    /// Both end. Returns once the keeper has.
    pub async fn end(&mut self) {
        let Some(mut line) = self.line.take() else { return };
        let end = async {
            line.send(&ToKeeper::End).await?;
            while line.receive::<ToSupervisor>().await.is_ok() {}
            Ok::<(), io::Error>(())
        };
        if !matches!(timeout(PATIENCE, end).await, Ok(Ok(()))) {
            tracing::warn!("the keeper did not end in good order");
        }
    }

    async fn send_table(&mut self) {
        let request = ToKeeper::Set(self.table.clone());
        if self.ask(&request).await.is_none() {
            tracing::error!("the keeper does not know the routes");
        }
    }

    /// `None` if it could not be reached; then it is replaced by the loop.
    async fn ask(&mut self, request: &ToKeeper) -> Option<Answer> {
        let line = self.line.as_mut()?;
        let Ok(Ok(answer)) = timeout(PATIENCE, exchange(line, request)).await else {
            self.line = None;
            self.retry_at = Instant::now();
            return None;
        };
        self.failures.clone_from(&answer.failures);
        self.connections = Some(answer.draining.clone());
        Some(answer)
    }

    async fn connect_or_start(&self) -> Option<Line> {
        if let Ok(line) = self.connect().await {
            return Some(line);
        }
        if let Err(error) = self.start() {
            tracing::error!(error = chain(&error), "cannot start a keeper");
            return None;
        }
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Ok(line) = self.connect().await {
                return Some(line);
            }
            sleep(Duration::from_millis(3)).await;
        }
        None
    }

    async fn connect(&self) -> io::Result<Line> {
        let stream = UnixStream::connect(socket_path(&self.settings.paths.run)).await?;
        let mut line = Line::new(stream);
        let hello = Hello {
            version: VERSION,
            role: Role::Supervisor,
        };
        line.send(&hello).await?;
        let welcome: Welcome = timeout(PATIENCE, line.receive()).await??;
        tracing::debug!(?welcome, "the keeper answers");
        match welcome.version {
            VERSION => Ok(line),
            other => Err(io::Error::other(format!("the keeper speaks version {other}"))),
        }
    }

    /// A child of ours until we end, and reaped with the orphans if it ends before.
    #[allow(clippy::zombie_processes)]
    fn start(&self) -> io::Result<()> {
        let arguments: Vec<OsString> = self.settings.arguments();
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("portolan-supervisor")
            .args(arguments)
            .arg("--keep-running-one");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().map(drop)
    }
}

async fn exchange(line: &mut Line, request: &ToKeeper) -> io::Result<Answer> {
    line.send(request).await?;
    loop {
        // Connections told meanwhile are in the answer too.
        if let ToSupervisor::Answer(answer) = line.receive().await? {
            return Ok(answer);
        }
    }
}

fn unreachable_keeper() -> ErrorBody {
    ErrorBody {
        code: "KeeperUnreachable".into(),
        class: Class::Retry,
        message: "the process that holds the app's ports does not answer".into(),
        hint: None,
    }
}
