//! Bindings: what an app needs from outside, and what a Target gives for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretReference;

/// Something that the app needs and does not run itself, named by type and not by product. For a binding `db` every
/// container gets `DB_HOST`, `DB_PORT`, `DB_URL` and so on, as far as the Target gives them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// What it is.
    #[serde(rename = "type")]
    pub binding_type: BindingType,
}

/// What a binding is; it decides which keys there are for `${bindings.NAME.KEY}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum BindingType {
    Postgres,
    Mysql,
    Redis,
    Rabbitmq,
    Kafka,
}

impl BindingType {
    /// Every key of any type.
    pub const ANY_KEY: [&str; 6] = ["database", "host", "password", "port", "url", "username"];

    /// As the manifest says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Rabbitmq => "rabbitmq",
            Self::Kafka => "kafka",
        }
    }

    /// The type that the manifest says so.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Postgres, Self::Mysql, Self::Redis, Self::Rabbitmq, Self::Kafka]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }

    /// The keys that a Target may give and `${bindings.NAME.KEY}` may name.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Postgres | Self::Mysql => &["database", "host", "password", "port", "url", "username"],
            Self::Redis | Self::Rabbitmq | Self::Kafka => &["host", "password", "port", "url", "username"],
        }
    }
}

/// One value that a Target gives for a binding's key. Exactly one of `value` and `secret`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BindingValue {
    /// The value itself, when it is no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Where the value is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretReference>,
}
