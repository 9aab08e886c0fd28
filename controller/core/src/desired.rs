//! What a manifest means for one target: overrides merged, defaults filled in, images pinned, secrets by reference.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::interpolate::ServiceField;
use crate::manifest::{BindingType, GpuVendor, Protocol, RolloutStrategy, Runtime, SecretReference, Tls};
use crate::plan::Scope;
use crate::reference::{Digest, ImageReference};

/// One app on one target, ready to be rendered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredState {
    pub scope: Scope,
    pub services: BTreeMap<String, DesiredService>,
    pub jobs: BTreeMap<String, DesiredJob>,
    /// Named volumes of all services and jobs, each once.
    pub volumes: BTreeMap<String, DesiredVolume>,
    /// Services of other apps, by the name that they have in this one.
    #[serde(default)]
    pub uses: BTreeMap<String, DesiredUse>,
}

/// Workloads are told apart by where they stand in the manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredService {
    pub name: String,
    /// JSON pointer into the manifest: `/spec/services/web`.
    pub origin: String,
    /// Hash of the resolved spec; open while an image is not pinned.
    pub revision: Option<String>,
    pub container: DesiredContainer,
    pub sidecars: BTreeMap<String, DesiredSidecar>,
    /// In order.
    pub init: Vec<(String, DesiredContainer)>,
    pub ports: Vec<DesiredPort>,
    pub probes: DesiredProbes,
    /// As many as there are at least.
    pub replicas: u32,
    /// How far their number may move, and by what.
    #[serde(default)]
    pub autoscale: Option<DesiredAutoscale>,
    #[serde(default)]
    pub domains: Vec<DesiredDomain>,
    #[serde(default)]
    pub runtime: Runtime,
    pub rollout: DesiredRollout,
    pub stop: DesiredStop,
    pub logs: DesiredLogs,
    /// Jobs that must have completed and services that must be ready first.
    pub after: Vec<After>,
    /// Other apps that may use it.
    #[serde(default)]
    pub allow: Vec<OtherApp>,
}

/// Where a service's number of replicas may go by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredAutoscale {
    pub max: u32,
    /// At least one.
    pub on: Vec<DesiredMetric>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DesiredMetric {
    /// Per cent of the container's `resources.cpu`.
    Cpu(u8),
    /// Per cent of the container's `resources.memory`.
    Memory(u8),
    Queue(DesiredQueue),
}

/// A queue behind a binding, whose values are in the container's variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredQueue {
    pub binding: String,
    pub binding_type: BindingType,
    pub name: String,
    /// Messages for one replica.
    pub length: u32,
}

/// A name by which a service is reached from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredDomain {
    pub host: String,
    pub tls: Tls,
    /// Number of the port that it leads to.
    pub port: u16,
}

/// When a job runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredSchedule {
    /// Five fields of cron.
    pub cron: String,
    /// Of the IANA database; UTC if none is named.
    pub time_zone: Option<String>,
}

