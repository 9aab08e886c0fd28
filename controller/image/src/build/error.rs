//! Why a build failed. A fault of a step carries the Dockerfile's line; a fault of the machine carries its subject.

use std::io;
use std::path::PathBuf;

use crate::dockerfile::{Complaint, Faults, Position};
use crate::error::ErrorClass;
use crate::ignore::InvalidIgnore;

/// A build that ended without an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The Dockerfile is wrong; all its faults, in order.
    #[error(transparent)]
    Dockerfile(#[from] Faults),

    #[error("cannot read the Dockerfile {}", path.display())]
    DockerfileRead { path: PathBuf, source: io::Error },

    #[error("cannot read the build context {}", path.display())]
    ContextRead { path: PathBuf, source: io::Error },

    #[error("cannot read {}", path.display())]
    IgnoreRead { path: PathBuf, source: io::Error },

    #[error("the ignore file is invalid")]
    Ignore(#[from] InvalidIgnore),

    #[error("the Dockerfile {} has no stage {target}{}", dockerfile.display(), known(stages))]
    TargetUnknown {
        target: String,
        dockerfile: PathBuf,
        stages: Vec<String>,
    },

    #[error("cannot build for {platform}: this machine builds for {host}")]
    Platform { platform: String, host: String },

    /// One step failed; the cause is a [`StepError`].
    #[error("{}:{}: cannot carry out `{instruction}`", dockerfile.display(), at.line)]
    Step {
        dockerfile: PathBuf,
        at: Position,
        instruction: String,
        source: Box<StepError>,
    },

    #[error("the build was stopped")]
    Stopped,

    /// The store, or the folders of the build itself.
    #[error(transparent)]
    Store(#[from] crate::Error),

    #[error("cannot {doing} {}", path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// Why one step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The instruction asks for what cannot be, now that its variables are known.
    #[error("{cause}")]
    Invalid { cause: String, hint: Option<String> },

    #[error("cannot get the image {reference}")]
    Base { reference: String, source: crate::Error },

    #[error("the image {reference} is not in the local store, and no registry may be asked for it")]
    BaseMissing { reference: String },

    #[error("{} is not in {place}{}", source_path, hinted(hint))]
    SourceMissing {
        source_path: String,
        place: String,
        hint: Option<String>,
    },

    /// A symbolic link, named by a source, that leads out of the context.
    #[error("the link {} in the build context leads out of it, to {target}", path.display())]
    LinkLeavesContext { path: PathBuf, target: String },

    #[error("cannot read {} of the build context", path.display())]
    ContextFile { path: PathBuf, source: io::Error },

    #[error("{} of the build context is a {kind}, which no image can hold", path.display())]
    SpecialFile { path: PathBuf, kind: &'static str },

    #[error("{} changed while it was copied", path.display())]
    Changed { path: PathBuf },

    #[error("cannot read {path} of the image so far")]
    Rootfs { path: String, source: io::Error },

    #[error("cannot write the step's layer")]
    Layer { source: crate::Error },

    #[error("cannot {doing} {}", path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },

    #[error("RUN needs the container runtime, and none was given")]
    RuntimeUnknown,

    #[error("cannot start the container runtime {}", path.display())]
    RuntimeStart { path: PathBuf, source: io::Error },

    /// The command ended with an exit code other than zero; `output` is the last lines of what it printed.
    #[error("the command ended with exit code {code}")]
    Run { code: i32, output: Vec<String> },

    /// The runtime itself was killed.
    #[error("the command was ended by signal {signal}")]
    RunKilled { signal: i32, output: Vec<String> },

    /// Answers a build that was asked only whether all is there.
    #[error("the step is not in the cache")]
    NotMade,

    #[error("the build was stopped")]
    Stopped,
}

impl BuildError {
    /// The stable CamelCase word for this failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Dockerfile(_) => "DockerfileInvalid",
            Self::DockerfileRead { source, .. } if source.kind() == io::ErrorKind::NotFound => "DockerfileMissing",
            Self::DockerfileRead { .. } => "DockerfileUnreadable",
            Self::ContextRead { .. } => "ContextUnreadable",
            Self::IgnoreRead { .. } | Self::Ignore(_) => "IgnoreFileInvalid",
            Self::TargetUnknown { .. } => "BuildStageUnknown",
            Self::Platform { .. } => "PlatformUnsupported",
            Self::Step { source, .. } => source.code(),
            Self::Store(error) => error.code(),
            Self::File { .. } => "ImageStoreFailed",
            Self::Stopped => "BuildStopped",
        }
    }

    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Step { source, .. } => source.class(),
            Self::DockerfileRead { source, .. } | Self::ContextRead { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => ErrorClass::Denied,
                io::ErrorKind::NotFound => ErrorClass::NotFound,
                _ => ErrorClass::Invalid,
            },
            Self::Stopped => ErrorClass::Retry(None),
            _ => ErrorClass::Invalid,
        }
    }

    /// What to do about it, where there is something to say.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::DockerfileRead { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("name the file with `dockerfile:` relative to the build context".into())
            }
            Self::Step { source, .. } => source.hint(),
            _ => None,
        }
    }

    /// The last lines that a failed command printed.
    pub fn output(&self) -> &[String] {
        match self {
            Self::Step { source, .. } => source.output(),
            _ => &[],
        }
    }

    pub(super) fn is_not_made(&self) -> bool {
        matches!(self, Self::Step { source, .. } if matches!(**source, StepError::NotMade))
    }

    pub(super) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }
}

