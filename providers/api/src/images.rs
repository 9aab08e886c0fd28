//! Images, as the engine and the providers see them: pinned to digests while facts are gathered, and brought to where
//! a target can run them. The image crate implements it; a provider that needs it is given it when it is made.

use std::path::PathBuf;

use async_trait::async_trait;
use portolan_core::facts::{ContainerPath, ImageSource, PinnedImage};
use portolan_core::reference::Digest;

use crate::error::ErrorClass;

/// One container's image, to be pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinRequest {
    pub container: ContainerPath,
    pub source: ImageSource,
}

/// Builds, looks up and unpacks images.
#[async_trait]
pub trait Images: Send + Sync {
    /// Builds the image, or looks its reference up (first in the local store, then in its registry), and answers its
    /// digest. The same source again answers the same digest.
    async fn pin(&self, request: &PinRequest) -> Result<PinnedImage, ImageError>;

    /// As [`Images::pin`], but without building, pulling or writing anything: `None` where that would be needed.
    async fn pinned_already(&self, request: &PinRequest) -> Result<Option<PinnedImage>, ImageError>;

    /// Whether the image lies in the local store, unpacked.
    async fn is_unpacked(&self, digest: &Digest) -> Result<bool, ImageError>;

    /// Unpacks the image's layers in the local store, if they are not already, and answers their folders, the topmost
    /// first, as overlayfs takes them.
    async fn unpack(&self, digest: &Digest) -> Result<Vec<PathBuf>, ImageError>;
}

/// What went wrong with an image. `code` is CamelCase: `ImageNotFound`, `BuildFailed`, `DockerfileInvalid`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ImageError {
    pub class: ErrorClass,
    pub code: String,
    pub message: String,
    /// Where in a file of the user's, if there: path, line and the line's text. Several for a Dockerfile with several faults.
    pub places: Vec<Place>,
    pub hint: Option<String>,
    /// The last lines of a failed step's output.
    pub evidence: Vec<String>,
}

/// A line of a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
    pub text: String,
    pub message: String,
}