/// An app on the same target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherApp {
    pub namespace: String,
    pub app: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredUse {
    pub of: OtherApp,
    pub service: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredJob {
    pub name: String,
    pub origin: String,
    pub revision: Option<String>,
    pub container: DesiredContainer,
    /// Tries after the first one.
    pub retries: u32,
    pub timeout: Duration,
    /// It runs by the clock, and not once for each revision.
    #[serde(default)]
    pub schedule: Option<DesiredSchedule>,
    #[serde(default)]
    pub runtime: Runtime,
    pub logs: DesiredLogs,
    pub after: Vec<After>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum After {
    Job(String),
    Service(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredContainer {
    pub image: DesiredImage,
    /// The whole command line: the manifest's `command` and `args` over the image's entrypoint and command. Open
    /// (`None`) while the image is.
    pub argv: Option<Vec<String>>,
    pub working_dir: Option<String>,
    pub user: Option<String>,
    /// The manifest's variables and the standard ones; the image's own come below them at the target.
    pub env: BTreeMap<String, EnvValue>,
    pub files: Vec<DesiredFile>,
    pub mounts: Vec<DesiredMount>,
    pub resources: DesiredResources,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredSidecar {
    pub container: DesiredContainer,
    pub ports: Vec<DesiredPort>,
    pub probes: DesiredProbes,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredImage {
    pub reference: ImageReference,
    /// Open until it is built or looked up.
    pub digest: Option<Digest>,
    /// `NAME=value` from the image's config.
    pub env: Vec<String>,
    /// As the image's config says it, for a target that can only leave it to the image. No revision depends on it: whom a
    /// container runs as stands in [`DesiredContainer::user`].
    #[serde(skip)]
    pub user: Option<String>,
    /// What it runs on, `amd64` or `arm64`, where its digest says that it runs on one alone.
    #[serde(skip)]
    pub architecture: Option<String>,
}

/// The value of a variable: literal text and references that only the target can fill in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvValue(pub Vec<EnvPart>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EnvPart {
    Text(String),
    /// A secret travels as a reference; only the target reads it.
    Secret(SecretReference),
    /// Where another service of the app answers.
    Service {
        service: String,
        field: ServiceField,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredFile {
    pub path: String,
    pub content: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredMount {
    pub volume: String,
    pub path: String,
    pub read_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredVolume {
    pub name: String,
    /// JSON pointer of the first mount that names it.
    pub origin: String,
    pub size_bytes: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredResources {
    pub cpu_millis: Option<u64>,
    pub memory_bytes: Option<u64>,
    pub pids: Option<u64>,
    // Left out where there is none, so that revisions are what they were before it could be asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<DesiredGpu>,
}

/// Whole GPUs of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredGpu {
    pub count: u32,
    pub vendor: GpuVendor,
    /// As the target calls it.
    pub model: Option<String>,
    /// Of each of them, at least.
    pub memory_bytes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredPort {
    pub name: String,
    pub port: u16,
    pub protocol: Protocol,
    /// Whether it is reachable from outside the app.
    pub public: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredProbes {
    pub startup: Option<DesiredProbe>,
    pub ready: Option<DesiredProbe>,
    pub live: Option<DesiredProbe>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredProbe {
    pub check: ProbeCheck,
    pub interval: Duration,
    pub timeout: Duration,
    /// Failures in a row that make a no; one success makes a yes.
    pub threshold: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProbeCheck {
    Http { path: String, port: u16 },
    Tcp { port: u16 },
    Exec { command: Vec<String> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredRollout {
    pub strategy: RolloutStrategy,
    pub steps: Vec<DesiredStep>,
    /// How long a revision may take to get ready.
    pub deadline: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredStep {
    /// Share of new connections for the new revision, in percent.
    pub weight_percent: u8,
    /// `None` waits for somebody to promote it.
    pub pause: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredStop {
    /// `SIGTERM` and the like.
    pub signal: String,
    /// How long it runs on without new connections before the signal, at most.
    pub drain: Duration,
    pub grace_period: Duration,
}

/// What is kept of each container's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredLogs {
    pub max_size_bytes: u64,
    pub max_files: u32,
    pub max_age: Option<Duration>,
}

impl DesiredState {
    /// What `${services.NAME.FIELD}` means where that service answers as `host`: on its first port.
    pub fn address(&self, service: &str, host: &str, field: ServiceField) -> String {
        let port = self.services.get(service).and_then(|service| service.ports.first());
        match (field, port) {
            (ServiceField::Host, _) => host.to_string(),
            (ServiceField::Port, Some(port)) => port.port.to_string(),
            (ServiceField::Url, Some(port)) => format!("{}://{host}:{}", port.protocol.as_str(), port.port),
            // resolve lets no reference through to a port of a service that has none
            (_, None) => String::new(),
        }
    }
}

impl EnvValue {
    pub fn text(text: impl Into<String>) -> Self {
        Self(vec![EnvPart::Text(text.into())])
    }

    /// The secret that is all of it.
    pub fn secret(&self) -> Option<&SecretReference> {
        match self.0.as_slice() {
            [EnvPart::Secret(secret)] => Some(secret),
            _ => None,
        }
    }

    /// The whole text of the variable `name`, where services are found by `address`; for targets that hand a secret on
    /// as a variable by itself and put none together with anything.
    ///
    /// # Errors
    ///
    /// `SecretInsideText`, at the variable of the container at `origin`.
    pub fn text_without_secrets(
        &self,
        name: &str,
        origin: &str,
        address: impl Fn(&str, ServiceField) -> String,
    ) -> Result<String, Fault> {
        let parts = self.0.iter().map(|part| match part {
            EnvPart::Text(text) => Ok(text.clone()),
            EnvPart::Service { service, field } => Ok(address(service, *field)),
            EnvPart::Secret(_) => Err(secret_inside_text(name, origin)),
        });
        parts.collect()
    }
}

fn secret_inside_text(name: &str, origin: &str) -> Fault {
    let message = format!("`{name}` holds a secret inside other text, which this target cannot put together");
    let fault = Fault::new("SecretInsideText", message, format!("{origin}/env/{name}"));
    fault.with_hint("let the variable be the secret alone, and put it together in the app")
}
