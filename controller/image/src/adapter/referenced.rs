//! Images for targets that pull by themselves, on a machine that runs none: [`ReferencedImages`] asks registries which digest a
//! tag has, and keeps nothing. What is in an image stays unknown, so every default of it is left to whoever runs it.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use portolan_core::facts::{ImageDefaults, ImageSource, PinnedImage};
use portolan_core::reference::{Digest, ImageReference};
use portolan_provider_api::{ErrorClass, ImageError, Images, PinRequest};

use super::error;
use crate::registry::RegistryClient;

pub struct ReferencedImages {
    registry: Arc<RegistryClient>,
}

impl ReferencedImages {
    /// Reaches registries with what `docker login` left for this user.
    pub fn open() -> Result<Self, ImageError> {
        Ok(Self {
            registry: super::registry_of_user()?,
        })
    }

    async fn digest(&self, reference: &ImageReference) -> Result<Digest, ImageError> {
        let found = self.registry.resolve(reference).await;
        let found = found.map_err(|failure| error::of_pull(reference, &failure))?;
        found.map(|descriptor| descriptor.digest).ok_or_else(|| ImageError {
            class: ErrorClass::Invalid,
            code: "ImageNotFound".into(),
            message: format!("the registry has no image {}", reference.familiar()),
            places: Vec::new(),
            hint: Some("is the tag right?".into()),
            evidence: Vec::new(),
        })
    }
}

#[async_trait]
impl Images for ReferencedImages {
    /// A digest is what it is; a tag is looked up in its registry.
    async fn pin(&self, request: &PinRequest) -> Result<PinnedImage, ImageError> {
        let ImageSource::Reference(reference) = &request.source else {
            return Err(no_source());
        };
        let digest = match reference.digest() {
            Some(digest) => digest.clone(),
            None => self.digest(reference).await?,
        };
        Ok(pinned(reference, digest))
    }

    async fn pinned_already(&self, request: &PinRequest) -> Result<Option<PinnedImage>, ImageError> {
        let ImageSource::Reference(reference) = &request.source else {
            return Ok(None);
        };
        Ok(reference.digest().map(|digest| pinned(reference, digest.clone())))
    }

    async fn is_unpacked(&self, _digest: &Digest) -> Result<bool, ImageError> {
        Ok(true)
    }

    /// There is nothing to unpack where nothing runs.
    async fn unpack(&self, _digest: &Digest) -> Result<Vec<PathBuf>, ImageError> {
        Ok(Vec::new())
    }
}

fn pinned(reference: &ImageReference, digest: Digest) -> PinnedImage {
    PinnedImage {
        reference: reference.clone(),
        digest,
        config: ImageDefaults::default(),
    }
}

fn no_source() -> ImageError {
    ImageError {
        class: ErrorClass::Invalid,
        code: "BuildHasNoSource".into(),
        message: "there is no folder to build from".into(),
        places: Vec::new(),
        hint: Some("build and push the image, and name it".into()),
        evidence: Vec::new(),
    }
}
