//! What travels over the supervisor's socket.
//!
//! The socket is `<run-dir>/supervisor.sock`, mode 0600; the server also compares the peer's uid with its own (root may
//! always). A message is one line of JSON of at most [`MAX_MESSAGE_BYTES`]. The client opens with [`Hello`], the server
//! answers a [`Reply`] with [`Welcome`] or the error `UnknownVersion`. Then requests are answered one at a time, in order.
//!
//! Two requests end the rhythm: after `logs` the server answers [`LogPlace`]s, then sends one [`LogLine`] per line until
//! the client goes, or a `null` once all is told: with `follow` when the workloads are gone; after `exec` was accepted both sides speak
//! binary [`frames`](crate::frames).

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::spec::{Kind, Labels, Object};

/// Raised by any change that an older peer could misread.
pub const PROTOCOL_VERSION: u32 = 1;

/// Longer messages are refused, in both directions: no peer can fill the other's memory.
pub const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// Where a supervisor with this runtime directory listens.
pub fn socket_path(run_dir: &Path) -> PathBuf {
    run_dir.join("supervisor.sock")
}

/// First line of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub version: u32,
}

/// The answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    pub version: u32,
    /// `NAMESPACE/NAME`.
    pub app: String,
    pub pid: u32,
    /// The package version of the program that answers.
    pub program_version: String,
}

/// `{"ok": ...}` or `{"error": {...}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply<T> {
    Ok(T),
    Error(ErrorBody),
}

/// A refused request. The state is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ErrorBody {
    /// CamelCase, stable: `PortInUse`, `InvalidSpec`, `NetworkMissing`, `VolumeMissing`, `InUse`, `NotFound`, ...
    pub code: String,
    pub class: Class,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What a caller may do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The same again may succeed.
    Retry,
    /// Something else stands in the way (a port, a user of the object).
    Conflict,
    Denied,
    Quota,
    Invalid,
    Bug,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Everything there is, as an [`Observation`].
    Observe,
    /// Creates or updates; answers [`PutOutcome`] once it is durable, not once it is carried out.
    Put {
        object: Box<Object>,
    },
    /// Answers [`DeleteOutcome`]. The object is observed as `deleting` until its containers are gone. `erase` removes a
    /// volume's data or a job's records too, whether or not the object is still known.
    Delete {
        kind: Kind,
        name: String,
        #[serde(default)]
        erase: bool,
    },
    /// Answers where telling begins, as a list of [`LogPlace`].
    Logs(LogsRequest),
    Exec(ExecRequest),
    /// Runs a job again that has ended, whatever its records say. Answers `null`.
    RunJob {
        name: String,
    },
    /// Tries a failed rollout of a service again. Answers `null`.
    Retry {
        name: String,
    },
    /// Ends the pause of a service whose revisions share the connections; with `full` also those that would follow. One
    /// that does not pause is left as it is. Answers `null`.
    Promote {
        name: String,
        #[serde(default)]
        full: bool,
    },
    /// What every running container uses now, as a list of [`Usage`].
    Stats,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PutOutcome {
    Created,
    Updated,
    /// The very same spec was there: nothing was done.
    Unchanged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeleteOutcome {
    Deleted,
    /// There was nothing (any more).
    Absent,
}

/// Lines of some services and jobs, merged by their times. Refused as `NotFound` if none of them is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogsRequest {
    pub workloads: Vec<Workload>,
    /// One replica (or attempt of a job) alone, by the id that `observe` tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    #[serde(default)]
    pub follow: bool,
    /// Lines from this time on, as milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_unix_ms: Option<u64>,
    /// The last so many lines, counted over all containers asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<usize>,
    /// Goes on where an earlier answer had come to, at whichever supervisor. A log that is not named is told from its
    /// beginning; `tail` counts nothing then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<LogPlace>,
}

/// A service or a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    pub kind: Kind,
    pub name: String,
}

/// Whose log it is: that of one container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogId {
    pub kind: Kind,
    pub workload: String,
    pub replica: u64,
    pub container: String,
}

/// How far a log has been told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPlace {
    pub log: LogId,
    pub place: Place,
}

/// Between two lines of a log. One whose file is gone stands before all that is left; so does the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// By its inode,
    pub file: u64,
    /// and by its first line, for an inode is used again.
    pub begun_unix_ms: u64,
    pub offset: u64,
}

/// One line that a container wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub log: LogId,
    /// Behind this line.
    pub place: Place,
    pub time_unix_ms: u64,
    pub stream: Stream,
    /// Without its newline; bytes that are no UTF-8 are shown as U+FFFD.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A command in a running container of a service. Answered with `null`, then frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecRequest {
    pub service: String,
    /// Any ready replica when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<u64>,
    /// The main container when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    pub argv: Vec<String>,
    /// A pseudo terminal: output comes as one stream, window sizes are obeyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<WindowSize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    pub rows: u16,
    pub columns: u16,
}

/// Everything there is, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    pub objects: Vec<Observed>,
    /// Folders whose volume was deleted without `erase`; a put of that name takes the data up again.
    pub kept_volumes: Vec<String>,
    /// Jobs that were deleted, but whose records are kept.
    pub kept_job_records: Vec<String>,
}

impl Observation {
    pub fn find(&self, kind: Kind, name: &str) -> Option<&Observed> {
        self.objects
            .iter()
            .find(|o| o.object.kind() == kind && o.object.name() == name)
    }
}

/// One object, as it was put and as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    pub object: Object,
    pub deleting: bool,
    pub state: ObjectState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobStatus>,
}

