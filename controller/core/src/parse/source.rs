//! Files as they come in, and their lines.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::node::{Position, Span};
use crate::diagnostic::{Diagnostic, Location, MAX_SNIPPET};

/// One file, read by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// As the user named it.
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// Largest file that is read. A thousand apps take about 2 MiB.
pub const MAX_FILE_BYTES: usize = 8 << 20;

/// A file's text, which can show its lines.
#[derive(Debug)]
pub struct Source {
    pub path: PathBuf,
    text: String,
    /// Byte at which each line begins.
    starts: OnceLock<Vec<usize>>,
}

impl Source {
    /// The text of a file, or why it cannot be a manifest's.
    pub fn of(file: SourceFile) -> Result<Self, Box<Diagnostic>> {
        let text = text_of(&file).map(str::to_string).map_err(|refused| {
            let Refused { at, diagnostic } = *refused;
            let (line, before, shown) = line_around(&file.bytes, at);
            Box::new(diagnostic.at(Location {
                file: file.path.display().to_string(),
                line,
                column: before + 1,
                end_column: before + 1,
                pointer: None,
                snippet: shown.chars().take(MAX_SNIPPET).collect(),
            }))
        })?;
        Ok(Self::new(file.path, text))
    }

    pub fn new(path: PathBuf, text: String) -> Self {
        Self {
            path,
            text,
            starts: OnceLock::new(),
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line `number`, from 1, without its break; empty past the end.
    pub fn line(&self, number: u32) -> &str {
        let starts = self.starts.get_or_init(|| starts(&self.text));
        let index = number.max(1) as usize - 1;
        let Some(&start) = starts.get(index) else { return "" };
        let end = starts.get(index + 1).copied().unwrap_or(self.text.len());
        self.text[start..end].trim_end_matches(['\n', '\r'])
    }

    /// `span` as a location. What goes on over its first line is cut there.
    pub fn locate(&self, span: Span, pointer: Option<String>) -> Location {
        let Position { line, column } = span.start;
        let text = self.line(line);
        let length = text.chars().count() as u32;
        // An end at the first column of a later line is an end of this one: nothing but the break lies between.
        let end = if span.end.line == line {
            span.end.column
        } else {
            length + 1
        };
        let trimmed = text.trim_end().chars().count() as u32 + 1;
        let end_column = end.min(trimmed.max(column)).max(column);
        let snippet = text.chars().take(MAX_SNIPPET).collect();
        Location {
            file: self.path.display().to_string(),
            line,
            column,
            end_column,
            pointer,
            snippet,
        }
    }
}

/// Lines end as YAML's do: with a line feed, a carriage return, or both.
fn starts(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let ends = bytes.iter().enumerate().filter(|(index, byte)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(index + 1) != Some(&b'\n'),
        _ => false,
    });
    std::iter::once(0).chain(ends.map(|(index, _)| index + 1)).collect()
}

/// Why bytes are no text of ours, and at which of them that is seen.
struct Refused {
    at: usize,
    diagnostic: Diagnostic,
}

fn text_of(file: &SourceFile) -> Result<&str, Box<Refused>> {
    let refused = |at, diagnostic| Err(Box::new(Refused { at, diagnostic }));
    if file.bytes.len() > MAX_FILE_BYTES {
        let most = MAX_FILE_BYTES >> 20;
        let diagnostic = Diagnostic::error("FileTooLarge", format!("the file has more than {most} MiB"))
            .because("no manifest is that large, so it is not read any further")
            .hint("name the manifest itself, or split it into several files");
        return refused(0, diagnostic);
    }
    let text = match std::str::from_utf8(&file.bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            let diagnostic = Diagnostic::error("NotUtf8", "the file is not text in UTF-8")
                .because(format!("the byte 0x{:02x} cannot stand here", file.bytes[at]))
                .hint("save the file as UTF-8");
            return refused(at, diagnostic);
        }
    };
    if let Some(at) = text.bytes().position(is_control) {
        let diagnostic = Diagnostic::error("ControlCharacter", "a control character stands in the file")
            .because(format!("U+{:04X} is no part of a text", file.bytes[at]))
            .hint("remove it, or write it as an escape in double quotes: \"\\x1b\"");
        return refused(at, diagnostic);
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// What YAML 1.2.2 keeps out of a text (section 5.1), as far as one byte tells.
fn is_control(byte: u8) -> bool {
    byte == 0x7f || (byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r'))
}

/// The line of a byte (from 1), the characters before it in that line, and the line as far as it can be shown.
fn line_around(bytes: &[u8], at: usize) -> (u32, u32, String) {
    let start = bytes[..at]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |index| index + 1);
    let end = bytes[at..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(bytes.len(), |index| at + index);
    let line = bytes[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
    let before = String::from_utf8_lossy(&bytes[start..at]).chars().count();
    (
        line as u32,
        before as u32,
        String::from_utf8_lossy(&bytes[start..end]).into_owned(),
    )
}
