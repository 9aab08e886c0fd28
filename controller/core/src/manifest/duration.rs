//! Durations as people write them: `30s`, `5m`, `1h30m`, `500ms`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{grammar, limits};

/// A duration in whole milliseconds. Its text reads back as the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(u64);

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration")]
pub struct InvalidDuration(String);

/// From the largest: each unit may be there once, in this order.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// About eleven years; keeps every sum of durations far from overflow.
const MAX_MILLIS: u64 = 100_000 * 3_600_000;

impl HumanDuration {
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1000)
    }

    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

impl From<HumanDuration> for Duration {
    fn from(duration: HumanDuration) -> Self {
        duration.as_duration()
    }
}

impl FromStr for HumanDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        millis_of(text)
            .map(Self)
            .ok_or_else(|| InvalidDuration(text.to_string()))
    }
}

fn millis_of(text: &str) -> Option<u64> {
    let (mut rest, mut total, mut units) = (text, 0_u64, UNITS.iter());
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|&at| at > 0)?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let (_, millis) = units.find(|(name, _)| *name == unit)?;
        total = number.parse::<u64>().ok()?.checked_mul(*millis)?.checked_add(total)?;
        rest = tail;
    }
    (!text.is_empty() && total <= MAX_MILLIS).then_some(total)
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, millis) in UNITS {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for HumanDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": grammar::DURATION.pattern, "maxLength": limits::SHORT_TEXT })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        let cases = [
            ("30s", Some(30_000), "seconds"),
            ("1h30m", Some(5_400_000), "units from the largest"),
            ("500ms", Some(500), "milliseconds are not minutes"),
            ("1m5ms", Some(60_005), "a unit may be left out"),
            ("90m", Some(5_400_000), "a number may pass its unit"),
            ("0s", Some(0), "nothing is a duration"),
            ("", None, "an empty text is none"),
            ("30", None, "a unit is wanted"),
            ("s", None, "a number is wanted"),
            ("1.5h", None, "whole numbers only"),
            ("5m1h", None, "units from the largest"),
            ("5m5m", None, "each unit once"),
            ("-5s", None, "no negative ones"),
            ("5 s", None, "no space"),
            ("99999999999999999999s", None, "larger than a number can be"),
            ("100001h", None, "longer than eleven years"),
        ];
        for (text, expected, reason) in cases {
            let millis = text.parse::<HumanDuration>().ok().map(HumanDuration::as_millis);
            assert_eq!(millis, expected, "{text}: {reason}");
        }
    }

    #[test]
    fn a_printed_duration_reads_back_the_same() {
        for millis in (0..200).chain([999, 1000, 60_000, 3_599_999, 3_600_000, 86_400_000, MAX_MILLIS]) {
            let duration = HumanDuration::from_millis(millis);
            assert_eq!(duration.to_string().parse(), Ok(duration), "{duration}");
        }
    }
}