impl Observed {
    pub fn labels(&self) -> &Labels {
        self.object.labels()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "lowercase")]
pub enum ObjectState {
    /// On the way; `message` says what is waited for.
    Progressing {
        message: String,
    },
    /// A service has all its replicas ready in the revision that was put; a job has succeeded.
    Ready,
    Failed(Failure),
}

/// Why something is not as it was asked for. It may still heal by itself unless the service or job has given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// CamelCase: `CrashLoopBackOff`, `OomKilled`, `StartFailed`, `ProgressDeadlineExceeded`, `PortInUse`, `JobFailed`, `Timeout`, ...
    pub reason: String,
    /// One line that names the container and the cause.
    pub message: String,
    /// The replica (or attempt) and container it was seen at, if at one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The last lines of that container's log.
    #[serde(default)]
    pub evidence: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkStatus {
    pub bridge: String,
    /// `10.x.y.0/24`.
    pub subnet: String,
    /// The host's own address on the bridge.
    pub gateway: Ipv4Addr,
    /// Why containers have no way out, where the spec wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_egress: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeStatus {
    pub path: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub wanted: u32,
    /// Replicas that take connections, of any revision.
    pub ready: u32,
    /// Replicas of the revision that was put, ready or not.
    pub updated: u32,
    /// Those of them that are ready.
    pub updated_ready: u32,
    /// Restarts of all containers of the replicas there are now.
    pub restarts: u32,
    /// The revisions whose replicas take connections, each once.
    pub serving_revisions: Vec<String>,
    /// There while an old and a new revision share the connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<SharesStatus>,
    /// The stable address inside the app.
    pub address: Ipv4Addr,
    pub endpoints: Vec<Endpoint>,
    pub replicas: Vec<ReplicaStatus>,
}

/// Two revisions beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharesStatus {
    /// Percent of new connections that go to the revision that was put.
    pub new_weight: u8,
    /// From 1 to `steps`; missing past the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    pub steps: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<WaitsFor>,
}

/// What ends a step whose replicas are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitsFor {
    /// Its pause.
    Time,
    /// [`Request::Promote`].
    Promotion,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The port's name.
    pub name: String,
    /// `service:port`, as other containers say it.
    pub internal: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<SocketAddrV4>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Attempts begun for this revision; 0 if its records say that it had succeeded before.
    pub attempts: u32,
    /// Of the last attempt that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_unix_ms: Option<u64>,
    /// The attempt that runs, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<ReplicaStatus>,
}

/// One replica of a service or attempt of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// Unique in the app, never used again.
    pub id: u64,
    pub revision: String,
    /// `preparing`, `running`, `draining`, `stopping`.
    pub phase: String,
    pub ready: bool,
    pub address: Ipv4Addr,
    pub containers: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerStatus {
    pub name: String,
    /// `waiting`, `starting`, `running`, `stopping`, `backoff`, `exited`.
    pub state: String,
    pub ready: bool,
    pub restarts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<ExitStatus>,
    /// The last failed probe or start, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How a container ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// 128 + N after signal N. Missing if nobody was there to see it: the supervisor was down at that moment.
    pub code: Option<i32>,
    /// What it had run into by then, if it did not end well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<ReachedLimit>,
}

/// A limit that the kernel has enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReachedLimit {
    /// A process of the container was killed; the limit in bytes, 0 where it is not the container's own.
    Memory(u64),
    /// A process could not be started beside so many.
    Pids(u64),
}

impl ReachedLimit {
    /// The condition's reason.
    pub fn reason(self) -> &'static str {
        match self {
            ReachedLimit::Memory(_) => "OomKilled",
            ReachedLimit::Pids(_) => "PidsLimitReached",
        }
    }
}

impl std::fmt::Display for ReachedLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            ReachedLimit::Memory(0) => write!(f, "ran out of memory"),
            ReachedLimit::Memory(bytes) => write!(f, "exceeded {}", binary(bytes)),
            ReachedLimit::Pids(count) => write!(f, "reached its limit of {count} processes"),
        }
    }
}

/// `256Mi`, as a manifest says it.
fn binary(bytes: u64) -> String {
    let units = [(30, "Gi"), (20, "Mi"), (10, "Ki")];
    let whole = units.into_iter().find(|(bits, _)| bytes.is_multiple_of(1 << bits));
    whole.map_or(bytes.to_string(), |(bits, unit)| format!("{}{unit}", bytes >> bits))
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.limit, self.code) {
            (Some(ReachedLimit::Memory(_)), _) => write!(f, "out of memory"),
            (_, Some(code @ 129..=192)) => write!(f, "signal {}", code - 128),
            (_, Some(code)) => write!(f, "exit code {code}"),
            (_, None) => write!(f, "an exit nobody saw"),
        }
    }
}

/// What a running container uses, and has used since it started. A figure that this machine does not give is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub kind: Kind,
    pub workload: String,
    pub replica: u64,
    pub container: String,
    pub restarts: u32,
    pub up_ms: u64,
    /// Processor time.
    pub cpu_us: Option<u64>,
    pub cpu_limit_millis: Option<u64>,
    /// Of the periods in which it wanted to run, those in which its limit made it wait.
    pub periods: Option<u64>,
    pub throttled_periods: Option<u64>,
    /// The working set: without page cache that can be dropped at once, as the kubelet counts.
    pub memory_bytes: Option<u64>,
    pub memory_limit_bytes: Option<u64>,
    /// Processes killed while the container lives on.
    pub oom_kills: Option<u64>,
    pub pids: Option<u64>,
    pub pids_limit: Option<u64>,
    pub pids_refused: Option<u64>,
}
