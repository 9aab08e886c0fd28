//! Shares of a whole, as people write them: `10%`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::grammar;

/// From 0 to 100. Its text reads back as the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u8);

/// A text that is no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a percentage")]
pub struct InvalidPercent(String);

impl Percent {
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl FromStr for Percent {
    type Err = InvalidPercent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').filter(|digits| is_plain(digits));
        let value = number.and_then(|digits| digits.parse::<u8>().ok());
        let known = value.filter(|value| *value <= 100).map(Self);
        known.ok_or_else(|| InvalidPercent(text.to_string()))
    }
}

/// Neither a sign nor a zero in front.
fn is_plain(digits: &str) -> bool {
    digits == "0" || digits.starts_with(|c: char| matches!(c, '1'..='9'))
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": grammar::PERCENT.pattern, "maxLength": 4 })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_whole_percentages() {
        for (text, expected, reason) in [
            ("10%", Some(10), "a share"),
            ("0%", Some(0), "nothing is one"),
            ("100%", Some(100), "everything is one"),
            ("101%", None, "more than everything is none"),
            (
                "10",
                None,
                "the sign is wanted: a number alone counts replicas elsewhere",
            ),
            ("1.5%", None, "whole numbers only"),
            ("+5%", None, "no sign in front"),
            ("05%", None, "one spelling each"),
            ("%", None, "a number is wanted"),
            ("", None, "an empty text is none"),
        ] {
            let share = text.parse::<Percent>().ok();
            assert_eq!(share.map(Percent::get), expected, "{text}: {reason}");
            assert!(
                share.is_none_or(|share| share.to_string() == text),
                "it reads back the same"
            );
        }
    }
}
