//! Every failure of this crate: an operation, its subject, its cause.

use std::io;
use std::path::PathBuf;

use crate::protocol::{Class, ErrorBody};

/// What a caller of [`Client`](crate::client::Client) meets.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no supervisor answers at {}", path.display())]
    NotRunning { path: PathBuf },
    #[error("cannot connect to {}", path.display())]
    Connect { path: PathBuf, source: io::Error },
    #[error("cannot send a request to the supervisor")]
    Send { source: io::Error },
    #[error("cannot read the supervisor's answer")]
    Receive { source: io::Error },
    #[error("cannot understand the supervisor's answer")]
    Decode { source: serde_json::Error },
    #[error("a message of {bytes} bytes is longer than the protocol allows")]
    TooLong { bytes: usize },
    #[error("the supervisor ended the connection before its answer")]
    Closed,
    #[error(transparent)]
    Refused(ErrorBody),
}

impl ClientError {
    /// The stable CamelCase word of this error.
    pub fn code(&self) -> &str {
        match self {
            ClientError::Refused(body) => &body.code,
            ClientError::NotRunning { .. } => "SupervisorNotRunning",
            ClientError::Connect { .. } => "SupervisorUnreachable",
            ClientError::Send { .. } | ClientError::Receive { .. } | ClientError::Closed => "SupervisorConnectionLost",
            ClientError::Decode { .. } => "SupervisorProtocol",
            ClientError::TooLong { .. } => "SpecTooLarge",
        }
    }

    /// What the caller may do about it.
    pub fn class(&self) -> Class {
        match self {
            ClientError::Refused(body) => body.class,
            ClientError::NotRunning { .. }
            | ClientError::Send { .. }
            | ClientError::Receive { .. }
            | ClientError::Closed => Class::Retry,
            ClientError::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Class::Denied,
            ClientError::Connect { .. } => Class::Retry,
            ClientError::Decode { .. } => Class::Bug,
            ClientError::TooLong { .. } => Class::Invalid,
        }
    }
}

/// What a caller of [`ensure_running`](crate::launch::ensure_running) meets.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("cannot make the runtime directory {}", path.display())]
    RunDir { path: PathBuf, source: io::Error },
    #[error("cannot lock {}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("cannot start {}", binary.display())]
    Start { binary: PathBuf, source: io::Error },
    #[error("the supervisor ended instead of answering: {report}")]
    Ended { report: String },
    #[error("the supervisor did not answer within {seconds} s")]
    Silent { seconds: u64 },
    #[error("a supervisor runs, but cannot be spoken to")]
    Speak(#[source] ClientError),
}

impl LaunchError {
    /// The stable CamelCase word of this error.
    pub fn code(&self) -> &str {
        match self {
            LaunchError::Speak(source) => source.code(),
            LaunchError::RunDir { .. } | LaunchError::Lock { .. } => "RuntimeDirectoryUnusable",
            LaunchError::Start { .. } | LaunchError::Ended { .. } => "SupervisorStartFailed",
            LaunchError::Silent { .. } => "SupervisorSilent",
        }
    }

    pub fn class(&self) -> Class {
        match self {
            LaunchError::Speak(source) => source.class(),
            LaunchError::Silent { .. } => Class::Retry,
            _ => Class::Invalid,
        }
    }
}

/// An error with all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
