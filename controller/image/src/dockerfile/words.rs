//! From the text of an instruction to its flags, words and JSON lists, each with the offset where it starts.

use super::fault::Complaint;

/// A piece of an instruction's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub offset: usize,
    pub text: &'a str,
}

/// `--name` or `--name=value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flag<'a> {
    pub offset: usize,
    pub name: &'a str,
    pub value: Option<Word<'a>>,
}

/// A complaint about the byte at an offset of the instruction.
pub(super) type At<T> = Result<T, (usize, Complaint)>;

impl<'a> Word<'a> {
    pub fn new(offset: usize, text: &'a str) -> Self {
        Self { offset, text }
    }

    pub fn trim(self) -> Self {
        let start = self.text.len() - self.text.trim_start().len();
        Self {
            offset: self.offset + start,
            text: self.text.trim(),
        }
    }

    /// The first word, and the rest without the blanks between.
    pub fn split_first(self) -> (Self, Self) {
        let trimmed = self.trim();
        let end = trimmed.text.find(char::is_whitespace).unwrap_or(trimmed.text.len());
        let (first, rest) = trimmed.text.split_at(end);
        (
            Self::new(trimmed.offset, first),
            Self::new(trimmed.offset + end, rest).trim(),
        )
    }

    /// Words between blanks; quotes mean nothing.
    pub fn split_blanks(self) -> Vec<Self> {
        let mut words = Vec::new();
        let mut rest = self.trim();
        while !rest.text.is_empty() {
            let (first, after) = rest.split_first();
            words.push(first);
            rest = after;
        }
        words
    }

    /// Words between blanks that are neither quoted nor escaped; quotes and escapes stay in them.
    pub fn split_quoted(self, escape: char) -> Vec<Self> {
        let mut words = Vec::new();
        let (mut start, mut quote, mut escaped) = (None, None, false);
        for (index, c) in self.text.char_indices() {
            if start.is_none() && c.is_whitespace() {
                continue;
            }
            let begin = *start.get_or_insert(index);
            match (quote, c) {
                _ if escaped => escaped = false,
                (quote, c) if c == escape && quote != Some('\'') => escaped = true,
                (None, '"' | '\'') => quote = Some(c),
                (Some(open), c) if open == c => quote = None,
                (None, c) if c.is_whitespace() => {
                    words.push(Self::new(self.offset + begin, &self.text[begin..index]));
                    start = None;
                }
                _ => {}
            }
        }
        words.extend(start.map(|begin| Self::new(self.offset + begin, &self.text[begin..])));
        words
    }

    /// Splits the leading `--flags` from what follows them; `--` alone ends them.
    pub fn split_flags(self, escape: char) -> (Vec<Flag<'a>>, Self) {
        let mut flags = Vec::new();
        let mut rest = self.trim();
        while rest.text.starts_with("--") {
            let word = rest.split_quoted(escape)[0];
            let end = word.offset - rest.offset + word.text.len();
            rest = Self::new(rest.offset + end, &rest.text[end..]).trim();
            if word.text == "--" {
                break;
            }
            flags.push(word.flag());
        }
        (flags, rest)
    }

    fn flag(self) -> Flag<'a> {
        let body = &self.text[2..];
        match body.split_once('=') {
            Some((name, value)) => {
                let value = Self::new(self.offset + 3 + name.len(), value);
                Flag {
                    offset: self.offset,
                    name,
                    value: Some(value),
                }
            }
            None => Flag {
                offset: self.offset,
                name: body,
                value: None,
            },
        }
    }

    /// The JSON list of strings that this is; `None` when it is something else, a shell's command for example. A list
    /// that was meant as one and is none (single quotes, a number) is refused: as a shell command it could only fail.
    pub fn json_list(self) -> At<Option<Vec<String>>> {
        let text = self.text;
        if !text.starts_with('[') {
            return Ok(None);
        }
        if let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) {
            let strings = values.into_iter().map(|value| match value {
                serde_json::Value::String(string) => Ok(string),
                _ => Err((self.offset, Complaint::new("a JSON list here may hold only strings"))),
            });
            return strings.collect::<At<Vec<_>>>().map(Some);
        }
        match text[1..].trim_start().starts_with(['"', '\'']) && !text[1..].starts_with(' ') {
            true => Err((
                self.offset,
                Complaint::new("this is no valid JSON list of strings")
                    .hint("write [\"program\", \"argument\"] with double quotes, commas between and nothing after"),
            )),
            false => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<'a>(words: &[Word<'a>]) -> Vec<&'a str> {
        words.iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_keep_quotes_and_offsets() {
        let words = Word::new(4, "a=\"b c\" d='e  f' g=h\\ i").split_quoted('\\');
        assert_eq!(texts(&words), ["a=\"b c\"", "d='e  f'", "g=h\\ i"]);
        assert_eq!(words[1].offset, 12);
        assert_eq!(texts(&Word::new(0, "  \"x y  z ").split_blanks()), ["\"x", "y", "z"]);
    }

    #[test]
    fn flags_end_at_the_first_other_word() {
        let (flags, rest) = Word::new(5, " --from=a --chown=\"x y\" --link src --dst").split_flags('\\');
        let names: Vec<_> = flags
            .iter()
            .map(|flag| (flag.name, flag.value.map(|value| value.text)))
            .collect();
        assert_eq!(names, [("from", Some("a")), ("chown", Some("\"x y\"")), ("link", None)]);
        assert_eq!((rest.text, rest.offset), ("src --dst", 36));
        let (flags, rest) = Word::new(0, "-- --x").split_flags('\\');
        assert_eq!((flags.len(), rest.text), (0, "--x"));
    }

    #[test]
    fn lists_and_commands_are_told_apart() {
        let list = |text| Word::new(0, text).json_list();
        assert_eq!(list("[\"a\", \"b\"]"), Ok(Some(vec!["a".into(), "b".into()])));
        assert_eq!(list("[]"), Ok(Some(vec![])));
        assert_eq!(list("[ -f x ] && y"), Ok(None), "a test of the shell");
        assert_eq!(list("[ \"$a\" = b ]"), Ok(None), "a quoted test of the shell");
        assert_eq!(list("echo []"), Ok(None));
        assert!(list("['a']").is_err(), "single quotes are no JSON");
        assert!(list("[\"a\", 1]").is_err(), "a number");
        assert!(list("[\"a\"] x").is_err(), "text after the list");
    }
}
