//! What can go wrong with a cluster for tests. A variant names the operation and its subject; the cause is chained.

use std::io;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine has not what the cluster is made of; its tests are skipped.
    #[error("{what}")]
    Missing { what: String },

    /// `doing` completes "cannot ...".
    #[error("cannot {doing}")]
    System { doing: String, source: io::Error },

    #[error("cannot make the certificate of {subject}")]
    Certificate { subject: String, source: rcgen::Error },

    #[error("{program} ended; the last it said:\n{said}")]
    Ended { program: String, said: String },

    #[error("{what}: not within {limit:?}")]
    Late { what: String, limit: Duration },

    #[error("`{command}` failed: {said}")]
    Command { command: String, said: String },
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err` after input or output.
    pub(crate) fn system(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::System { doing, source }
    }
}

pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        None => error.to_string(),
        Some(cause) => format!("{error}: {}", with_causes(cause)),
    }
}
