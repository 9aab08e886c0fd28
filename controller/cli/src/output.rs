//! Data to stdout, words to stderr.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use portolan_core::diagnostic::{Diagnostic, Style, render_all};
use serde::Serialize;

use crate::args::{ColorChoice, Global, OutputFormat};

/// How this run speaks.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: OutputFormat,
    style: Style,
}

impl Output {
    pub fn of(global: &Global) -> Self {
        let terminal = io::stderr().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && !plain,
        };
        Self {
            format: global.output,
            style: if colour { Style::Ansi } else { Style::Plain },
        }
    }

    /// Whether a program reads stdout: then nothing prompts.
    pub fn is_machine(&self) -> bool {
        matches!(self.format, OutputFormat::Json | OutputFormat::Yaml)
    }

    /// Whether `plan` is asked for a pull request's text.
    pub fn is_markdown(&self) -> bool {
        self.format == OutputFormat::Markdown
    }

    /// The answer of a command: `human` where people read, else the value itself.
    pub fn answer(&self, value: &impl Serialize, human: impl FnOnce() -> String) {
        match self.format {
            OutputFormat::Json => print(&format!("{}\n", json(value))),
            OutputFormat::Yaml => print(&yaml(value)),
            OutputFormat::Human | OutputFormat::Markdown => print(&human()),
        }
    }

    /// Words for people, on stderr.
    pub fn say(&self, text: &str) {
        _ = writeln!(io::stderr(), "{text}");
    }

    /// Faults, on stderr; as JSON lines where a program listens.
    pub fn diagnostics(&self, diagnostics: &[Diagnostic]) {
        let text = match self.is_machine() {
            true => diagnostics
                .iter()
                .map(|diagnostic| json_line(diagnostic) + "\n")
                .collect(),
            false => render_all(diagnostics, self.style),
        };
        _ = io::stderr().write_all(text.as_bytes());
    }
}

/// To stdout. A reader that has gone away (`| head`) is no failure of ours.
pub fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    _ = stdout.write_all(text.as_bytes());
    _ = stdout.flush();
}

/// A path as the user would write it here: relative to the current folder where it is below it.
pub fn shown(path: &Path) -> String {
    let here = env::current_dir().ok();
    let relative = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    let relative = relative.unwrap_or(path);
    relative.strip_prefix(".").unwrap_or(relative).display().to_string()
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("answers hold only string keys")
}

fn json_line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("diagnostics hold only string keys")
}

/// JSON is YAML; block style is nicer to read. What could be anything else than a text is quoted as JSON does, which YAML 1.2
/// reads the same.
pub fn yaml(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).expect("answers hold only string keys");
    let mut text = String::new();
    block(&value, 0, &mut text);
    text
}

fn block(value: &serde_json::Value, depth: usize, text: &mut String) {
    use serde_json::Value;
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                text.push_str(&format!("{indent}{}:", word(&Value::from(key.as_str()))));
                nested(value, depth, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                text.push_str(&format!("{indent}-"));
                nested(item, depth, text);
            }
        }
        leaf => text.push_str(&format!("{indent}{}\n", word(leaf))),
    }
}

fn word(leaf: &serde_json::Value) -> String {
    match leaf.as_str() {
        Some(text) if is_plain(text) => text.to_string(),
        _ => leaf.to_string(),
    }
}

/// No word that YAML 1.1 takes for a boolean or for nothing, and of letters that mean nothing in it.
fn is_plain(text: &str) -> bool {
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic());
    let goes_on = |one: char| one.is_ascii_alphanumeric() || "_-./".contains(one);
    begins && text.chars().all(goes_on) && !words.contains(&text.to_ascii_lowercase().as_str())
}

fn nested(value: &serde_json::Value, depth: usize, text: &mut String) {
    let empty = value.as_object().is_some_and(|fields| fields.is_empty())
        || value.as_array().is_some_and(|items| items.is_empty());
    if (value.is_object() || value.is_array()) && !empty {
        text.push('\n');
        block(value, depth + 1, text);
    } else {
        text.push_str(&format!(" {}\n", word(value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn yaml_is_block_style() {
        let value = json!({"a": 1, "b": [{"c": "x: y"}, []], "d": {}, "no": null, "1": "e"});
        assert_eq!(
            yaml(&value),
            "\"1\": e\na: 1\nb:\n  -\n    c: \"x: y\"\n  - []\nd: {}\n\"no\": null\n"
        );
    }
}