impl StepError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "DockerfileInvalid",
            Self::Base { source, .. } => source.code(),
            Self::BaseMissing { .. } => "ImageNotFound",
            Self::SourceMissing { .. } => "BuildSourceMissing",
            Self::LinkLeavesContext { .. } => "BuildContextEscape",
            Self::ContextFile { .. } | Self::SpecialFile { .. } | Self::Changed { .. } => "ContextUnreadable",
            Self::Rootfs { .. } | Self::Layer { .. } | Self::File { .. } | Self::NotMade => "BuildStepFailed",
            Self::RuntimeUnknown | Self::RuntimeStart { .. } => "RuntimeMissing",
            Self::Run { .. } | Self::RunKilled { .. } => "BuildFailed",
            Self::Stopped => "BuildStopped",
        }
    }

    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Base { source, .. } | Self::Layer { source } => source.class(),
            Self::BaseMissing { .. } | Self::SourceMissing { .. } | Self::RuntimeUnknown => ErrorClass::NotFound,
            Self::Changed { .. } | Self::Stopped => ErrorClass::Retry(None),
            _ => ErrorClass::Invalid,
        }
    }

    /// The last lines that a failed command printed.
    pub fn output(&self) -> &[String] {
        match self {
            Self::Run { output, .. } | Self::RunKilled { output, .. } => output,
            _ => &[],
        }
    }

    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Invalid { hint, .. } => hint.clone(),
            Self::Run { output, .. } if output.iter().any(|line| misses_network(line)) => {
                Some("a RUN step has no network unless it says so: RUN --network=host ...".into())
            }
            Self::BaseMissing { reference } => Some(format!("import or pull it as {reference} first")),
            Self::LinkLeavesContext { .. } => Some("copy the file into the context instead of linking to it".into()),
            Self::SpecialFile { .. } => Some("name it in .dockerignore".into()),
            Self::RuntimeUnknown => {
                Some("`portolan-runtime` belongs beside `portolan`, or where PORTOLAN_RUNTIME says".into())
            }
            _ => None,
        }
    }

    pub(super) fn invalid(cause: impl Into<String>) -> Self {
        Self::Invalid {
            cause: cause.into(),
            hint: None,
        }
    }

    pub(super) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }

    pub(super) fn rootfs(path: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Rootfs { path, source }
    }
}

impl From<Complaint> for StepError {
    fn from(complaint: Complaint) -> Self {
        Self::Invalid {
            cause: complaint.cause,
            hint: complaint.hint,
        }
    }
}

/// Whether a command's words sound like the lack of a network: those of the C library and of the kernel.
fn misses_network(line: &str) -> bool {
    [
        "name resolution",
        "could not resolve",
        "network is unreachable",
        "no such host",
    ]
    .iter()
    .any(|words| line.to_lowercase().contains(words))
}

fn known(stages: &[String]) -> String {
    match stages {
        [] => "; none of its stages has a name".into(),
        names => format!(", only {}", names.join(", ")),
    }
}

fn hinted(hint: &Option<String>) -> String {
    hint.as_ref().map(|hint| format!(": {hint}")).unwrap_or_default()
}
