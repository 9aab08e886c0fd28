//! From bytes to logical lines: parser directives, comments, continuations and here-documents, as the Dockerfile
//! reference describes them ("Parser directives", "Format", "Here-Documents"). A logical line remembers where each
//! of its characters came from, so that a fault in the middle of a ten-line `RUN` names the right line.

use super::fault::{Collector, Complaint, Position};

/// One instruction's text: comments gone, continued lines joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogicalLine {
    pub text: String,
    pub heredocs: Vec<Heredoc>,
    /// Where each joined piece of `text` starts, in ascending offset; never empty.
    pieces: Vec<Piece>,
}

/// A here-document: the lines between `<<NAME` and `NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    pub name: String,
    /// The lines, each ended by a line feed, leading tabs already gone where `<<-` asked for it.
    pub body: String,
    /// False when the name was quoted: then the builder expands no variables in the body.
    pub expand: bool,
    pub at: Position,
    /// The closing line as it was written, for the shell that reads the text again.
    terminator: String,
    raw_body: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    offset: usize,
    at: Position,
}

/// All logical lines of a file and the escape character that its directive chose.
pub(super) struct Lines {
    pub escape: char,
    pub lines: Vec<LogicalLine>,
}

impl LogicalLine {
    /// Where the byte at `offset` of the text stands in the file.
    pub fn position(&self, offset: usize) -> Position {
        let piece = self
            .pieces
            .iter()
            .rev()
            .find(|piece| piece.offset <= offset)
            .unwrap_or(&self.pieces[0]);
        let end = offset.min(self.text.len());
        let skipped = self.text.get(piece.offset..end).map_or(0, |text| text.chars().count());
        Position {
            line: piece.at.line,
            column: piece.at.column + skipped as u32,
        }
    }

    fn new() -> Self {
        Self {
            text: String::new(),
            heredocs: Vec::new(),
            pieces: Vec::new(),
        }
    }

    fn push(&mut self, text: &str, at: Position) {
        self.pieces.push(Piece {
            offset: self.text.len(),
            at,
        });
        self.text.push_str(text);
    }
}

impl Heredoc {
    /// The lines and their end mark as they stood in the file, for a shell to read them itself.
    pub fn as_written(&self) -> String {
        format!("{}{}\n", self.raw_body, self.terminator)
    }
}

/// Splits `source` into logical lines; what is wrong on this level goes to `faults`.
pub(super) fn read(source: &str, faults: &mut Collector) -> Lines {
    let physical: Vec<&str> = source.strip_prefix('\u{feff}').unwrap_or(source).lines().collect();
    let escape = read_directives(&physical, faults);
    let mut lines = Vec::new();
    let mut next = 0;
    while next < physical.len() {
        if is_comment(physical[next]) || physical[next].trim().is_empty() {
            next += 1;
            continue;
        }
        let (mut line, after) = join(&physical, next, escape);
        next = read_heredocs(&physical, after, &mut line, faults);
        lines.push(line);
    }
    Lines { escape, lines }
}

/// Reads `# key=value` lines from the top until the first line that is none, and gives the escape character.
fn read_directives(physical: &[&str], faults: &mut Collector) -> char {
    let mut escape = None;
    for (index, line) in physical.iter().enumerate() {
        let Some((key, value)) = directive(line) else { break };
        let at = Position {
            line: index as u32 + 1,
            column: 1,
        };
        match key.as_str() {
            "escape" if escape.is_some() => faults.report(at, Complaint::new("the directive `escape` is given twice")),
            "escape" => match value {
                "\\" | "`" => escape = value.chars().next(),
                _ => faults.report(at, Complaint::new("the escape character is neither `\\` nor `` ` ``")),
            },
            "syntax" if !is_customary_syntax(value) => faults.report(
                at,
                Complaint::new(format!("the file asks for another Dockerfile language, {value}"))
                    .hint("Portolan reads the language of docker/dockerfile:1; remove this line if that is enough"),
            ),
            "syntax" | "check" => {}
            _ => break,
        }
    }
    escape.unwrap_or('\\')
}

fn directive(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.trim().strip_prefix('#')?.split_once('=')?;
    let key = key.trim();
    let wordlike = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
    wordlike.then(|| (key.to_ascii_lowercase(), value.trim()))
}

