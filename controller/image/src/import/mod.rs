//! Import: images and file trees that other tools made become images of the store.
//!
//! A directory is an OCI image layout if it holds `oci-layout`, and otherwise the root of a file system. An archive is
//! unpacked first, by the same strict reader as a layer, and then told apart in the same way; `manifest.json` makes it
//! the archive of `docker save`. What a layout or an archive names is read beneath its directory and verified.

mod docker_archive;
mod folder;
mod layout;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use portolan_core::reference::ImageReference;

use crate::config::{ContainerConfig, History, ImageConfig};
use crate::error::{Error, Result};
use crate::layer::{self, Compression, Limits, PackOptions, PackedLayer, UnpackOptions, Whiteouts};
use crate::manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_MANIFEST};
use crate::store::{Store, StoredImage};

use folder::Folder;

/// How to import.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The name to give. Needed where the source has none, and only for a source of one image.
    pub name: Option<ImageReference>,
    /// What a container of a file tree runs; an image brings its own.
    pub config: ContainerConfig,
    pub pack: PackOptions,
    pub limits: Limits,
}

/// Imports the directory or archive at `source`.
///
/// # Errors
/// [`Error::ImportUnnamed`] where neither `options` nor the source has a usable name, and those of the layer reader.
pub fn import(store: &Store, source: &Path, options: &ImportOptions) -> Result<Vec<StoredImage>> {
    let found = std::fs::metadata(source).map_err(Error::file("read", source))?;
    if !found.is_dir() {
        return import_archive(store, File::open(source).map_err(Error::file("open", source))?, options);
    }
    let _hold = store.hold()?;
    let folder = Folder::open(source)?;
    match folder.holds("oci-layout") {
        true => layout::import(store, &folder, options),
        false => import_tree(store, source, options, false),
    }
}

/// Imports an archive that comes as a stream: plain, gzip or zstd, which its first bytes tell.
pub fn import_archive(store: &Store, archive: impl Read, options: &ImportOptions) -> Result<Vec<StoredImage>> {
    let _hold = store.hold()?;
    let mut archive = BufReader::with_capacity(128 << 10, archive);
    let compression = Compression::of_first_bytes(
        std::io::BufRead::fill_buf(&mut archive).map_err(|source| Error::BlobRead { source })?,
    );
    let directory = store.temp_dir()?;
    let tree = directory.path().join("tree");
    std::fs::create_dir(&tree).map_err(Error::file("make the directory", &tree))?;
    let unpack = UnpackOptions {
        limits: options.limits.clone(),
        whiteouts: Whiteouts::Refused,
    };
    layer::unpack(archive, compression, &tree, &unpack)?;
    let folder = Folder::open(&tree)?;
    if folder.holds("oci-layout") {
        layout::import(store, &folder, options)
    } else if folder.holds("manifest.json") {
        docker_archive::import(store, &folder, options)
    } else {
        import_tree(store, &tree, options, true)
    }
}

/// Makes an image of one layer, which is the file tree `root`, and gives it no name.
pub fn image_of_tree(store: &Store, root: &Path, config: ContainerConfig, pack: &PackOptions) -> Result<Descriptor> {
    let layer = pack_tree(store, root, pack)?;
    image_of_layer(store, &layer, config)
}

fn import_tree(store: &Store, root: &Path, options: &ImportOptions, is_ours: bool) -> Result<Vec<StoredImage>> {
    let name = options.name.clone().ok_or(Error::ImportUnnamed)?;
    let layer = pack_tree(store, root, &options.pack)?;
    let descriptor = image_of_layer(store, &layer, options.config.clone())?;
    // Packing may change owners and times; only the tree as it was packed is the layer.
    if is_ours && options.pack.owner.is_none() && options.pack.latest_mtime.is_none() {
        store.adopt_layer(&layer.diff.digest, root)?;
    }
    named(store, name, descriptor).map(|image| vec![image])
}

fn pack_tree(store: &Store, root: &Path, options: &PackOptions) -> Result<PackedLayer> {
    let (layer, blob) = layer::pack(root, options, store.blob_writer(None)?)?;
    blob.commit(Some(&layer.packed))?;
    Ok(layer)
}

fn image_of_layer(store: &Store, layer: &PackedLayer, container: ContainerConfig) -> Result<Descriptor> {
    let mut config = ImageConfig::empty();
    config.config = container;
    config.rootfs.diff_ids.push(layer.diff.digest.clone());
    config.history.push(History {
        created_by: Some("import of a file tree".to_owned()),
        ..History::default()
    });
    put_image(store, &config, vec![layer.descriptor()])
}

/// Stores configuration and manifest of an image whose layers are in the store.
pub(crate) fn put_image(store: &Store, config: &ImageConfig, layers: Vec<Descriptor>) -> Result<Descriptor> {
    let config = serde_json::to_vec(config).expect("a configuration has only text keys");
    let manifest = Manifest::new(store.put_bytes(OCI_CONFIG, &config)?, layers);
    let manifest = serde_json::to_vec(&manifest).expect("a manifest has only text keys");
    store.put_bytes(OCI_MANIFEST, &manifest)
}

fn named(store: &Store, reference: ImageReference, descriptor: Descriptor) -> Result<StoredImage> {
    store.tag(&reference, &descriptor)?;
    Ok(StoredImage { reference, descriptor })
}

/// The names for an image of the source: the one that was asked for, or its own.
fn names_for(options: &ImportOptions, own: &[String], images: usize) -> Result<Vec<ImageReference>> {
    match (&options.name, images) {
        (Some(name), 1) => Ok(vec![name.clone()]),
        (Some(_), _) => Err(Error::ImportSeveral { images }),
        (None, _) if own.is_empty() => Err(Error::ImportUnnamed),
        (None, _) => own.iter().map(|name| Ok(ImageReference::parse(name)?)).collect(),
    }
}
