//! Quantities as Kubernetes writes them: `500m` of a processor, `256Mi` of memory.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::grammar::{self, Grammar};
use super::limits;

/// Processor time in thousandths of a core. Its text reads back as the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuQuantity(u64);

/// A size in bytes. Its text reads back as the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteQuantity(u64);

/// A text that is no quantity, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    #[error("it is not a number with one of the units {0}")]
    Grammar(&'static str),
    #[error("it is finer than {0}")]
    TooFine(&'static str),
    #[error("it is more than any machine has")]
    TooLarge,
    #[error("it is nothing")]
    Zero,
}

/// A million cores.
const MAX_MILLICORES: u64 = 1_000_000_000;

/// What an `i64` holds, since platforms count bytes in one.
const MAX_BYTES: u64 = i64::MAX as u64;

const BYTE_UNITS: [(&str, u64); 13] = [
    ("Ei", 1 << 60),
    ("Pi", 1 << 50),
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("E", 1_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1000),
    ("", 1),
];

impl CpuQuantity {
    pub const fn from_millicores(millicores: u64) -> Self {
        Self(millicores)
    }

    pub const fn millicores(self) -> u64 {
        self.0
    }
}

impl ByteQuantity {
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for CpuQuantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = InvalidQuantity::Grammar("`m` or none");
        let (number, scale) = text.strip_suffix('m').map_or((text, 1000), |number| (number, 1));
        let value = scaled(number, scale).ok_or(unknown)?;
        value.within(MAX_MILLICORES, "a thousandth of a core").map(Self)
    }
}

impl FromStr for ByteQuantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = InvalidQuantity::Grammar("`k`, `M`, `G`, `T`, `Ki`, `Mi`, `Gi`, `Ti` or none");
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let (_, scale) = BYTE_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| unknown.clone())?;
        let value = scaled(number, *scale).ok_or(unknown)?;
        value.within(MAX_BYTES, "one byte").map(Self)
    }
}

/// A decimal number times a unit, exactly.
enum Scaled {
    Whole(u128),
    Fraction,
    Overflow,
}

impl Scaled {
    fn within(self, max: u64, finest: &'static str) -> Result<u64, InvalidQuantity> {
        match self {
            Self::Fraction => Err(InvalidQuantity::TooFine(finest)),
            Self::Whole(0) => Err(InvalidQuantity::Zero),
            Self::Whole(value) if value <= u128::from(max) => Ok(value as u64),
            Self::Whole(_) | Self::Overflow => Err(InvalidQuantity::TooLarge),
        }
    }
}

/// `None` when `number` is not digits with at most one point between them.
fn scaled(number: &str, scale: u64) -> Option<Scaled> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let Some(tens) = u32::try_from(fraction.len())
        .ok()
        .and_then(|places| 10_u128.checked_pow(places))
    else {
        return Some(Scaled::Fraction);
    };
    let value = format!("{whole}{fraction}")
        .parse::<u128>()
        .ok()
        .and_then(|v| v.checked_mul(u128::from(scale)));
    Some(match value {
        None => Scaled::Overflow,
        Some(value) if value % tens != 0 => Scaled::Fraction,
        Some(value) => Scaled::Whole(value / tens),
    })
}

impl fmt::Display for CpuQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1000 {
            0 => write!(f, "{}", self.0 / 1000),
            _ => write!(f, "{}m", self.0),
        }
    }
}

impl fmt::Display for ByteQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, scale): &&(&str, u64)| self.0 >= *scale && self.0.is_multiple_of(*scale);
        let (unit, scale) = BYTE_UNITS.iter().find(fits).unwrap_or(&("", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

/// A quantity is a whole number or a text, as in Kubernetes: its schema says `x-kubernetes-int-or-string`.
fn int_or_string(grammar: &Grammar) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{ "type": "integer" }, { "type": "string" }],
        "pattern": grammar.pattern,
        "maxLength": limits::SHORT_TEXT,
    })
}

struct QuantityVisitor<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = InvalidQuantity>> Visitor<'_> for QuantityVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, or a number with a unit")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse()
            .map_err(|reason| E::custom(format_args!("`{text}` is no quantity: {reason}")))
    }
}

