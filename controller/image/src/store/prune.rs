//! Pruning: removes blobs and unpacked layers that no named image and no root of the caller needs. It takes the store
//! for itself, so it never meets a build or a pull half way; what those processes left in `tmp` goes too.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use portolan_core::reference::Digest;

use super::Store;
use crate::error::{Error, Result};
use crate::manifest::Document;

/// What must stay although no image of the store names it.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// Manifests or indexes, with all they need: those of running containers, and of kept revisions.
    pub manifests: Vec<Digest>,
    /// Single blobs, such as the layers of a build cache.
    pub blobs: Vec<Digest>,
    /// Unpacked layers, by diff id.
    pub layers: Vec<Digest>,
}

/// What a prune has removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    pub blobs: u64,
    pub layers: u64,
    /// Size of the removed blobs.
    pub blob_bytes: u64,
}

/// Everything reachable, as `algorithm/hex`, which is also the path below `blobs` and `layers`.
#[derive(Default)]
struct Live {
    blobs: HashSet<PathBuf>,
    layers: HashSet<PathBuf>,
}

impl Store {
    /// Removes what neither a name nor `roots` reaches.
    ///
    /// # Errors
    /// [`Error::StoreBusy`] while anyone holds the store. An unreadable manifest stops the prune before it removes
    /// anything: what it needs cannot be known.
    pub fn prune(&self, roots: &Roots) -> Result<Pruned> {
        let _alone = self.lock_for_prune()?;
        let live = self.live(roots)?;
        self.empty_temp()?;
        let mut pruned = Pruned::default();
        for path in dead(&self.layer_dir(), &live.layers)? {
            self.remove_layer(&path)?;
            pruned.layers += 1;
        }
        for path in dead(&self.blob_dir(), &live.blobs)? {
            pruned.blob_bytes += fs::metadata(&path).map_or(0, |found| found.len());
            fs::remove_file(&path).map_err(Error::file("remove", path))?;
            pruned.blobs += 1;
        }
        Ok(pruned)
    }

    fn live(&self, roots: &Roots) -> Result<Live> {
        let mut live = Live::default();
        let named = self
            .read_index()?
            .manifests
            .into_iter()
            .map(|descriptor| descriptor.digest);
        for digest in named.chain(roots.manifests.iter().cloned()) {
            self.mark(&digest, &mut live)?;
        }
        live.blobs.extend(roots.blobs.iter().map(relative));
        live.layers.extend(roots.layers.iter().map(relative));
        Ok(live)
    }

    /// Marks a manifest or index and all it names. Parts of an index that were never fetched are no fault.
    fn mark(&self, digest: &Digest, live: &mut Live) -> Result<()> {
        if !live.blobs.insert(relative(digest)) || self.blob_size(digest).is_none() {
            return Ok(());
        }
        match self.document(digest, None)? {
            Document::Index(index) => index
                .manifests
                .iter()
                .try_for_each(|manifest| self.mark(&manifest.digest, live)),
            Document::Manifest(manifest) => {
                live.blobs
                    .extend(manifest.layers.iter().map(|layer| relative(&layer.digest)));
                live.blobs.insert(relative(&manifest.config.digest));
                // An artifact of another kind has no layers to unpack; an image that was fetched in part neither.
                if let Ok(config) = self.config_of(&manifest) {
                    live.layers.extend(config.rootfs.diff_ids.iter().map(relative));
                }
                Ok(())
            }
        }
    }

    /// Out of its name first, so that a crash half way leaves no incomplete layer under a final name.
    fn remove_layer(&self, path: &Path) -> Result<()> {
        let grave = self.temp_dir()?;
        fs::rename(path, grave.path().join("layer")).map_err(Error::file("remove", path))?;
        grave.close().map_err(Error::file("remove", path))
    }

    fn empty_temp(&self) -> Result<()> {
        for path in children(&self.temp_root())? {
            let is_dir = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
            let removed = if is_dir {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(Error::file("remove", path))?;
        }
        Ok(())
    }
}

fn relative(digest: &Digest) -> PathBuf {
    Path::new(digest.algorithm().name()).join(digest.hex())
}

/// The entries two levels below `root` that are not in `live`.
fn dead(root: &Path, live: &HashSet<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for algorithm in children(root)? {
        found.extend(children(&algorithm)?);
    }
    found.retain(|path| path.strip_prefix(root).is_ok_and(|relative| !live.contains(relative)));
    Ok(found)
}

fn children(directory: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(directory)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    };
    read().map_err(Error::file("list", directory))
}
