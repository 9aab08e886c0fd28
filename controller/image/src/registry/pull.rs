//! Pull: a manifest, and the blobs it names that the store lacks, several at once. The name is given last, when all
//! that it stands for is there.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use portolan_core::reference::{Digest, ImageReference};
use reqwest::Method;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::http::Request;
use super::{Fetched, RegistryClient};
use crate::error::{Error, Result};
use crate::manifest::{self, Descriptor, Document, Index, Manifest};
use crate::progress::Progress;
use crate::store::{BlobWriter, Store};

/// Which manifests of an index are pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Platforms {
    /// The one for this machine.
    #[default]
    Host,
    /// All, so that the index can be pushed elsewhere.
    All,
}

/// What a pull has brought.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// What the reference stands for: a manifest or an index. Its digest is the one to pin.
    pub descriptor: Descriptor,
    /// The manifest for this machine; the same where there is no index.
    pub manifest: Digest,
}

/// Pieces on their way from the connection to the disk: enough to keep both busy.
const PIECES: usize = 16;

impl RegistryClient {
    /// Brings `reference` into `store` and gives it its name there.
    ///
    /// # Errors
    /// [`Error::NoPlatform`] when an index has nothing for this machine; [`Error::ImageUnknown`] when no registry can have
    /// it; those of the connection; mismatches.
    pub async fn pull(
        &self,
        reference: &ImageReference,
        store: &Store,
        platforms: Platforms,
        progress: &dyn Progress,
    ) -> Result<Pulled> {
        if reference.is_local_only() {
            let name = reference.to_string();
            return Err(Error::ImageUnknown { name });
        }
        let _hold = hold(store).await?;
        let top = self.fetch(reference).await?;
        let pulled = match &top.document {
            Document::Manifest(manifest) => {
                self.pull_manifest(reference, manifest, store, progress).await?;
                Pulled {
                    descriptor: top.descriptor.clone(),
                    manifest: top.descriptor.digest.clone(),
                }
            }
            Document::Index(index) => {
                self.pull_index(reference, &top, index, store, platforms, progress)
                    .await?
            }
        };
        keep(store, &top).await?;
        let (store, reference, descriptor) = (store.clone(), reference.clone(), top.descriptor);
        run_blocking(move || store.tag(&reference, &descriptor)).await?;
        Ok(pulled)
    }

    async fn pull_index(
        &self,
        reference: &ImageReference,
        top: &Fetched,
        index: &Index,
        store: &Store,
        platforms: Platforms,
        progress: &dyn Progress,
    ) -> Result<Pulled> {
        let architecture = manifest::host_architecture();
        let chosen = index.choose(architecture);
        let wanted: Vec<&Descriptor> = match platforms {
            Platforms::All => index.manifests.iter().collect(),
            Platforms::Host => chosen.into_iter().collect(),
        };
        let none = || Error::NoPlatform {
            image: reference.familiar(),
            architecture: architecture.to_owned(),
            available: index.platforms(),
        };
        let manifest = chosen.or(wanted.first().copied()).ok_or_else(none)?.digest.clone();
        for child in wanted {
            self.pull_child(reference, child, store, progress).await?;
        }
        Ok(Pulled {
            descriptor: top.descriptor.clone(),
            manifest,
        })
    }

    /// A manifest of an index, under its digest.
    async fn pull_child(
        &self,
        reference: &ImageReference,
        child: &Descriptor,
        store: &Store,
        progress: &dyn Progress,
    ) -> Result<()> {
        let fetched = self.fetch(&reference.with_digest(child.digest.clone())).await?;
        if fetched.descriptor.size != child.size || fetched.descriptor.media_type != child.media_type {
            let expected = format!("{} of {} bytes", child.media_type, child.size);
            let actual = format!("{} of {} bytes", fetched.descriptor.media_type, fetched.descriptor.size);
            return Err(Error::BlobMismatch { expected, actual });
        }
        let Document::Manifest(manifest) = &fetched.document else {
            let (what, digest) = ("index", child.digest.to_string());
            return Err(Error::DocumentInvalid {
                what,
                digest,
                reason: "it holds another index".to_owned(),
            });
        };
        self.pull_manifest(reference, manifest, store, progress).await?;
        keep(store, &fetched).await
    }

    async fn pull_manifest(
        &self,
        reference: &ImageReference,
        manifest: &Manifest,
        store: &Store,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut blobs: Vec<&Descriptor> = Vec::new();
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            let twice = blobs.iter().any(|other| other.digest == blob.digest);
            if !twice && !store.has_blob(&blob.content()) {
                blobs.push(blob);
            }
        }
        // Boxed, because the compiler cannot tell that the future of a closure over references is `Send`.
        let pulls: Vec<BoxFuture<'_, Result<()>>> = blobs
            .into_iter()
            .map(|blob| self.pull_blob(reference, blob, store, progress).boxed())
            .collect();
        stream::iter(pulls).buffer_unordered(self.parallel).try_collect().await
    }

    async fn pull_blob(
        &self,
        reference: &ImageReference,
        blob: &Descriptor,
        store: &Store,
        progress: &dyn Progress,
    ) -> Result<()> {
        let unit = format!("pull {}", blob.digest.short());
        progress.started(&unit, Some(blob.size));
        let request = Request::new(Method::GET, reference, &format!("blobs/{}", blob.digest));
        let mut answer = self.http.send(request).await?;
        if answer.status() != 200 {
            return Err(answer.refused("fetch a blob").await);
        }
        let (sender, receiver) = mpsc::channel(PIECES);
        let (store, expected) = (store.clone(), blob.content());
        let writing = spawn_blocking(move || write_pieces(store.blob_writer(Some(&expected))?, receiver, &expected));
        while let Some(piece) = answer.chunk().await? {
            progress.advanced(&unit, piece.len() as u64);
            // A writer that has stopped listening has failed, and tells why below.
            if sender.send(Piece::Bytes(piece)).await.is_err() {
                break;
            }
        }
        let _ = sender.send(Piece::End).await;
        drop(sender);
        writing.await.expect("writing a blob does not panic")?;
        progress.finished(&unit);
        Ok(())
    }
}

enum Piece {
    Bytes(Bytes),
    /// Without it, the connection broke and the rest is missing.
    End,
}

fn write_pieces(mut writer: BlobWriter, mut pieces: mpsc::Receiver<Piece>, expected: &crate::Content) -> Result<()> {
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Bytes(bytes) => writer.append(&bytes)?,
            Piece::End => return writer.commit(Some(expected)).map(|_| ()),
        }
    }
    Ok(())
}

async fn keep(store: &Store, fetched: &Fetched) -> Result<()> {
    let (store, bytes, expected) = (store.clone(), fetched.bytes.clone(), fetched.descriptor.content());
    run_blocking(move || store.put_blob(&bytes[..], Some(&expected)).map(|_| ())).await
}

/// Taking the lock may wait for a prune.
async fn hold(store: &Store) -> Result<crate::store::Hold> {
    let store = store.clone();
    run_blocking(move || store.hold()).await
}

pub(super) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.expect("work on the store does not panic")
}
