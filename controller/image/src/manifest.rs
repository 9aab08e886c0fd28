//! Descriptors, manifests and indexes: the documents that tie an image together (OCI image specification,
//! "descriptor.md", "manifest.md", "image-index.md", and Docker's schema 2 of the same shape).
//!
//! A document is parsed together with the media type it was announced under. One that could be read both as a
//! manifest and as an index is refused (CVE-2021-41190), as is one whose own `mediaType` contradicts the
//! announcement. Digests are validated by their type, so no other text ever reaches a path or a URL.

use std::collections::BTreeMap;

use portolan_core::reference::Digest;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::store::Content;

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// The annotation under which an image layout keeps an image's name.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Largest manifest, index or configuration read, in bytes; registries limit manifests to the same.
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// Points to content: what it is, its identity and its size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Everything else, `urls` included: kept, never followed.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What a manifest of an index runs on, in Go's words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Platform {
    pub architecture: String,
    pub os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One image for one platform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    pub config: Descriptor,
    /// Bottom first.
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Several images under one name, usually one for each platform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    pub manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A document that has been found to be exactly one of the two.
#[derive(Debug, Clone, PartialEq)]
// Documents are read one at a time and taken apart at once.
#[allow(clippy::large_enum_variant)]
pub enum Document {
    Manifest(Manifest),
    Index(Index),
}

/// Just enough of a document to tell what it claims to be.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

impl Descriptor {
    pub fn new(media_type: impl Into<String>, content: Content) -> Self {
        Self {
            media_type: media_type.into(),
            digest: content.digest,
            size: content.size,
            platform: None,
            annotations: BTreeMap::new(),
            extra: Map::new(),
        }
    }

    /// Identity and size, for a check while bytes stream.
    pub fn content(&self) -> Content {
        Content {
            digest: self.digest.clone(),
            size: self.size,
        }
    }

    pub fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), OCI_INDEX | DOCKER_INDEX)
    }
}

impl Manifest {
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            config,
            layers,
            annotations: BTreeMap::new(),
            extra: Map::new(),
        }
    }
}

impl Index {
    pub fn empty() -> Self {
        Self {
            schema_version: 2,
            media_type: Some(OCI_INDEX.to_owned()),
            manifests: Vec::new(),
            annotations: BTreeMap::new(),
            extra: Map::new(),
        }
    }

    /// The first manifest for linux on `architecture`. When an index names no platforms at all and holds a single
    /// manifest, that one. Attestations, which carry the platform `unknown/unknown`, never match.
    pub fn choose(&self, architecture: &str) -> Option<&Descriptor> {
        let fits = |platform: &Platform| platform.os == "linux" && platform.architecture == architecture;
        match self.manifests.as_slice() {
            [only] if only.platform.is_none() => Some(only),
            several => several
                .iter()
                .find(|manifest| manifest.platform.as_ref().is_some_and(fits)),
        }
    }

    /// What it does hold, for an error: `linux/arm64, linux/s390x`.
    pub fn platforms(&self) -> String {
        let name = |platform: &Platform| format!("{}/{}", platform.os, platform.architecture);
        let names: Vec<_> = self
            .manifests
            .iter()
            .filter_map(|manifest| manifest.platform.as_ref().map(name))
            .collect();
        if names.is_empty() {
            "none that is named".to_owned()
        } else {
            names.join(", ")
        }
    }
}

impl Document {
    /// Parses `bytes` announced as `announced` (a descriptor's media type or a Content-Type). `Err` is the reason.
    pub fn parse(bytes: &[u8], announced: Option<&str>) -> Result<Self, String> {
        let shape: Shape = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let is_index = shape.check()?;
        let own = shape.media_type.as_deref();
        for claimed in [own, announced].into_iter().flatten() {
            match (claimed, is_index) {
                (OCI_INDEX | DOCKER_INDEX, true) | (OCI_MANIFEST | DOCKER_MANIFEST, false) => {}
                _ => return Err(format!("its content is not what the media type {claimed} says")),
            }
        }
        if let (Some(own), Some(announced)) = (own, announced)
            && own != announced
        {
            return Err(format!("it says it is {own} but was announced as {announced}"));
        }
        match is_index {
            true => serde_json::from_slice(bytes).map(Self::Index),
            false => serde_json::from_slice(bytes).map(Self::Manifest),
        }
        .map_err(|error| error.to_string())
    }

    /// The media type to announce it under: its own, or the one of its kind.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Manifest(manifest) => manifest.media_type.as_deref().unwrap_or(OCI_MANIFEST),
            Self::Index(index) => index.media_type.as_deref().unwrap_or(OCI_INDEX),
        }
    }
}

