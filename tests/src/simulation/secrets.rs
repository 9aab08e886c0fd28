//! I9: canaries in secrets and in what users write secrets into, looked for in every byte that leaves the process.
//!
//! The value of a secret is the platform's alone: no call, entry, event, status or error holds it. What a manifest says in
//! plain words, such as a variable, is in the bodies of requests and of generations, and nowhere that is told.

use std::fmt::Write;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use portolan_engine::journal::JournalEntry;
use portolan_engine::machine::{Ask, Effect};
use portolan_engine::{EngineError, Outcome};
use regex::Regex;

use super::world::World;

/// What the platform keeps for the manifests' one secret, and its name.
pub const SECRET: &str = "kanari-\"s3cr3t\"/+\\&=\u{f6}-1f2e";
pub const SECRET_NAME: &str = "canary/value";

/// The value of a variable.
pub const PRIVATE: &str = "blue-\"kanari\"/+\\&=\u{f6}-3d4c";

/// A run in so many is looked at: it costs as much as eight others.
const EVERY: u64 = 64;

static SECRETS: LazyLock<Regex> = LazyLock::new(|| any_form_of(SECRET));
static PRIVATES: LazyLock<Regex> = LazyLock::new(|| any_form_of(PRIVATE));

/// Whether a run with this seed is looked at.
pub fn are_watched(seed: u64) -> bool {
    seed.is_multiple_of(EVERY)
}

impl World<'_> {
    pub(super) fn check_effect(&mut self, effect: &Effect) {
        if !self.watches_secrets {
            return;
        }
        let text = format!("{effect:?}");
        self.check_secret(&text);
        match effect {
            Effect::Publish(_) => self.check_private(&text),
            Effect::Ask(_, Ask::Write(entries)) => {
                let told = entries
                    .iter()
                    .filter(|entry| !matches!(entry, JournalEntry::Begun { .. }));
                told.for_each(|entry| self.check_private(&format!("{entry:?}")));
            }
            Effect::Ask(..) | Effect::Abandon(_) | Effect::WakeAt(_) => {}
        }
    }

    pub(super) fn check_result(&mut self, result: &Result<Outcome, EngineError>) {
        if !self.watches_secrets {
            return;
        }
        self.check_secret(&format!("{result:?}"));
        match result {
            Ok(outcome) => self.check_private(&format!("{:?} {:?}", outcome.kind, outcome.status)),
            Err(error) => self.check_private(&format!("{error:?}")),
        }
    }

    fn check_secret(&mut self, text: &str) {
        self.look_for("the value of a secret", &SECRETS, text);
    }

    fn check_private(&mut self, text: &str) {
        self.look_for("what a variable holds", &PRIVATES, text);
    }

    fn look_for(&mut self, what: &str, canary: &Regex, text: &str) {
        if canary.is_match(text) {
            let shown: String = text.chars().take(200).collect();
            self.broken("I9", format!("{what} leaves the process: {shown}"));
        }
    }
}

/// As it is, as text within JSON, once or twice, and in what programs make of bytes: hex, base64, URLs.
fn any_form_of(value: &str) -> Regex {
    let quoted = |text: &str| {
        let quoted = format!("{text:?}");
        quoted[1..quoted.len() - 1].to_string()
    };
    let json = serde_json::Value::from(value).to_string();
    let json = json[1..json.len() - 1].to_string();
    let mut forms = vec![value.to_string(), quoted(value), quoted(&json), json];
    let hex = in_hex(value, "");
    forms.extend([hex.to_uppercase(), hex]);
    forms.extend(url_encoded(value));
    forms.extend((0..3).flat_map(|shift| in_base64(value, shift)));
    let forms: Vec<String> = forms.iter().map(|form| regex::escape(form)).collect();
    Regex::new(&forms.join("|")).expect("what is escaped is a pattern")
}

fn in_hex(value: &str, before_each: &str) -> String {
    value.bytes().fold(String::new(), |mut hex, byte| {
        _ = write!(hex, "{before_each}{byte:02x}");
        hex
    })
}

/// With capitals and without.
fn url_encoded(value: &str) -> [String; 2] {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = value.bytes().fold(String::new(), |mut text, byte| {
        _ = match plain(byte) {
            true => write!(text, "{}", char::from(byte)),
            false => write!(text, "%{byte:02X}"),
        };
        text
    });
    let lower = value.bytes().fold(String::new(), |mut text, byte| {
        _ = match plain(byte) {
            true => write!(text, "{}", char::from(byte)),
            false => write!(text, "%{byte:02x}"),
        };
        text
    });
    [encoded, lower]
}

/// The digits that depend on it alone, where it begins so many bytes into what is encoded.
fn in_base64(value: &str, shift: usize) -> [String; 2] {
    let bytes: Vec<u8> = std::iter::repeat_n(b'x', shift).chain(value.bytes()).collect();
    let first = [0, 2, 3][shift];
    let last = bytes.len() * 8 / 6;
    [
        BASE64_STANDARD_NO_PAD.encode(&bytes),
        BASE64_URL_SAFE_NO_PAD.encode(&bytes),
    ]
    .map(|text| text[first..last].to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_found_in_every_form() {
        let around = |text: &str| format!("ab{text}cd");
        let debug = format!("{:?}", serde_json::json!({ "a": SECRET }).to_string());
        let cases = [
            ("as it is", around(SECRET)),
            ("in JSON", serde_json::json!({ "a": around(SECRET) }).to_string()),
            ("as Rust shows it", format!("{:?}", around(SECRET))),
            ("JSON in what Rust shows", debug),
            ("hex", in_hex(&around(SECRET), "")),
            ("HEX", in_hex(&around(SECRET), "").to_uppercase()),
            ("URL", url_encoded(&around(SECRET))[0].clone()),
            ("url", url_encoded(&around(SECRET))[1].clone()),
            ("base64", BASE64_STANDARD_NO_PAD.encode(SECRET)),
            (
                "base64, one byte later",
                BASE64_STANDARD_NO_PAD.encode(format!("a{SECRET}b")),
            ),
            (
                "base64, two bytes later",
                BASE64_URL_SAFE_NO_PAD.encode(format!("ab{SECRET}b")),
            ),
        ];
        for (reason, text) in cases {
            assert!(SECRETS.is_match(&text), "{reason}: {text}");
            assert!(!PRIVATES.is_match(&text), "{reason}: {text}");
        }
    }
}
