//! Names and owners as functions of what they name.
//!
//! A native name is derived, never chosen: total (every input has one), injective up to a hash of 60 bits, and valid in
//! the grammar of the platform that receives it. An owner is a hash too, and is carried as a tag; selection is by
//! owner, never by a name's prefix.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::mutant::Mutant;

/// Who a native object belongs to: hash of namespace, app, target and the account or cluster. 20 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct OwnerId(String);

impl OwnerId {
    /// The owner of one app on one target. `realm` is the account, project, cluster or machine behind the target.
    pub fn derive(namespace: &str, app: &str, target: &str, realm: &str) -> Self {
        Self(hash_of(&["owner", namespace, app, target, realm])[..20].to_string())
    }

    /// An owner read back from a tag.
    pub fn from_tag(tag: impl Into<String>) -> Self {
        Self(tag.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a platform accepts as a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameGrammar {
    /// Longest name in characters; at least 20, so that a hash and something readable fit.
    pub max_length: usize,
    /// Between the parts: `-`, `_` or `/`, whichever the platform allows.
    pub separator: char,
    /// Characters besides lower-case letters, digits and the separator that may stay as they are.
    pub also: &'static str,
}

impl NameGrammar {
    /// RFC 1123 label: what Kubernetes, Cloud Run and most load balancers accept.
    pub const LABEL: Self = Self {
        max_length: 63,
        separator: '-',
        also: "",
    };
}

/// The native name for `parts` in `grammar`: a readable prefix and always a hash of all parts, so that neither a cut nor
/// a replaced character nor a separator inside a part can make two names one.
pub fn native_name(parts: &[&str], grammar: NameGrammar) -> String {
    let hash = &hash_of(parts)[..HASH_DIGITS];
    let room = grammar.max_length - HASH_DIGITS - 1;
    let whole = parts.join(&grammar.separator.to_string());
    let allowed = whole.chars().map(|c| allowed(c, grammar));
    if Mutant::NamesAreCutBlindly.is_on() {
        return allowed.take(grammar.max_length).collect();
    }
    let room = if Mutant::NamesAreNotCut.is_on() {
        usize::MAX
    } else {
        room
    };
    let readable: String = allowed.take(room).collect();
    let readable = readable.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    match readable.starts_with(|c: char| c.is_ascii_alphabetic()) {
        true => format!("{readable}{}{hash}", grammar.separator),
        // A hash alone may begin with a digit, which many grammars refuse at the front.
        false => format!("p{}{hash}", grammar.separator),
    }
}

/// SHA-256 over length-prefixed parts, as lower-case hex: no two lists of parts share an input.
pub fn hash_of(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hex(&hasher.finalize())
}

/// Lower-case; plans and names are hashed all the time, and a format for each byte costs more than the hash.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// 60 bits of hash: a collision among a million names has a chance of one in two million.
const HASH_DIGITS: usize = 15;

fn allowed(c: char, grammar: NameGrammar) -> char {
    match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() || grammar.also.contains(c) => c,
        _ => grammar.separator,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_wherever_their_parts_do() {
        let cases: &[(&[&str], &[&str], &str)] = &[
            (
                &["a-b", "c"],
                &["a", "b-c"],
                "a separator inside a part is not the separator",
            ),
            (&["a", ""], &["a"], "an empty part counts"),
            (&["A"], &["a"], "folding case does not fold names"),
            (&["shop.x"], &["shop-x"], "a replaced character does not fold names"),
        ];
        for (one, other, reason) in cases {
            assert_ne!(
                native_name(one, NameGrammar::LABEL),
                native_name(other, NameGrammar::LABEL),
                "{reason}"
            );
        }
    }

    #[test]
    fn names_fit_their_grammar() {
        let long = "x".repeat(300);
        let parts: &[&[&str]] = &[
            &["default", "shop", "web"],
            &[&long, &long],
            &["9lives"],
            &["-", "."],
            &["Ünïcode"],
        ];
        for parts in parts {
            for max_length in [20, 32, 63] {
                let name = native_name(
                    parts,
                    NameGrammar {
                        max_length,
                        separator: '-',
                        also: "",
                    },
                );
                assert!(name.len() <= max_length, "{name} is longer than {max_length}");
                assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
                assert!(
                    name.chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                    "{name}"
                );
            }
        }
    }
}
