//! The archive of `docker save`: `manifest.json` names a configuration and plain layers for each image. Layers are
//! compressed on their way in, so that a push need not; their diff ids must be those of the configuration.

use std::io::{BufRead, BufReader};

use serde::Deserialize;

use super::folder::Folder;
use super::{ImportOptions, named, names_for, put_image};
use crate::config::ImageConfig;
use crate::error::{Error, Result};
use crate::layer::{self, Compression};
use crate::manifest::Descriptor;
use crate::store::{Store, StoredImage};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

pub(super) fn import(store: &Store, folder: &Folder, options: &ImportOptions) -> Result<Vec<StoredImage>> {
    let images: Vec<Image> = folder.json("manifest.json")?;
    let mut stored = Vec::new();
    for image in &images {
        let names = names_for(options, image.repo_tags.as_deref().unwrap_or_default(), images.len())?;
        let descriptor = import_image(store, folder, image, options.pack.compression)?;
        for name in names {
            stored.push(named(store, name, descriptor.clone())?);
        }
    }
    Ok(stored)
}

fn import_image(store: &Store, folder: &Folder, image: &Image, compression: Compression) -> Result<Descriptor> {
    let config: ImageConfig = folder.json(&image.config)?;
    if config.rootfs.diff_ids.len() != image.layers.len() {
        return Err(folder.malformed(&image.config, "it has another number of layers than manifest.json"));
    }
    let mut layers = Vec::new();
    for (name, diff_id) in image.layers.iter().zip(&config.rootfs.diff_ids) {
        let mut archive = BufReader::with_capacity(128 << 10, folder.file(name)?);
        let first = archive.fill_buf().map_err(Error::file("read", name))?;
        let packed = Compression::of_first_bytes(first);
        let plain = packed.decoder(archive).map_err(Error::file("read", name))?;
        let (layer, blob) = layer::compress(plain, compression, store.blob_writer(None)?)?;
        if layer.diff.digest != *diff_id {
            let expected = format!("the layer {diff_id}");
            return Err(Error::BlobMismatch {
                expected,
                actual: layer.diff.digest.to_string(),
            });
        }
        blob.commit(Some(&layer.packed))?;
        layers.push(layer.descriptor());
    }
    put_image(store, &config, layers)
}
