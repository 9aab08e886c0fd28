//! What went wrong, where, why, and what to do next: one type for every fault that a user sees, and its text.
//!
//! ```text
//! error[ImageNotFound]: cannot pin the image of `web`
//!   shop.yaml:14  image: registry.example/shop:1.4
//!                 ^^^^^
//!   because the registry answered 404 for that tag
//!   hint: push it with `portolan push`, or choose one of 1.3, 1.2
//! ```

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

/// One fault. Its code is also the reason of a condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    pub severity: Severity,
    /// CamelCase, and stable: `UnknownKey`.
    pub code: Cow<'static, str>,
    /// What went wrong: one clause in lower case, without a full stop.
    pub message: String,
    /// Where in a file it stands, if it stands in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// Why, each cause before the cause of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
    /// What the target or a failed command said, word for word: last lines of a log, events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whether a fault stops what the user wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    Error,
    Warning,
}

/// A place in a file, with the line itself, so that it can be shown without the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    /// As the user named the file.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// Column after the last character; equal to `column` when no character is meant.
    pub end_column: u32,
    /// JSON pointer (RFC 6901) into the document, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// The line, cut to [`MAX_SNIPPET`] characters.
    pub snippet: String,
}

/// Most characters of a line that are kept.
pub const MAX_SNIPPET: usize = 240;

/// Most characters of a line that are shown.
const SHOWN: usize = 100;

/// How a diagnostic is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    #[default]
    Plain,
    /// With ANSI colours.
    Ansi,
}

impl Diagnostic {
    pub fn error(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code.into(), message.into())
    }

    pub fn warning(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code.into(), message.into())
    }

    fn new(severity: Severity, code: Cow<'static, str>, message: String) -> Self {
        Self {
            severity,
            code,
            message,
            location: None,
            because: Vec::new(),
            evidence: Vec::new(),
            hint: None,
        }
    }

    /// The same, at a place.
    pub fn at(mut self, location: impl Into<Option<Location>>) -> Self {
        self.location = location.into();
        self
    }

    /// The same, with one more cause.
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.because.push(cause.into());
        self
    }

    /// The same, with the causes of an error, outermost first.
    pub fn because_of(mut self, error: &dyn std::error::Error) -> Self {
        self.because
            .extend(std::iter::successors(Some(error), |error| error.source()).map(|error| error.to_string()));
        self
    }

    /// The same, with what was said, word for word.
    pub fn evidence(mut self, lines: Vec<String>) -> Self {
        self.evidence = lines;
        self
    }

    /// The same, with what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The text, ending with a line break.
    pub fn render(&self, style: Style) -> String {
        let paint = Paint(style);
        let (word, colour) = match self.severity {
            Severity::Error => ("error", Colour::Red),
            Severity::Warning => ("warning", Colour::Yellow),
        };
        let head = paint.bold(colour, &format!("{word}[{}]", self.code));
        let mut text = format!("{head}: {}\n", continued(&self.message, 2));
        if let Some(location) = &self.location {
            text.push_str(&location.render(paint, colour));
        }
        for cause in &self.because {
            let _ = writeln!(text, "  because {}", continued(cause, 10));
        }
        for line in &self.evidence {
            let _ = writeln!(text, "  | {}", printable(line));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "  {}: {}", paint.bold(Colour::Green, "hint"), continued(hint, 8));
        }
        text
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Style::Plain))
    }
}

/// Several diagnostics, an empty line between them.
pub fn render_all(diagnostics: &[Diagnostic], style: Style) -> String {
    diagnostics
        .iter()
        .map(|diagnostic| diagnostic.render(style))
        .collect::<Vec<_>>()
        .join("\n")
}

impl Location {
    /// The line under its place, and carets under what is meant.
    fn render(&self, paint: Paint, colour: Colour) -> String {
        let place = format!("{}:{}", printable(&self.file), self.line);
        let (line, before, carets) = self.window();
        let mut text = format!("  {}  {line}", paint.plain(Colour::Blue, &place))
            .trim_end()
            .to_string();
        text.push('\n');
        if carets > 0 {
            let indent = 2 + width(&place) + 2 + before;
            let _ = writeln!(
                text,
                "{}{}",
                " ".repeat(indent),
                paint.bold(colour, &"^".repeat(carets))
            );
        }
        text
    }