fn is_customary_syntax(value: &str) -> bool {
    let name = value.strip_prefix("docker.io/").unwrap_or(value);
    let name = name.split(['@', ':']).next().unwrap_or(name);
    matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream")
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// Joins the lines from `first` on until one does not end in the escape character. Comments and empty lines within
/// are dropped. Gives the logical line and the index after it.
fn join(physical: &[&str], first: usize, escape: char) -> (LogicalLine, usize) {
    let mut line = LogicalLine::new();
    let mut index = first;
    while index < physical.len() {
        let text = physical[index];
        let starts = index == first;
        index += 1;
        if !starts && (is_comment(text) || text.trim().is_empty()) {
            continue;
        }
        let indent = if starts {
            text.len() - text.trim_start().len()
        } else {
            0
        };
        let at = Position {
            line: index as u32,
            column: text[..indent].chars().count() as u32 + 1,
        };
        match continued(&text[indent..], escape) {
            Some(head) => line.push(head, at),
            None => {
                line.push(text[indent..].trim_end(), at);
                break;
            }
        }
    }
    (line, index)
}

/// The text before a continuation mark: one escape character, not itself escaped, with only blanks after it.
fn continued(text: &str, escape: char) -> Option<&str> {
    let head = text.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!head.ends_with(escape)).then_some(head)
}

/// Reads the bodies of the here-documents that `line` opens; they start at `next`. Gives the index after them.
fn read_heredocs(physical: &[&str], mut next: usize, line: &mut LogicalLine, faults: &mut Collector) -> usize {
    if !opens_heredocs(&line.text) {
        return next;
    }
    for opening in heredoc_openings(&line.text) {
        let at = line.position(opening.offset);
        let body = &physical[next.min(physical.len())..];
        let closes = |text: &&str| match opening.strip_tabs {
            true => text.trim_start_matches('\t') == opening.name,
            false => **text == opening.name,
        };
        let Some(length) = body.iter().position(closes) else {
            let complaint = Complaint::new(format!("the here-document {} is not closed", opening.name));
            faults.report(
                at,
                complaint.hint(format!("end it with a line that holds only {}", opening.name)),
            );
            return physical.len();
        };
        line.heredocs.push(opening.take(&body[..length], body[length], at));
        next += length + 1;
    }
    next
}

/// Only these instructions take here-documents; elsewhere `<<` is text.
fn opens_heredocs(text: &str) -> bool {
    let word = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    matches!(word.as_str(), "RUN" | "COPY" | "ADD") && text.contains("<<")
}

struct Opening {
    offset: usize,
    name: String,
    strip_tabs: bool,
    expand: bool,
}

impl Opening {
    fn take(&self, body: &[&str], terminator: &str, at: Position) -> Heredoc {
        let raw_body: String = body.iter().flat_map(|line| [line, "\n"]).collect();
        let body = match self.strip_tabs {
            true => body
                .iter()
                .flat_map(|line| [line.trim_start_matches('\t'), "\n"])
                .collect(),
            false => raw_body.clone(),
        };
        let terminator = terminator.to_owned();
        Heredoc {
            name: self.name.clone(),
            body,
            expand: self.expand,
            at,
            terminator,
            raw_body,
        }
    }
}

fn heredoc_openings(text: &str) -> Vec<Opening> {
    unquoted_words(text)
        .into_iter()
        .filter_map(|(offset, word)| heredoc_opening(offset, word))
        .collect()
}

/// Parses one word as `[fd]<<[-]NAME`; the name may be quoted.
pub(super) fn is_heredoc_word(word: &str) -> bool {
    heredoc_opening(0, word).is_some()
}

fn heredoc_opening(offset: usize, word: &str) -> Option<Opening> {
    let rest = word
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .strip_prefix("<<")?;
    let (strip_tabs, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let bare: String = rest.chars().filter(|c| !matches!(c, '"' | '\'')).collect();
    let valid = !bare.is_empty() && !bare.contains('<');
    valid.then_some(Opening {
        offset,
        expand: bare.len() == rest.len(),
        name: bare,
        strip_tabs,
    })
}

/// Words separated by blanks, quotes kept together and left in place, each with its offset.
fn unquoted_words(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let (mut start, mut quote) = (None, None);
    for (offset, c) in text.char_indices() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                words.extend(start.take().map(|start| (start, &text[start..offset])));
                continue;
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
        start.get_or_insert(offset);
    }
    words.extend(start.map(|start| (start, &text[start..])));
    words
}
