//! From a 401 to an `Authorization` header: the challenge is parsed, and answered with a password to the registry
//! itself, or with a token from the server that the challenge names (the distribution project's "token
//! authentication", which all registries follow).
//!
//! The realm of a bearer challenge is the registry's word and nobody else's: a hostile registry, or a mirror that was
//! taken over, would collect passwords with it (CVE-2020-15157 and its relatives). It sees credentials only when it is
//! the registry's own origin, or stands in [`KNOWN`] or in the options; otherwise it is asked anonymously.

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;

use super::address::{authority, same_origin};
use super::credentials::{Auth, Secret};
use super::http::Http;
use crate::error::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Registries, as references name them, whose token server is known to live elsewhere.
const KNOWN: [(&str, &str); 2] = [("docker.io", "auth.docker.io"), ("registry.gitlab.com", "gitlab.com")];
const CLIENT_ID: &str = "portolan";

/// One challenge of a `WWW-Authenticate` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

/// What a token server answers.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

/// A question for a token.
pub(super) struct TokenRequest<'a> {
    pub registry: &'a str,
    /// The registry's own URL.
    pub base: &'a Url,
    pub challenge: &'a Challenge,
    /// `repository:NAME:pull,push`, several separated by blanks.
    pub scope: &'a str,
}

impl Http {
    /// The header that answers the challenge, or `None` where we have nothing to answer with.
    pub(super) async fn answer_challenge(&self, request: &TokenRequest<'_>) -> Result<Option<HeaderValue>> {
        let auth = self.credentials().credentials(request.registry).await?;
        match (request.challenge, auth) {
            (_, Some(Auth::Bearer(token))) => bearer(request.registry, token.reveal()).map(Some),
            (Challenge::Basic, Some(Auth::Basic { username, password })) => basic(&username, &password).map(Some),
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer { realm, service }, auth) => {
                let realm = self.realm(request, realm)?;
                let token = self.token(request, realm, service.as_deref(), auth).await?;
                bearer(request.registry, &token).map(Some)
            }
        }
    }

    fn realm(&self, request: &TokenRequest<'_>, realm: &str) -> Result<Url> {
        let malformed = || answer_fault(request.registry, "its token server's address is malformed");
        let url = Url::parse(realm).map_err(|_| malformed())?;
        super::address::check(&url, request.base)?;
        Ok(url)
    }

    async fn token(
        &self,
        request: &TokenRequest<'_>,
        mut realm: Url,
        service: Option<&str>,
        auth: Option<Auth>,
    ) -> Result<String> {
        let trusted = is_trusted(request.registry, request.base, &realm, self.token_servers());
        if auth.is_some() && !trusted {
            let (registry, realm) = (request.registry, authority(&realm));
            tracing::warn!(
                registry,
                realm,
                "the registry names a token server elsewhere, which gets no credentials"
            );
        }
        let client = self.client_for(&realm)?.clone();
        let asked = match auth.filter(|_| trusted) {
            Some(Auth::Identity(token)) => {
                let form = refresh_form(&token, service, request.scope);
                let header = "application/x-www-form-urlencoded";
                client
                    .post(realm)
                    .header(reqwest::header::CONTENT_TYPE, header)
                    .body(form)
            }
            auth => {
                add_question(&mut realm, service, request.scope);
                let asked = client.get(realm);
                match auth {
                    Some(Auth::Basic { username, password }) => {
                        asked.header(AUTHORIZATION, basic(&username, &password)?)
                    }
                    _ => asked,
                }
            }
        };
        self.read_token(request.registry, asked).await
    }

    /// No redirect is followed here: a token server answers itself.
    async fn read_token(&self, registry: &str, asked: reqwest::RequestBuilder) -> Result<String> {
        let answer = self.answer(registry, asked).await?;
        if answer.status() != 200 {
            return Err(answer.refused("get a token").await);
        }
        let bytes = answer.bytes(1 << 20).await?;
        let parsed: Option<TokenAnswer> = serde_json::from_slice(&bytes).ok();
        parsed
            .and_then(|answer| answer.token.or(answer.access_token))
            .filter(|token| !token.is_empty())
            .ok_or_else(|| answer_fault(registry, "its token server gave no token"))
    }
}

/// Whether the realm may see the credentials for `registry`, whose own URL is `base`.
fn is_trusted(registry: &str, base: &Url, realm: &Url, configured: &[(String, String)]) -> bool {
    let server = authority(realm);
    let pair = |name: &str, host: &str| name == registry && host == server;
    same_origin(realm, base)
        || KNOWN.iter().any(|(name, host)| pair(name, host))
        || configured.iter().any(|(name, host)| pair(name, host))
}

/// The first challenge that can be answered; a token is preferred to a password.
pub(super) fn parse_challenges<'a>(headers: impl Iterator<Item = &'a HeaderValue>) -> Option<Challenge> {
    let mut found: Vec<Challenge> = headers
        .filter_map(|header| parse_challenge(header.to_str().ok()?))
        .collect();
    found.sort_by_key(|challenge| matches!(challenge, Challenge::Basic));
    found.into_iter().next()
}

