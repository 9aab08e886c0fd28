//! Day two: traits of one method each, for platforms that can.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portolan_core::manifest::{ByteQuantity, CpuQuantity};
use portolan_core::plan::Scope;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::error::CallError;

/// Reads what containers wrote.
#[async_trait]
pub trait Logs: Send + Sync {
    /// Lines of one container in the order in which they were written, those of several merged by their times as far as
    /// they are known. The channel closes at the end, or with `follow` when the receiver is dropped; what breaks the
    /// stream is its last message.
    async fn logs(
        &self,
        scope: &Scope,
        query: LogQuery,
    ) -> Result<mpsc::Receiver<Result<LogLine, CallError>>, CallError>;
}

/// Which lines.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    /// Services and jobs; empty: all.
    pub workloads: Vec<String>,
    pub container: Option<String>,
    pub follow: bool,
    /// Counted over all workloads and replicas.
    pub tail: Option<usize>,
    pub since: Option<SystemTime>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub workload: String,
    /// `0`, `1`, ... or the platform's name of the instance.
    pub replica: String,
    pub container: String,
    pub time: SystemTime,
    pub stderr: bool,
    pub text: String,
}

/// Tells what containers use.
#[async_trait]
pub trait Stats: Send + Sync {
    /// Every container that runs, in the order of workload, replica and name. Counts go on from the container's start:
    /// two calls make a rate.
    async fn stats(&self, scope: &Scope) -> Result<Vec<Usage>, CallError>;
}

/// One running container; what the platform does not tell is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub workload: String,
    pub replica: String,
    pub container: String,
    pub restarts: u32,
    pub up: Duration,
    /// Processor time since the start.
    pub cpu: Option<Duration>,
    pub cpu_limit: Option<CpuQuantity>,
    /// Spans of time in which it wanted to run, and those of them in which its limit made it wait.
    pub periods: Option<u64>,
    pub throttled_periods: Option<u64>,
    /// The working set, as the kubelet counts it.
    pub memory: Option<ByteQuantity>,
    pub memory_limit: Option<ByteQuantity>,
    /// Processes killed for their memory while the container lives on.
    pub oom_kills: Option<u64>,
    pub pids: Option<u64>,
    pub pids_limit: Option<u64>,
    /// Processes that could not be started for the limit.
    pub pids_refused: Option<u64>,
}

/// Runs a job again that has ended, whatever the records of its success say.
#[async_trait]
pub trait RunJob: Send + Sync {
    /// Returns once the platform has taken the wish; observing tells how it goes.
    async fn run_job(&self, scope: &Scope, job: &str) -> Result<(), CallError>;
}

/// Lets a rollout go on that waits for somebody to say so.
#[async_trait]
pub trait Promote: Send + Sync {
    /// One step further, or with `full` to the end without another pause. Promoting what does not wait is success: the
    /// answer of an earlier call may have been lost. Returns once the platform has taken the wish.
    async fn promote(&self, scope: &Scope, service: &str, full: bool) -> Result<(), CallError>;
}

/// Runs a command inside a container.
#[async_trait]
pub trait Exec: Send + Sync {
    async fn exec(&self, scope: &Scope, request: ExecRequest) -> Result<ExecSession, CallError>;
}

#[derive(Clone, Debug)]
pub struct ExecRequest {
    pub workload: String,
    /// As `status` and `logs` name it; any if left out.
    pub replica: Option<String>,
    pub container: Option<String>,
    pub argv: Vec<String>,
    /// Columns and rows, if a terminal is wanted.
    pub terminal: Option<(u16, u16)>,
}

/// The streams of a running command.
pub struct ExecSession {
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// With a terminal all output is in `stdout`.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// New sizes of the terminal.
    pub resize: mpsc::Sender<(u16, u16)>,
    /// Answers the exit code once.
    pub exit: tokio::sync::oneshot::Receiver<Result<i32, CallError>>,
}

/// Leads connections to a port inside an app.
#[async_trait]
pub trait PortForward: Send + Sync {
    /// One connection, to a replica that is ready as it begins, unless one is named.
    async fn connect(&self, scope: &Scope, to: &ForwardRequest) -> Result<Forwarded, CallError>;
}

#[derive(Clone, Debug)]
pub struct ForwardRequest {
    pub workload: String,
    /// As `status` and `logs` name it; any that is ready if left out.
    pub replica: Option<String>,
    pub port: u16,
}

/// A connection that is under way.
pub struct Forwarded {
    /// Ends when either side does.
    pub stream: Box<dyn ByteStream>,
    /// Answers if the replica did not take it, or broke it off; it is closed if all went well.
    pub failure: tokio::sync::oneshot::Receiver<CallError>,
}

/// Bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}
