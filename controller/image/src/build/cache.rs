//! The layer cache: which layer a step made, under a key of everything the step depends on. One small file for each
//! key, in a folder of their own, written under its final name at once; a file that is missing, torn or names a layer
//! which the store no longer has is simply no answer.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use portolan_core::reference::Digest;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::error::StepError;
use super::layers::Effects;
use super::state::Layer;
use crate::store::{Roots, Store};

/// Part of every key: another way of making layers is another cache.
const VERSION: &str = "portolan step 1";

/// Where steps are remembered.
#[derive(Debug, Clone)]
pub(super) struct StepCache {
    folder: PathBuf,
    store: Store,
    effects: Effects,
}

/// Gathers what a step depends on.
#[derive(Debug, Clone)]
pub(super) struct Key(Sha256);

/// What a step made; no layer when it changed nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub layer: Option<Layer>,
}

impl Key {
    pub fn new(kind: &str) -> Self {
        Self(Sha256::new()).with(VERSION).with(kind)
    }

    /// Adds one thing; its length goes before it, so that two things never read as one.
    pub fn with(mut self, part: impl AsRef<[u8]>) -> Self {
        let part = part.as_ref();
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    pub fn with_all<T: AsRef<[u8]>>(self, parts: impl IntoIterator<Item = T>) -> Self {
        let parts: Vec<T> = parts.into_iter().collect();
        let counted = self.with(parts.len().to_string());
        parts.into_iter().fold(counted, Key::with)
    }

    pub fn hex(&self) -> String {
        self.0
            .clone()
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl StepCache {
    pub fn new(folder: &Path, store: Store, effects: Effects) -> Self {
        Self {
            folder: folder.join("steps"),
            store,
            effects,
        }
    }

    /// What the step made before, if its layer is still here, packed and unpacked.
    pub fn get(&self, key: &Key) -> Option<Record> {
        let record: Record = serde_json::from_slice(&fs::read(self.path(key)).ok()?).ok()?;
        let here = |layer: &Layer| {
            self.store.has_blob(&layer.descriptor.content()) && self.store.has_unpacked(&layer.diff_id).is_some()
        };
        record.layer.as_ref().is_none_or(here).then_some(record)
    }

    /// Remembers a step. A cache that cannot be written is no fault of the build.
    pub fn put(&self, key: &Key, record: &Record) {
        if self.effects == Effects::Withheld {
            return;
        }
        if let Err(error) = self.write(key, record) {
            tracing::debug!(folder = %self.folder.display(), %error, "cannot remember a build step");
        }
    }

    /// The lock of `key`, unless another build holds it. Keys share a few thousand locks, whose files stay.
    pub fn try_lock(&self, key: &Key) -> Result<Option<fs::File>, StepError> {
        let folder = self.folder.with_file_name("locks");
        fs::create_dir_all(&folder).map_err(StepError::file("make the folder", &folder))?;
        let path = folder.join(&key.hex()[..3]);
        let opened = fs::OpenOptions::new().create(true).append(true).open(&path);
        let file = opened.map_err(StepError::file("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
            Err(error) => Err(StepError::file("lock", path)(error.into())),
        }
    }

    fn write(&self, key: &Key, record: &Record) -> std::io::Result<()> {
        let path = self.path(key);
        let folder = path.parent().expect("a record lies in a folder");
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.persist(path)?;
        Ok(())
    }

    fn path(&self, key: &Key) -> PathBuf {
        let hex = key.hex();
        self.folder.join(&hex[..2]).join(format!("{}.json", &hex[2..]))
    }
}

/// The layers that the cache in `folder` would answer with: pruning the store with these as roots keeps the cache warm.
pub fn cached_layers(folder: &Path) -> Roots {
    let mut roots = Roots::default();
    let read = |path: &Path| {
        fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    };
    for file in read(&folder.join("steps")).flat_map(|folder| read(&folder).collect::<Vec<_>>()) {
        let record = fs::read(file)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
        if let Some(layer) = record.and_then(|record| record.layer) {
            roots.blobs.push(layer.descriptor.digest);
            roots.layers.push(layer.diff_id);
        }
    }
    roots
}

/// The identity of a stack of layers (OCI image specification, "Layer ChainID"); empty for none.
pub(super) fn chain_id<'a>(diff_ids: impl IntoIterator<Item = &'a Digest>) -> String {
    diff_ids
        .into_iter()
        .fold(String::new(), |chain, diff_id| match chain.as_str() {
            "" => diff_id.to_string(),
            chain => {
                let hash = Sha256::digest(format!("{chain} {diff_id}"));
                format!(
                    "sha256:{}",
                    hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
                )
            }
        })
}
