//! An OCI image layout, as a directory or from an archive: its blobs are copied, each verified on the way.

use super::folder::Folder;
use super::{ImportOptions, named, names_for};
use crate::error::Result;
use crate::manifest::{Descriptor, Document, Index, REF_NAME};
use crate::store::{Store, StoredImage};

/// Where docker's archives keep the whole name; the standard annotation then holds the tag alone.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

pub(super) fn import(store: &Store, folder: &Folder, options: &ImportOptions) -> Result<Vec<StoredImage>> {
    let index: Index = folder.json("index.json")?;
    let mut images = Vec::new();
    for descriptor in &index.manifests {
        let names = names_for(options, &own_name(descriptor), index.manifests.len())?;
        copy(store, folder, descriptor)?;
        let mut bare = Descriptor::new(descriptor.media_type.clone(), descriptor.content());
        bare.platform.clone_from(&descriptor.platform);
        for name in names {
            images.push(named(store, name, bare.clone())?);
        }
    }
    match images.is_empty() {
        true => Err(folder.malformed("index.json", "it holds no image")),
        false => Ok(images),
    }
}

fn own_name(descriptor: &Descriptor) -> Vec<String> {
    let note = |key: &str| descriptor.annotations.get(key).cloned();
    note(CONTAINERD_NAME).or_else(|| note(REF_NAME)).into_iter().collect()
}

/// Copies a manifest or index with all that it names. Of an index, what the layout lacks is left out: layouts of one
/// platform are usual.
fn copy(store: &Store, folder: &Folder, descriptor: &Descriptor) -> Result<()> {
    copy_blob(store, folder, descriptor)?;
    match store.document(&descriptor.digest, Some(&descriptor.media_type))? {
        Document::Manifest(manifest) => manifest
            .layers
            .iter()
            .chain([&manifest.config])
            .try_for_each(|blob| copy_blob(store, folder, blob)),
        Document::Index(index) => {
            let here = |child: &&Descriptor| folder.holds(&blob_name(child));
            index
                .manifests
                .iter()
                .filter(here)
                .try_for_each(|child| copy(store, folder, child))
        }
    }
}

fn copy_blob(store: &Store, folder: &Folder, blob: &Descriptor) -> Result<()> {
    let content = blob.content();
    if store.has_blob(&content) {
        return Ok(());
    }
    store
        .put_blob(folder.file(&blob_name(blob))?, Some(&content))
        .map(|_| ())
}

fn blob_name(blob: &Descriptor) -> String {
    format!("blobs/{}/{}", blob.digest.algorithm().name(), blob.digest.hex())
}
