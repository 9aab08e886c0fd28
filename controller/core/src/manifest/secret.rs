//! Secrets, which a manifest names and never holds.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::grammar;

/// Where a secret value is found at the target. In an env file: the entry NAME_KEY in capitals, each other character
/// an underscore. In a cluster or a cloud: the key of a secret in its own store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Name of the secret.
    #[schemars(extend("pattern" = grammar::SECRET_NAME.pattern))]
    pub name: String,
    /// Key within the secret; the whole secret if left out (in an env file: the entry NAME).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = grammar::SECRET_KEY.pattern))]
    pub key: Option<String>,
}

impl SecretReference {
    /// The entry of an env file that holds it: `api-key` and `value` make `API_KEY_VALUE`.
    pub fn env_entry(&self) -> String {
        let parts: Vec<&str> = std::iter::once(self.name.as_str()).chain(self.key.as_deref()).collect();
        let upper = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        };
        parts.join("_").chars().map(upper).collect()
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}/{key}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_one_entry_in_an_env_file() {
        let cases = [
            ("api-key", Some("value"), "API_KEY_VALUE", "name and key, in capitals"),
            ("prod/shop/db", None, "PROD_SHOP_DB", "without a key, the name alone"),
            (
                "db",
                Some("user.name"),
                "DB_USER_NAME",
                "other characters become underscores",
            ),
        ];
        for (name, key, expected, reason) in cases {
            let secret = SecretReference {
                name: name.to_string(),
                key: key.map(str::to_string),
            };
            assert_eq!(secret.env_entry(), expected, "{reason}");
        }
    }
}
