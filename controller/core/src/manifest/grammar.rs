//! Grammars of the manifest's short texts: names, paths, quantities and the like.
//!
//! Each stands here once: as a pattern for the JSON Schema and the Kubernetes definitions, as a function for us (so that
//! no regular-expression engine is needed), and as words for whoever got it wrong. A test holds function and pattern to
//! each other.

mod amazon;

use std::net::IpAddr;

use serde_json::{Value, json};

pub use amazon::{ARN, AWS_ACCOUNT, AWS_ID, AWS_NAME, AWS_REGION};

use super::schedule::is_schedule;
use super::{ByteQuantity, CpuQuantity, HumanDuration, Percent};
use crate::reference::ImageReference;

/// One grammar.
#[derive(Debug)]
pub struct Grammar {
    /// What a text of it is: `a name`.
    pub what: &'static str,
    /// What such a text is made of, as the end of a sentence.
    pub rule: &'static str,
    /// One good text.
    pub example: &'static str,
    /// Code of the error when a text is none.
    pub code: &'static str,
    /// Anchored at both ends, in what ECMA 262 and RE2 (which Kubernetes uses) have in common: no look-ahead.
    pub pattern: &'static str,
    accepts: fn(&str) -> bool,
    /// Why a text does not belong, where more can be said than `rule` does.
    reason: fn(&str) -> Option<String>,
}

impl Grammar {
    /// Why `text`, which does not belong, does not; where more can be said than `rule` does.
    pub fn reason(&self, text: &str) -> Option<String> {
        (self.reason)(text)
    }

    /// Whether `text` belongs to the grammar.
    pub fn accepts(&self, text: &str) -> bool {
        (self.accepts)(text)
    }

    /// The grammar of a schema's `pattern`.
    pub fn of_pattern(pattern: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|grammar| grammar.pattern == pattern)
    }
}

/// RFC 1123 label: what Kubernetes accepts as the name of an object.
pub static LABEL: Grammar = Grammar {
    what: "a name",
    rule: "lower-case letters, digits and `-`, with a letter or digit at both ends, at most 63 characters",
    example: "shop",
    code: "InvalidName",
    pattern: "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
    accepts: |text| is_label(text),
    reason: |_| None,
};

/// RFC 1035 label: also a host name, and the first part of an environment variable's name.
pub static NAME: Grammar = Grammar {
    what: "a name",
    rule: "lower-case letters, digits and `-`, beginning with a letter, ending with a letter or digit, at most 63 characters",
    example: "web",
    code: "InvalidName",
    pattern: "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$",
    accepts: |text| is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase()),
    reason: |_| None,
};

/// Kubernetes' key of a label or annotation.
pub static LABEL_KEY: Grammar = Grammar {
    what: "a label's key",
    rule: "at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends; a domain and `/` may stand before",
    example: "team.example/name",
    code: "InvalidName",
    pattern: "^([a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$",
    accepts: |text| {
        let (prefix, name) = text
            .split_once('/')
            .map_or((None, text), |(prefix, name)| (Some(prefix), name));
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let letter = |c: char| c.is_ascii_alphanumeric();
        prefix.is_none_or(|prefix| is_word(prefix, 253, lower, "-.")) && is_word(name, 63, letter, "-_.")
    },
    reason: |_| None,
};

/// POSIX name of an environment variable (IEEE Std 1003.1, 8.1), lower case included.
pub static ENV_NAME: Grammar = Grammar {
    what: "a name of an environment variable",
    rule: "letters, digits and `_`, not beginning with a digit",
    example: "LOG_LEVEL",
    code: "InvalidName",
    pattern: "^[A-Za-z_][A-Za-z0-9_]*$",
    accepts: |text| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    },
    reason: |_| None,
};

/// A secret's name: one or more words between slashes.
pub static SECRET_NAME: Grammar = Grammar {
    what: "a name of a secret",
    rule: "at most 253 letters, digits, `-`, `_` and `.`, in parts between `/`, each beginning with a letter or digit",
    example: "prod/shop/db",
    code: "InvalidName",
    pattern: "^[A-Za-z0-9][-_.A-Za-z0-9]*(/[A-Za-z0-9][-_.A-Za-z0-9]*)*$",
    accepts: |text| text.len() <= 253 && text.split('/').all(is_secret_word),
    reason: |_| None,
};

