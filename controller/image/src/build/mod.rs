//! Building: a Dockerfile and a context become an image in the store, without a daemon.
//!
//! [`plan`] decides which stages are needed and on what they stand; [`execute`] runs them, as many at once as depend
//! on nothing unfinished. A step's layer is looked up by what it is made of before it is made ([`cache`]): for COPY,
//! the [`tree`] that would be written; for RUN, the layers below and the command with all that it sees. So a build in
//! which nothing changed writes nothing.
//!
//! COPY writes its layer as a directory, with no container. RUN starts `portolan-runtime`, which mounts the overlay
//! inside the container's own mount namespace; it has no network unless it says `RUN --network=host`. Neither trusts the image: its paths are resolved by [`view`], in which
//! no link leads to the host. Nor the context: [`context`] opens every file beneath one descriptor.
//!
//! The same inputs give the same digest: times are those of `source_date_epoch` (or 1980-01-01, the earliest that
//! every archive format can hold), and owners, order and compression are fixed. Only what a RUN command itself makes
//! of clocks and random numbers differs; then the cache keeps the first answer.
//!
//! Where FROM or COPY --from name an image, one in the local store under that name is taken as it is; a registry is
//! asked only for what is not there. `portolan pull` brings a newer one.

mod archive;
mod bundle;
mod cache;
mod context;
mod copy;
mod error;
mod execute;
mod hashes;
mod layers;
mod plan;
mod progress;
mod run;
mod source;
mod state;
mod transfer;
mod tree;
mod users;
mod variables;
mod view;
mod workspace;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use portolan_core::reference::ImageReference;

use crate::dockerfile;
use crate::layer::Compression;
use crate::manifest::Descriptor;
use crate::progress::Silent;
use crate::registry::RegistryClient;
use crate::store::{Digest, Store};

pub use cache::cached_layers;
pub use error::{BuildError, StepError};
pub use progress::{BuildEvent, BuildProgress, StepName};
pub use source::source_digest;

use context::Context;
use execute::Executor;
use layers::{Effects, Shared, blocking};
use plan::Plan;
use workspace::Stop;

/// The time of everything that a build makes, unless told otherwise: 1980-01-01T00:00:00Z, in seconds since the epoch.
pub const DEFAULT_EPOCH: i64 = 315_532_800;

/// What to build.
#[derive(Debug, Clone, Default)]
pub struct BuildRequest {
    /// The folder that COPY and ADD see.
    pub context: PathBuf,
    /// The Dockerfile itself; it need not lie in the context.
    pub dockerfile: PathBuf,
    /// A stage, by name or number; the last one if left out.
    pub target: Option<String>,
    /// Values for the Dockerfile's ARGs.
    pub args: BTreeMap<String, String>,
    /// `linux/amd64`; must be this machine's.
    pub platform: Option<String>,
    /// Names that the image gets in the store.
    pub tags: Vec<ImageReference>,
}

/// How to build.
#[derive(Clone)]
pub struct BuildOptions {
    /// The folder of the layer cache and of remembered file hashes; may be deleted at any time.
    pub cache: PathBuf,
    /// The program `portolan-runtime`; without it, RUN is refused.
    pub runtime: Option<PathBuf>,
    /// Asked for images that the store lacks; without it, those are missing.
    pub registry: Option<Arc<RegistryClient>>,
    pub compression: Compression,
    /// Seconds since the epoch; [`DEFAULT_EPOCH`] if left out.
    pub source_date_epoch: Option<i64>,
}

/// An image that was built, or that was there already.
#[derive(Debug, Clone, PartialEq)]
pub struct BuiltImage {
    /// Of the manifest: the identity to pin.
    pub digest: Digest,
    pub config_digest: Digest,
    /// The manifest, as the store names it.
    pub descriptor: Descriptor,
    /// Steps that can make a layer, in the stages that were needed.
    pub steps: usize,
    /// Those of them whose layer was there already.
    pub cached_steps: usize,
}

impl BuildOptions {
    /// Builds without RUN and without a registry, with its cache in `cache`.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            cache: cache.into(),
            runtime: None,
            registry: None,
            compression: Compression::Gzip,
            source_date_epoch: None,
        }
    }
}

/// Builds `request` and names the image by its tags.
///
/// Dropping the future ends the build: running commands are killed, and its temporary folder goes away. Any number of
/// builds may share a store and a cache, in one process or in several; a step that two of them need is made once.
pub async fn build(
    store: &Store,
    request: &BuildRequest,
    options: &BuildOptions,
    progress: &dyn BuildProgress,
) -> Result<BuiltImage, BuildError> {
    let stop = Stop::default();
    let _stopped_when_dropped = StopWhenDropped(stop.clone());
    let (plan, shared) = prepared(store, request, options, Effects::Allowed, stop).await?;
    for name in &plan.unused {
        progress.event(BuildEvent::Warning(&format!(
            "no ARG takes the value that was given for {name}"
        )));
    }
    let executor = Executor::new(&plan, shared.clone(), request, options.registry.as_deref(), progress);
    let state = executor.run().await?;
    let (steps, cached_steps) = executor.counts();
    let tags = request.tags.clone();
    let documents = blocking(move || shared.finish(state, &tags)).await??;
    Ok(BuiltImage::new(documents, steps, cached_steps))
}

/// What [`build`] would answer, if it had nothing to do: every step is in the cache, and the image is in the store
/// under its tags. Else `None`. Nothing is run, pulled or written.
pub async fn find_built(
    store: &Store,
    request: &BuildRequest,
    options: &BuildOptions,
) -> Result<Option<BuiltImage>, BuildError> {
    let stop = Stop::default();
    let _stopped_when_dropped = StopWhenDropped(stop.clone());
    let (plan, shared) = prepared(store, request, options, Effects::Withheld, stop).await?;
    let executor = Executor::new(&plan, shared.clone(), request, None, &Silent);
    let state = match executor.run().await {
        Err(error) if error.is_not_made() => return Ok(None),
        other => other?,
    };
    let (steps, cached_steps) = executor.counts();
    let tags = request.tags.clone();
    let found = blocking(move || shared.finished(state, &tags)).await??;
    Ok(found.map(|documents| BuiltImage::new(documents, steps, cached_steps)))
}

impl BuiltImage {
    fn new((descriptor, config_digest): (Descriptor, Digest), steps: usize, cached_steps: usize) -> Self {
        Self {
            digest: descriptor.digest.clone(),
            config_digest,
            descriptor,
            steps,
            cached_steps,
        }
    }
}

struct StopWhenDropped(Stop);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// As [`prepare`], on a thread that may block.
async fn prepared(
    store: &Store,
    request: &BuildRequest,
    options: &BuildOptions,
    effects: Effects,
    stop: Stop,
) -> Result<(Plan, Arc<Shared>), BuildError> {
    let (store, request, options) = (store.clone(), request.clone(), options.clone());
    blocking(move || prepare(&store, &request, &options, effects, stop)).await?
}

/// Reads what a build needs to know before its first step.
fn prepare(
    store: &Store,
    request: &BuildRequest,
    options: &BuildOptions,
    effects: Effects,
    stop: Stop,
) -> Result<(Plan, Arc<Shared>), BuildError> {
    let bytes = plan::read(&request.dockerfile)?;
    let file = dockerfile::parse(&request.dockerfile, &bytes)?;
    let plan = Plan::new(file, &String::from_utf8_lossy(&bytes), request)?;
    let hashes = layers::hash_file(&options.cache, request);
    let context = Context::open(&request.context, &request.dockerfile, &hashes)?;
    Ok((plan, Arc::new(Shared::new(store, context, options, effects, stop)?)))
}
