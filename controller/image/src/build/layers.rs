//! What all steps of a build share, and the blocking work of making layers: a tree or an upper directory is packed
//! into the store, and the directory itself becomes the unpacked layer.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use portolan_core::reference::{Algorithm, ImageReference};
use tokio::task::spawn_blocking;

use super::cache::{Key, Record, StepCache};
use super::context::Context;
use super::error::{BuildError, StepError};
use super::state::{Layer, State};
use super::tree::Tree;
use super::view::View;
use super::workspace::{Stop, Workspace};
use super::{BuildOptions, BuildRequest, DEFAULT_EPOCH};
use crate::layer::{Compression, PackOptions, pack};
use crate::manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_MANIFEST};
use crate::store::{Digest, Hasher, Hold, Store};

/// Shared by the steps of one build, and by their threads.
#[derive(Debug)]
pub(super) struct Shared {
    pub store: Store,
    pub context: Context,
    pub cache: StepCache,
    pub stop: Stop,
    effects: Effects,
    pub runtime: Option<PathBuf>,
    /// The time of everything made, in seconds since the epoch.
    pub epoch: i64,
    /// The same, as configurations have it.
    pub created: String,
    compression: Compression,
    workspace: Mutex<Option<Arc<Workspace>>>,
    _hold: Hold,
}

/// Whether a build may make what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effects {
    Allowed,
    /// Only asked whether all is there: nothing is run, pulled or written.
    Withheld,
}

impl Shared {
    pub fn new(
        store: &Store,
        context: Context,
        options: &BuildOptions,
        effects: Effects,
        stop: Stop,
    ) -> Result<Self, BuildError> {
        let epoch = options.source_date_epoch.unwrap_or(DEFAULT_EPOCH).max(0);
        Ok(Self {
            store: store.clone(),
            context,
            cache: StepCache::new(&options.cache, store.clone(), effects),
            stop,
            effects,
            runtime: options.runtime.clone(),
            epoch,
            created: rfc3339(epoch),
            compression: options.compression,
            workspace: Mutex::new(None),
            _hold: store.hold()?,
        })
    }

    /// A key that begins with what every layer of this build depends on.
    pub fn key(&self, kind: &str) -> Key {
        Key::new(kind)
            .with(self.epoch.to_string())
            .with(self.compression.media_type())
    }

    /// Called before each effect.
    pub fn may_make(&self) -> Result<(), StepError> {
        match self.effects {
            Effects::Allowed => Ok(()),
            Effects::Withheld => Err(StepError::NotMade),
        }
    }

    /// The build's private folder, made when it is first needed.
    pub fn workspace(&self) -> Result<Arc<Workspace>, StepError> {
        self.may_make()?;
        let mut workspace = self.workspace.lock().expect("no holder panics");
        if let Some(workspace) = &*workspace {
            return Ok(workspace.clone());
        }
        let parent = self.store.root().join("tmp");
        let made =
            Workspace::new(&parent).map_err(|error| StepError::file("make a folder in", &parent)(io_of(error)))?;
        Ok(workspace.insert(Arc::new(made)).clone())
    }

    /// The root file system of `layers`, of which `base` has the lowest.
    pub fn view(&self, layers: &[Layer], base: Option<&Digest>) -> Result<View, StepError> {
        Ok(View::new(self.unpacked(layers, base)?))
    }

    /// The directories of `layers`, top first.
    pub fn unpacked(&self, layers: &[Layer], base: Option<&Digest>) -> Result<Vec<PathBuf>, StepError> {
        let failed = |source| StepError::Layer { source };
        if let Some(base) = base
            && layers
                .iter()
                .any(|layer| self.store.has_unpacked(&layer.diff_id).is_none())
        {
            self.may_make()?;
            self.store.unpack(base).map_err(failed)?;
        }
        let path = |layer: &Layer| {
            let missing = || {
                failed(crate::Error::BlobMissing {
                    digest: layer.diff_id.clone(),
                })
            };
            self.store.has_unpacked(&layer.diff_id).ok_or_else(missing)
        };
        layers.iter().rev().map(path).collect()
    }

    /// Writes `tree` as a layer; an empty tree makes none.
    pub fn make_layer(&self, tree: &Tree) -> Result<Record, StepError> {
        if tree.is_empty() {
            return Ok(Record { layer: None });
        }
        let directory = self.workspace()?.step("layer")?.join("layer");
        std::fs::create_dir(&directory).map_err(StepError::file("make the folder", &directory))?;
        tree.write(&directory, &self.context, self.epoch, &self.stop)?;
        self.keep_layer(&directory)
    }

