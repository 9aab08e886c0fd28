//! Images that are never looked at: where a platform pulls them itself, a name and a digest are all that is asked of them.

use std::path::PathBuf;

use async_trait::async_trait;
use portolan_core::facts::{ImageDefaults, ImageSource, PinnedImage};
use portolan_core::name::hash_of;
use portolan_core::reference::Digest;
use portolan_provider_api::{ImageError, Images, PinRequest};

/// Each reference has a digest of its own.
///
/// # Panics
///
/// On an image that has to be built.
pub fn pinned_by_name(request: &PinRequest) -> PinnedImage {
    let ImageSource::Reference(reference) = request.source.clone() else {
        panic!("nothing is built here")
    };
    let hash = hash_of(&["image", &reference.to_string()]);
    PinnedImage {
        reference,
        digest: Digest::parse(&format!("sha256:{hash}")).expect("a hash has the digits of a digest"),
        config: ImageDefaults::default(),
    }
}

/// Those of a platform that pulls its images itself.
pub struct PulledThere;

#[async_trait]
impl Images for PulledThere {
    async fn pin(&self, request: &PinRequest) -> Result<PinnedImage, ImageError> {
        Ok(pinned_by_name(request))
    }

    async fn pinned_already(&self, request: &PinRequest) -> Result<Option<PinnedImage>, ImageError> {
        self.pin(request).await.map(Some)
    }

    async fn is_unpacked(&self, _digest: &Digest) -> Result<bool, ImageError> {
        panic!("the platform pulls its images itself")
    }

    async fn unpack(&self, _digest: &Digest) -> Result<Vec<PathBuf>, ImageError> {
        panic!("the platform pulls its images itself")
    }
}
