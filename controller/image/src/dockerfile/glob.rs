//! Shell patterns: `*`, `?`, `[a-z]`, `[^a]` and `\` escapes. One matcher serves COPY's wildcards and .dockerignore
//! (where `*` and `?` stop at a slash, as Go's `path/filepath.Match` documents) and the patterns inside `${x#…}`
//! (where they do not).

/// A pattern that can match nothing, because its brackets are not closed or its range is upside down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPattern;

/// Matches one path component; neither may hold a slash.
pub fn matches_component(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    let tokens = tokens(pattern)?;
    Ok(run(&tokens, &name.chars().collect::<Vec<_>>()))
}

/// Matches a whole text; a bad pattern is taken literally, as shells do.
pub fn matches_text(pattern: &str, text: &str) -> bool {
    match tokens(pattern) {
        Ok(tokens) => run(&tokens, &text.chars().collect::<Vec<_>>()),
        Err(BadPattern) => pattern == text,
    }
}

/// A pattern over whole paths, in which `**` passes over any number of folders, as .dockerignore has it.
#[derive(Debug, Clone)]
pub struct PathPattern {
    tokens: Vec<Token>,
}

impl PathPattern {
    /// `pattern` is relative and clean: no leading slash, no `.` or empty components.
    pub fn new(pattern: &str) -> Result<Self, BadPattern> {
        let mut tokens = Vec::new();
        let mut rest = pattern;
        while let Some(stars) = rest.find("**") {
            // An escaped star is none: `\\**` is a literal star and then a wildcard.
            let escaped = rest[..stars].bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1;
            let cut = if escaped { stars + 1 } else { stars };
            tokens.extend(self::tokens(&rest[..cut])?);
            rest = &rest[cut..];
            if escaped {
                continue;
            }
            rest = rest.trim_start_matches('*');
            rest = rest.strip_prefix('/').unwrap_or(rest);
            tokens.push(if rest.is_empty() {
                Token::Everything
            } else {
                Token::Folders
            });
        }
        tokens.extend(self::tokens(rest)?);
        Ok(Self { tokens })
    }

    /// Whether it matches all of `path`.
    pub fn matches(&self, path: &str) -> bool {
        let mut at = States::new(self.tokens.len());
        at.enter(&self.tokens, 0);
        for c in path.chars() {
            let mut next = States::new(self.tokens.len());
            for (index, token) in self.tokens.iter().enumerate().filter(|(index, _)| at.0[*index]) {
                match token {
                    Token::Everything => next.0[index] = true,
                    Token::Folders => {
                        next.0[index] = true;
                        if c == '/' {
                            next.enter(&self.tokens, index + 1);
                        }
                    }
                    _ if c == '/' && !matches!(token, Token::Literal('/')) => {}
                    Token::AnyRun => next.enter(&self.tokens, index),
                    token if token.accepts(c) => next.enter(&self.tokens, index + 1),
                    _ => {}
                }
            }
            at = next;
        }
        at.0[self.tokens.len()] || matches!(self.tokens.last(), Some(Token::Everything)) && at.0[self.tokens.len() - 1]
    }
}

/// The places in a pattern that the text so far can lead to.
struct States(Vec<bool>);

impl States {
    fn new(tokens: usize) -> Self {
        Self(vec![false; tokens + 1])
    }

    /// Comes to a place, and past all that may match nothing.
    fn enter(&mut self, tokens: &[Token], index: usize) {
        let mut index = index;
        loop {
            self.0[index] = true;
            match tokens.get(index) {
                Some(Token::AnyRun | Token::Folders | Token::Everything) => index += 1,
                _ => return,
            }
        }
    }
}

/// True when `pattern` holds a wildcard or an escape, so that it is no plain name.
pub fn is_pattern(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '\\'])
}

