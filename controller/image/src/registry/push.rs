//! Push: the blobs that the registry lacks, several at once; then the manifests; then the name. A blob that the
//! registry has in another repository is mounted from there instead of being sent.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use portolan_core::reference::{Digest, ImageReference};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method, Url};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::answer::Answer;
use super::http::Request;
use super::pull::run_blocking;
use super::{RegistryClient, version_of};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Document, Manifest};
use crate::progress::Progress;
use crate::store::Store;

/// Where in this registry each blob is known to be.
type Elsewhere = HashMap<Digest, String>;

const PIECE: usize = 256 << 10;

impl RegistryClient {
    /// Sends the manifest or index `descriptor` of `store`, with all that it names, to `reference`.
    ///
    /// # Errors
    /// [`Error::BlobMissing`] when the store has only a part of it: an index needs
    /// [`Platforms::All`](super::Platforms::All) when it is pulled.
    pub async fn push(
        &self,
        store: &Store,
        descriptor: &Descriptor,
        reference: &ImageReference,
        progress: &dyn Progress,
    ) -> Result<()> {
        let plan = {
            let (store, descriptor, reference) = (store.clone(), descriptor.clone(), reference.clone());
            run_blocking(move || PushPlan::of(&store, &descriptor, &reference)).await?
        };
        // Boxed for the same reason as a pull's.
        let pushes: Vec<BoxFuture<'_, Result<()>>> = plan
            .blobs
            .iter()
            .map(|blob| {
                self.push_blob(store, blob, reference, &plan.elsewhere, progress)
                    .boxed()
            })
            .collect();
        stream::iter(pushes)
            .buffer_unordered(self.parallel)
            .try_collect::<()>()
            .await?;
        for (child, bytes) in &plan.children {
            self.put_manifest(reference, &child.digest.to_string(), child, bytes.clone())
                .await?;
        }
        self.put_manifest(reference, &version_of(reference), descriptor, plan.top)
            .await
    }

    async fn push_blob(
        &self,
        store: &Store,
        blob: &Descriptor,
        reference: &ImageReference,
        elsewhere: &Elsewhere,
        progress: &dyn Progress,
    ) -> Result<()> {
        let unit = format!("push {}", blob.digest.short());
        progress.started(&unit, Some(blob.size));
        if !self.has_blob(blob, reference).await?
            && let Some(location) = self.begin_upload(blob, reference, elsewhere).await?
        {
            self.upload(store, blob, reference, location).await?;
        }
        progress.advanced(&unit, blob.size);
        progress.finished(&unit);
        Ok(())
    }

    async fn has_blob(&self, blob: &Descriptor, reference: &ImageReference) -> Result<bool> {
        let request = Request::new(Method::HEAD, reference, &format!("blobs/{}", blob.digest)).pushing(None);
        let answer = self.http.send(request).await?;
        match answer.status() {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(answer.refused("look up a blob").await),
        }
    }

    /// Where to send the blob; `None` when it was mounted.
    async fn begin_upload(
        &self,
        blob: &Descriptor,
        reference: &ImageReference,
        elsewhere: &Elsewhere,
    ) -> Result<Option<Url>> {
        let from = elsewhere.get(&blob.digest).map(String::as_str);
        let begin = || Request::new(Method::POST, reference, "blobs/uploads/").header(CONTENT_LENGTH, "0");
        let mut answer = match from {
            Some(from) => {
                let digest = blob.digest.to_string();
                let mount = begin().pushing(Some(from)).query("mount", &digest).query("from", from);
                self.http.send(mount).await?
            }
            None => self.http.send(begin().pushing(None)).await?,
        };
        // A registry may refuse the mount, or the right to the other repository, and still take the blob.
        if from.is_some() && !matches!(answer.status(), 201 | 202) {
            answer = self.http.send(begin().pushing(None)).await?;
        }
        match answer.status() {
            201 if from.is_some() => Ok(None),
            202 => self.http.location(&answer).map(Some),
            _ => Err(answer.refused("begin the upload of a blob").await),
        }
    }

