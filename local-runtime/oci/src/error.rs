//! What can go wrong with a container. A variant names the operation and its subject; the cause is chained.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `doing` completes "cannot ...".
    #[error("cannot {doing} {subject}")]
    System {
        doing: &'static str,
        subject: String,
        source: io::Error,
    },

    #[error("cannot read the configuration {}", path.display())]
    Config { path: PathBuf, source: io::Error },

    #[error("{what} is not supported")]
    Unsupported { what: String },

    #[error("{what}")]
    Invalid { what: String },

    /// The image put a symbolic link, or something else, where the runtime mounts.
    #[error("the root file system makes {path} something other than a plain {wanted}")]
    Misplaced { path: String, wanted: &'static str },

    /// What was asked of the container does not fit what it is doing.
    #[error("container `{id}` is {status}")]
    Status { id: String, status: &'static str },

    #[error("there is no container `{id}`")]
    NotFound { id: String },

    #[error(transparent)]
    Cgroup(#[from] crate::cgroup::Error),

    #[error(transparent)]
    Seccomp(#[from] crate::seccomp::Error),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err` after a system call.
    pub(crate) fn system<E: Into<io::Error>>(doing: &'static str, subject: impl ToString) -> impl FnOnce(E) -> Self {
        let subject = subject.to_string();
        move |source| Self::System {
            doing,
            subject,
            source: source.into(),
        }
    }
}

pub(crate) fn invalid(what: impl Into<String>) -> Error {
    Error::Invalid { what: what.into() }
}

pub(crate) fn unsupported<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Unsupported { what: what.into() })
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
