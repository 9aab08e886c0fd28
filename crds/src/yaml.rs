//! JSON values as YAML, in one spelling: block style, keys in the order of the alphabet, texts quoted as JSON's where they
//! must be. Enough for what this crate writes, and no more.

use serde_json::Value;

/// The text of a value, ending with a line break.
pub fn write(value: &Value) -> String {
    let mut text = String::new();
    push(&mut text, value, 0);
    text
}

fn push(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) => {
            let mut entries: Vec<_> = fields.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            for (key, value) in entries {
                text.push_str(&" ".repeat(indent));
                text.push_str(&scalar(&Value::String(key.clone())));
                push_after(text, ":", value, indent + 2);
            }
        }
        Value::Array(items) => {
            for item in items {
                text.push_str(&" ".repeat(indent));
                push_item(text, item, indent);
            }
        }
        scalar_value => {
            text.push_str(&scalar(scalar_value));
            text.push('\n');
        }
    }
}

/// What stands behind a key: on its line if it is short, below it if it has parts.
fn push_after(text: &mut String, mark: &str, value: &Value, indent: usize) {
    text.push_str(mark);
    match is_block(value) {
        true => {
            text.push('\n');
            push(text, value, indent);
        }
        false => {
            text.push(' ');
            text.push_str(&scalar(value));
            text.push('\n');
        }
    }
}

/// `- ` and the item, whose first line stands behind the dash.
fn push_item(text: &mut String, item: &Value, indent: usize) {
    let mut block = String::new();
    push(&mut block, item, indent + 2);
    text.push_str("- ");
    match is_block(item) {
        true => text.push_str(block.trim_start_matches(' ')),
        false => text.push_str(&format!("{}\n", scalar(item))),
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        // JSON's texts are YAML's in double quotes.
        other => other.to_string(),
    }
}

/// Whether YAML 1.1 and 1.2 both read a text without quotes as that very text.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 11] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "~", ""];
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let first = |c: char| c.is_ascii_alphabetic();
    text.starts_with(first) && text.chars().all(inner) && !WORDS.contains(&text.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_in_one_spelling() {
        let value = json!({
            "b": [1, { "x": "yes", "a": [] }, ["n", "plain"]],
            "a": { "empty": {}, "text": "two words: and \"quotes\"", "none": null, "on": true },
        });
        let expected = "\
a:
  empty: {}
  none: null
  \"on\": true
  text: \"two words: and \\\"quotes\\\"\"
b:
  - 1
  - a: []
    x: \"yes\"
  - - \"n\"
    - plain
";
        assert_eq!(write(&value), expected);
    }
}
