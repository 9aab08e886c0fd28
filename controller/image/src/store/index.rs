//! Names: `index.json` maps image references to descriptors. Entries and annotations that other tools wrote are kept
//! as they are; a name that is no image reference is theirs and is not listed.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use portolan_core::reference::{Digest, ImageReference};

use super::{Content, Store};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Document, Index, REF_NAME};

const INDEX_FILE: &str = "index.json";

/// A named image of the store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredImage {
    pub reference: ImageReference,
    /// A manifest or an index; its annotations are those of the entry.
    pub descriptor: Descriptor,
}

impl Store {
    /// Gives `descriptor`'s manifest or index the name and tag of `reference`; another image loses that name.
    ///
    /// # Errors
    /// [`Error::BlobMissing`] when the manifest is not in the store.
    pub fn tag(&self, reference: &ImageReference, descriptor: &Descriptor) -> Result<()> {
        if !self.has_blob(&descriptor.content()) {
            return Err(Error::BlobMissing {
                digest: descriptor.digest.clone(),
            });
        }
        let name = entry_name(reference);
        let mut entry = descriptor.clone();
        entry.annotations.insert(REF_NAME.to_owned(), name.clone());
        self.change_index(|index| {
            index.manifests.retain(|found| name_of(found) != Some(name.as_str()));
            index.manifests.push(entry);
            true
        })
        .map(|_| ())
    }

    /// What `reference` names here. A digest wins over the tag beside it, and needs no name to be found.
    pub fn resolve(&self, reference: &ImageReference) -> Result<Option<Descriptor>> {
        if let Some(digest) = reference.digest() {
            return self.describe(digest);
        }
        let name = entry_name(reference);
        Ok(self
            .read_index()?
            .manifests
            .into_iter()
            .find(|found| name_of(found) == Some(name.as_str())))
    }

    /// All named images, in the order of their names.
    pub fn list(&self) -> Result<Vec<StoredImage>> {
        self.list_with_index().map(|(_, images)| images)
    }

    /// As [`Self::list`], with the file that says so.
    pub(crate) fn list_with_index(&self) -> Result<(File, Vec<StoredImage>)> {
        let stored = |descriptor: Descriptor| {
            let reference = ImageReference::parse(name_of(&descriptor)?).ok()?;
            Some(StoredImage { reference, descriptor })
        };
        let (file, index) = self.open_index()?;
        let mut images: Vec<_> = index.manifests.into_iter().filter_map(stored).collect();
        images.sort_by(|a, b| a.reference.cmp(&b.reference));
        Ok((file, images))
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.root().join(INDEX_FILE)
    }

    /// Takes the name away; its content goes with the next prune. False when there was no such name.
    pub fn remove(&self, reference: &ImageReference) -> Result<bool> {
        let name = entry_name(reference);
        self.change_index(|index| {
            let before = index.manifests.len();
            index.manifests.retain(|found| name_of(found) != Some(name.as_str()));
            index.manifests.len() != before
        })
    }

    pub(super) fn ensure_index(&self) -> Result<()> {
        if self.root().join(INDEX_FILE).exists() {
            return Ok(());
        }
        let _lock = self.lock_index()?;
        match self.root().join(INDEX_FILE).exists() {
            true => Ok(()),
            false => self.write_index(&Index::empty()),
        }
    }

    pub(super) fn read_index(&self) -> Result<Index> {
        self.open_index().map(|(_, index)| index)
    }

    fn open_index(&self) -> Result<(File, Index)> {
        let path = self.index_path();
        let read = || -> io::Result<(File, Index)> {
            let mut file = File::open(&path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok((file, serde_json::from_slice(&bytes)?))
        };
        read().map_err(Error::file("read", &path))
    }

    /// One read-change-write under the lock; `change` says whether there is anything to write.
    fn change_index(&self, change: impl FnOnce(&mut Index) -> bool) -> Result<bool> {
        let _lock = self.lock_index()?;
        let mut index = self.read_index()?;
        let changed = change(&mut index);
        if changed {
            self.write_index(&index)?;
        }
        Ok(changed)
    }

    fn write_index(&self, index: &Index) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(index).expect("an index has only text keys");
        self.write_file(INDEX_FILE, &bytes)
    }

    /// The descriptor of a manifest or index that is here, made from its own bytes.
    fn describe(&self, digest: &Digest) -> Result<Option<Descriptor>> {
        let bytes = match self.read_document(digest) {
            Ok(bytes) => bytes,
            Err(Error::BlobMissing { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let document = Document::parse(&bytes, None).map_err(|reason| super::invalid("manifest", digest, reason))?;
        let content = Content {
            digest: digest.clone(),
            size: bytes.len() as u64,
        };
        Ok(Some(Descriptor::new(document.media_type(), content)))
    }
}

/// The text under which an entry is kept: registry, repository and tag. A reference pinned by digest alone is kept
/// under the digest, so that what was pulled that way has a name to be listed and removed by.
fn entry_name(reference: &ImageReference) -> String {
    match (reference.tag(), reference.digest()) {
        (Some(tag), _) => format!("{}:{tag}", reference.name()),
        (None, _) => reference.to_string(),
    }
}

fn name_of(descriptor: &Descriptor) -> Option<&str> {
    descriptor.annotations.get(REF_NAME).map(String::as_str)
}
