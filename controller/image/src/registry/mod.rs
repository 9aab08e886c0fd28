//! The registry client: the pull and push halves of the OCI distribution specification, over one hostile network.
//!
//! - Credentials leave for the registry's own origin alone. A bearer realm elsewhere is asked anonymously, unless the
//!   pair is known or configured ([`auth`]); redirects and upload locations elsewhere get no credentials ([`http`]).
//! - No request goes to a link-local or metadata address, by literal or by name, and none in plain HTTP except to
//!   loopback and to registries that were named insecure ([`address`]).
//! - Content is verified while it streams, in both size and digest; nothing is held in memory but documents, which
//!   are limited to 4 MiB.
//! - Nothing is tried twice but a request whose token was refused as too old. Errors answer [`crate::Error::class`],
//!   with the server's Retry-After, and the caller decides.

mod address;
mod answer;
mod auth;
mod credentials;
mod docker_config;
mod http;
mod pull;
mod push;
mod retry_after;

use std::sync::Arc;

use portolan_core::reference::ImageReference;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};

use crate::error::{Error, Result};
use crate::manifest::{DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, Document, MAX_DOCUMENT, OCI_INDEX, OCI_MANIFEST};
use crate::store::{Content, Hasher};

pub use address::{is_forbidden, is_loopback_host};
pub use credentials::{Anonymous, Auth, Credentials, Secret};
pub use docker_config::DockerConfig;
pub use pull::{Platforms, Pulled};

use answer::Answer;
use http::{Http, Request};

/// What a client may do beyond the defaults.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Registries (`host` or `host:port`) that are reached in plain HTTP. Loopback always is.
    pub insecure: Vec<String>,
    /// Pairs of a registry and the host of the token server that may have its credentials, besides the known ones.
    pub token_servers: Vec<(String, String)>,
    /// Blobs that move at once.
    pub parallel: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            token_servers: Vec::new(),
            parallel: 5,
        }
    }
}

/// A client for any number of registries. Cheap to share; tokens are kept while it lives.
pub struct RegistryClient {
    http: Http,
    parallel: usize,
}

/// A manifest or index as a registry gave it, verified.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
    pub document: Document,
}

impl RegistryClient {
    pub fn new(credentials: Arc<dyn Credentials>, options: ClientOptions) -> Result<Self> {
        let parallel = options.parallel.max(1);
        Ok(Self {
            http: Http::new(credentials, options)?,
            parallel,
        })
    }

    /// The descriptor that `reference` stands for now, by a HEAD request; `None` where the registry has none.
    pub async fn resolve(&self, reference: &ImageReference) -> Result<Option<Descriptor>> {
        let request = manifest_request(Method::HEAD, reference, &version_of(reference));
        let answer = self.http.send(request).await?;
        match answer.status() {
            200 => {}
            404 => return Ok(None),
            _ => return Err(answer.refused("look up the manifest").await),
        }
        match described(&answer, reference)? {
            Some(descriptor) => Ok(Some(descriptor)),
            // Optional in the specification: the body itself tells.
            None => self.fetch(reference).await.map(|fetched| Some(fetched.descriptor)),
        }
    }

    /// The manifest or index that `reference` stands for.
    ///
    /// # Errors
    /// Class not-found where there is none; [`Error::BlobMismatch`] where it is not what its digest says.
    pub async fn fetch(&self, reference: &ImageReference) -> Result<Fetched> {
        let answer = self
            .http
            .send(manifest_request(Method::GET, reference, &version_of(reference)))
            .await?;
        if answer.status() != 200 {
            return Err(answer.refused("fetch the manifest").await);
        }
        let announced = media_type(answer.headers());
        let claimed = answer.header_digest();
        let bytes = answer.bytes(MAX_DOCUMENT).await?;
        let expected = reference.digest().cloned().or(claimed);
        let algorithm = expected
            .as_ref()
            .map_or(portolan_core::reference::Algorithm::Sha256, |d| d.algorithm());
        let content = Hasher::content_of(algorithm, &bytes);
        if let Some(expected) = expected
            && expected != content.digest
        {
            return Err(Error::BlobMismatch {
                expected: expected.to_string(),
                actual: content.digest.to_string(),
            });
        }
        let document = Document::parse(&bytes, announced.as_deref()).map_err(|reason| Error::DocumentInvalid {
            what: "manifest",
            digest: content.digest.to_string(),
            reason,
        })?;
        let media_type = announced.unwrap_or_else(|| document.media_type().to_owned());
        Ok(Fetched {
            descriptor: Descriptor::new(media_type, content),
            bytes,
            document,
        })
    }
}

/// The tag or digest in the path of a manifest's URL.
fn version_of(reference: &ImageReference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or(portolan_core::reference::DEFAULT_TAG).to_owned(),
    }
}

fn manifest_request(method: Method, reference: &ImageReference, version: &str) -> Request {
    let accept = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST].join(", ");
    Request::new(method, reference, &format!("manifests/{version}")).header(ACCEPT, accept)
}

/// What the headers of a HEAD request tell, if they tell all.
fn described(answer: &Answer, reference: &ImageReference) -> Result<Option<Descriptor>> {
    let size = answer.content_length();
    let (Some(media_type), Some(digest), Some(size)) = (media_type(answer.headers()), answer.header_digest(), size)
    else {
        return Ok(None);
    };
    match reference.digest() {
        Some(expected) if *expected != digest => Err(Error::BlobMismatch {
            expected: expected.to_string(),
            actual: digest.to_string(),
        }),
        _ => Ok(Some(Descriptor::new(media_type, Content { digest, size }))),
    }
}

/// The announced type of a manifest; anything but the four known ones announces nothing.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let text = text.split(';').next().unwrap_or_default().trim();
    [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST]
        .contains(&text)
        .then(|| text.to_owned())
}
