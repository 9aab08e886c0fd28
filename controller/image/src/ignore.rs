//! `.dockerignore`: which files of a build context the build does not see. The rules are those of the Dockerfile
//! reference: one pattern a line, `**` for any number of folders, `!` takes a path in again, and the last pattern that
//! matches a path or a folder above it decides.

use std::path::{Path, PathBuf};

use crate::dockerfile::glob::PathPattern;

/// Largest ignore file read, in bytes, and the most patterns in it.
pub const MAX_IGNORE_FILE: usize = 1 << 20;
const MAX_PATTERNS: usize = 10_000;

/// The patterns of one ignore file; the default ignores nothing.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    path: PathBuf,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    pattern: PathPattern,
    line: u32,
    takes_in: bool,
}

/// A line of an ignore file that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {cause}", path.display())]
pub struct InvalidIgnore {
    pub path: PathBuf,
    pub line: u32,
    pub cause: String,
}

impl Ignore {
    /// Parses the `bytes` that were read from `path`; the path is only for messages.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, InvalidIgnore> {
        let invalid = |line, cause: &str| InvalidIgnore {
            path: path.to_owned(),
            line,
            cause: cause.to_owned(),
        };
        if bytes.len() > MAX_IGNORE_FILE {
            return Err(invalid(1, "the file is larger than a mebibyte"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| invalid(1, "the file is not UTF-8"))?;
        let mut rules = Vec::new();
        for (index, text) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            let line = index as u32 + 1;
            rules.extend(rule(text, line).map_err(|cause| invalid(line, cause))?);
            if rules.len() > MAX_PATTERNS {
                return Err(invalid(line, "the file has more than ten thousand patterns"));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            rules,
        })
    }

    /// Whether the build does not see `path`, which is relative to the context, with `/` between its parts.
    pub fn ignores(&self, path: &str) -> bool {
        self.verdict(path).is_some_and(|rule| !rule.takes_in)
    }

    /// The file and line that make [`Self::ignores`] true, for a message.
    pub fn reason(&self, path: &str) -> Option<(&Path, u32)> {
        self.verdict(path)
            .filter(|rule| !rule.takes_in)
            .map(|rule| (self.path.as_path(), rule.line))
    }

    /// Whether something below the ignored folder `path` could be taken in again.
    pub fn may_take_in_below(&self, path: &str) -> bool {
        let ignored_by = self.verdict(path).map_or(0, |rule| rule.line);
        self.rules.iter().any(|rule| rule.takes_in && rule.line > ignored_by)
    }

    fn verdict(&self, path: &str) -> Option<&Rule> {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        let paths: Vec<&str> = ends.map(|end| &path[..end]).collect();
        let matches = |rule: &&Rule| paths.iter().any(|path| rule.pattern.matches(path));
        self.rules.iter().rev().find(matches)
    }
}

fn rule(text: &str, line: u32) -> Result<Option<Rule>, &'static str> {
    if text.starts_with('#') {
        return Ok(None);
    }
    let text = text.trim();
    let (takes_in, text) = match text.strip_prefix('!') {
        Some(rest) => (true, rest.trim()),
        None => (false, text),
    };
    if text.is_empty() {
        return if takes_in {
            Err("`!` is not followed by a pattern")
        } else {
            Ok(None)
        };
    }
    match clean(text) {
        pattern if pattern.is_empty() => Ok(None),
        pattern => {
            let pattern = PathPattern::new(&pattern).map_err(|_| "the pattern is malformed")?;
            Ok(Some(Rule {
                pattern,
                line,
                takes_in,
            }))
        }
    }
}

/// Without leading and trailing slashes, `.` and what `..` takes back; above the context there is nothing to match.
fn clean(pattern: &str) -> String {
    let mut parts = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Ignore, InvalidIgnore> {
        Ignore::parse(Path::new(".dockerignore"), text.as_bytes())
    }

    #[test]
    fn the_last_matching_pattern_decides() {
        let cases = [
            ("a plain name", "node_modules", "node_modules", true),
            ("what is below it", "node_modules", "node_modules/x/y", true),
            ("not at another depth", "node_modules", "web/node_modules", false),
            ("at every depth", "**/node_modules", "web/node_modules/x", true),
            ("at the top too", "**/node_modules", "node_modules", true),
            ("a wildcard stays in its folder", "*.log", "logs/a.log", false),
            ("a wildcard for one folder", "*/*.log", "logs/a.log", true),
            ("a leading slash means the top", "/build", "build", true),
            ("a trailing slash is no matter", "build/", "build/x", true),
            ("dots are cleaned", "./a/../build", "build", true),
            ("taken in again", "*.md\n!README.md", "README.md", false),
            (
                "and out once more",
                "*.md\n!README*.md\nREADME-secret.md",
                "README-secret.md",
                true,
            ),
            (
                "a folder's file taken in",
                "docs\n!docs/keep.txt",
                "docs/keep.txt",
                false,
            ),
            (
                "the others of the folder stay out",
                "docs\n!docs/keep.txt",
                "docs/other.txt",
                true,
            ),
            ("everything but", "**\n!src", "src/main.c", false),
            ("everything", "*", "src/main.c", true),
            ("a comment", "#a\nb", "#a", false),
            ("blanks around", "  a  ", "a", true),
            ("a class", "[ab].c", "b.c", true),
            ("all below, but not itself", "a/**", "a", false),
            ("an escaped star", "\\*", "x", false),
        ];
        for (reason, text, path, expected) in cases {
            assert_eq!(parse(text).map(|ignore| ignore.ignores(path)), Ok(expected), "{reason}");
        }
    }

    #[test]
    fn an_ignored_folder_is_entered_only_for_a_later_exception() {
        let below = |text: &str, path: &str| parse(text).map(|ignore| ignore.may_take_in_below(path));
        assert_eq!(below("docs\n!docs/a", "docs"), Ok(true));
        assert_eq!(below("docs", "docs"), Ok(false));
        assert_eq!(below("!docs/a\ndocs", "docs"), Ok(false), "the exception comes before");
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_its_line() {
        for (reason, text, line) in [("a lone !", "a\n!", 2), ("an open class", "a\nb\n[x", 3)] {
            assert_eq!(parse(text).expect_err(reason).line, line, "{reason}");
        }
        assert!(Ignore::parse(Path::new("x"), b"\xff").is_err());
    }

    #[test]
    fn the_reason_names_the_line() {
        let ignore = parse("a\nb*\n").unwrap();
        assert_eq!(ignore.reason("bc"), Some((Path::new(".dockerignore"), 2)));
        assert_eq!(ignore.reason("c"), None);
    }
}
