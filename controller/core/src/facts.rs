//! What had to be asked of the world before a manifest can be resolved: digests of images, and whether secrets exist.
//!
//! Gathering them is an effect and happens elsewhere; here are only their types, and the pure list of what to ask.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::reference::{Digest, ImageReference};

/// Which container of an app: `services/web`, `services/web/sidecars/stats`, `services/web/init/seed`, `jobs/migrate`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerPath(String);

impl ContainerPath {
    pub fn service(service: &str) -> Self {
        Self(format!("services/{service}"))
    }

    pub fn job(job: &str) -> Self {
        Self(format!("jobs/{job}"))
    }

    pub fn sidecar(&self, name: &str) -> Self {
        Self(format!("{}/sidecars/{name}", self.0))
    }

    pub fn init(&self, name: &str) -> Self {
        Self(format!("{}/init/{name}", self.0))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a container's image comes from: what gathering is asked to turn into a [`PinnedImage`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ImageSource {
    Build(BuildSource),
    Reference(ImageReference),
}

/// A build, with its paths resolved against the folder of the manifest that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildSource {
    pub context: PathBuf,
    /// Relative to the context.
    pub dockerfile: PathBuf,
    pub target: Option<String>,
    pub args: BTreeMap<String, String>,
    /// The name under which the result is kept in the local store.
    pub tag: ImageReference,
}

/// An image pinned to its digest, with what its config says about running it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PinnedImage {
    /// What the user wrote, or the tag of the build.
    pub reference: ImageReference,
    /// Digest of the image manifest.
    pub digest: Digest,
    pub config: ImageDefaults,
}

/// The part of an image's config that fills what the manifest leaves open (OCI image-spec, config.md).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageDefaults {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// `NAME=value`, in the image's order.
    pub env: Vec<String>,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub stop_signal: Option<String>,
    /// In Go's words, `amd64` or `arm64`: what the pinned manifest runs on. `None` where its digest names an index, or
    /// nothing of it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
}

/// All that gathering found out for one app. An image that is absent here is open in the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    pub images: BTreeMap<ContainerPath, PinnedImage>,
}
