//! Health: how to see that a container has started, can serve, and is alive.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HumanDuration, grammar};

/// Three questions asked of each replica. Without any, each target has its own idea of ready: on this machine, that the first port
/// accepts a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Has it started? The other two are not asked before it has. A replica that does not start is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// Can it serve now? While it cannot, it gets no connections, and an update waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Probe>,
    /// Is it alive? If not, it is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Probe>,
}

impl Health {
    /// Whether no probe is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One question, asked again and again. Exactly one of `http`, `tcp` and `exec`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Yes, when a GET is answered by a status from 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// Yes, when a connection is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// Yes, when a command in the container ends with 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecProbe>,
    /// Time from one question to the next.
    #[serde(default = "default_interval")]
    pub interval: HumanDuration,
    /// How long an answer may take before it counts as a failure.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
    /// So many failures in a row make a no; one success makes a yes.
    #[serde(default = "default_threshold")]
    #[schemars(range(min = 1, max = 1000))]
    pub threshold: u32,
}

/// What a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeAction<'a> {
    Http(&'a HttpProbe),
    Tcp(&'a TcpProbe),
    Exec(&'a ExecProbe),
}

impl Probe {
    /// What it asks; `None` for a probe that says nothing, which `parse` refuses.
    pub fn action(&self) -> Option<ProbeAction<'_>> {
        let http = self.http.as_ref().map(ProbeAction::Http);
        let tcp = self.tcp.as_ref().map(ProbeAction::Tcp);
        http.or(tcp).or(self.exec.as_ref().map(ProbeAction::Exec))
    }
}

/// A GET to the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpProbe {
    /// Path and query of the request.
    #[serde(default = "default_path")]
    #[schemars(extend("pattern" = grammar::HTTP_PATH.pattern))]
    pub path: String,
    /// Port of the container; its first `http` port if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}

/// A connection to the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpProbe {
    /// Port of the container.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

/// A command in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecProbe {
    /// The command and its arguments. It is not given to a shell.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
}

fn default_interval() -> HumanDuration {
    HumanDuration::from_secs(5)
}

fn default_timeout() -> HumanDuration {
    HumanDuration::from_secs(1)
}

fn default_threshold() -> u32 {
    3
}

fn default_path() -> String {
    "/".to_string()
}
