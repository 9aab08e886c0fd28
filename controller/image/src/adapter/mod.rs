//! The image crate as the engine and the providers see it: [`LocalImages`] builds, looks up, pulls and unpacks in one
//! local store. Equal requests at the same time are done once, and the same answer goes to all who asked.

#![allow(
    clippy::result_large_err,
    reason = "the contract's error is of that size, and is rare"
)]

mod error;
mod names;
mod progress;
mod referenced;
mod shared_work;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use portolan_core::facts::{BuildSource, ImageDefaults, ImageSource, PinnedImage};
use portolan_core::reference::{Digest, ImageReference};
use portolan_provider_api::{ImageError, Images, PinRequest};

use crate::build::{BuildOptions, BuildRequest, build, find_built, source_digest};
use crate::config::ImageConfig;
use crate::layer::UnpackOptions;
use crate::registry::{Anonymous, ClientOptions, Credentials, DockerConfig, Platforms, RegistryClient};
use crate::store::Store;

pub use progress::{ImageEvent, ImagesProgress};
pub use referenced::ReferencedImages;

use names::Names;
use progress::Told;
use shared_work::SharedWork;

/// What [`LocalImages`] works with.
pub struct ImagesOptions {
    /// Folder of the image store; made if it is not there.
    pub store: PathBuf,
    /// Folder of the build cache; may be deleted at any time.
    pub cache: PathBuf,
    /// The program `portolan-runtime`; without it, a RUN that is not in the cache is refused.
    pub runtime: Option<PathBuf>,
    /// Hears what goes on.
    pub progress: Arc<dyn ImagesProgress>,
}

/// Images in a local store. Cheap to clone; clones share what is under way.
#[derive(Clone)]
pub struct LocalImages(Arc<Inner>);

struct Inner {
    store: Store,
    build: BuildOptions,
    registry: Arc<RegistryClient>,
    progress: Arc<dyn ImagesProgress>,
    names: Names,
    pinning: SharedWork<Result<PinnedImage, ImageError>>,
    unpacking: SharedWork<Result<Vec<PathBuf>, ImageError>>,
}

impl LocalImages {
    /// Opens the store, and reaches registries with what `docker login` left for this user.
    pub fn open(options: ImagesOptions) -> Result<Self, ImageError> {
        Self::with_registry(options, registry_of_user()?)
    }

    /// As [`Self::open`], with a registry client of the caller's.
    pub fn with_registry(options: ImagesOptions, registry: Arc<RegistryClient>) -> Result<Self, ImageError> {
        let store = Store::open(options.store).map_err(|error| error::of_image("open the image store", &error))?;
        let build = BuildOptions {
            runtime: options.runtime,
            registry: Some(registry.clone()),
            ..BuildOptions::new(options.cache)
        };
        Ok(Self(Arc::new(Inner {
            names: Names::new(store.clone()),
            store,
            build,
            registry,
            progress: options.progress,
            pinning: SharedWork::default(),
            unpacking: SharedWork::default(),
        })))
    }

    /// The store itself, for what is no part of the contract: listing, importing, removing.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    pub fn registry(&self) -> &RegistryClient {
        &self.0.registry
    }

    /// A digest of all that the build reads of this machine's files, but for the file `without`. Builds and writes nothing.
    pub async fn source_digest(&self, source: &BuildSource, without: &Path) -> Result<String, ImageError> {
        let request = request_of(source);
        let digest = source_digest(&request, &self.0.build.cache, without).await;
        digest.map_err(|error| error::of_build(&request, &error))
    }
}

/// Reaches registries with what `docker login` left for this user.
fn registry_of_user() -> Result<Arc<RegistryClient>, ImageError> {
    let credentials: Arc<dyn Credentials> = match DockerConfig::of_user() {
        Some(config) => Arc::new(config),
        None => Arc::new(Anonymous),
    };
    let registry = RegistryClient::new(credentials, ClientOptions::default());
    let registry = registry.map_err(|error| error::of_image("reach registries", &error))?;
    Ok(Arc::new(registry))
}

#[async_trait]
impl Images for LocalImages {
    async fn pin(&self, request: &PinRequest) -> Result<PinnedImage, ImageError> {
        let (inner, source) = (self.0.clone(), request.source.clone());
        let work = async move {
            match &source {
                ImageSource::Build(source) => inner.build(source).await,
                ImageSource::Reference(reference) => inner.look_up(reference).await,
            }
        };
        self.0.pinning.join(key_of(&request.source), work).await
    }

    async fn pinned_already(&self, request: &PinRequest) -> Result<Option<PinnedImage>, ImageError> {
        match &request.source {
            ImageSource::Build(source) => self.0.built_already(source).await,
            ImageSource::Reference(reference) => self.0.here(reference),
        }
    }