    async fn upload(&self, store: &Store, blob: &Descriptor, reference: &ImageReference, mut to: Url) -> Result<()> {
        to.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        let file = store.open_blob(&blob.digest)?;
        let request = Request::new(Method::PUT, reference, "")
            .pushing(None)
            .at(to)
            .header(CONTENT_TYPE, "application/octet-stream");
        let answer = self.http.send_body(request, blob.size, streamed(file)).await?;
        match answer.status() {
            201 | 204 => check_digest(&answer, &blob.digest),
            _ => Err(answer.refused("upload a blob").await),
        }
    }

    async fn put_manifest(
        &self,
        reference: &ImageReference,
        version: &str,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
    ) -> Result<()> {
        let request = Request::new(Method::PUT, reference, &format!("manifests/{version}"))
            .pushing(None)
            .header(CONTENT_TYPE, descriptor.media_type.as_str())
            .document(bytes);
        let answer = self.http.send(request).await?;
        match answer.status() {
            200..=202 => check_digest(&answer, &descriptor.digest),
            _ => Err(answer.refused("push the manifest").await),
        }
    }
}

/// All that a push sends, read before the first byte leaves.
struct PushPlan {
    blobs: Vec<Descriptor>,
    /// The manifests of an index.
    children: Vec<(Descriptor, Vec<u8>)>,
    top: Vec<u8>,
    elsewhere: Elsewhere,
}

impl PushPlan {
    fn of(store: &Store, descriptor: &Descriptor, reference: &ImageReference) -> Result<Self> {
        let top = store.read_document(&descriptor.digest)?;
        let elsewhere = known_elsewhere(store, reference)?;
        let mut plan = Self {
            blobs: Vec::new(),
            children: Vec::new(),
            top,
            elsewhere,
        };
        match store.document(&descriptor.digest, Some(&descriptor.media_type))? {
            Document::Manifest(manifest) => plan.add(store, &manifest)?,
            Document::Index(index) => {
                for child in index.manifests {
                    let bytes = store.read_document(&child.digest)?;
                    match store.document(&child.digest, Some(&child.media_type))? {
                        Document::Manifest(manifest) => plan.add(store, &manifest)?,
                        Document::Index(_) => return Err(nested(&child.digest)),
                    }
                    plan.children.push((child, bytes));
                }
            }
        }
        Ok(plan)
    }

    fn add(&mut self, store: &Store, manifest: &Manifest) -> Result<()> {
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            if !store.has_blob(&blob.content()) {
                return Err(Error::BlobMissing {
                    digest: blob.digest.clone(),
                });
            }
            if !self.blobs.iter().any(|other| other.digest == blob.digest) {
                self.blobs.push(blob.clone());
            }
        }
        Ok(())
    }
}

/// The layers of images that the store knows under other repositories of the same registry.
fn known_elsewhere(store: &Store, reference: &ImageReference) -> Result<Elsewhere> {
    let mut elsewhere = Elsewhere::new();
    for image in store.list()? {
        let other = &image.reference;
        if other.registry() != reference.registry() || other.repository() == reference.repository() {
            continue;
        }
        if let Ok(manifest) = store.manifest(&image.descriptor.digest) {
            for layer in manifest.layers {
                elsewhere.insert(layer.digest, other.repository().to_owned());
            }
        }
    }
    Ok(elsewhere)
}

fn nested(digest: &Digest) -> Error {
    let (what, digest) = ("index", digest.to_string());
    Error::DocumentInvalid {
        what,
        digest,
        reason: "it holds another index".to_owned(),
    }
}

/// A file as a body, read on a thread of its own while the connection takes it.
fn streamed(mut file: File) -> Body {
    let (sender, mut receiver) = mpsc::channel::<std::io::Result<Bytes>>(4);
    spawn_blocking(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = match file.read(&mut piece) {
                Ok(0) => return,
                Ok(length) => {
                    piece.truncate(length);
                    Ok(Bytes::from(piece))
                }
                Err(error) => Err(error),
            };
            // The connection has gone: its own error tells.
            if sender.blocking_send(read).is_err() {
                return;
            }
        }
    });
    Body::wrap_stream(stream::poll_fn(move |context| receiver.poll_recv(context)))
}

/// A registry that says what it has stored must say the same.
fn check_digest(answer: &Answer, expected: &Digest) -> Result<()> {
    match answer.header_digest() {
        Some(actual) if actual != *expected => Err(Error::BlobMismatch {
            expected: expected.to_string(),
            actual: actual.to_string(),
        }),
        _ => Ok(()),
    }
}