    /// Packs `directory` into the store and leaves it there as the unpacked layer.
    pub fn keep_layer(&self, directory: &Path) -> Result<Record, StepError> {
        self.stop.check()?;
        let keep = || -> crate::Result<Layer> {
            let options = PackOptions {
                compression: self.compression,
                latest_mtime: Some(self.epoch),
                ..PackOptions::default()
            };
            let (packed, blob) = pack(directory, &options, self.store.blob_writer(None)?)?;
            blob.commit(Some(&packed.packed))?;
            self.store.adopt_layer(&packed.diff.digest, directory)?;
            Ok(Layer {
                descriptor: packed.descriptor(),
                diff_id: packed.diff.digest,
            })
        };
        keep()
            .map(|layer| Record { layer: Some(layer) })
            .map_err(|source| StepError::Layer { source })
    }

    /// Stores the image of `state` and names it. What is there already is not written again.
    pub fn finish(&self, state: State, tags: &[ImageReference]) -> Result<(Descriptor, Digest), BuildError> {
        self.context.remember();
        let image = self.documents(state);
        for document in [&image.config, &image.manifest] {
            if !self.store.has_blob(&document.0.content()) {
                self.store.put_bytes(&document.0.media_type, &document.1)?;
            }
        }
        let (descriptor, config) = (image.manifest.0, image.config.0);
        for tag in tags {
            if !self.is_named(tag, &descriptor)? {
                self.store.tag(tag, &descriptor)?;
            }
        }
        Ok((descriptor, config.digest))
    }

    /// As [`Self::finish`], if there is nothing to do; else `None`.
    pub fn finished(&self, state: State, tags: &[ImageReference]) -> Result<Option<(Descriptor, Digest)>, BuildError> {
        let image = self.documents(state);
        let here = [&image.config, &image.manifest].map(|document| self.store.has_blob(&document.0.content()));
        if here.contains(&false) {
            return Ok(None);
        }
        for tag in tags {
            if !self.is_named(tag, &image.manifest.0)? {
                return Ok(None);
            }
        }
        Ok(Some((image.manifest.0, image.config.0.digest)))
    }

    fn documents(&self, state: State) -> Documents {
        let mut config = state.config;
        config.created = Some(self.created.clone());
        let bytes = serde_json::to_vec(&config).expect("a configuration has only text keys");
        let config = described(OCI_CONFIG, bytes);
        let layers = state.layers.into_iter().map(|layer| layer.descriptor).collect();
        let manifest = Manifest::new(config.0.clone(), layers);
        let bytes = serde_json::to_vec(&manifest).expect("a manifest has only text keys");
        let manifest = described(OCI_MANIFEST, bytes);
        Documents { config, manifest }
    }

    fn is_named(&self, tag: &ImageReference, descriptor: &Descriptor) -> Result<bool, BuildError> {
        let named = self.store.resolve(tag)?;
        Ok(named.is_some_and(|named| named.digest == descriptor.digest))
    }
}

/// What an image consists of besides its layers, each with its bytes.
struct Documents {
    config: (Descriptor, Vec<u8>),
    manifest: (Descriptor, Vec<u8>),
}

fn described(media_type: &str, bytes: Vec<u8>) -> (Descriptor, Vec<u8>) {
    let content = Hasher::content_of(Algorithm::Sha256, &bytes);
    (Descriptor::new(media_type, content), bytes)
}

/// Runs `work` on a thread that may block. When the build's future is dropped the thread goes on until it sees so.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BuildError> {
    match spawn_blocking(work).await {
        Ok(value) => Ok(value),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(BuildError::Stopped),
    }
}

/// Where the hashes of this context's files are remembered: one file for each context and Dockerfile.
pub(super) fn hash_file(cache: &Path, request: &BuildRequest) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let full = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (context, dockerfile) = (full(&request.context), full(&request.dockerfile));
    let key = [context.as_os_str().as_bytes(), b"\0", dockerfile.as_os_str().as_bytes()].concat();
    cache
        .join("files")
        .join(Hasher::content_of(Algorithm::Sha256, &key).digest.hex())
}

fn io_of(error: BuildError) -> std::io::Error {
    match error {
        BuildError::File { source, .. } => source,
        other => std::io::Error::other(other),
    }
}

/// Seconds since the epoch as RFC 3339, in UTC. The date by the civil calendar of 400 years, which are 146,097 days.
fn rfc3339(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01: with March first, the leap day is the last of a year.
    let day = days + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, early) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + early;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_specification_wants() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (DEFAULT_EPOCH, "1980-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), expected);
        }
    }
}