    async fn is_unpacked(&self, digest: &Digest) -> Result<bool, ImageError> {
        match self.0.store.config(digest) {
            Ok(config) => {
                let mut layers = config.rootfs.diff_ids.iter();
                Ok(layers.all(|layer| self.0.store.has_unpacked(layer).is_some()))
            }
            Err(crate::Error::BlobMissing { .. }) => Ok(false),
            Err(error) => Err(error::of_image(&format!("read the image {}", digest.short()), &error)),
        }
    }

    async fn unpack(&self, digest: &Digest) -> Result<Vec<PathBuf>, ImageError> {
        let (inner, wanted) = (self.0.clone(), digest.clone());
        let work = async move { blocking(move || inner.unpack(&wanted)).await };
        self.0.unpacking.join(digest.to_string(), work).await
    }
}

impl Inner {
    async fn build(&self, source: &BuildSource) -> Result<PinnedImage, ImageError> {
        let name = source.tag.familiar();
        self.progress.event(&name, ImageEvent::BuildStarted);
        let (request, told) = (request_of(source), Told::new(&name, self.progress.as_ref()));
        let built = build(&self.store, &request, &self.build, &told).await;
        let built = built.map_err(|error| error::of_build(&request, &error))?;
        self.progress.event(&name, ImageEvent::Built(&built));
        self.pinned(&source.tag, &built.digest)
    }

    async fn built_already(&self, source: &BuildSource) -> Result<Option<PinnedImage>, ImageError> {
        let request = request_of(source);
        let found = find_built(&self.store, &request, &self.build).await;
        let found = found.map_err(|error| error::of_build(&request, &error))?;
        found.map(|built| self.pinned(&source.tag, &built.digest)).transpose()
    }

    /// First in the store, then in the registry.
    async fn look_up(&self, reference: &ImageReference) -> Result<PinnedImage, ImageError> {
        if let Some(pinned) = self.here(reference)? {
            return Ok(pinned);
        }
        let name = reference.familiar();
        self.progress.event(&name, ImageEvent::PullStarted);
        let told = Told::new(&name, self.progress.as_ref());
        let pulled = self
            .registry
            .pull(reference, &self.store, Platforms::Host, &told)
            .await
            .map_err(|error| error::of_pull(reference, &error))?;
        self.progress.event(&name, ImageEvent::Pulled(&pulled.manifest));
        self.pinned(reference, &pulled.manifest)
    }

    /// The image that the store has under this name, all of it.
    fn here(&self, reference: &ImageReference) -> Result<Option<PinnedImage>, ImageError> {
        let failed = |error| error::of_image(&format!("look up the image {}", reference.familiar()), &error);
        let Some(digest) = self.names.resolve(reference).map_err(failed)? else {
            return Ok(None);
        };
        match self.store.platform_manifest(&digest) {
            Ok((digest, manifest))
                if manifest
                    .layers
                    .iter()
                    .all(|layer| self.store.has_blob(&layer.content())) =>
            {
                self.pinned(reference, &digest).map(Some)
            }
            // Named, and not all here: a pull brings the rest.
            Ok(_) | Err(crate::Error::BlobMissing { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn pinned(&self, reference: &ImageReference, digest: &Digest) -> Result<PinnedImage, ImageError> {
        let config = self.store.config(digest);
        let config =
            config.map_err(|error| error::of_image(&format!("read the image {}", reference.familiar()), &error))?;
        Ok(PinnedImage {
            reference: reference.clone(),
            digest: digest.clone(),
            config: defaults_of(config),
        })
    }

    fn unpack(&self, digest: &Digest) -> Result<Vec<PathBuf>, ImageError> {
        let told = Told::new(digest.short(), self.progress.as_ref());
        let unpacked = self.store.unpack_with(digest, &UnpackOptions::default(), &told);
        match unpacked {
            Ok(unpacked) => Ok(unpacked.layers),
            Err(error) => Err(error::of_image(&format!("unpack the image {}", digest.short()), &error)),
        }
    }
}

/// Equal sources have equal keys.
fn key_of(source: &ImageSource) -> String {
    serde_json::to_string(source).expect("a source has only text keys")
}

fn request_of(source: &BuildSource) -> BuildRequest {
    BuildRequest {
        context: source.context.clone(),
        dockerfile: source.context.join(&source.dockerfile),
        target: source.target.clone(),
        args: source.args.clone(),
        platform: None,
        tags: vec![source.tag.clone()],
    }
}

fn defaults_of(config: ImageConfig) -> ImageDefaults {
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    let (architecture, config) = (said(config.architecture), config.config);
    ImageDefaults {
        entrypoint: config.entrypoint.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
        env: config.env,
        user: said(config.user),
        working_dir: said(config.working_dir),
        stop_signal: config.stop_signal,
        architecture,
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
