//! The native objects of the local platform: what a client puts, and what it reads back.
//!
//! An app on this machine is one network, some volumes, services and jobs. Each object carries the revision string
//! and the labels it was put with; the supervisor keeps both as they are and gives them back when observed. All types
//! refuse unknown keys. Durations travel as whole milliseconds under a key that ends in `_ms`.

mod container;
mod health;
mod logs;
mod rollout;
mod validate;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use container::{ContainerSpec, FileSpec, Resources, SecretRef, VolumeMount};
pub use health::{Check, Health, Probe};
pub use logs::LogSpec;
pub use rollout::{RolloutSpec, RolloutStep, StopSpec, Strategy};
pub use validate::{MAX_REPLICAS, SpecFault};

/// Free key/value pairs such as owner, generation and source. The supervisor never interprets them.
pub type Labels = BTreeMap<String, String>;

/// The four kinds of objects, as they are named in requests, file names and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Network,
    Volume,
    Service,
    Job,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Network => "network",
            Kind::Volume => "volume",
            Kind::Service => "service",
            Kind::Job => "job",
        })
    }
}

/// One object of any kind; on the wire the spec itself with a `kind` key beside its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Object {
    Network(NetworkSpec),
    Volume(VolumeSpec),
    Service(ServiceSpec),
    Job(JobSpec),
}

impl Object {
    pub fn kind(&self) -> Kind {
        match self {
            Object::Network(_) => Kind::Network,
            Object::Volume(_) => Kind::Volume,
            Object::Service(_) => Kind::Service,
            Object::Job(_) => Kind::Job,
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Object::Network(spec) => &spec.name,
            Object::Volume(spec) => &spec.name,
            Object::Service(spec) => &spec.name,
            Object::Job(spec) => &spec.name,
        }
    }

    pub fn revision(&self) -> &str {
        match self {
            Object::Network(spec) => &spec.revision,
            Object::Volume(spec) => &spec.revision,
            Object::Service(spec) => &spec.revision,
            Object::Job(spec) => &spec.revision,
        }
    }

    pub fn labels(&self) -> &Labels {
        match self {
            Object::Network(spec) => &spec.labels,
            Object::Volume(spec) => &spec.labels,
            Object::Service(spec) => &spec.labels,
            Object::Job(spec) => &spec.labels,
        }
    }
}

/// The app's own network: one bridge with a /24 of 10.0.0.0/8 that the supervisor chooses from the app's identity.
///
/// An app has at most one. Services and jobs need it: put it first, delete it last. Containers reach each other and
/// the bridge's address, the outside as `egress` says, and never the network of another app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    pub name: String,
    #[serde(default)]
    pub revision: String,
    #[serde(default)]
    pub labels: Labels,
    #[serde(default)]
    pub egress: Egress,
    /// Services of other apps, which decide whether they let this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<UseSpec>,
}

/// A service of another app, under a name of this one's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UseSpec {
    /// A DNS label that no service of this app has.
    pub name: String,
    /// The name of the other app's runtime directory, which lies beside this one's.
    pub app: String,
    pub service: String,
    pub port: u16,
}

/// How connections leave the app's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Egress {
    /// Not at all.
    None,
    /// Under the machine's own address (network address translation).
    #[default]
    Nat,
}

/// A named folder that outlives containers, updates and `delete` (unless that says `erase`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeSpec {
    pub name: String,
    #[serde(default)]
    pub revision: String,
    #[serde(default)]
    pub labels: Labels,
}

/// A long-running workload: replicas of one pod behind one stable address.
///
/// Changing `pod`, `stop` or the container side of `ports` makes new replicas by `rollout`; changing the
/// number of replicas, a publication, `rollout`, `logs`, the labels or the revision string alone touches no container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// A DNS label (RFC 1123): other containers of the app find the service by it.
    pub name: String,
    /// Opaque: reported back per replica, so that a client sees which revision serves.
    #[serde(default)]
    pub revision: String,
    #[serde(default)]
    pub labels: Labels,
    /// At most [`MAX_REPLICAS`]; 0 keeps the name and the ports and refuses connections.
    pub replicas: u32,
    pub pod: PodSpec,
    #[serde(default)]
    pub ports: Vec<PortSpec>,
    #[serde(default)]
    pub stop: StopSpec,
    #[serde(default)]
    pub rollout: RolloutSpec,
    #[serde(default)]
    pub logs: LogSpec,
    /// Apps that may use the service, by the names of their runtime directories, which lie beside this one's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
}

/// A workload that runs to its end, once per revision.
///
/// That a revision has succeeded is recorded in the data folder, beside the volumes, and survives `delete`: putting the
/// same revision again reports it as done without running it. A failed one is tried again by `run_job` or a new revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    pub name: String,
    /// Must not be empty: it is what "once" is counted by.
    pub revision: String,
    #[serde(default)]
    pub labels: Labels,
    pub pod: PodSpec,
    /// Further attempts after the first one has failed.
    #[serde(default)]
    pub retries: u32,
    /// For one attempt from its very beginning, so that also one whose containers never start comes to an end; none means
    /// no limit.
    #[serde(
        default,
        rename = "timeout_ms",
        with = "optional_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub timeout: Option<Duration>,
    #[serde(default)]
    pub stop: StopSpec,
    #[serde(default)]
    pub logs: LogSpec,
}

/// Containers that share one network namespace and so one address.
///
/// Order: `init` one after the other, each to exit code 0; then all `sidecars`, until their startup probe passes; then
/// `main`. Stop is the other way round. A sidecar that ends is started again; in a job it is stopped when `main` ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodSpec {
    pub main: ContainerSpec,
    #[serde(default)]
    pub sidecars: Vec<ContainerSpec>,
    #[serde(default)]
    pub init: Vec<ContainerSpec>,
}

impl PodSpec {
    /// Every container in the order in which they start.
    pub fn containers(&self) -> impl Iterator<Item = &ContainerSpec> {
        self.init
            .iter()
            .chain(&self.sidecars)
            .chain(std::iter::once(&self.main))
    }

    pub fn container(&self, name: &str) -> Option<&ContainerSpec> {
        self.containers().find(|c| c.name == name)
    }
}

/// One port of a service: reachable as `<service name>:<port>` inside the app, and on the host if published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortSpec {
    pub name: String,
    /// The port on which the main container (or a sidecar) listens, and the port of the service's own address.
    pub port: u16,
    #[serde(default)]
    pub protocol: Protocol,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<Publish>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
}

/// Where on the host a port answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    #[serde(default = "loopback")]
    pub address: Ipv4Addr,
    /// Not 0: an address that is published is one that the user knows.
    pub port: u16,
}

fn loopback() -> Ipv4Addr {
    Ipv4Addr::LOCALHOST
}

/// `Duration` as whole milliseconds.
pub(crate) mod millis {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        (value.as_millis() as u64).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

/// The same where the key may be missing.
pub(crate) mod optional_millis {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        value.map(|v| v.as_millis() as u64).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}
