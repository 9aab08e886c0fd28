//! Who we are to a registry. The trait lets a provider bring short-lived tokens; [`super::DockerConfig`] reads what
//! `docker login` left.

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;

/// Gives the credentials for a registry, asked once for each new token.
#[async_trait]
pub trait Credentials: Send + Sync {
    /// `registry` is as in an image reference (`docker.io`, `localhost:5000`). `None` means anonymous.
    async fn credentials(&self, registry: &str) -> Result<Option<Auth>>;
}

/// What is shown to a registry, or to its token server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    Basic {
        username: String,
        password: Secret,
    },
    /// A refresh token, to be changed for a bearer token.
    Identity(Secret),
    /// A bearer token for the registry itself.
    Bearer(Secret),
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// No credentials for anybody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anonymous;

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, to be sent and not to be kept.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[async_trait]
impl Credentials for Anonymous {
    async fn credentials(&self, _registry: &str) -> Result<Option<Auth>> {
        Ok(None)
    }
}
