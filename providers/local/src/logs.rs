//! What containers wrote, as the contract's stream: told on by whichever supervisor there is.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use portolan_core::plan::Scope;
use portolan_provider_api::operations::{LogLine, LogQuery};
use portolan_provider_api::{CallError, ErrorClass, Logs};
use portolan_supervisor::client::LogStream;
use portolan_supervisor::error::ClientError;
use portolan_supervisor::protocol::{self, LogsRequest, Stream, Workload};
use portolan_supervisor::spec::Kind;
use tokio::sync::mpsc;

use crate::client::Supervisors;
use crate::error;

/// A supervisor that is gone is waited for so long: its keeper needs a moment to start another one, a command that
/// replaces both some seconds.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub struct LocalLogs {
    platform: Arc<Supervisors>,
}

impl LocalLogs {
    pub fn new(platform: Arc<Supervisors>) -> Self {
        Self { platform }
    }

    /// The services and jobs asked for; all there are if none is named.
    async fn workloads(&self, scope: &Scope, query: &LogQuery) -> Result<Vec<Workload>, CallError> {
        let observation = self.platform.connect(scope).await?.observe().await;
        let observation = observation.map_err(error::client)?;
        let known = observation.objects.iter().map(|seen| Workload {
            kind: seen.object.kind(),
            name: seen.object.name().to_string(),
        });
        let known: Vec<Workload> = known
            .filter(|one| matches!(one.kind, Kind::Service | Kind::Job))
            .collect();
        for name in &query.workloads {
            if !known.iter().any(|known| known.name == *name) {
                return Err(error::unknown_workload(
                    name,
                    known.iter().map(|known| known.name.as_str()),
                ));
            }
        }
        let wanted = |one: &Workload| query.workloads.is_empty() || query.workloads.contains(&one.name);
        Ok(known.into_iter().filter(wanted).collect())
    }
}

#[async_trait]
impl Logs for LocalLogs {
    async fn logs(
        &self,
        scope: &Scope,
        query: LogQuery,
    ) -> Result<mpsc::Receiver<Result<LogLine, CallError>>, CallError> {
        let (sender, receiver) = mpsc::channel(256);
        let workloads = self.workloads(scope, &query).await?;
        if workloads.is_empty() {
            return Ok(receiver);
        }
        let mut telling = Telling {
            platform: self.platform.clone(),
            scope: scope.clone(),
            request: LogsRequest {
                workloads,
                replica: None,
                container: query.container,
                follow: query.follow,
                since_unix_ms: query.since.map(unix_ms),
                tail: query.tail,
                after: vec![],
            },
        };
        let stream = telling.begin().await?;
        tokio::spawn(async move {
            tokio::select! {
                told = telling.tell(stream, &sender) => if let Err(failure) = told {
                    _ = sender.send(Err(failure)).await;
                },
                () = sender.closed() => {}
            }
        });
        Ok(receiver)
    }
}

/// One request, put to one supervisor after the other until it is answered.
struct Telling {
    platform: Arc<Supervisors>,
    scope: Scope,
    request: LogsRequest,
}

impl Telling {
    async fn begin(&self) -> Result<LogStream, CallError> {
        let client = self.platform.connect(&self.scope).await?;
        client.logs(self.request.clone()).await.map_err(error::client)
    }

    async fn tell(
        &mut self,
        mut stream: LogStream,
        to: &mpsc::Sender<Result<LogLine, CallError>>,
    ) -> Result<(), CallError> {
        loop {
            match stream.next().await {
                Ok(Some(line)) => {
                    if to.send(Ok(log_line(line))).await.is_err() {
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(ClientError::Closed | ClientError::Receive { .. }) => {
                    self.request.after = stream.places();
                    match self.go_on().await? {
                        Some(next) => stream = next,
                        None => return Ok(()),
                    }
                }
                Err(failure) => return Err(error::client(failure)),
            }
        }
    }

    /// At the next supervisor; none if the app has gone, or all of it that was asked for.
    async fn go_on(&self) -> Result<Option<LogStream>, CallError> {
        let begun = Instant::now();
        loop {
            match self.begin().await {
                Ok(stream) => return Ok(Some(stream)),
                Err(failure) if failure.code == "NotFound" || !self.is_left()? => return Ok(None),
                Err(failure) if !may_pass(&failure) || begun.elapsed() > PATIENCE => return Err(failure),
                Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    fn is_left(&self) -> Result<bool, CallError> {
        let left = self.platform.left(&self.scope)?;
        let mut workloads = self.request.workloads.iter();
        Ok(workloads.any(|one| left.find(one.kind, &one.name).is_some()))
    }
}

/// Until the next supervisor is there.
fn may_pass(failure: &CallError) -> bool {
    matches!(failure.class, ErrorClass::Retry { .. }) || error::is_nobody(failure)
}

fn log_line(line: protocol::LogLine) -> LogLine {
    LogLine {
        workload: line.log.workload,
        replica: line.log.replica.to_string(),
        container: line.log.container,
        time: UNIX_EPOCH + Duration::from_millis(line.time_unix_ms),
        stderr: line.stream == Stream::Stderr,
        text: line.text,
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map(|since| since.as_millis() as u64)
        .unwrap_or(0)
}
