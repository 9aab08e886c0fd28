//! How a command ends otherwise than well: diagnostics to print, and the exit code.

use portolan_core::diagnostic::{Diagnostic, Location};
use portolan_core::observation;
use portolan_core::plan::Problem;
use portolan_provider_api::images::Place;
use portolan_provider_api::{CallError, ImageError};

/// Exit codes, as `--help` and `docs/errors.md` say them.
pub mod exit {
    pub const DONE: u8 = 0;
    pub const FAILED: u8 = 1;
    pub const CHANGES: u8 = 2;
    pub const USAGE: u8 = 64;
    pub const INTERRUPTED: u8 = 130;
}

/// Everything that a failed command has to say.
#[derive(Debug)]
pub struct Failure {
    pub diagnostics: Vec<Diagnostic>,
    pub exit: u8,
}

/// What a command answers: its exit code, or why it failed.
pub type CommandResult = Result<u8, Failure>;

impl Failure {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Diagnostic::error(code, message).into()
    }

    /// Wrong usage: what was typed cannot be meant.
    pub fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit: exit::USAGE,
            ..Self::new(code, message)
        }
    }

    /// What to do next, for the last thing said.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(last) = self.diagnostics.pop() {
            self.diagnostics.push(last.hint(hint));
        }
        self
    }

    /// Why, for the last thing said.
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        if let Some(last) = self.diagnostics.pop() {
            self.diagnostics.push(last.because(cause));
        }
        self
    }

    /// Ctrl-C or SIGTERM, taken at a safe point.
    pub fn interrupted() -> Self {
        let diagnostic = Diagnostic::warning("Interrupted", "stopped half way")
            .hint("nothing is lost: the same command again finishes it");
        Self {
            diagnostics: vec![diagnostic],
            exit: exit::INTERRUPTED,
        }
    }
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        vec![diagnostic].into()
    }
}

impl From<Vec<Diagnostic>> for Failure {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self {
            diagnostics,
            exit: exit::FAILED,
        }
    }
}

impl From<Box<Diagnostic>> for Failure {
    fn from(diagnostic: Box<Diagnostic>) -> Self {
        (*diagnostic).into()
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        call(error).into()
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        image(error).into()
    }
}

/// A call that failed.
pub fn call(error: CallError) -> Diagnostic {
    let mut diagnostic = Diagnostic::error(error.code, error.message).evidence(error.evidence);
    diagnostic.hint = error.hint;
    diagnostic
}

/// One diagnostic for each place in a Dockerfile, or one for the whole.
pub fn image(error: ImageError) -> Vec<Diagnostic> {
    let ImageError {
        code,
        message,
        places,
        hint,
        evidence,
        ..
    } = error;
    let mut diagnostics: Vec<Diagnostic> = places.into_iter().map(|place| at(&code, place)).collect();
    if diagnostics.is_empty() {
        diagnostics.push(Diagnostic::error(code, message));
    }
    if let Some(last) = diagnostics.last_mut() {
        last.evidence = evidence;
        last.hint = hint;
    }
    diagnostics
}

fn at(code: &str, place: Place) -> Diagnostic {
    let length = place.text.chars().count() as u32;
    Diagnostic::error(code.to_string(), place.message).at(Location {
        file: crate::output::shown(&place.file),
        line: place.line as u32,
        column: 1,
        end_column: length + 1,
        pointer: None,
        snippet: place.text,
    })
}

/// What a target reported of `subject`, in the same words as everything else.
pub fn observed(subject: &str, failure: &observation::Failure) -> Diagnostic {
    let message = match failure.message.starts_with(subject) {
        true => failure.message.clone(),
        false => format!("{subject}: {}", failure.message),
    };
    let mut diagnostic = Diagnostic::error(failure.reason.clone(), message).evidence(failure.evidence.clone());
    diagnostic.hint = failure.hint.clone();
    diagnostic
}

/// Why a plan may not be carried out.
pub fn problem(problem: &Problem) -> Diagnostic {
    let mut diagnostic = Diagnostic::error(problem.code.clone(), problem.message.clone());
    diagnostic.hint = problem.hint.clone();
    diagnostic
}
