//! Variables in a Dockerfile: `$name`, `${name}` and its modifiers, quotes and escapes, as the Dockerfile reference
//! describes them ("Environment replacement"). The builder expands the words of most instructions; the text of RUN,
//! CMD, ENTRYPOINT and HEALTHCHECK is left to the shell that runs it.

use super::glob;

/// Why a word cannot be expanded; `offset` counts bytes from the start of the word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpandError {
    pub offset: usize,
    pub cause: String,
}

/// What a name stands for; `None` is unset, which differs from empty for some modifiers.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How deep `${a:-${b:-…}}` may nest.
const MAX_DEPTH: u32 = 32;

/// Longest value, in bytes, that a pattern is tried on: the work grows with its square.
const MAX_PATTERN_VALUE: usize = 4096;

/// Removes quotes and escapes from `word` and replaces its variables.
pub fn expand(word: &str, escape: char, lookup: Lookup) -> Result<String, ExpandError> {
    let mut scanner = Scanner {
        chars: word.char_indices().collect(),
        next: 0,
        length: word.len(),
        depth: 0,
        escape,
        lookup,
    };
    let mut out = String::new();
    scanner.words_until(None, &mut out)?;
    Ok(out)
}

/// Replaces the variables of a here-document's text. Quotes are only characters there; an escape character is one only
/// before `$` and before itself.
pub fn expand_body(body: &str, escape: char, lookup: Lookup) -> Result<String, ExpandError> {
    let mut scanner = Scanner {
        chars: body.char_indices().collect(),
        next: 0,
        length: body.len(),
        depth: 0,
        escape,
        lookup,
    };
    let mut out = String::new();
    while let Some(c) = scanner.peek() {
        if c == '$' {
            scanner.dollar(&mut out)?;
            continue;
        }
        scanner.next += 1;
        match scanner.peek() {
            Some(escaped) if c == escape && (escaped == '$' || escaped == escape) => out.extend(scanner.take()),
            _ => out.push(c),
        }
    }
    Ok(out)
}

/// The fault in a word's syntax, whatever the variables will hold.
pub(super) fn check(word: &str, escape: char) -> Result<(), ExpandError> {
    // A value for every name keeps `${x:?message}`, which is no fault of syntax, from failing here.
    expand(word, escape, &|_| Some("x".into())).map(drop)
}