impl Shape {
    /// Whether it is an index; refuses what is both, neither, or of the obsolete first schema.
    fn check(&self) -> Result<bool, String> {
        if self.fs_layers.is_some() || self.schema_version == Some(1) {
            return Err("it is a manifest of the obsolete schema 1".into());
        }
        if self.schema_version != Some(2) {
            return Err("its schemaVersion is not 2".into());
        }
        match (self.manifests.is_some(), self.config.is_some() || self.layers.is_some()) {
            (true, true) => Err("it is both a manifest and an index".into()),
            (false, false) => Err("it is neither a manifest nor an index".into()),
            (is_index, _) => Ok(is_index),
        }
    }
}

/// This machine's architecture in the words that images use.
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str) -> String {
        format!(
            r#"{{"mediaType":"{media_type}","digest":"sha256:{}","size":1}}"#,
            "a".repeat(64)
        )
    }

    #[test]
    fn a_document_is_exactly_one_thing() {
        let (config, layer) = (descriptor(OCI_CONFIG), descriptor(OCI_LAYER));
        let body = format!(r#""config":{config},"layers":[{layer}]"#);
        let list = r#""manifests":[]"#;
        for (text, announced, expected, reason) in [
            (
                format!(r#"{{"schemaVersion":2,{body}}}"#),
                None,
                "",
                "no media type at all is allowed",
            ),
            (
                format!(r#"{{"schemaVersion":2,{body}}}"#),
                Some(DOCKER_MANIFEST),
                "",
                "docker's name for the same",
            ),
            (
                format!(r#"{{"schemaVersion":2,{list}}}"#),
                Some(OCI_INDEX),
                "",
                "an index",
            ),
            (
                format!(r#"{{"schemaVersion":2,{body},{list}}}"#),
                None,
                "both",
                "ambiguous",
            ),
            (
                format!(r#"{{"schemaVersion":2,"layers":[],{list}}}"#),
                Some(OCI_INDEX),
                "both",
                "partly ambiguous",
            ),
            (
                format!(r#"{{"schemaVersion":2,{list}}}"#),
                Some(OCI_MANIFEST),
                "not what",
                "an index as a manifest",
            ),
            (
                format!(r#"{{"schemaVersion":2,{body}}}"#),
                Some(OCI_INDEX),
                "not what",
                "a manifest as an index",
            ),
            (
                format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}",{body}}}"#),
                None,
                "not what",
                "it lies itself",
            ),
            (
                format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}",{body}}}"#),
                Some(DOCKER_MANIFEST),
                "announced as",
                "two names that differ",
            ),
            (
                format!(r#"{{"schemaVersion":2,{body},"layers":[]}}"#),
                None,
                "duplicate",
                "a key given twice",
            ),
            (
                r#"{"schemaVersion":1,"fsLayers":[]}"#.into(),
                None,
                "schema 1",
                "obsolete",
            ),
            (r#"{"schemaVersion":2}"#.into(), None, "neither", "empty"),
            (r#"{}"#.into(), None, "schemaVersion", "nothing"),
            (r#"[]"#.into(), None, "struct", "no object"),
            (
                format!(
                    r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#,
                    layer.replace("sha256:a", "../../a")
                ),
                None,
                "invalid image reference",
                "a path as digest",
            ),
            (
                format!(
                    r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#,
                    layer.replace(":1}", ":-1}")
                ),
                None,
                "invalid value",
                "a negative size",
            ),
        ] {
            match Document::parse(text.as_bytes(), announced) {
                Ok(_) => assert_eq!(expected, "", "{reason}"),
                Err(error) => assert!(!expected.is_empty() && error.contains(expected), "{reason}: {error}"),
            }
        }
    }

    #[test]
    fn the_platform_is_chosen_by_name() {
        let entry = |os: &str, architecture: &str| {
            let platform = format!(r#","platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#);
            descriptor(OCI_MANIFEST).replace(":1}", &format!(":1{platform}"))
        };
        let index = |entries: &[String]| -> Index {
            let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
            serde_json::from_str(&text).unwrap()
        };
        let windows = index(&[
            entry("windows", "amd64"),
            entry("unknown", "unknown"),
            entry("linux", "arm64"),
        ]);
        assert_eq!(windows.choose("amd64"), None);
        assert_eq!(windows.platforms(), "windows/amd64, unknown/unknown, linux/arm64");
        assert!(windows.choose("arm64").is_some());
        assert!(
            index(&[descriptor(OCI_MANIFEST)]).choose("amd64").is_some(),
            "a single unnamed manifest"
        );
        assert_eq!(
            index(&[descriptor(OCI_MANIFEST), descriptor(OCI_MANIFEST)]).choose("amd64"),
            None
        );
    }
}
