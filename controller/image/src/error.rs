//! What can go wrong in this crate. Each variant names the operation that failed and its subject; the cause, where
//! there is one, is chained. [`Error::class`] is all that a retrying caller needs to know; nothing here retries.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use portolan_core::reference::{Digest, InvalidReference};

use crate::layer::Fault;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed operation of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call to the file system failed. `doing` completes "cannot ...".
    #[error("cannot {doing} {}", path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },

    #[error("{} is no image store of a known version", path.display())]
    StoreUnknown { path: PathBuf },

    /// Prune needs the store for itself; a build or a pull is using it.
    #[error("the image store {} is in use by a build, a pull or a push", path.display())]
    StoreBusy { path: PathBuf },

    #[error("the image store does not hold {digest}")]
    BlobMissing { digest: Digest },

    /// The source of a blob (a file, an archive, a connection) failed half way.
    #[error("cannot read the content of a blob")]
    BlobRead { source: io::Error },

    /// The bytes are not those that were announced.
    #[error("content announced as {expected} is {actual}")]
    BlobMismatch { expected: String, actual: String },

    #[error("the document {digest} is larger than the {limit} bytes that are read")]
    DocumentTooLarge { digest: String, limit: u64 },

    /// A manifest, index or configuration that cannot be what it should be.
    #[error("the {what} {digest} is invalid: {reason}")]
    DocumentInvalid {
        what: &'static str,
        digest: String,
        reason: String,
    },

    #[error("the image {image} has no manifest for linux/{architecture}, only for {available}")]
    NoPlatform {
        image: String,
        architecture: String,
        available: String,
    },

    #[error("the image store does not know {name}")]
    ImageUnknown { name: String },

    /// A layer's archive holds what no layer may hold. `entry` counts from 1.
    #[error("layer entry {entry} ({path:?}) is rejected")]
    LayerRejected { entry: u64, path: String, source: Fault },

    #[error("cannot unpack the layer entry {path:?}")]
    LayerWrite { path: String, source: io::Error },

    #[error("cannot pack {}", path.display())]
    LayerPack { path: PathBuf, source: io::Error },

    /// A directory holds something that a layer cannot express.
    #[error("{} cannot be part of a layer: {reason}", path.display())]
    LayerInexpressible { path: PathBuf, reason: &'static str },

    #[error("cannot unpack a layer of the type {media_type}")]
    LayerType { media_type: String },

    #[error("the import has no name: the source brings none that is an image reference")]
    ImportUnnamed,

    #[error("one name cannot be given to the {images} images of the source")]
    ImportSeveral { images: usize },

    #[error("cannot reach the registry {registry}")]
    RegistryUnreachable { registry: String, source: reqwest::Error },

    /// The registry, or its token server, answered with an error. `message` begins with `: ` unless it is empty.
    #[error("cannot {doing}: the registry {registry} answered {status}{message}")]
    RegistryRefused {
        registry: String,
        doing: &'static str,
        status: u16,
        message: String,
        retry_after: Option<Duration>,
    },

    /// The registry breaks the protocol.
    #[error("the registry {registry} cannot be used: {reason}")]
    RegistryAnswer { registry: String, reason: String },

    #[error("no request is sent to {address}: {reason}")]
    AddressForbidden { address: String, reason: &'static str },

    #[error("cannot prepare connections to registries")]
    HttpClient { source: reqwest::Error },

    #[error("the credential helper docker-credential-{helper} has failed: {reason}")]
    CredentialHelper { helper: String, reason: String },

    #[error("the stored credentials for {registry} are malformed")]
    CredentialsMalformed { registry: String },

    #[error(transparent)]
    Reference(#[from] InvalidReference),
}

/// What a caller may do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// May succeed if tried again, no sooner than the given time from now where the other side named one.
    Retry(Option<Duration>),
    /// Credentials are missing, wrong or not enough.
    Denied,
    NotFound,
    /// The disk, or the quota on it, is full.
    Quota,
    /// The input is wrong, and stays so.
    Invalid,
}

impl Error {
    /// The stable CamelCase word for this failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ImageUnknown { .. } => "ImageNotFound",
            Self::NoPlatform { .. } => "PlatformUnsupported",
            Self::RegistryUnreachable { .. } | Self::HttpClient { .. } => "RegistryUnreachable",
            Self::RegistryRefused { status: 404, .. } => "ImageNotFound",
            Self::RegistryRefused { status: 401 | 403, .. } => "RegistryDenied",
            Self::CredentialHelper { .. } | Self::CredentialsMalformed { .. } => "CredentialsUnusable",
            Self::RegistryRefused { .. } | Self::RegistryAnswer { .. } => "RegistryFailed",
            Self::AddressForbidden { .. } => "AddressForbidden",
            Self::Reference(_) => "ReferenceInvalid",
            Self::ImportUnnamed | Self::ImportSeveral { .. } => "ImportInvalid",
            Self::BlobRead { .. }
            | Self::BlobMismatch { .. }
            | Self::DocumentTooLarge { .. }
            | Self::DocumentInvalid { .. }
            | Self::LayerRejected { .. }
            | Self::LayerInexpressible { .. }
            | Self::LayerType { .. } => "ImageInvalid",
            Self::StoreBusy { .. } => "ImageStoreBusy",
            Self::File { .. }
            | Self::StoreUnknown { .. }
            | Self::BlobMissing { .. }
            | Self::LayerWrite { .. }
            | Self::LayerPack { .. } => "ImageStoreFailed",
        }
    }

    pub fn class(&self) -> ErrorClass {
        match self {
            Self::File { source, .. } | Self::LayerWrite { source, .. } | Self::LayerPack { source, .. } => {
                class_of(source)
            }
            Self::BlobRead { .. } | Self::StoreBusy { .. } => ErrorClass::Retry(None),
            Self::BlobMissing { .. } | Self::ImageUnknown { .. } | Self::NoPlatform { .. } => ErrorClass::NotFound,
            Self::RegistryUnreachable { .. } => ErrorClass::Retry(None),
            Self::RegistryRefused {
                status, retry_after, ..
            } => class_of_status(*status, *retry_after),
            Self::CredentialHelper { .. } | Self::CredentialsMalformed { .. } => ErrorClass::Denied,
            Self::StoreUnknown { .. }
            | Self::RegistryAnswer { .. }
            | Self::AddressForbidden { .. }
            | Self::HttpClient { .. }
            | Self::BlobMismatch { .. }
            | Self::DocumentTooLarge { .. }
            | Self::DocumentInvalid { .. }
            | Self::LayerRejected { .. }
            | Self::ImportUnnamed
            | Self::ImportSeveral { .. }
            | Self::LayerInexpressible { .. }
            | Self::LayerType { .. }
            | Self::Reference(_) => ErrorClass::Invalid,
        }
    }

    /// For `map_err` after a call to the file system.
    pub(crate) fn file<E: Into<io::Error>>(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::File {
            doing,
            path,
            source: source.into(),
        }
    }
}

fn class_of(error: &io::Error) -> ErrorClass {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorClass::NotFound,
        io::ErrorKind::PermissionDenied => ErrorClass::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorClass::Quota,
        io::ErrorKind::Interrupted | io::ErrorKind::ResourceBusy => ErrorClass::Retry(None),
        _ => ErrorClass::Invalid,
    }
}

fn class_of_status(status: u16, retry_after: Option<Duration>) -> ErrorClass {
    match status {
        401 | 403 => ErrorClass::Denied,
        404 => ErrorClass::NotFound,
        408 | 429 | 500.. => ErrorClass::Retry(retry_after),
        _ => ErrorClass::Invalid,
    }
}
