//! Target: a harbour, written by whoever runs the platform.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ApiVersion, BindingValue, EcsTarget, HumanDuration, TargetMetadata, grammar, limits};

/// Name of the provider of this machine, and of the Target that needs no document.
pub const LOCAL_PROVIDER: &str = "local";

/// Name of the provider of Kubernetes clusters.
pub const KUBERNETES_PROVIDER: &str = "kubernetes";

/// Name of the provider of Amazon's Elastic Container Service.
pub const ECS_PROVIDER: &str = "ecs";

/// Every provider that `spec.provider` may name.
pub const PROVIDERS: &[&str] = &[LOCAL_PROVIDER, KUBERNETES_PROVIDER, ECS_PROVIDER];

/// Somewhere that apps can run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Version of this document's schema.
    pub api_version: ApiVersion,
    /// What this document describes.
    pub kind: TargetKind,
    /// Who this Target is.
    pub metadata: TargetMetadata,
    /// What it is.
    pub spec: TargetSpec,
}

/// `Target`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetKind {
    #[default]
    Target,
}

/// What a Target is, and what it gives to the apps that go there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetSpec {
    /// Which platform this is.
    #[schemars(extend("enum" = PROVIDERS))]
    pub provider: String,
    /// Settings of the provider `local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalTarget>,
    /// Settings of the provider `kubernetes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesTarget>,
    /// Settings of the provider `ecs`, which needs them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecs: Option<EcsTarget>,
    /// Values for the bindings of apps: by name of the binding, then by key (`url`, `host`, `port`, ...).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(
        extend("propertyNames" = grammar::name_schema(), "maxProperties" = limits::BINDINGS),
        transform = few_keys
    )]
    pub bindings: BTreeMap<String, BTreeMap<String, BindingValue>>,
    /// Where secrets are found.
    #[serde(default, skip_serializing_if = "TargetSecrets::is_empty")]
    pub secrets: TargetSecrets,
    /// How much the account behind this Target may be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Which changes wait for a yes: `deletes`, more deletes at once than ten or `--prune-threshold`; `always`, every change.
    #[serde(default, skip_serializing_if = "Approval::is_of_deletes")]
    pub approval: Approval,
}

/// A limit for each map within the map.
fn few_keys(schema: &mut schemars::Schema) {
    if let Some(keys) = schema
        .get_mut("additionalProperties")
        .and_then(serde_json::Value::as_object_mut)
    {
        keys.insert("maxProperties".into(), limits::BINDING_KEYS.into());
    }
}

/// Which changes wait for a yes: `--yes`, an answer at the terminal, `portolan approve`, or a plan that was kept and read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Approval {
    #[default]
    Deletes,
    Always,
}

impl Approval {
    fn is_of_deletes(&self) -> bool {
        *self == Self::Deletes
    }
}

/// Settings of the provider `local`: this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalTarget {
    /// Address of this machine on which public ports are opened: `127.0.0.1` for this machine alone, `0.0.0.0` for all.
    #[serde(default = "default_publish_address")]
    #[schemars(extend("pattern" = grammar::IP_ADDRESS.pattern))]
    pub publish_address: String,
    /// How containers reach what is outside their app: `nat` under this machine's own address, `none` not at all.
    #[serde(default)]
    pub egress: Egress,
}

/// Settings of the provider `kubernetes`: a cluster, and where in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesTarget {
    /// Context of the kubeconfig; its current one if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub context: Option<String>,
    /// Namespace of the cluster in which the objects of all apps are; each app's own namespace if left out. It has to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::LABEL.pattern))]
    pub namespace: Option<String>,
    /// The kubeconfig, relative to the folder of this file; `KUBECONFIG`, or the user's own, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub kubeconfig: Option<String>,
    /// Gateway to which the `domains` of services are attached, by an HTTPRoute; an Ingress if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayReference>,
    /// Class of the Ingresses; the cluster's default one if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::LABEL.pattern))]
    pub ingress_class: Option<String>,
    /// Issuer of cert-manager, by the name of its ClusterIssuer, that makes the certificates of Ingresses; if left out, the
    /// controller of the Ingresses shows its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::LABEL.pattern))]
    pub cluster_issuer: Option<String>,
    /// Store of External Secrets, from which the secrets of apps come: for each one that an app names there is an ExternalSecret,
    /// which makes the Secret of that name. If left out, somebody else makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_store: Option<SecretStore>,
    /// Class of the Secrets Store CSI driver, by whose volume pods come to their secrets: it names, as `secretObjects`, a Secret for
    /// each one that apps name. Either this or `secretStore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::LABEL.pattern))]
    pub secret_provider_class: Option<String>,
    /// How containers come to their GPUs: `devicePlugin`, as a resource of the node; `resourceClaim`, by a driver's claim.
    #[serde(default)]
    pub gpus: GpuAccess,
}

/// A Gateway of the Gateway API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayReference {
    /// Name of the Gateway.
    #[schemars(extend("pattern" = grammar::LABEL.pattern))]
    pub name: String,
    /// Its namespace in the cluster; that of the app's objects if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::LABEL.pattern))]
    pub namespace: Option<String>,
}

/// A store of External Secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretStore {
    /// Name of the store.
    #[schemars(extend("pattern" = grammar::LABEL.pattern))]
    pub name: String,
    /// Whether it is one for the whole cluster, or one in the namespace of the app's objects.
    #[serde(default)]
    pub kind: SecretStoreKind,
    /// How often the values are read again.
    #[serde(default = "default_refresh")]
    pub refresh: HumanDuration,
}

/// Kinds of stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SecretStoreKind {
    #[default]
    ClusterSecretStore,
    SecretStore,
}

impl SecretStoreKind {
    /// As External Secrets call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterSecretStore => "ClusterSecretStore",
            Self::SecretStore => "SecretStore",
        }
    }
}

fn default_refresh() -> HumanDuration {
    HumanDuration::from_secs(3600)
}

/// How containers of a cluster come to their GPUs: as a resource of the node, which a device plugin offers
/// (`nvidia.com/gpu`), or by a claim, which a driver for dynamic resource allocation fills (`gpu.nvidia.com`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GpuAccess {
    #[default]
    DevicePlugin,
    ResourceClaim,
}

/// How connections leave an app's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Egress {
    #[default]
    Nat,
    None,
}

impl Default for LocalTarget {
    fn default() -> Self {
        Self {
            publish_address: default_publish_address(),
            egress: Egress::default(),
        }
    }
}

/// Where secrets are found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetSecrets {
    /// Env files (`NAME=value` in each line), relative to the folder of this file; a later one wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1)))]
    pub files: Vec<String>,
}

impl TargetSecrets {
    /// Whether no place is named.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// How much an account may be asked, by all apps together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Calls to the platform in a second.
    #[schemars(range(min = 1, max = 10000))]
    pub requests_per_second: u32,
}

impl Target {
    /// The Target `local` of whoever has written none: this machine, with every setting at its default.
    pub fn local() -> Self {
        Self {
            api_version: ApiVersion::V1Alpha1,
            kind: TargetKind::Target,
            metadata: TargetMetadata {
                name: LOCAL_PROVIDER.to_string(),
                labels: BTreeMap::new(),
                annotations: BTreeMap::new(),
            },
            spec: TargetSpec {
                provider: LOCAL_PROVIDER.to_string(),
                local: Some(LocalTarget::default()),
                kubernetes: None,
                ecs: None,
                bindings: BTreeMap::new(),
                secrets: TargetSecrets::default(),
                budget: None,
                approval: Approval::default(),
            },
        }
    }
}

fn default_publish_address() -> String {
    "127.0.0.1".to_string()
}
