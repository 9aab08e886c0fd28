//! What the user writes: App and Target, field by field.
//!
//! These types are the manifest: their doc comments are its reference (`portolan explain`), and the JSON Schema and the
//! Kubernetes definitions are generated from them. Every key has exactly one type, so that the schema is a structural
//! one; quantities alone are a number or a text. A default that is the same everywhere stands here; one that depends on
//! the image or on the target is left open (`Option`) and filled in by `resolve`.
//!
//! Unknown keys are refused before these types are filled (`parse`), which is why none of them says so again.
//! Read `app.rs` first.

mod app;
mod binding;
mod container;
mod domain;
mod drift;
mod duration;
mod ecs;
mod gpu;
pub mod grammar;
mod health;
mod job;
pub mod limits;
mod logs;
mod metadata;
mod percent;
mod quantity;
mod rollout;
mod runtime;
mod scale;
mod schedule;
mod secret;
mod service;
mod sharing;
mod target;
mod volume;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use app::{App, AppKind, AppSpec, Override};
pub use binding::{Binding, BindingType, BindingValue};
pub use container::{Build, Container, Resources};
pub use domain::{Domain, Tls};
pub use drift::Drift;
pub use duration::{HumanDuration, InvalidDuration};
pub use ecs::{
    ApplicationLoadBalancer, CapacityProvider, CloudMapNamespace, EcsCapacity, EcsLogs, EcsRoles, EcsSecretStore,
    EcsTarget, FireLens,
};
pub use gpu::{Gpu, GpuVendor};
pub use health::{ExecProbe, Health, HttpProbe, Probe, ProbeAction, TcpProbe};
pub use job::Job;
pub use logs::Logs;
pub use metadata::{AppMetadata, DEFAULT_NAMESPACE, TargetMetadata};
pub use percent::{InvalidPercent, Percent};
pub use quantity::{ByteQuantity, CpuQuantity, InvalidQuantity};
pub use rollout::{Rollout, RolloutStep, RolloutStrategy};
pub use runtime::Runtime;
pub use scale::{Queue, Scale, ScaleOn};
pub use secret::SecretReference;
pub use service::{InitContainer, Port, Protocol, Service, Sidecar, Stop, StopSignal};
pub use sharing::{AllowedApp, Traffic, Use};
pub use target::{
    Approval, Budget, ECS_PROVIDER, Egress, GatewayReference, GpuAccess, KUBERNETES_PROVIDER, KubernetesTarget,
    LOCAL_PROVIDER, LocalTarget, PROVIDERS, SecretStore, SecretStoreKind, Target, TargetKind, TargetSecrets,
    TargetSpec,
};
pub use volume::{FileMount, VolumeMount};

/// The one version of the manifest that this version of Portolan reads.
pub const API_VERSION: &str = "portolan.dev/v1alpha1";

/// `portolan.dev/v1alpha1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    #[default]
    #[serde(rename = "portolan.dev/v1alpha1")]
    V1Alpha1,
}

/// One document of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
// An App is larger than a Target, and nearly every document is one: boxing it would only add a hop.
#[allow(clippy::large_enum_variant)]
pub enum Manifest {
    App(App),
    Target(Target),
}

impl Manifest {
    /// `App` or `Target`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::App(_) => "App",
            Self::Target(_) => "Target",
        }
    }

    /// Its name in `metadata`.
    pub fn name(&self) -> &str {
        match self {
            Self::App(app) => &app.metadata.name,
            Self::Target(target) => &target.metadata.name,
        }
    }

    pub fn as_app(&self) -> Option<&App> {
        match self {
            Self::App(app) => Some(app),
            Self::Target(_) => None,
        }
    }

    pub fn as_target(&self) -> Option<&Target> {
        match self {
            Self::App(_) => None,
            Self::Target(target) => Some(target),
        }
    }
}