/// A key within a secret.
pub static SECRET_KEY: Grammar = Grammar {
    what: "a key of a secret",
    rule: "at most 253 letters, digits, `-`, `_` and `.`, beginning with a letter or digit",
    example: "password",
    code: "InvalidName",
    pattern: "^[A-Za-z0-9][-_.A-Za-z0-9]*$",
    accepts: |text| text.len() <= 253 && is_secret_word(text),
    reason: |_| None,
};

/// A path from the container's root, without `.`, `..`, doubled or trailing slashes: one spelling for each place.
pub static ABSOLUTE_PATH: Grammar = Grammar {
    what: "an absolute path",
    rule: "it begins with `/` and has no `.`, `..`, doubled or trailing `/`",
    example: "/var/lib/app",
    code: "InvalidPath",
    pattern: "^/$|^(/([^/.\\x00][^/\\x00]*|\\.[^/.\\x00][^/\\x00]*|\\.\\.[^/\\x00]+))+$",
    accepts: |text| {
        text == "/"
            || text.strip_prefix('/').is_some_and(|rest| {
                rest.split('/')
                    .all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
            })
    },
    reason: |_| None,
};

/// Path and query of a request, as they stand in its first line.
pub static HTTP_PATH: Grammar = Grammar {
    what: "a path of a request",
    rule: "it begins with `/` and has no space or control character",
    example: "/ready",
    code: "InvalidPath",
    pattern: "^/[!-~]*$",
    accepts: |text| text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic()),
    reason: |_| None,
};

/// `user` or `user:group`, each a number or a name.
pub static USER: Grammar = Grammar {
    what: "a user",
    rule: "a number or name, and a group after `:` if wanted",
    example: "1000:1000",
    code: "InvalidUser",
    pattern: "^([0-9]{1,10}|[A-Za-z_][-.A-Za-z0-9_]*)(:([0-9]{1,10}|[A-Za-z_][-.A-Za-z0-9_]*))?$",
    accepts: |text| {
        let mut parts = text.splitn(2, ':');
        parts.all(|part| match part.starts_with(|c: char| c.is_ascii_digit()) {
            true => part.len() <= 10 && part.bytes().all(|byte| byte.is_ascii_digit()),
            false => {
                part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && part.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
            }
        })
    },
    reason: |_| None,
};

/// The characters of an image reference; the function is that of [`ImageReference`].
pub static IMAGE: Grammar = Grammar {
    what: "an image reference",
    rule: "a registry, a repository, and a tag or digest",
    example: "registry.example/shop:1.4",
    code: "InvalidImageReference",
    pattern: "^[A-Za-z0-9\\[][-A-Za-z0-9._:/@\\[\\]+]*$",
    accepts: |text| ImageReference::parse(text).is_ok(),
    reason: |text| ImageReference::parse(text).err().map(|error| error.reason),
};

/// The characters of an IP address; the function reads it whole.
pub static IP_ADDRESS: Grammar = Grammar {
    what: "an IP address",
    rule: "four numbers between points, or IPv6 without brackets",
    example: "127.0.0.1",
    code: "InvalidAddress",
    pattern: "^[0-9A-Fa-f.:]+$",
    accepts: |text| text.parse::<IpAddr>().is_ok(),
    reason: |_| None,
};

/// See [`HumanDuration`].
pub static DURATION: Grammar = Grammar {
    what: "a duration",
    rule: "whole numbers with the units `h`, `m`, `s` and `ms`, from the largest",
    example: "1m30s",
    code: "InvalidDuration",
    pattern: "^([0-9]+h([0-9]+m)?([0-9]+s)?([0-9]+ms)?|[0-9]+m([0-9]+s)?([0-9]+ms)?|[0-9]+s([0-9]+ms)?|[0-9]+ms)$",
    accepts: |text| text.parse::<HumanDuration>().is_ok(),
    reason: |_| None,
};

