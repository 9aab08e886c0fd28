//! Images without any: a digest is a hash over the source, and over what a test says the source holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use portolan_core::facts::{ImageDefaults, ImageSource, PinnedImage};
use portolan_core::name::hash_of;
use portolan_core::reference::Digest;
use portolan_provider_api::{ImageError, Images, PinRequest};

/// Clones are the same store.
#[derive(Clone, Default)]
pub struct FakeImages {
    contents: Arc<Mutex<BTreeMap<String, String>>>,
    lacking: Arc<Mutex<BTreeSet<String>>>,
}

impl FakeImages {
    /// The source of the container, such as `services/web`, holds something else from now on.
    pub fn change_source(&self, container: &str, content: &str) {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        contents.insert(container.to_string(), content.to_string());
    }

    /// The image of the container is neither built nor pulled: [`Images::pinned_already`] does not know it until
    /// [`Images::pin`] was asked for it.
    pub fn lack(&self, container: &str) {
        self.lacking().insert(container.to_string());
    }

    fn lacking(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.lacking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn pin_now(&self, request: &PinRequest) -> PinnedImage {
        let reference = match &request.source {
            ImageSource::Build(build) => build.tag.clone(),
            ImageSource::Reference(reference) => reference.clone(),
        };
        let contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        let content = contents.get(request.container.as_str()).map_or("", String::as_str);
        let hash = hash_of(&["image", &reference.to_string(), content]);
        let digest = Digest::parse(&format!("sha256:{hash}")).expect("SHA-256 in hex is a digest");
        PinnedImage {
            reference,
            digest,
            config: ImageDefaults::default(),
        }
    }
}

#[async_trait]
impl Images for FakeImages {
    async fn pin(&self, request: &PinRequest) -> Result<PinnedImage, ImageError> {
        self.lacking().remove(request.container.as_str());
        Ok(self.pin_now(request))
    }

    async fn pinned_already(&self, request: &PinRequest) -> Result<Option<PinnedImage>, ImageError> {
        let lacks = self.lacking().contains(request.container.as_str());
        Ok((!lacks).then(|| self.pin_now(request)))
    }

    async fn is_unpacked(&self, _digest: &Digest) -> Result<bool, ImageError> {
        Ok(true)
    }

    async fn unpack(&self, _digest: &Digest) -> Result<Vec<PathBuf>, ImageError> {
        Ok(Vec::new())
    }
}
