//! Service: what runs all the time, with what belongs to it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Container, Domain, Drift, Health, HumanDuration, Logs, Rollout, Runtime, Scale, Traffic, grammar, limits};

/// A long-running container, in one or more replicas.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    #[serde(flatten)]
    pub container: Container,
    /// Ports that the process listens on. The first is also the process's `PORT`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::PORTS), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub ports: Vec<Port>,
    /// Names by which it is reached from outside, at its first port that speaks `http`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::DOMAINS), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["host"]))]
    pub domains: Vec<Domain>,
    /// How to see that a replica has started, can serve, and is alive.
    #[serde(default, skip_serializing_if = "Health::is_empty")]
    pub health: Health,
    /// How many replicas.
    #[serde(default)]
    pub scale: Scale,
    /// How a new revision takes the place of the old one.
    #[serde(default)]
    pub rollout: Rollout,
    /// How a replica is stopped.
    #[serde(default)]
    pub stop: Stop,
    /// What its containers are kept apart from the machine by: `default`, `gvisor`, `kata` or `wasm`.
    #[serde(default, skip_serializing_if = "Runtime::is_default")]
    pub runtime: Runtime,
    /// How much is kept of what its containers write.
    #[serde(default)]
    pub logs: Logs,
    /// Who may reach the service besides its own app.
    #[serde(default, skip_serializing_if = "Traffic::is_empty")]
    pub traffic: Traffic,
    /// What is left as somebody else has changed it at the target.
    #[serde(default, skip_serializing_if = "Drift::is_empty")]
    pub drift: Drift,
    /// Containers beside each replica, by name. They share its network (so `localhost`) and start before it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = grammar::name_schema(), "maxProperties" = limits::SIDECARS))]
    pub sidecars: BTreeMap<String, Sidecar>,
    /// Containers that run to their end, one after the other, before each replica starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::INIT), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub init: Vec<InitContainer>,
    /// Jobs that must have succeeded, and services that must be ready, before this one starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::AFTER), inner(regex(pattern = grammar::NAME.pattern)), extend("x-kubernetes-list-type" = "set"))]
    pub after: Vec<String>,
}

/// A container beside each replica of a service, in the same network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    #[serde(flatten)]
    pub container: Container,
    /// Ports that the sidecar listens on. Their numbers and names differ from those of the service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::SIDECAR_PORTS), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub ports: Vec<Port>,
    /// How to see that the sidecar has started, can serve, and is alive.
    #[serde(default, skip_serializing_if = "Health::is_empty")]
    pub health: Health,
}

/// A container that runs to its end before each replica. Without `build` and `image` it runs the service's image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InitContainer {
    /// Name of this step, unique in its service.
    #[schemars(extend("pattern" = grammar::NAME.pattern))]
    pub name: String,
    #[serde(flatten)]
    pub container: Container,
}

/// A port that a process listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Name of the port, unique in its service.
    #[schemars(extend("pattern" = grammar::NAME.pattern))]
    pub name: String,
    /// Number of the port, in the container and for other services.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// What is spoken on it.
    #[serde(default)]
    pub protocol: Protocol,
    /// Whether it can be reached from outside the app: on the local target, by a port of the host.
    #[serde(default)]
    pub public: bool,
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    #[default]
    Http,
    Tcp,
    Udp,
}

impl Protocol {
    /// As the manifest says it: also the scheme of a `${services.NAME.url}`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// How a replica is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// Signal that asks the process to end; the image's STOPSIGNAL, else SIGTERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<StopSignal>,
    /// How long it runs on without new connections before the signal, so that open ones may end; shorter if none is open.
    #[serde(default = "default_drain")]
    pub drain: HumanDuration,
    /// How long the process may take to end after the signal before it is killed.
    #[serde(default = "default_grace_period")]
    pub grace_period: HumanDuration,
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            signal: None,
            drain: default_drain(),
            grace_period: default_grace_period(),
        }
    }
}

/// A signal that asks a process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum StopSignal {
    SigTerm,
    SigInt,
    SigQuit,
    SigHup,
    SigKill,
    SigUsr1,
    SigUsr2,
    SigWinch,
}

impl StopSignal {
    /// `SIGTERM` and the like.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SigTerm => "SIGTERM",
            Self::SigInt => "SIGINT",
            Self::SigQuit => "SIGQUIT",
            Self::SigHup => "SIGHUP",
            Self::SigKill => "SIGKILL",
            Self::SigUsr1 => "SIGUSR1",
            Self::SigUsr2 => "SIGUSR2",
            Self::SigWinch => "SIGWINCH",
        }
    }
}

fn default_drain() -> HumanDuration {
    HumanDuration::from_secs(2)
}

fn default_grace_period() -> HumanDuration {
    HumanDuration::from_secs(30)
}
