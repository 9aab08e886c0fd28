//! Settings of the provider `ecs`: a cluster of Amazon's Elastic Container Service, and what of an account goes with it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{grammar, limits};

/// Settings of the provider `ecs`: a cluster of Amazon ECS, and what stands around it. What is named here is there already, made by
/// `terraform` or by hand; what an app needs besides is made for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EcsTarget {
    /// Number of the account. Whoever has credentials for another one is refused.
    #[schemars(extend("pattern" = grammar::AWS_ACCOUNT.pattern))]
    pub account: String,
    /// Region of the cluster.
    #[schemars(extend("pattern" = grammar::AWS_REGION.pattern))]
    pub region: String,
    /// Name of the cluster.
    #[schemars(extend("pattern" = grammar::AWS_NAME.pattern))]
    pub cluster: String,
    /// Subnets in which tasks have their addresses, all of one VPC; in several zones, tasks are spread over them.
    #[schemars(length(min = 1, max = limits::SUBNETS), inner(regex(pattern = grammar::AWS_ID.pattern)), extend("x-kubernetes-list-type" = "set"))]
    pub subnets: Vec<String>,
    /// Security groups of the tasks; the VPC's default one if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::SECURITY_GROUPS), inner(regex(pattern = grammar::AWS_ID.pattern)), extend("x-kubernetes-list-type" = "set"))]
    pub security_groups: Vec<String>,
    /// Whether tasks have public addresses, as they need in subnets that reach no registry otherwise. Fargate alone gives them.
    #[serde(default)]
    pub public_address: bool,
    /// What tasks run on: `fargate`, `ec2` or `managedInstances`.
    #[serde(default)]
    pub capacity: EcsCapacity,
    /// Capacity providers of the cluster among which tasks are shared out, such as `FARGATE` and `FARGATE_SPOT`; if left out, what
    /// `capacity` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::CAPACITY_PROVIDERS), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub capacity_providers: Vec<CapacityProvider>,
    /// Whether ECS moves tasks to another zone when one has too few of them.
    #[serde(default = "yes")]
    pub zone_rebalancing: bool,
    /// Whether a command can be run inside a container, by ECS Exec.
    #[serde(default)]
    pub execute_command: bool,
    /// How many tasks of a new revision may fail before it is given up; half as many as there shall be, between 3 and 200, if left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub failed_tasks: Option<u32>,
    /// Alarms of CloudWatch that end a deployment, and bring the old revision back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::ALARMS), inner(regex(pattern = grammar::AWS_NAME.pattern)), extend("x-kubernetes-list-type" = "set"))]
    pub alarms: Vec<String>,
    /// Roles that are there. What is left out is derived from the manifest, as small as it can be.
    #[serde(default, skip_serializing_if = "EcsRoles::is_empty")]
    pub roles: EcsRoles,
    /// Policy that bounds every role that is derived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::ARN.pattern))]
    pub permissions_boundary: Option<String>,
    /// Namespace of Cloud Map in which services find each other by their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<CloudMapNamespace>,
    /// VPC of the subnets; needed where a load balancer leads to services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::AWS_ID.pattern))]
    pub vpc: Option<String>,
    /// Application Load Balancer that leads to domains, and to public ports that speak `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_load_balancer: Option<ApplicationLoadBalancer>,
    /// Network Load Balancer that leads to public ports that speak `tcp`, by its ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::ARN.pattern))]
    pub network_load_balancer: Option<String>,
    /// File system of EFS in which volumes have their folders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::AWS_ID.pattern))]
    pub file_system: Option<String>,
    /// Where the secrets of apps are.
    #[serde(default)]
    pub secret_store: EcsSecretStore,
    /// Where what containers write goes.
    #[serde(default)]
    pub logs: EcsLogs,
    /// Image with a shell, `mkdir` and `base64`, by whose container the `files` of an app are written before its own start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::IMAGE.pattern))]
    pub files_image: Option<String>,
    /// Files that a container may have open at one time; what the platform gives if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 1_048_576))]
    pub open_files: Option<u32>,
}

/// What tasks run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum EcsCapacity {
    #[default]
    Fargate,
    Ec2,
    ManagedInstances,
}

/// A capacity provider, and its part of the tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapacityProvider {
    /// Name of the capacity provider.
    #[schemars(extend("pattern" = grammar::AWS_NAME.pattern))]
    pub name: String,
    /// How many tasks it has for each one of a provider whose weight is 1.
    #[serde(default = "one")]
    #[schemars(range(max = 1000))]
    pub weight: u32,
    /// How many tasks it has before any is shared out; one provider alone may say so.
    #[serde(default)]
    #[schemars(range(max = 100_000))]
    pub base: u32,
}

/// Roles of an account, by their ARNs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EcsRoles {
    /// By which ECS pulls images, reads secrets and writes logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::ARN.pattern))]
    pub execution: Option<String>,
    /// That the containers themselves have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::ARN.pattern))]
    pub task: Option<String>,
    /// By which EventBridge Scheduler starts jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::ARN.pattern))]
    pub scheduler: Option<String>,
    /// By which ECS shifts connections from one revision to the next at a load balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::ARN.pattern))]
    pub load_balancer: Option<String>,
}

impl EcsRoles {
    /// Whether all of them are derived.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A namespace of Cloud Map with DNS names in a VPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudMapNamespace {
    /// Its identifier.
    #[schemars(extend("pattern" = grammar::AWS_ID.pattern))]
    pub id: String,
    /// Its name, which is the end of its services' names.
    #[schemars(extend("pattern" = grammar::HOST.pattern))]
    pub name: String,
}

/// An Application Load Balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationLoadBalancer {
    /// Its ARN.
    #[schemars(extend("pattern" = grammar::ARN.pattern))]
    pub arn: String,
    /// Listener of domains with `tls: none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::ARN.pattern))]
    pub http_listener: Option<String>,
    /// Listener of domains with `tls: auto`; it has their certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::ARN.pattern))]
    pub https_listener: Option<String>,
}

/// Where secrets are: in Secrets Manager under their names, each key a key of the secret's JSON; or in the Parameter Store of
/// Systems Manager under `/NAME/KEY`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum EcsSecretStore {
    #[default]
    SecretsManager,
    ParameterStore,
}

/// Where what containers write goes: to CloudWatch, unless a router of FireLens takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EcsLogs {
    /// Days for which CloudWatch keeps what is written by whoever says no `logs.maxAge`.
    #[serde(default = "month")]
    #[schemars(range(min = 1, max = 3653))]
    pub retention_days: u32,
    /// Router that each task has beside its containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fire_lens: Option<FireLens>,
}

impl Default for EcsLogs {
    fn default() -> Self {
        Self {
            retention_days: month(),
            fire_lens: None,
        }
    }
}

/// A router of FireLens: Fluent Bit, and where it sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FireLens {
    /// Its image.
    #[schemars(extend("pattern" = grammar::IMAGE.pattern))]
    pub image: String,
    /// Options of its output, such as `Name: opensearch`. Never a secret.
    #[schemars(extend("maxProperties" = limits::LOG_OPTIONS))]
    pub options: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn month() -> u32 {
    30
}