struct Scanner<'a> {
    chars: Vec<(usize, char)>,
    next: usize,
    length: usize,
    depth: u32,
    escape: char,
    lookup: Lookup<'a>,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.next).map(|(_, c)| *c)
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.next += 1;
        Some(c)
    }

    fn offset(&self) -> usize {
        self.chars.get(self.next).map_or(self.length, |(offset, _)| *offset)
    }

    fn error<T>(&self, offset: usize, cause: impl Into<String>) -> Result<T, ExpandError> {
        Err(ExpandError {
            offset,
            cause: cause.into(),
        })
    }

    /// Reads to `stop` (consumed) or to the end of the word.
    fn words_until(&mut self, stop: Option<char>, out: &mut String) -> Result<(), ExpandError> {
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                self.next += 1;
                return Ok(());
            }
            match c {
                '\'' => self.single_quoted(out)?,
                '"' => self.double_quoted(out)?,
                '$' => self.dollar(out)?,
                c if c == self.escape => {
                    self.next += 1;
                    out.extend(self.take());
                }
                c => {
                    self.next += 1;
                    out.push(c);
                }
            }
        }
        match stop {
            Some(stop) => self.error(self.length, format!("`{stop}` is missing")),
            None => Ok(()),
        }
    }

    fn single_quoted(&mut self, out: &mut String) -> Result<(), ExpandError> {
        let start = self.offset();
        self.next += 1;
        while let Some(c) = self.take() {
            if c == '\'' {
                return Ok(());
            }
            out.push(c);
        }
        self.error(start, "the single quote is not closed")
    }

    fn double_quoted(&mut self, out: &mut String) -> Result<(), ExpandError> {
        let start = self.offset();
        self.next += 1;
        while let Some(c) = self.peek() {
            match c {
                '"' => {
                    self.next += 1;
                    return Ok(());
                }
                '$' => self.dollar(out)?,
                c => {
                    self.next += 1;
                    match self.peek() {
                        Some(escaped) if c == self.escape && matches!(escaped, '"' | '$') => out.extend(self.take()),
                        Some(escaped) if c == self.escape && escaped == self.escape => out.extend(self.take()),
                        _ => out.push(c),
                    }
                }
            }
        }
        self.error(start, "the double quote is not closed")
    }

    fn dollar(&mut self, out: &mut String) -> Result<(), ExpandError> {
        let start = self.offset();
        self.next += 1;
        if self.peek() == Some('{') {
            self.next += 1;
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return self.error(start, format!("variables are nested more than {MAX_DEPTH} deep"));
            }
            self.braced(start, out)?;
            self.depth -= 1;
            return Ok(());
        }
        match self.name() {
            name if name.is_empty() => out.push('$'),
            name => out.push_str(&(self.lookup)(&name).unwrap_or_default()),
        }
        Ok(())
    }

    /// After `${`: a name, then `}` or a modifier with its word.
    fn braced(&mut self, start: usize, out: &mut String) -> Result<(), ExpandError> {
        let name = self.name();
        if name.is_empty() {
            return self.error(start, "`${` is not followed by a variable's name");
        }
        let value = (self.lookup)(&name);
        let modifier = match self.take() {
            None => return self.error(start, format!("`}}` is missing after ${{{name}")),
            Some('}') => {
                out.push_str(&value.unwrap_or_default());
                return Ok(());
            }
            Some(':') => match self.take() {
                Some(operator @ ('-' | '+' | '?')) => Modifier {
                    operator,
                    empty_is_unset: true,
                },
                _ => {
                    return self.error(
                        start,
                        format!("`:` in ${{{name}:…}} is not followed by `-`, `+` or `?`"),
                    );
                }
            },
            Some(operator @ ('-' | '+' | '?')) => Modifier {
                operator,
                empty_is_unset: false,
            },
            Some(operator @ ('#' | '%')) => return self.trimmed(start, operator, value.unwrap_or_default(), out),
            Some('/') => return self.replaced(start, value.unwrap_or_default(), out),
            Some(other) => return self.error(start, format!("`{other}` in ${{{name}{other}…}} is no known modifier")),
        };
        let word = self.modifier_word(start)?;
        out.push_str(
            &modifier
                .apply(&name, value, word)
                .map_err(|cause| ExpandError { offset: start, cause })?,
        );
        Ok(())
    }

    fn modifier_word(&mut self, start: usize) -> Result<String, ExpandError> {
        let mut word = String::new();
        let closed = self.words_until(Some('}'), &mut word);
        closed.map_err(|error| match error.offset == self.length {
            true => ExpandError {
                offset: start,
                cause: "`${` is not closed by `}`".into(),
            },
            false => error,
        })?;
        Ok(word)
    }

    /// `${name#pattern}`, `##`, `%`, `%%`: the value without its shortest or longest matching head or tail.
    fn trimmed(&mut self, start: usize, side: char, value: String, out: &mut String) -> Result<(), ExpandError> {
        let longest = self.peek() == Some(side);
        if longest {
            self.next += 1;
        }
        let pattern = self.modifier_word(start)?;
        self.check_length(start, &value)?;
        let cuts = (0..=value.len()).filter(|cut| value.is_char_boundary(*cut));
        let cuts: Vec<usize> = if longest == (side == '#') {
            cuts.rev().collect()
        } else {
            cuts.collect()
        };
        let kept = cuts.into_iter().find_map(|cut| {
            let (head, tail) = value.split_at(cut);
            let (gone, kept) = if side == '#' { (head, tail) } else { (tail, head) };
            glob::matches_text(&pattern, gone).then_some(kept)
        });
        out.push_str(kept.unwrap_or(&value));
        Ok(())
    }

    /// `${name/pattern/text}` replaces the first match, `//` every one; the longest match counts.
    fn replaced(&mut self, start: usize, value: String, out: &mut String) -> Result<(), ExpandError> {
        let all = self.peek() == Some('/');
        if all {
            self.next += 1;
        }
        let mut pattern = String::new();
        self.words_until(Some('/'), &mut pattern).map_err(|_| ExpandError {
            offset: start,
            cause: "`${name/pattern/text}` lacks its second `/`".into(),
        })?;
        let text = self.modifier_word(start)?;
        self.check_length(start, &value)?;
        out.push_str(&glob::replace(&value, &pattern, &text, all));
        Ok(())
    }

    fn check_length(&self, start: usize, value: &str) -> Result<(), ExpandError> {
        match value.len() > MAX_PATTERN_VALUE {
            true => self.error(
                start,
                format!("a pattern is tried on at most {MAX_PATTERN_VALUE} bytes"),
            ),
            false => Ok(()),
        }
    }

    /// A variable's name: letters, digits and `_`, or digits alone, or one of the shell's special parameters.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.peek() {
            Some(c) if c.is_ascii_digit() => self.take_while(&mut name, |c| c.is_ascii_digit()),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                self.take_while(&mut name, |c| c.is_ascii_alphanumeric() || c == '_');
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.take()),
            _ => {}
        }
        name
    }

    fn take_while(&mut self, out: &mut String, wanted: impl Fn(char) -> bool) {
        while let Some(c) = self.peek().filter(|c| wanted(*c)) {
            out.push(c);
            self.next += 1;
        }
    }
}

