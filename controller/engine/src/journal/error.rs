//! What can go wrong with the journal.

use std::path::PathBuf;

use portolan_provider_api::ErrorClass;

use super::AppKey;

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot open the journal {}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the journal {} was written by a newer Portolan (schema {found}, this one knows {known})", path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("cannot list the apps in the journal")]
    List {
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("cannot {operation} of {key} in the journal")]
    Access {
        operation: &'static str,
        key: AppKey,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{key} is being worked on by another process")]
    Busy { key: AppKey, pid: Option<u32> },
}

impl JournalError {
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Open { .. } | Self::List { .. } | Self::Access { .. } => ErrorClass::Denied,
            Self::Newer { .. } => ErrorClass::Invalid,
            Self::Busy { .. } => ErrorClass::Conflict,
        }
    }
}
