//! A parsed Dockerfile: stages of steps, each an instruction with its place. Words that the builder has to expand are
//! kept as [`Text`], as they were written: what they mean depends on the variables set above them.

use std::time::Duration;

use portolan_core::reference::ImageReference;

use super::expand::{ExpandError, Lookup, expand};
use super::fault::Position;
use super::lines::Heredoc;

/// A whole Dockerfile.
#[derive(Debug, Clone, PartialEq)]
pub struct Dockerfile {
    /// The character that escapes and continues lines.
    pub escape: char,
    /// The ARGs before the first FROM; only FROM sees them, and an ARG of the same name in a stage.
    pub global_args: Vec<Argument>,
    /// In the order of the file; never empty.
    pub stages: Vec<Stage>,
}

/// From one FROM to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// In lower case: stage names know no case.
    pub name: Option<String>,
    pub base: Text,
    pub platform: Option<Text>,
    pub steps: Vec<Step>,
}

/// One instruction of a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub at: Position,
    /// The instruction on one line, as it was written.
    pub source: String,
    pub instruction: Instruction,
}

/// A word or line with its variables, quotes and escapes still in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub raw: String,
    pub at: Position,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Instruction {
    Arg(Vec<Argument>),
    Env(Vec<(Text, Text)>),
    Label(Vec<(Text, Text)>),
    Copy(Copy),
    Run(Run),
    Cmd(Command),
    Entrypoint(Command),
    Shell(Vec<String>),
    Workdir(Text),
    User(Text),
    Expose(Vec<Text>),
    Volume(Vec<Text>),
    StopSignal(Text),
    Healthcheck(Option<Healthcheck>),
    Maintainer(String),
}

/// `ARG name[=default]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    pub name: String,
    pub default: Option<Text>,
}

/// What CMD, ENTRYPOINT and RUN take: a line for the shell, or the arguments themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Shell(String),
    Exec(Vec<String>),
}

/// `RUN`. Of `RUN <<EOF` the here-document is the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub network: RunNetwork,
    pub command: Command,
}

/// `RUN --network=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RunNetwork {
    /// The step's own loopback device and nothing else: `default` and `none`.
    #[default]
    Loopback,
    /// That of this machine.
    Host,
}

/// `COPY` and `ADD`.
#[derive(Debug, Clone, PartialEq)]
pub struct Copy {
    pub kind: CopyKind,
    pub from: Option<CopyFrom>,
    pub chown: Option<Text>,
    pub chmod: Option<Text>,
    pub sources: Vec<Source>,
    pub destination: Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyKind {
    Copy,
    /// Unpacks local archives.
    Add,
}

/// Where COPY takes its sources from, when it is not the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyFrom {
    /// Index of an earlier stage.
    Stage(usize),
    Image(ImageReference),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Path(Text),
    /// A file whose content stands in the Dockerfile; its name is the here-document's.
    Inline(Heredoc),
}

/// `HEALTHCHECK CMD`; what is `None` is left to whoever runs the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthcheck {
    pub command: Command,
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub start_period: Option<Duration>,
    pub start_interval: Option<Duration>,
    pub retries: Option<u32>,
}

impl Stage {
    /// Stands for a stage whose FROM cannot be read, in a file that is refused.
    pub(super) fn unreadable(at: Position) -> Self {
        Self {
            name: None,
            base: Text {
                raw: "scratch".into(),
                at,
            },
            platform: None,
            steps: Vec::new(),
        }
    }
}

impl Text {
    /// The word as it is meant, with the variables of `lookup`.
    pub fn expand(&self, escape: char, lookup: Lookup) -> Result<String, ExpandError> {
        expand(&self.raw, escape, lookup)
    }

    /// True when what it means depends on a variable.
    pub fn is_variable(&self) -> bool {
        self.raw.contains('$')
    }
}