    /// What is shown of the line, the columns before the carets, and how many carets.
    fn window(&self) -> (String, usize, usize) {
        let chars: Vec<char> = self.snippet.chars().collect();
        let indent = chars.iter().take_while(|c| c.is_whitespace()).count();
        let start = (self.column.max(1) as usize - 1).min(chars.len());
        let end = (self.end_column.max(1) as usize - 1).clamp(start, chars.len());
        let first = if start < indent || start - indent < SHOWN * 3 / 4 {
            indent.min(start)
        } else {
            start - SHOWN / 4
        };
        let last = chars.len().min(first + SHOWN);
        let part = |from: usize, to: usize| printable(&chars[from..to].iter().collect::<String>());
        let mut line = part(first, last);
        if last < chars.len() {
            line.push('…');
        }
        (
            line,
            width(&part(first, start)),
            width(&part(start, end.min(last).max(start))).max(1),
        )
    }
}

/// Control characters shown as such, so that no file can draw on the terminal.
fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '\t' => '→',
        c if c.is_control() => '\u{fffd}',
        // Characters that reorder what is around them.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// Columns of a terminal, near enough for carets: wide characters of East Asia and emoji count twice.
fn width(text: &str) -> usize {
    let wide = |c: char| matches!(c as u32, 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0x1f300..=0x1faff);
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

/// Further lines of a text, indented.
fn continued(text: &str, indent: usize) -> String {
    text.lines()
        .map(printable)
        .collect::<Vec<_>>()
        .join(&format!("\n{}", " ".repeat(indent)))
}

#[derive(Clone, Copy)]
enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
}

#[derive(Clone, Copy)]
struct Paint(Style);

impl Paint {
    fn bold(self, colour: Colour, text: &str) -> String {
        self.code(&format!("1;{}", colour as u8), text)
    }

    fn plain(self, colour: Colour, text: &str) -> String {
        self.code(&(colour as u8).to_string(), text)
    }

    fn code(self, code: &str, text: &str) -> String {
        match self.0 {
            Style::Plain => text.to_string(),
            Style::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(snippet: &str, column: u32, end_column: u32) -> Location {
        Location {
            file: "shop.yaml".into(),
            line: 14,
            column,
            end_column,
            pointer: None,
            snippet: snippet.into(),
        }
    }

    #[test]
    fn a_diagnostic_says_what_where_why_and_what_next() {
        let diagnostic = Diagnostic::error("ImageNotFound", "cannot pin the image of `web`")
            .at(at("      image: registry.example/shop:1.4", 14, 39))
            .because("the registry answered 404 for that tag")
            .hint("push it with `portolan push`, or choose one of 1.3, 1.2");
        insta::assert_snapshot!(diagnostic.render(Style::Plain), @"
        error[ImageNotFound]: cannot pin the image of `web`
          shop.yaml:14  image: registry.example/shop:1.4
                               ^^^^^^^^^^^^^^^^^^^^^^^^^
          because the registry answered 404 for that tag
          hint: push it with `portolan push`, or choose one of 1.3, 1.2
        ");
        let coloured = diagnostic.render(Style::Ansi);
        assert!(
            coloured.starts_with("\x1b[1;31merror[ImageNotFound]\x1b[0m: cannot"),
            "{coloured:?}"
        );
    }

    #[test]
    fn a_line_is_shown_so_that_the_carets_fit() {
        let long = format!("  {}bad", "x".repeat(190));
        let cases = [
            (
                at("\tkey: 1", 1, 2),
                "  shop.yaml:14  →key: 1\n                ^\n",
                "a tab is seen",
            ),
            (
                at("a: 1", 5, 5),
                "  shop.yaml:14  a: 1\n                    ^\n",
                "the end of a line is a place",
            ),
            (
                at("", 1, 1),
                "  shop.yaml:14\n                ^\n",
                "an empty line has one too",
            ),
            (
                at("a: \u{1b}[31mred", 4, 5),
                "  shop.yaml:14  a: \u{fffd}[31mred\n                   ^\n",
                "no escapes",
            ),
            (
                at("名: b", 4, 5),
                "  shop.yaml:14  名: b\n                    ^\n",
                "wide characters count twice",
            ),
        ];
        for (location, expected, reason) in cases {
            assert_eq!(location.render(Paint(Style::Plain), Colour::Red), expected, "{reason}");
        }
        let (line, before, carets) = at(&long, 193, 196).window();
        assert_eq!(
            (line.chars().skip(before).take(carets).collect::<String>(), carets),
            ("bad".to_string(), 3)
        );
    }

    #[test]
    fn it_travels_as_json() {
        let diagnostic = Diagnostic::warning("Degraded", "x").at(at("a: 1", 1, 2));
        let json = serde_json::to_value(&diagnostic).unwrap();
        assert_eq!(json["location"]["line"], 14);
        assert_eq!(serde_json::from_value::<Diagnostic>(json).unwrap(), diagnostic);
    }
}
