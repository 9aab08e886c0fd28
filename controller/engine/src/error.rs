//! Why a piece of work could not be brought to an end: none of it says anything about the app itself.

use portolan_core::facts::ContainerPath;
use portolan_core::fault::Fault;
use portolan_provider_api::{CallError, ErrorClass, ImageError};

use crate::journal::{AppKey, JournalError};

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Found by resolve or render; whoever holds the manifest's spans shows them.
    #[error("the manifest does not fit the target in {} places", .0.len())]
    Faults(Vec<Fault>),
    #[error("{} images could not be pinned", .0.len())]
    Images(Vec<ImageFault>),
    /// The target could not be asked, or did not answer what the engine needed to go on.
    #[error("the target could not be asked")]
    Call(#[source] CallError),
    #[error("the journal failed")]
    Journal(#[source] JournalError),
    #[error("{key} is being worked on by {}", holder(*.pid))]
    Busy { key: AppKey, pid: Option<u32> },
    /// Whoever holds it now goes on.
    #[error("the right to write has passed to somebody else")]
    LeaseLost,
    #[error("{provider} cannot {operation}")]
    Unsupported {
        provider: &'static str,
        operation: &'static str,
    },
    #[error("{key} has no job `{job}`")]
    UnknownJob { key: AppKey, job: String },
    /// Nothing that could be tried again or gone back to.
    #[error("the journal holds no {} of {key}", generation(*.number))]
    UnknownGeneration { key: AppKey, number: Option<u64> },
    #[error("{key}: {} waits for a promotion", paused(.service.as_deref()))]
    NotPaused { key: AppKey, service: Option<String> },
}

/// The image of one container that could not be pinned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the image of {container} could not be pinned")]
pub struct ImageFault {
    pub container: ContainerPath,
    #[source]
    pub error: Box<ImageError>,
}

impl EngineError {
    /// What it says, with its causes, in one line.
    pub fn explained(&self) -> String {
        let causes = match self {
            Self::Faults(faults) => faults.iter().map(|fault| fault.message.clone()).collect(),
            Self::Images(faults) => faults.iter().map(|fault| fault.error.message.clone()).collect(),
            Self::Call(error) => vec![format!("{}: {}", error.code, error.message)],
            _ => std::iter::successors(std::error::Error::source(self), |error| error.source())
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
        };
        [vec![self.to_string()], causes].concat().join(": ")
    }

    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Faults(_) => ErrorClass::Invalid,
            Self::Images(faults) => faults.first().map_or(ErrorClass::Bug, |fault| fault.error.class),
            Self::Call(error) => error.class,
            Self::Journal(error) => error.class(),
            Self::Busy { .. } | Self::LeaseLost => ErrorClass::Conflict,
            Self::Unsupported { .. }
            | Self::UnknownJob { .. }
            | Self::UnknownGeneration { .. }
            | Self::NotPaused { .. } => ErrorClass::Invalid,
        }
    }
}

impl From<JournalError> for EngineError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Busy { key, pid } => Self::Busy { key, pid },
            other => Self::Journal(other),
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_string(),
    }
}

fn generation(number: Option<u64>) -> String {
    match number {
        Some(number) => format!("generation {number}"),
        None => "earlier generation".to_string(),
    }
}

fn paused(service: Option<&str>) -> String {
    match service {
        Some(service) => format!("`{service}` is no service that"),
        None => "nothing".to_string(),
    }
}
