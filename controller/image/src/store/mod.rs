//! The local image store: an OCI image layout that any other tool can read, with the unpacked layers beside it.
//!
//! ```text
//! oci-layout  index.json                what is here, by name (`org.opencontainers.image.ref.name`)
//! blobs/sha256/<hex>                    manifests, configurations, packed layers; each verified as it came in
//! layers/sha256/<diff id>/              an unpacked layer, ready to be a lower directory of overlayfs
//! tmp/                                  whatever is not finished; emptied by `prune`
//! index.lock  prune.lock                see `lock`
//! ```
//!
//! Several processes may use one store at once. A file or directory under its final name is complete: it was made in
//! `tmp`, made durable, and renamed. Whoever adds content and names it later takes a [`Hold`] for that time, so that
//! [`Store::prune`] cannot remove what is not named yet. The store is readable by its owner alone: unpacked layers
//! hold set-uid programs and, where an image has them, device nodes.

mod blob;
mod index;
mod lock;
mod prune;
mod unpacked;

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::config::ImageConfig;
use crate::error::{Error, Result};
use crate::manifest::{self, Descriptor, Document, Index, Manifest};

pub use blob::{BlobWriter, Content, Hasher, VerifyingReader};
pub use index::StoredImage;
pub use lock::Hold;
pub use portolan_core::reference::Digest;
pub use prune::{Pruned, Roots};
pub use unpacked::Unpacked;

const LAYOUT_FILE: &str = "oci-layout";
const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// A handle on a store's directory; cheap to clone, and safe to use from several threads and processes.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store in `directory`, and makes an empty one where there is none.
    ///
    /// # Errors
    /// [`Error::StoreUnknown`] for a directory with an `oci-layout` of another version.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        let store = Self { root: directory.into() };
        for directory in [
            store.root.clone(),
            store.blob_dir(),
            store.layer_dir(),
            store.temp_root(),
        ] {
            private_dir_all(&directory)?;
        }
        let layout = store.root.join(LAYOUT_FILE);
        match fs::read_to_string(&layout) {
            Ok(text) if is_known_layout(&text) => {}
            Ok(_) => return Err(Error::StoreUnknown { path: store.root }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                store.write_file(LAYOUT_FILE, LAYOUT.as_bytes())?
            }
            Err(error) => return Err(Error::file("read", layout)(error)),
        }
        store.ensure_index()?;
        Ok(store)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A new directory on the store's file system, removed when dropped unless it was renamed away first.
    pub fn temp_dir(&self) -> Result<tempfile::TempDir> {
        let root = self.temp_root();
        tempfile::TempDir::new_in(&root).map_err(Error::file("make a temporary directory in", root))
    }

    /// The manifest `digest`; an index answers with its manifest for this machine.
    ///
    /// # Errors
    /// [`Error::NoPlatform`], [`Error::BlobMissing`], [`Error::DocumentInvalid`].
    pub fn manifest(&self, digest: &Digest) -> Result<Manifest> {
        self.platform_manifest(digest).map(|(_, manifest)| manifest)
    }

    /// As [`Self::manifest`], with the digest of the manifest itself.
    pub fn platform_manifest(&self, digest: &Digest) -> Result<(Digest, Manifest)> {
        let index = match self.document(digest, None)? {
            Document::Manifest(manifest) => return Ok((digest.clone(), manifest)),
            Document::Index(index) => index,
        };
        let chosen = self.choose(digest, &index)?;
        match self.document(&chosen.digest, Some(&chosen.media_type))? {
            Document::Manifest(manifest) => Ok((chosen.digest.clone(), manifest)),
            Document::Index(_) => Err(invalid("index", digest, "it holds another index")),
        }
    }

    /// The manifest or index `digest`, announced as `media_type` where that is known.
    pub fn document(&self, digest: &Digest, media_type: Option<&str>) -> Result<Document> {
        let bytes = self.read_document(digest)?;
        Document::parse(&bytes, media_type).map_err(|reason| invalid("manifest", digest, reason))
    }

    /// The image configuration of the manifest or index `digest`.
    pub fn config(&self, digest: &Digest) -> Result<ImageConfig> {
        self.config_of(&self.manifest(digest)?)
    }

    /// The image configuration that `manifest` names.
    ///
    /// # Errors
    /// [`Error::DocumentInvalid`] when it is an artifact of another kind, or names another number of layers.
    pub fn config_of(&self, manifest: &Manifest) -> Result<ImageConfig> {
        let digest = &manifest.config.digest;
        if !matches!(
            manifest.config.media_type.as_str(),
            manifest::OCI_CONFIG | manifest::DOCKER_CONFIG
        ) {
            let reason = format!("{} is no image configuration", manifest.config.media_type);
            return Err(invalid("configuration", digest, reason));
        }
        let config: ImageConfig = serde_json::from_slice(&self.read_document(digest)?)
            .map_err(|error| invalid("configuration", digest, error.to_string()))?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(invalid(
                "configuration",
                digest,
                "it has another number of layers than its manifest",
            ));
        }
        Ok(config)
    }

    fn choose<'a>(&self, digest: &Digest, index: &'a Index) -> Result<&'a Descriptor> {
        let architecture = manifest::host_architecture();
        index.choose(architecture).ok_or_else(|| Error::NoPlatform {
            image: digest.to_string(),
            architecture: architecture.to_owned(),
            available: index.platforms(),
        })
    }

    fn blob_dir(&self) -> PathBuf {
        self.root.join("blobs")
    }

    fn layer_dir(&self) -> PathBuf {
        self.root.join("layers")
    }

    fn temp_root(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Replaces the file `name` in the store's root, so that a reader finds the old bytes or the new ones.
    fn write_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.root.join(name);
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(self.temp_root())?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            File::open(&self.root)?.sync_all()
        };
        write().map_err(Error::file("write", path.clone()))
    }
}

fn private_dir_all(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(Error::file("make the directory", path))
}

fn is_known_layout(text: &str) -> bool {
    let version = serde_json::from_str::<serde_json::Value>(text);
    version.is_ok_and(|layout| layout["imageLayoutVersion"] == "1.0.0")
}

fn invalid(what: &'static str, digest: &Digest, reason: impl Into<String>) -> Error {
    Error::DocumentInvalid {
        what,
        digest: digest.to_string(),
        reason: reason.into(),
    }
}