/// See [`Percent`].
pub static PERCENT: Grammar = Grammar {
    what: "a percentage",
    rule: "a whole number from 0 to 100 and `%`",
    example: "10%",
    code: "InvalidPercentage",
    pattern: "^(0|[1-9][0-9]?|100)%$",
    accepts: |text| text.parse::<Percent>().is_ok(),
    reason: |_| None,
};

/// See [`CpuQuantity`].
pub static CPU: Grammar = Grammar {
    what: "an amount of processor time",
    rule: "cores or, with `m`, thousandths of a core",
    example: "500m",
    code: "InvalidQuantity",
    pattern: "^[0-9]+(\\.[0-9]+)?m?$",
    accepts: |text| text.parse::<CpuQuantity>().is_ok(),
    reason: |text| text.parse::<CpuQuantity>().err().map(|error| error.to_string()),
};

/// See [`ByteQuantity`].
pub static BYTES: Grammar = Grammar {
    what: "a size",
    rule: "bytes, with a unit such as `Mi` or `Gi` if wanted",
    example: "256Mi",
    code: "InvalidQuantity",
    pattern: "^[0-9]+(\\.[0-9]+)?([kMGTPE]|[KMGTPE]i)?$",
    accepts: |text| text.parse::<ByteQuantity>().is_ok(),
    reason: |text| text.parse::<ByteQuantity>().err().map(|error| error.to_string()),
};

/// A name of the Internet's with at least two parts (RFC 1123, 2.1), or all names one level below one.
pub static HOST: Grammar = Grammar {
    what: "a domain",
    rule: "lower-case letters, digits and `-` in two parts or more between points, at most 253 characters; `*.` may stand before",
    example: "shop.example.com",
    code: "InvalidDomain",
    pattern: "^(\\*\\.)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+$",
    accepts: |text| {
        let name = text.strip_prefix("*.").unwrap_or(text);
        text.len() <= 253 && name.contains('.') && name.split('.').all(is_label)
    },
    reason: |_| None,
};

/// Five fields of cron; the function knows what each may hold.
pub static SCHEDULE: Grammar = Grammar {
    what: "a schedule",
    rule: "minute, hour, day of the month, month and day of the week, with a space between: numbers, `*`, ranges, lists and steps",
    example: "0 3 * * *",
    code: "InvalidSchedule",
    pattern: "^[0-9A-Za-z*/,-]+( [0-9A-Za-z*/,-]+){4}$",
    accepts: |text| is_schedule(text),
    reason: |_| None,
};

/// The characters of a name in the IANA time zone database.
pub static TIME_ZONE: Grammar = Grammar {
    what: "a time zone",
    rule: "a name of the IANA database: words of letters, digits, `-`, `_` and `+` between `/`",
    example: "Europe/Berlin",
    code: "InvalidTimeZone",
    pattern: "^[A-Za-z][-A-Za-z0-9_+]*(/[A-Za-z0-9][-A-Za-z0-9_+]*)*$",
    accepts: |text| {
        let word = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_+".contains(c))
        };
        text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.split('/').all(word)
    },
    reason: |_| None,
};

/// A GPU's product, in the grammar of a value of a label in Kubernetes, where nodes have it.
pub static GPU_MODEL: Grammar = Grammar {
    what: "a model of GPUs",
    rule: "letters, digits, `-`, `_` and `.`, with a letter or digit at both ends, at most 63 characters",
    example: "NVIDIA-L4",
    code: "InvalidName",
    pattern: "^[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$",
    accepts: |text| is_word(text, 63, |c| c.is_ascii_alphanumeric(), "-_."),
    reason: |_| None,
};

static ALL: [&Grammar; 24] = [
    &LABEL,
    &NAME,
    &LABEL_KEY,
    &ENV_NAME,
    &SECRET_NAME,
    &SECRET_KEY,
    &ABSOLUTE_PATH,
    &HTTP_PATH,
    &USER,
    &IMAGE,
    &IP_ADDRESS,
    &DURATION,
    &PERCENT,
    &CPU,
    &BYTES,
    &HOST,
    &SCHEDULE,
    &TIME_ZONE,
    &GPU_MODEL,
    &AWS_ACCOUNT,
    &AWS_REGION,
    &AWS_NAME,
    &AWS_ID,
    &ARN,
];