/// Replaces the first or every longest match of `pattern` in `value`; an empty match replaces nothing.
pub(super) fn replace(value: &str, pattern: &str, by: &str, all: bool) -> String {
    let tokens = tokens(pattern).unwrap_or_else(|BadPattern| pattern.chars().map(Token::Literal).collect());
    let mut out = String::new();
    let mut rest = value;
    while let Some(first) = rest.chars().next() {
        match longest_match(&tokens, rest) {
            Some(length) => {
                out.push_str(by);
                rest = &rest[length..];
                if !all {
                    break;
                }
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out + rest
}

/// The length of the longest head of `text`, not empty, that matches. Follows every way through the pattern at once.
fn longest_match(tokens: &[Token], text: &str) -> Option<usize> {
    let mut at = States::new(tokens.len());
    at.enter(tokens, 0);
    let mut longest = None;
    for (offset, c) in text.char_indices() {
        let mut next = States::new(tokens.len());
        for (index, token) in tokens.iter().enumerate().filter(|(index, _)| at.0[*index]) {
            match token {
                Token::AnyRun => next.enter(tokens, index),
                token if token.accepts(c) => next.enter(tokens, index + 1),
                _ => {}
            }
        }
        if next.0[tokens.len()] {
            longest = Some(offset + c.len_utf8());
        }
        if !next.0.contains(&true) {
            break;
        }
        at = next;
    }
    longest
}

#[derive(Debug, Clone)]
enum Token {
    Literal(char),
    AnyOne,
    AnyRun,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// `**/`: nothing, or whole folders.
    Folders,
    /// `**` at the end: whatever is left.
    Everything,
}

fn tokens(pattern: &str) -> Result<Vec<Token>, BadPattern> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::AnyRun,
            '?' => Token::AnyOne,
            '[' => class(&mut chars)?,
            '\\' => Token::Literal(chars.next().ok_or(BadPattern)?),
            c => Token::Literal(c),
        });
    }
    Ok(tokens)
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars>) -> Result<Token, BadPattern> {
    let negated = chars.next_if(|c| matches!(c, '^' | '!')).is_some();
    let mut ranges = Vec::new();
    loop {
        match chars.next().ok_or(BadPattern)? {
            ']' if !ranges.is_empty() => return Ok(Token::Class { negated, ranges }),
            ']' | '-' => return Err(BadPattern),
            c => {
                let low = if c == '\\' { chars.next().ok_or(BadPattern)? } else { c };
                let high = match chars.next_if_eq(&'-') {
                    None => low,
                    Some(_) => match chars.next().ok_or(BadPattern)? {
                        ']' => return Err(BadPattern),
                        '\\' => chars.next().ok_or(BadPattern)?,
                        high => high,
                    },
                };
                if high < low {
                    return Err(BadPattern);
                }
                ranges.push((low, high));
            }
        }
    }
}

/// Linear in the text for each star: on a mismatch, the last star takes one character more.
fn run(tokens: &[Token], text: &[char]) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        if matches!(tokens.get(token), Some(Token::AnyRun)) {
            retry = Some((token, at));
            token += 1;
        } else if tokens.get(token).is_some_and(|token| token.accepts(text[at])) {
            token += 1;
            at += 1;
        } else if let Some((star, taken)) = retry {
            retry = Some((star, taken + 1));
            token = star + 1;
            at = taken + 1;
        } else {
            return false;
        }
    }
    tokens[token..].iter().all(|token| matches!(token, Token::AnyRun))
}

impl Token {
    fn accepts(&self, c: char) -> bool {
        match self {
            Token::Literal(literal) => *literal == c,
            Token::AnyOne => true,
            Token::AnyRun | Token::Folders | Token::Everything => false,
            Token::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_documented() {
        let cases = [
            ("*", "anything", true),
            ("*.c", "main.c", true),
            ("*.c", "main.h", false),
            ("ma?n.c", "main.c", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[\\]]x", "]x", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("**", "", true),
            ("", "", true),
            ("é?", "éa", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches_component(pattern, name), Ok(expected), "{pattern} on {name}");
        }
        for bad in ["[", "[]", "[a", "[a-", "[b-a]", "[-a]", "x\\"] {
            assert_eq!(matches_component(bad, "x"), Err(BadPattern), "{bad}");
        }
    }

    #[test]
    fn paths_match_over_folders() {
        let cases = [
            ("**/x", "x", true),
            ("**/x", "a/b/x", true),
            ("**/x", "a/bx", false),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("**", "a/b", true),
            ("*.c", "a/b.c", false),
            ("*/*.c", "a/b.c", true),
            ("**/*.c", "b.c", true),
            ("a?b", "a/b", false),
            ("[^x]", "/", false),
            ("\\**", "*abc", true),
            ("\\**", "abc", false),
        ];
        for (pattern, path, expected) in cases {
            let found = PathPattern::new(pattern).map(|pattern| pattern.matches(path));
            assert_eq!(found, Ok(expected), "{pattern} on {path}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        assert_eq!(matches_component(&"*a".repeat(50), &"a".repeat(2000)), Ok(true));
        assert_eq!(
            matches_component(&format!("{}b", "*a".repeat(50)), &"a".repeat(2000)),
            Ok(false)
        );
    }
}
