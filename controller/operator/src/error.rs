//! Why an operator cannot go on. What is wrong with one App or Target is told in its status and is no error here.

use std::io;
use std::path::PathBuf;

use portolan_engine::journal::JournalError;
use portolan_provider_api::ErrorClass;

#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error("the cluster was not found")]
    Unconfigured(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the lease {name} could not be asked for")]
    Lease {
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("the right to write has passed to {holder}")]
    LeaseLost { holder: String },
    #[error("{} could not be used", .folder.display())]
    Memory {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another process keeps its state in {}", .folder.display())]
    Shared { folder: PathBuf },
    #[error("the journal failed")]
    Journal(#[from] JournalError),
}

impl OperatorError {
    /// As a diagnostic's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unconfigured(_) => "KubeconfigInvalid",
            Self::Lease { .. } => "LeaseUnusable",
            Self::LeaseLost { .. } => "LeaseLost",
            Self::Memory { .. } | Self::Shared { .. } => "FolderUnusable",
            Self::Journal(_) => "JournalUnusable",
        }
    }

    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unconfigured(_) | Self::Memory { .. } => ErrorClass::Invalid,
            Self::Lease { .. } => ErrorClass::Denied,
            Self::LeaseLost { .. } | Self::Shared { .. } => ErrorClass::Conflict,
            Self::Journal(error) => error.class(),
        }
    }
}