/// Schema of the keys of a map of named things.
pub(super) fn name_schema() -> Value {
    json!({ "pattern": NAME.pattern })
}

/// Schema of the keys of a map by target.
pub(super) fn label_schema() -> Value {
    json!({ "pattern": LABEL.pattern })
}

/// Schema of the keys of labels and annotations.
pub(super) fn label_key_schema() -> Value {
    json!({ "pattern": LABEL_KEY.pattern })
}

/// Schema of the keys of an environment.
pub(super) fn env_name_schema() -> Value {
    json!({ "pattern": ENV_NAME.pattern })
}

fn is_label(text: &str) -> bool {
    is_word(text, 63, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), "-")
}

/// Letters with `inner` characters between them.
fn is_word(text: &str, max: usize, letter: impl Fn(char) -> bool, inner: &str) -> bool {
    text.len() <= max
        && text.starts_with(&letter)
        && text.ends_with(&letter)
        && text.chars().all(|c| letter(c) || inner.contains(c))
}

fn is_secret_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    /// Texts near each grammar's edges: its example, changed here and there.
    fn near(example: &'static str) -> impl Strategy<Value = String> {
        let alphabet = prop::sample::select("aZ09-_./: \0hmskGi$".chars().collect::<Vec<_>>());
        let edits = prop::collection::vec((0..24_usize, alphabet, 0..3_u8), 0..4);
        edits.prop_map(move |edits| {
            let mut text: Vec<char> = example.chars().collect();
            for (at, c, kind) in edits {
                let at = at.min(text.len());
                match kind {
                    0 => text.insert(at, c),
                    1 if at < text.len() => text[at] = c,
                    _ if at < text.len() => drop(text.remove(at)),
                    _ => {}
                }
            }
            text.into_iter().collect()
        })
    }

    /// Grammars whose function also knows limits that a pattern cannot say.
    const WIDER_PATTERNS: [&str; 9] = [
        "SECRET_NAME",
        "SECRET_KEY",
        "IMAGE",
        "IP_ADDRESS",
        "DURATION",
        "CPU",
        "BYTES",
        "HOST",
        "SCHEDULE",
    ];

    #[test]
    fn function_and_pattern_of_each_grammar_agree() {
        let names = [
            "LABEL",
            "NAME",
            "LABEL_KEY",
            "ENV_NAME",
            "SECRET_NAME",
            "SECRET_KEY",
            "ABSOLUTE_PATH",
            "HTTP_PATH",
            "USER",
            "IMAGE",
            "IP_ADDRESS",
            "DURATION",
            "PERCENT",
            "CPU",
            "BYTES",
            "HOST",
            "SCHEDULE",
            "TIME_ZONE",
            "GPU_MODEL",
            "AWS_ACCOUNT",
            "AWS_REGION",
            "AWS_NAME",
            "AWS_ID",
            "ARN",
        ];
        for (name, grammar) in names.into_iter().zip(ALL) {
            let pattern = Regex::new(grammar.pattern).unwrap();
            assert!(grammar.accepts(grammar.example), "{name} accepts its own example");
            let fixed = [
                "", "/", "/.", "/..", "/...", "/a/", "//", "a:b:c", ":", "-", "a/", "0", "1h1h", "5m1h", "1000000h",
            ];
            let mut runner = proptest::test_runner::TestRunner::deterministic();
            let check = |text: String| {
                let (function, pattern) = (grammar.accepts(&text), pattern.is_match(&text));
                let agree = function == pattern || (pattern && WIDER_PATTERNS.contains(&name));
                prop_assert!(agree, "{name} and {text:?}: function {function}, pattern {pattern}");
                Ok(())
            };
            fixed.into_iter().for_each(|text| check(text.to_string()).unwrap());
            ["x".repeat(63), "x".repeat(64), "1".repeat(11)]
                .into_iter()
                .for_each(|text| check(text).unwrap());
            runner.run(&near(grammar.example), check).unwrap();
        }
    }
}
