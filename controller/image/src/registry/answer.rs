//! An answer of a registry: its status and headers, its body piece by piece, and the error that it stands for.

use portolan_core::reference::Digest;
use reqwest::header::{CONTENT_LENGTH, HeaderMap};
use reqwest::{Response, Url};
use serde::Deserialize;

use super::retry_after::retry_after;
use crate::error::{Error, Result};

const MAX_ERROR: u64 = 64 << 10;

/// An answer whose body has not been read yet.
pub(super) struct Answer {
    registry: String,
    response: Response,
}

/// The body of an error (distribution specification, "Error Codes").
#[derive(Deserialize)]
struct Errors {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    message: Option<String>,
}

impl Answer {
    pub(super) fn new(registry: &str, response: Response) -> Self {
        Self {
            registry: registry.to_owned(),
            response,
        }
    }

    /// As in an image reference.
    pub(super) fn registry(&self) -> &str {
        &self.registry
    }

    /// Where it came from, redirects followed.
    pub(super) fn url(&self) -> &Url {
        self.response.url()
    }

    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// From the header: for a HEAD request there is no body to measure.
    pub(super) fn content_length(&self) -> Option<u64> {
        self.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    pub(super) fn header_digest(&self) -> Option<Digest> {
        Digest::parse(self.headers().get("docker-content-digest")?.to_str().ok()?).ok()
    }

    /// The next piece of the body; `None` at its end.
    pub(super) async fn chunk(&mut self) -> Result<Option<bytes::Bytes>> {
        let registry = &self.registry;
        self.response.chunk().await.map_err(|error| Error::RegistryUnreachable {
            registry: registry.clone(),
            source: error.without_url(),
        })
    }

    /// The whole of a small body.
    pub(super) async fn bytes(mut self, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > limit {
                return Err(Error::DocumentTooLarge {
                    digest: format!("of {}", self.registry),
                    limit,
                });
            }
        }
        Ok(bytes)
    }

    /// The error for an unwanted status, with what the registry says about it.
    pub(super) async fn refused(self, doing: &'static str) -> Error {
        let (registry, status) = (self.registry.clone(), self.status());
        let retry_after = retry_after(self.headers());
        let body = self.bytes(MAX_ERROR).await.unwrap_or_default();
        Error::RegistryRefused {
            registry,
            doing,
            status,
            message: message(&body),
            retry_after,
        }
    }
}

/// What an error's body says, as one short line without control characters: it is the registry's text, not ours.
fn message(body: &[u8]) -> String {
    let errors = serde_json::from_slice::<Errors>(body)
        .map(|body| body.errors)
        .unwrap_or_default();
    let words = errors
        .into_iter()
        .next()
        .map(|entry| entry.message.filter(|text| !text.is_empty()).unwrap_or(entry.code));
    let plain = |character: &char| !character.is_control();
    words
        .map(|text| format!(": {}", text.chars().filter(plain).take(200).collect::<String>()))
        .unwrap_or_default()
}
