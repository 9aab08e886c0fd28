//! What services, sidecars, init containers and jobs have in common: one container.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteQuantity, CpuQuantity, FileMount, Gpu, SecretReference, VolumeMount, grammar, limits};

/// One container: its image, its process, and what is put into it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Build the image from a Dockerfile. Either this or `image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// Reference of an image that exists, as in `registry.example/shop:1.4`; a tag is pinned to its digest once for
    /// each generation. Either this or `build`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::IMAGE.pattern))]
    pub image: Option<String>,
    /// Replaces the image's ENTRYPOINT. It is not given to a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub command: Option<Vec<String>>,
    /// Replaces the image's CMD. With `command` and without `args` the image's CMD is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Folder in the container in which the process starts; the image's WORKDIR, else `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::ABSOLUTE_PATH.pattern))]
    pub working_dir: Option<String>,
    /// User, or user and group, by number or by the image's names: `1000`, `1000:1000`, `app`. The image's USER, else root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::USER.pattern))]
    pub user: Option<String>,
    /// Environment. A value may hold `${services.NAME.url}`, `.host` and `.port`, and `${bindings.NAME.KEY}`;
    /// `$${` stands for a plain `${`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = grammar::env_name_schema(), "maxProperties" = limits::VARIABLES))]
    pub env: BTreeMap<String, String>,
    /// Environment taken from secrets, by reference: the value is read by the target alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = grammar::env_name_schema(), "maxProperties" = limits::VARIABLES))]
    pub secrets: BTreeMap<String, SecretReference>,
    /// Small text files put into the container, read-only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::FILES), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub files: Vec<FileMount>,
    /// Named volumes put into the container. A volume outlives updates and deletes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::VOLUMES), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub volumes: Vec<VolumeMount>,
    /// How much of the machine it may use; without a limit, all of it.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
}

/// How an image is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// Folder that the build may read, relative to the folder of this file.
    #[serde(default = "default_context")]
    #[schemars(length(min = 1))]
    pub context: String,
    /// The Dockerfile, relative to `context`.
    #[serde(default = "default_dockerfile")]
    #[schemars(length(min = 1))]
    pub dockerfile: String,
    /// Stage to build, by its name in `FROM ... AS NAME`; the last one if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub target: Option<String>,
    /// Values for the Dockerfile's ARGs. They can be read in the image's history: never a secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = grammar::env_name_schema()))]
    pub args: BTreeMap<String, String>,
}

impl Default for Build {
    fn default() -> Self {
        Self {
            context: default_context(),
            dockerfile: default_dockerfile(),
            target: None,
            args: BTreeMap::new(),
        }
    }
}

/// Upper limits of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Processor time: `500m` is half a core, `2` two cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuQuantity>,
    /// Memory: `256Mi`, `1Gi`. A container that wants more is killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteQuantity>,
    /// Processes and threads at one time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub pids: Option<u32>,
    /// GPUs that it has for itself; none if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
}

impl Resources {
    /// Whether no limit is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn default_context() -> String {
    ".".to_string()
}

fn default_dockerfile() -> String {
    "Dockerfile".to_string()
}
