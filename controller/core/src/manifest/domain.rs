//! Domains: names by which a service is reached from outside.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::grammar;

/// A name of the Internet's by which a service is reached, at its first port that speaks `http`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Domain {
    /// The name, such as `shop.example.com`; `*.example.com` is every name one level below.
    #[schemars(extend("pattern" = grammar::HOST.pattern))]
    pub host: String,
    /// Whether it is reached by `https`: `auto`, with a certificate that the target finds; `none`, by plain `http`.
    #[serde(default)]
    pub tls: Tls,
}

/// Whether a domain is reached by `https`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Tls {
    #[default]
    Auto,
    None,
}