fn parse_challenge(text: &str) -> Option<Challenge> {
    let (scheme, parameters) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let parameters = parse_parameters(parameters)?;
    let value = |name: &str| {
        parameters
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.clone())
    };
    Some(Challenge::Bearer {
        realm: value("realm")?,
        service: value("service"),
    })
}

/// `key="value", key=value` with backslashes inside quotes (RFC 9110, section 11.2).
fn parse_parameters(mut text: &str) -> Option<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    loop {
        text = text.trim_start_matches([' ', ',', '\t']);
        if text.is_empty() {
            return Some(parameters);
        }
        let (key, rest) = text.split_once('=')?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find([',', ' ']).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        parameters.push((key.trim().to_owned(), value));
        text = rest;
    }
}

fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

fn add_question(realm: &mut Url, service: Option<&str>, scope: &str) {
    let mut query = realm.query_pairs_mut();
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    for scope in scope.split(' ') {
        query.append_pair("scope", scope);
    }
    query.append_pair("client_id", CLIENT_ID);
}

fn refresh_form(token: &Secret, service: Option<&str>, scope: &str) -> String {
    // Only for its encoding of a form; the host is never used.
    let mut form = Url::parse("http://form.invalid").expect("a constant URL");
    form.query_pairs_mut()
        .append_pair("grant_type", "refresh_token")
        .append_pair("refresh_token", token.reveal())
        .append_pair("service", service.unwrap_or_default())
        .append_pair("scope", scope)
        .append_pair("client_id", CLIENT_ID);
    form.query().unwrap_or_default().to_owned()
}

fn basic(username: &str, password: &Secret) -> Result<HeaderValue> {
    let encoded = STANDARD.encode(format!("{username}:{}", password.reveal()));
    let mut header = HeaderValue::try_from(format!("Basic {encoded}")).expect("base64 is a header's text");
    header.set_sensitive(true);
    Ok(header)
}

fn bearer(registry: &str, token: &str) -> Result<HeaderValue> {
    let header = HeaderValue::try_from(format!("Bearer {token}"));
    let mut header = header.map_err(|_| answer_fault(registry, "the token holds characters that no header can"))?;
    header.set_sensitive(true);
    Ok(header)
}

fn answer_fault(registry: &str, reason: &str) -> Error {
    Error::RegistryAnswer {
        registry: registry.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_parsed() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.into(),
                service: service.map(str::to_owned),
            })
        };
        for (text, expected) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:x:pull,push\"",
                bearer("https://a/t", Some("s")),
            ),
            (
                "bearer service=s, realm=\"https://a/t\"",
                bearer("https://a/t", Some("s")),
            ),
            ("Bearer realm=\"a\\\"b\"", bearer("a\"b", None)),
            ("Bearer service=\"s\"", None),
            ("Bearer realm=\"open", None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(parse_challenge(text), expected, "{text}");
        }
        let both = [
            HeaderValue::from_static("Basic"),
            HeaderValue::from_static("Bearer realm=\"https://a\""),
        ];
        assert_eq!(
            parse_challenges(both.iter()),
            bearer("https://a", None),
            "a token is preferred"
        );
    }

    #[test]
    fn a_realm_is_trusted_by_origin_or_by_name() {
        let configured = [("r.example".to_owned(), "login.example:8443".to_owned())];
        for (registry, base, realm, expected, reason) in [
            (
                "docker.io",
                "https://registry-1.docker.io",
                "https://auth.docker.io/token",
                true,
                "the known pair",
            ),
            (
                "evil.io",
                "https://evil.io",
                "https://auth.docker.io/token",
                false,
                "the other half of a pair",
            ),
            (
                "docker.io",
                "https://registry-1.docker.io",
                "https://auth.docker.io.evil.io/",
                false,
                "a longer name",
            ),
            (
                "docker.io",
                "https://registry-1.docker.io",
                "https://auth.docker.io:444/",
                false,
                "another port",
            ),
            (
                "r.example",
                "https://r.example",
                "https://r.example:443/t",
                true,
                "its own origin",
            ),
            (
                "r.example",
                "https://r.example",
                "https://r.example:444/t",
                false,
                "another port of its own host",
            ),
            (
                "r.example",
                "https://r.example",
                "https://a.r.example/t",
                false,
                "a name below its own",
            ),
            (
                "r.example",
                "https://r.example",
                "https://login.example:8443/t",
                true,
                "configured",
            ),
            (
                "r.example",
                "https://r.example",
                "https://login.example/t",
                false,
                "configured with a port",
            ),
        ] {
            let (base, realm) = (base.parse().unwrap(), realm.parse().unwrap());
            assert_eq!(is_trusted(registry, &base, &realm, &configured), expected, "{reason}");
        }
    }
}