macro_rules! text_of_a_quantity {
    ($type:ident, $name:literal, $grammar:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(QuantityVisitor(std::marker::PhantomData))
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                int_or_string(&$grammar)
            }

            fn inline_schema() -> bool {
                true
            }
        }
    };
}

text_of_a_quantity!(CpuQuantity, "CpuQuantity", grammar::CPU);
text_of_a_quantity!(ByteQuantity, "ByteQuantity", grammar::BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_in_thousandths() {
        let cases = [
            ("500m", Ok(500), "thousandths"),
            ("2", Ok(2000), "whole cores"),
            ("0.5", Ok(500), "a part of a core"),
            ("1.250", Ok(1250), "trailing zeros are nothing"),
            (
                "0.0005",
                Err(InvalidQuantity::TooFine("a thousandth of a core")),
                "finer than a thousandth",
            ),
            (
                "0.5m",
                Err(InvalidQuantity::TooFine("a thousandth of a core")),
                "finer than a thousandth",
            ),
            ("0", Err(InvalidQuantity::Zero), "a limit of nothing is a mistake"),
            (
                "9999999999",
                Err(InvalidQuantity::TooLarge),
                "more than a million cores",
            ),
            ("1e3", Err(InvalidQuantity::Grammar("`m` or none")), "no exponent"),
            ("-1", Err(InvalidQuantity::Grammar("`m` or none")), "no sign"),
            (
                ".5",
                Err(InvalidQuantity::Grammar("`m` or none")),
                "a digit before the point",
            ),
            (
                "500Mi",
                Err(InvalidQuantity::Grammar("`m` or none")),
                "a unit of memory",
            ),
        ];
        for (text, expected, reason) in cases {
            assert_eq!(text.parse().map(CpuQuantity::millicores), expected, "{text}: {reason}");
        }
    }

    #[test]
    fn sizes_are_in_whole_bytes() {
        const UNITS: &str = "`k`, `M`, `G`, `T`, `Ki`, `Mi`, `Gi`, `Ti` or none";
        let cases = [
            ("256Mi", Ok(256 << 20), "powers of two"),
            ("1G", Ok(1_000_000_000), "powers of ten"),
            ("1.5Gi", Ok(3 << 29), "a part that is a whole number of bytes"),
            ("1024", Ok(1024), "plain bytes"),
            ("7Ei", Ok(7 << 60), "the largest unit"),
            ("8Ei", Err(InvalidQuantity::TooLarge), "more than 63 bits"),
            ("0.1Ki", Err(InvalidQuantity::TooFine("one byte")), "102.4 bytes"),
            ("256mb", Err(InvalidQuantity::Grammar(UNITS)), "not a unit"),
            ("1 Gi", Err(InvalidQuantity::Grammar(UNITS)), "no space"),
            ("", Err(InvalidQuantity::Grammar(UNITS)), "an empty text"),
            ("1.2.3", Err(InvalidQuantity::Grammar(UNITS)), "one point at most"),
            ("0Mi", Err(InvalidQuantity::Zero), "a size of nothing is a mistake"),
        ];
        for (text, expected, reason) in cases {
            assert_eq!(text.parse().map(ByteQuantity::bytes), expected, "{text}: {reason}");
        }
        let long = format!("0.{}", "3".repeat(100_000));
        assert_eq!(long.parse::<ByteQuantity>(), Err(InvalidQuantity::TooFine("one byte")));
    }

    #[test]
    fn a_printed_quantity_reads_back_the_same() {
        for value in [
            1,
            999,
            1000,
            1024,
            1500,
            1536,
            4096,
            1_000_000,
            3 << 29,
            1 << 60,
            MAX_BYTES,
        ] {
            let size = ByteQuantity::from_bytes(value);
            assert_eq!(size.to_string().parse(), Ok(size), "{size}");
        }
        for value in [1, 250, 1000, 1001, MAX_MILLICORES] {
            let cpu = CpuQuantity::from_millicores(value);
            assert_eq!(cpu.to_string().parse(), Ok(cpu), "{cpu}");
        }
    }
}
