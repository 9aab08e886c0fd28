//! The image configuration: what a container of the image runs, and which layers make its root.
//!
//! The types hold every field of the OCI image specification ("config.md"), Docker's extensions (`Healthcheck`,
//! `Shell`, `OnBuild`, ...) and, in `extra`, whatever else a document carries: reading and writing one again loses
//! nothing. The published types of `oci-spec` drop those extensions, which is why these exist.

use std::collections::BTreeMap;

use portolan_core::reference::Digest;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The whole configuration document of one image for one platform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// RFC 3339 time of creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// In Go's words: `amd64`, `arm64`.
    #[serde(default)]
    pub architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    #[serde(default)]
    pub os: String,
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// What a container of this image runs, unless told otherwise.
    #[serde(default, deserialize_with = "or_default")]
    pub config: ContainerConfig,
    pub rootfs: RootFs,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Fields that no specification names, kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The execution parameters. Absent and `null` are the same; an empty list differs from none where that matters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// `user`, `uid`, `user:group` or `uid:gid`; empty is root.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `port/protocol`, as in `8080/tcp`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Nothing>,
    /// `NAME=value`, in order.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Absolute paths inside the container.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Nothing>,
    /// Absolute path; empty is `/`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `SIGTERM` or a number; absent is `SIGTERM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds between the stop signal and the kill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The shell of the shell forms; absent is `/bin/sh -c`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Instructions run when another image is built on this one.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `HEALTHCHECK`. Durations are nanoseconds; zero means the default of whoever runs it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", ...]` or `["CMD-SHELL", command]`; empty inherits.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_period: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: i64,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The layers, bottom first, by the digests of their uncompressed archives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<Digest>,
}

/// How one layer, or one change without a layer, came to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub empty_layer: bool,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The empty object `{}` that the format uses for the members of its sets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

impl ImageConfig {
    /// A configuration without layers for the platform this program was built for.
    pub fn empty() -> Self {
        Self {
            created: None,
            author: None,
            architecture: crate::manifest::host_architecture().to_owned(),
            variant: None,
            os: "linux".to_owned(),
            os_version: None,
            os_features: Vec::new(),
            config: ContainerConfig::default(),
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: Vec::new(),
            },
            history: Vec::new(),
            extra: Map::new(),
        }
    }
}

/// Docker writes `null` for an empty list or map.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_survives_a_round_trip() {
        let text = serde_json::json!({
            "created": "2026-01-01T00:00:00Z", "author": "a", "architecture": "arm", "variant": "v7", "os": "linux",
            "os.version": "1", "os.features": ["f"], "moby.buildkit.buildinfo.v1": "kept",
            "config": {
                "User": "1:1", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=b"], "Entrypoint": ["/e"], "Cmd": [],
                "Volumes": {"/v": {}}, "WorkingDir": "/w", "Labels": {"l": "m"}, "StopSignal": "SIGINT",
                "StopTimeout": 3, "Shell": ["/bin/bash", "-c"], "OnBuild": ["RUN x"], "ArgsEscaped": true,
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5, "Timeout": 6, "StartPeriod": 7,
                    "StartInterval": 8, "Retries": 9, "Later": 1}
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", "0".repeat(64))]},
            "history": [{"created": "x", "created_by": "y", "author": "z", "comment": "c", "empty_layer": true, "v": 1}]
        });
        let config: ImageConfig = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(&config).unwrap(), text);
    }

    #[test]
    fn null_means_empty() {
        let config: ImageConfig = serde_json::from_str(
            r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":null,"Volumes":null,"Labels":null,
                "OnBuild":null,"Healthcheck":null},"rootfs":{"type":"layers","diff_ids":null},"history":null}"#,
        )
        .unwrap();
        assert_eq!(config.config, ContainerConfig::default());
        let config: ImageConfig = serde_json::from_str(r#"{"config":null,"rootfs":{"type":"layers"}}"#).unwrap();
        assert_eq!(config.config, ContainerConfig::default());
    }
}
