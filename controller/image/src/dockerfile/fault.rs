//! What is wrong with a Dockerfile, and where. A Dockerfile's faults are all reported at once, in the order of the
//! file; each carries its line so that nobody has to count.

use std::fmt;
use std::path::PathBuf;

/// A place in a Dockerfile. Both numbers start at one; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

/// One fault: where it is, the line as it was written, why it is one, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub at: Position,
    /// The physical line at [`Fault::at`], without its line break.
    pub snippet: String,
    pub cause: String,
    pub hint: Option<String>,
    /// The known word nearest to the one that was not known: an instruction, a flag, a stage.
    pub nearest: Option<String>,
}

/// Every fault of one Dockerfile, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    pub path: PathBuf,
    pub faults: Vec<Fault>,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.at.line, self.cause)?;
        if let Some(nearest) = &self.nearest {
            write!(f, "; did you mean `{nearest}`?")?;
        }
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.faults.len() == 1 { "fault" } else { "faults" };
        write!(f, "{} has {} {plural}", self.path.display(), self.faults.len())?;
        for fault in &self.faults {
            write!(f, "\n  {}:{}  {}", self.path.display(), fault.at, fault.snippet.trim())?;
            write!(f, "\n    {}", fault.cause)?;
            if let Some(nearest) = &fault.nearest {
                write!(f, "; did you mean `{nearest}`?")?;
            }
            if let Some(hint) = &fault.hint {
                write!(f, "\n    hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Gathers faults while the parser goes on; knows the physical lines, for the snippets.
pub(crate) struct Collector<'a> {
    lines: Vec<&'a str>,
    faults: Vec<Fault>,
}

/// A cause, with what may help; becomes a [`Fault`] once its place is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub cause: String,
    pub hint: Option<String>,
    pub nearest: Option<String>,
}

impl Complaint {
    pub fn new(cause: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            hint: None,
            nearest: None,
        }
    }

    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Adds the one of `known` that is nearest to `word`, if any is near.
    pub fn nearest<'k>(self, word: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        Self {
            nearest: nearest(word, known),
            ..self
        }
    }
}

impl<'a> Collector<'a> {
    pub fn new(source: &'a str) -> Self {
        Self {
            lines: source.lines().collect(),
            faults: Vec::new(),
        }
    }

    pub fn report(&mut self, at: Position, complaint: Complaint) {
        let snippet = self
            .lines
            .get(at.line as usize - 1)
            .copied()
            .unwrap_or_default()
            .trim_end();
        let snippet = snippet.chars().take(200).collect();
        let Complaint { cause, hint, nearest } = complaint;
        self.faults.push(Fault {
            at,
            snippet,
            cause,
            hint,
            nearest,
        });
    }

    /// The faults in the order of the file.
    pub fn finish(mut self) -> Vec<Fault> {
        self.faults.sort_by_key(|fault| fault.at);
        self.faults
    }
}

/// The word of `known` that a typing error away from `word` could have been meant.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    let distance = |candidate: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase());
    let allowed = if word.chars().count() <= 4 { 1 } else { 2 };
    let near = known
        .into_iter()
        .map(|candidate| (distance(candidate), candidate))
        .min()?;
    (near.0 <= allowed).then(|| near.1.to_owned())
}
