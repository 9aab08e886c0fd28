//! The requests that an app becomes, as Amazon's APIs name their members; what may be known late stands open in them.
//!
//! Only members that something here says: what a request leaves out has Amazon's default.

pub mod around;
pub mod service;
pub mod task;

use std::collections::BTreeMap;

use portolan_core::resource::{KnownAfter, Open, ResourceId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A value, or why it is open.
#[derive(Clone, Debug, PartialEq)]
pub enum Late<T> {
    Known(T),
    Open(Open),
}

impl<T> Late<T> {
    /// An output of another resource.
    pub fn output(resource: ResourceId, output: &str) -> Self {
        let output = output.to_string();
        Self::Open(Open::Ref { resource, output })
    }

    pub fn after_build() -> Self {
        Self::Open(Open::Unknown(KnownAfter::AfterBuild))
    }

    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Open(_) => None,
        }
    }
}

impl From<&str> for Late<String> {
    fn from(text: &str) -> Self {
        Self::Known(text.to_string())
    }
}

impl From<String> for Late<String> {
    fn from(text: String) -> Self {
        Self::Known(text)
    }
}

impl<T: Serialize> Serialize for Late<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Known(value) => value.serialize(serializer),
            Self::Open(open) => open.clone().into_value().serialize(serializer),
        }
    }
}

impl<'de, T: for<'a> Deserialize<'a>> Deserialize<'de> for Late<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match Open::of(&value) {
            Some(open) => Ok(Self::Open(open)),
            None => serde_json::from_value(value)
                .map(Self::Known)
                .map_err(serde::de::Error::custom),
        }
    }
}

/// A tag, as ECS spells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    pub key: String,
    pub value: Late<String>,
}

/// A tag, as all others spell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CapitalTag {
    pub key: String,
    pub value: Late<String>,
}

impl Eq for Late<String> {}

/// Tags by their keys, before any API spells them.
pub type Tags = BTreeMap<String, Late<String>>;

/// As ECS takes them.
pub fn tags(tags: &Tags) -> Vec<Tag> {
    let tag = |(key, value): (&String, &Late<String>)| Tag {
        key: key.clone(),
        value: value.clone(),
    };
    tags.iter().map(tag).collect()
}

/// As all others take them.
pub fn capital_tags(tags: &Tags) -> Vec<CapitalTag> {
    let tag = |(key, value): (&String, &Late<String>)| CapitalTag {
        key: key.clone(),
        value: value.clone(),
    };
    tags.iter().map(tag).collect()
}
