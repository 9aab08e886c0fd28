//! How a command ends otherwise than well: diagnostics to print, and the exit code.

use portolan_core::diagnostic::Diagnostic;
use portolan_core::observation;
use portolan_provider_api::{CallError, ImageError};

/// Exit codes, as `--help` and `docs/exit-codes.md` say them.
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

    pub fn interrupted() -> Self {
        let diagnostic = Diagnostic::warning("Interrupted", "stopped half way")
            .hint("nothing is lost: the same command again finishes it");
        Self { diagnostics: vec![diagnostic], exit: exit::INTERRUPTED }
    }
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        vec![diagnostic].into()
    }
}

impl From<Vec<Diagnostic>> for Failure {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics, exit: exit::FAILED }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let mut diagnostic = Diagnostic::error(error.code, error.message);
        diagnostic.because = error.evidence;
        diagnostic.hint = error.hint;
        diagnostic.into()
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        image_diagnostics(error).into()
    }
}

/// One diagnostic for each place in a Dockerfile, or one for the whole.
pub fn image_diagnostics(error: ImageError) -> Vec<Diagnostic> {
    if error.places.is_empty() {
        let mut diagnostic = Diagnostic::error(error.code, error.message);
        diagnostic.because = error.evidence;
        diagnostic.hint = error.hint;
        return vec![diagnostic];
    }
    let ImageError { code, places, hint, evidence, .. } = error;
    let last = places.len() - 1;
    let diagnostic = |(at, place): (usize, portolan_provider_api::images::Place)| {
        let mut diagnostic = Diagnostic::error(code.clone(), place.message).at(portolan_core::diagnostic::Location {
            file: place.file.display().to_string(),
            line: place.line as u32,
            column: 1,
            end_column: 1,
            pointer: None,
            snippet: place.text,
        });
        if at == last {
            diagnostic.because = evidence.clone();
            diagnostic.hint = hint.clone();
        }
        diagnostic
    };
    places.into_iter().enumerate().map(diagnostic).collect()
}

/// What a target reported, in the same words as everything else.
pub fn observed(subject: &str, failure: &observation::Failure) -> Diagnostic {
    let mut diagnostic = Diagnostic::error(failure.reason.clone(), format!("{subject}: {}", failure.message));
    diagnostic.because = failure.evidence.clone();
    diagnostic.hint = failure.hint.clone();
    diagnostic
}
