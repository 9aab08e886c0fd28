//! Unpacked layers: each lies under its diff id, once, however many images share it, and is complete as soon as it has
//! that name. They are what overlayfs stacks.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use portolan_core::reference::Digest;
use tempfile::TempDir;

use super::{Store, private_dir_all};
use crate::config::ImageConfig;
use crate::error::{Error, Result};
use crate::layer::{self, Compression, UnpackOptions};
use crate::manifest::Descriptor;
use crate::progress::{Progress, Silent};

/// An image whose layers are all unpacked.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// The manifest for this machine.
    pub manifest: Digest,
    /// Top first, as overlayfs wants its lower directories; empty for an image without layers.
    pub layers: Vec<PathBuf>,
    pub config: ImageConfig,
}

/// A layer that is not there yet.
struct Missing<'a> {
    diff_id: &'a Digest,
    descriptor: &'a Descriptor,
}

impl Store {
    /// Unpacks what is not unpacked yet of the manifest or index `digest`.
    ///
    /// # Errors
    /// Those of [`Self::manifest`], [`Self::config`] and [`layer::unpack`]; [`Error::BlobMismatch`] when a layer is
    /// not what the configuration says.
    pub fn unpack(&self, digest: &Digest) -> Result<Unpacked> {
        self.unpack_with(digest, &UnpackOptions::default(), &Silent)
    }

    /// As [`Self::unpack`], with limits and progress.
    pub fn unpack_with(&self, digest: &Digest, options: &UnpackOptions, progress: &dyn Progress) -> Result<Unpacked> {
        let _hold = self.hold()?;
        let (manifest_digest, manifest) = self.platform_manifest(digest)?;
        let config = self.config_of(&manifest)?;
        let mut missing: Vec<Missing<'_>> = Vec::new();
        for (diff_id, descriptor) in config.rootfs.diff_ids.iter().zip(&manifest.layers) {
            let twice = missing.iter().any(|other| other.diff_id == diff_id);
            if !twice && self.has_unpacked(diff_id).is_none() {
                missing.push(Missing { diff_id, descriptor });
            }
        }
        self.unpack_missing(&missing, options, progress)?;
        let layers = config
            .rootfs
            .diff_ids
            .iter()
            .rev()
            .map(|diff_id| self.layer_path(diff_id))
            .collect();
        Ok(Unpacked {
            manifest: manifest_digest,
            layers,
            config,
        })
    }

    /// Where the layer `diff_id` is unpacked, if it is.
    pub fn has_unpacked(&self, diff_id: &Digest) -> Option<PathBuf> {
        let path = self.layer_path(diff_id);
        path.is_dir().then_some(path)
    }

    /// Makes `directory`, which must lie on the store's file system (see [`Self::temp_dir`]), the unpacked layer
    /// `diff_id`: a builder has it already, as the upper directory that it packed. The directory is gone afterwards,
    /// also when the layer was there before.
    pub fn adopt_layer(&self, diff_id: &Digest, directory: &Path) -> Result<PathBuf> {
        self.sync()?;
        match self.place(diff_id, directory)? {
            true => {}
            false => fs::remove_dir_all(directory).map_err(Error::file("remove", directory))?,
        }
        Ok(self.layer_path(diff_id))
    }

    fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.layer_dir().join(diff_id.algorithm().name()).join(diff_id.hex())
    }

    /// Unpacks on as many threads as there are processors; then makes all durable at once, and names them.
    fn unpack_missing(&self, missing: &[Missing<'_>], options: &UnpackOptions, progress: &dyn Progress) -> Result<()> {
        if missing.is_empty() {
            return Ok(());
        }
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(missing.len());
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<(usize, TempDir)>> {
            let mut done = Vec::new();
            while let Some((at, layer)) = take(&next, missing) {
                done.push((at, self.unpack_one(layer, options, progress)?));
            }
            Ok(done)
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            running
                .into_iter()
                .map(|thread| thread.join().expect("unpacking does not panic"))
                .collect()
        });
        let unpacked = results.into_iter().collect::<Result<Vec<_>>>()?;
        self.sync()?;
        for (at, directory) in unpacked.into_iter().flatten() {
            self.place(missing[at].diff_id, &directory.path().join(CONTENT))?;
        }
        Ok(())
    }

    fn unpack_one(&self, layer: &Missing<'_>, options: &UnpackOptions, progress: &dyn Progress) -> Result<TempDir> {
        let unit = format!("unpack {}", layer.descriptor.digest.short());
        progress.started(&unit, Some(layer.descriptor.size));
        let compression = Compression::of_media_type(&layer.descriptor.media_type)?;
        let directory = self.temp_dir()?;
        let content = directory.path().join(CONTENT);
        DirBuilder::new()
            .mode(0o755)
            .create(&content)
            .map_err(Error::file("make the directory", &content))?;
        let reader = Told {
            inner: self.open_blob(&layer.descriptor.digest)?,
            unit: &unit,
            progress,
        };
        let unpacked = layer::unpack(reader, compression, &content, options)?;
        if unpacked.diff.digest != *layer.diff_id {
            let expected = format!("the layer {}", layer.diff_id);
            return Err(Error::BlobMismatch {
                expected,
                actual: unpacked.diff.digest.to_string(),
            });
        }
        progress.finished(&unit);
        Ok(directory)
    }

    /// Gives a finished directory its final name; false when another process was first.
    fn place(&self, diff_id: &Digest, directory: &Path) -> Result<bool> {
        let path = self.layer_path(diff_id);
        let parent = path.parent().expect("a layer lies in a directory of the store");
        private_dir_all(parent)?;
        match fs::rename(directory, &path) {
            Ok(()) => {}
            Err(_) if path.is_dir() => return Ok(false),
            Err(error) => return Err(Error::file("store", path)(error)),
        }
        let sync = || File::open(parent)?.sync_all();
        sync().map_err(Error::file("store", parent))?;
        Ok(true)
    }

    /// A layer is thousands of files: one `syncfs` for all of them instead of one `fsync` each.
    fn sync(&self) -> Result<()> {
        let directory = File::open(self.root()).map_err(Error::file("open", self.root()))?;
        rustix::fs::syncfs(directory).map_err(Error::file("synchronise", self.root()))
    }
}

/// The layer's root inside its temporary directory, whose own mode stays closed until the end.
const CONTENT: &str = "layer";

fn take<'a, T>(next: &AtomicUsize, all: &'a [T]) -> Option<(usize, &'a T)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    all.get(at).map(|one| (at, one))
}

/// Tells the progress of reading a blob.
struct Told<'a> {
    inner: File,
    unit: &'a str,
    progress: &'a dyn Progress,
}

impl std::io::Read for Told<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.progress.advanced(self.unit, length as u64);
        Ok(length)
    }
}