struct Modifier {
    operator: char,
    empty_is_unset: bool,
}

impl Modifier {
    fn apply(&self, name: &str, value: Option<String>, word: String) -> Result<String, String> {
        let set = value.filter(|value| !(self.empty_is_unset && value.is_empty()));
        match (self.operator, set) {
            ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            ('-', None) => Ok(word),
            (_, None) if word.is_empty() => Err(format!("the variable {name} has no value")),
            (_, None) => Err(format!("the variable {name} has no value: {word}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(name: &str) -> Option<String> {
        match name {
            "A" => Some("alpha".into()),
            "EMPTY" => Some(String::new()),
            "PATHS" => Some("a/b/c.tar.gz".into()),
            _ => None,
        }
    }

    fn check(reason: &str, word: &str, expected: Result<&str, &str>) {
        let found = expand(word, '\\', &value_of);
        match expected {
            Ok(expected) => assert_eq!(found.as_deref(), Ok(expected), "{reason}: {word}"),
            Err(part) => {
                let cause = found.expect_err(reason).cause;
                assert!(cause.contains(part), "{reason}: {word} gave {cause}");
            }
        }
    }

    #[test]
    fn words_expand_as_the_reference_says() {
        check("plain name", "$A/x", Ok("alpha/x"));
        check("braces end the name", "${A}b", Ok("alphab"));
        check("unset is empty", "[$NONE]", Ok("[]"));
        check("an escaped dollar stays", "\\$A", Ok("$A"));
        check("an escaped brace form stays", "\\${A}", Ok("${A}"));
        check("single quotes keep everything", "'$A \\x'", Ok("$A \\x"));
        check("double quotes expand", "\"$A b\"", Ok("alpha b"));
        check(
            "an escape in double quotes before a plain letter stays",
            "\"a\\b\"",
            Ok("a\\b"),
        );
        check("an escaped quote in double quotes", "\"a\\\"b\"", Ok("a\"b"));
        check("default when unset", "${NONE:-x y}", Ok("x y"));
        check("default when empty, with colon", "${EMPTY:-x}", Ok("x"));
        check("no default when empty, without colon", "${EMPTY-x}", Ok(""));
        check("alternative when set", "${A:+yes}", Ok("yes"));
        check("no alternative when empty", "${EMPTY:+yes}", Ok(""));
        check("alternative when empty, without colon", "${EMPTY+yes}", Ok("yes"));
        check("nested default", "${NONE:-${A}}", Ok("alpha"));
        check("nested twice", "${NONE:-${OTHER:-z}}", Ok("z"));
        check("a quoted brace does not close", "${NONE:-'}'}", Ok("}"));
        check("shortest head", "${PATHS#*/}", Ok("b/c.tar.gz"));
        check("longest head", "${PATHS##*/}", Ok("c.tar.gz"));
        check("shortest tail", "${PATHS%.*}", Ok("a/b/c.tar"));
        check("longest tail", "${PATHS%%.*}", Ok("a/b/c"));
        check("first match replaced", "${PATHS/\\//-}", Ok("a-b/c.tar.gz"));
        check("every match replaced", "${PATHS//./_}", Ok("a/b/c_tar_gz"));
        check("a dollar alone is text", "a$", Ok("a$"));
        check("positional parameters are empty", "$1x", Ok("x"));
        check("a demanded value", "${NONE:?give it}", Err("give it"));
        check("an unclosed brace", "${A", Err("`}` is missing"));
        check("an unclosed default", "${A:-x", Err("not closed"));
        check("no name", "${}", Err("variable's name"));
        check("unknown modifier", "${A^}", Err("no known modifier"));
        check("colon alone", "${A:x}", Err("not followed by"));
        check("an unclosed double quote", "\"abc", Err("double quote"));
        check("an unclosed single quote", "'abc", Err("single quote"));
    }

    #[test]
    fn the_escape_character_can_be_a_backtick() {
        assert_eq!(expand("C:\\dir`$A", '`', &value_of).as_deref(), Ok("C:\\dir$A"));
    }
}
