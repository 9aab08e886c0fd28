//! Names of the store, remembered while its index is the same file: a plan of a thousand apps reads it once.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};

use portolan_core::reference::{Digest, ImageReference};

use crate::error::Result;
use crate::store::Store;

pub(super) struct Names {
    store: Store,
    known: Mutex<Option<Arc<Known>>>,
}

/// One index. Its file is held open, so that the kernel gives its inode number to no other file meanwhile: an index
/// is only ever replaced, and the same number means the same names.
struct Known {
    file: File,
    digests: HashMap<ImageReference, Digest>,
}

impl Names {
    pub fn new(store: Store) -> Self {
        Self {
            store,
            known: Mutex::new(None),
        }
    }

    /// What `reference` names in the store. A digest needs no name to be found.
    pub fn resolve(&self, reference: &ImageReference) -> Result<Option<Digest>> {
        match reference.digest() {
            Some(digest) => Ok(self.store.blob_size(digest).map(|_| digest.clone())),
            None => Ok(self.known()?.digests.get(reference).cloned()),
        }
    }

    fn known(&self) -> Result<Arc<Known>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref().filter(|known| self.is_current(&known.file)) {
            return Ok(known.clone());
        }
        let (file, images) = self.store.list_with_index()?;
        let digests = images
            .into_iter()
            .map(|image| (image.reference, image.descriptor.digest));
        let read = Arc::new(Known {
            file,
            digests: digests.collect(),
        });
        Ok(known.insert(read).clone())
    }

    fn is_current(&self, file: &File) -> bool {
        let (Ok(held), Ok(there)) = (file.metadata(), std::fs::metadata(self.store.index_path())) else {
            return false;
        };
        let identity = |found: &std::fs::Metadata| {
            let changed = (found.mtime(), found.mtime_nsec());
            (found.dev(), found.ino(), found.size(), changed)
        };
        identity(&held) == identity(&there)
    }
}
