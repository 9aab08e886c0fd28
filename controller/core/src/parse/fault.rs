//! A fault of a manifest before its line is looked up, and the words that several kinds of faults share.

use super::node::Span;
use super::path::Path;

/// One fault, at a span of the file in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub span: Span,
    pub pointer: String,
    pub code: &'static str,
    pub message: String,
    pub because: Option<String>,
    pub hint: Option<String>,
    /// The part of the span that is meant, if the line shows it.
    pub part: Option<String>,
}

impl Fault {
    pub fn new(code: &'static str, span: Span, path: &Path<'_>, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            span,
            pointer: path.pointer(),
            code,
            message,
            because: None,
            hint: None,
            part: None,
        }
    }

    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.because = Some(cause.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn part(mut self, part: impl Into<String>) -> Self {
        self.part = Some(part.into());
        self
    }
}

/// The known word that `word` was most likely meant to be: at most a third of its letters differ.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A long word is like none of ours, and comparing costs its length squared.
    if word.len() > 64 {
        return None;
    }
    let folded = word.to_lowercase();
    let distance = |candidate: &&str| strsim::damerau_levenshtein(&folded, &candidate.to_lowercase());
    let best = known.into_iter().min_by_key(distance)?;
    (distance(&best) <= (word.chars().count() / 3).max(1)).then_some(best)
}

/// ``did you mean `x`?``, or what there is.
pub fn nearest_or_all<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone, what: &str) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.clone().into_iter().next().is_none() => "this app has none".to_string(),
        None => format!("{what} {}", list(known)),
    }
}

/// `a, b, c` in backticks.
pub fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words
        .into_iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A text as a message quotes it: cut, without line breaks.
pub fn quoted(text: &str) -> String {
    const MOST: usize = 60;
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MOST)
        .collect();
    match text.chars().count() > MOST {
        true => format!("`{line}…`"),
        false => format!("`{line}`"),
    }
}
