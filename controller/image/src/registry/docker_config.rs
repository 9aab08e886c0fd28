//! Credentials as `docker login` keeps them: `config.json` in `$DOCKER_CONFIG` or `~/.docker`, with passwords in it
//! or in the keeping of a helper program (`docker-credential-NAME`).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::credentials::{Auth, Credentials, Secret};
use crate::error::{Error, Result};

/// The key under which Docker Hub's credentials are kept, for reasons of history.
const HUB_KEY: &str = "https://index.docker.io/v1/";
const MAX_FILE: u64 = 1 << 20;
const MAX_ANSWER: u64 = 64 << 10;
const HELPER_TIME: Duration = Duration::from_secs(60);

/// The credentials of one configuration folder, read anew for each question: a login in between counts.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    folder: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    auths: BTreeMap<String, Entry>,
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

/// What a helper answers to `get`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

impl DockerConfig {
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The user's own: `$DOCKER_CONFIG`, or `~/.docker`. `None` without either.
    pub fn of_user() -> Option<Self> {
        let named = std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty());
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker"));
        named.map(PathBuf::from).or_else(home).map(Self::new)
    }

    fn read(&self) -> Result<File> {
        let path = self.folder.join("config.json");
        let bytes = match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(File::default()),
            Ok(found) if found.len() > MAX_FILE => Err(io::Error::other("it is larger than 1 MiB")),
            _ => std::fs::read(&path),
        }
        .map_err(Error::file("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|error| Error::file("read", path)(io::Error::from(error)))
    }
}

#[async_trait]
impl Credentials for DockerConfig {
    async fn credentials(&self, registry: &str) -> Result<Option<Auth>> {
        let file = self.read()?;
        let helper = lookup(&file.cred_helpers, registry).cloned();
        let helper = helper
            .or_else(|| Some(file.creds_store.clone()))
            .filter(|name| !name.is_empty());
        if let Some(helper) = helper
            && let Some(auth) = ask_helper(&helper, registry).await?
        {
            return Ok(Some(auth));
        }
        lookup(&file.auths, registry).map_or(Ok(None), |entry| entry.auth(registry))
    }
}

impl Entry {
    fn auth(&self, registry: &str) -> Result<Option<Auth>> {
        if !self.registrytoken.is_empty() {
            return Ok(Some(Auth::Bearer(Secret::new(&self.registrytoken))));
        }
        if !self.identitytoken.is_empty() {
            return Ok(Some(Auth::Identity(Secret::new(&self.identitytoken))));
        }
        if !self.auth.is_empty() {
            return decode(&self.auth).map(Some).ok_or_else(|| Error::CredentialsMalformed {
                registry: registry.to_owned(),
            });
        }
        let password = Secret::new(&self.password);
        Ok((!self.username.is_empty()).then(|| Auth::Basic {
            username: self.username.clone(),
            password,
        }))
    }
}

/// base64 of `username:password`; a NUL may follow.
fn decode(auth: &str) -> Option<Auth> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.trim_end_matches('\0').split_once(':')?;
    Some(Auth::Basic {
        username: username.to_owned(),
        password: Secret::new(password),
    })
}

/// Keys may be a bare registry or a URL; `index.docker.io` and its relatives are `docker.io`.
fn lookup<'a, T>(entries: &'a BTreeMap<String, T>, registry: &str) -> Option<&'a T> {
    entries.get(registry).or_else(|| {
        entries
            .iter()
            .find(|(key, _)| bare(key) == registry)
            .map(|(_, entry)| entry)
    })
}

fn bare(key: &str) -> &str {
    let host = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    match host.split('/').next().unwrap_or_default() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    }
}

async fn ask_helper(helper: &str, registry: &str) -> Result<Option<Auth>> {
    let failed = |reason: String| Error::CredentialHelper {
        helper: helper.to_owned(),
        reason,
    };
    // The name becomes a part of a program's name.
    if !helper
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    {
        return Err(failed("it has no plain name".to_owned()));
    }
    let key = if registry == "docker.io" { HUB_KEY } else { registry };
    let (success, answer) = tokio::time::timeout(HELPER_TIME, run_helper(helper, key))
        .await
        .map_err(|_| failed(format!("it has not answered within {HELPER_TIME:?}")))?
        .map_err(|error| failed(error.to_string()))?;
    if !success {
        // The helpers' protocol has only words for "none".
        return match answer.contains("credentials not found") {
            true => Ok(None),
            false => Err(failed("it has ended with an error".to_owned())),
        };
    }
    let answer: HelperAnswer =
        serde_json::from_str(&answer).map_err(|_| failed("its answer is not the JSON expected of it".to_owned()))?;
    let secret = Secret::new(answer.secret);
    Ok(Some(match answer.username.as_str() {
        "<token>" => Auth::Identity(secret),
        _ => Auth::Basic {
            username: answer.username,
            password: secret,
        },
    }))
}

/// Whether it succeeded, and what it wrote.
async fn run_helper(helper: &str, key: &str) -> io::Result<(bool, String)> {
    let mut child = Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(key.as_bytes()).await?;
    }
    let mut answer = String::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_ANSWER).read_to_string(&mut answer).await?;
    }
    Ok((child.wait().await?.success(), answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> (tempfile::TempDir, DockerConfig) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        let config = DockerConfig::new(folder.path());
        (folder, config)
    }

    #[tokio::test]
    async fn entries_are_found_under_their_many_names() {
        let (_folder, config) = config(
            r#"{"auths":{
                "https://index.docker.io/v1/":{"auth":"dTpw"},
                "localhost:5000":{"username":"a","password":"b"},
                "https://r.example":{"identitytoken":"i"},
                "t.example":{"registrytoken":"t"},
                "broken.example":{"auth":"!!"}
            }}"#,
        );
        let basic = |username: &str, password: &str| Auth::Basic {
            username: username.into(),
            password: Secret::new(password),
        };
        for (registry, expected) in [
            ("docker.io", Some(basic("u", "p"))),
            ("localhost:5000", Some(basic("a", "b"))),
            ("r.example", Some(Auth::Identity(Secret::new("i")))),
            ("t.example", Some(Auth::Bearer(Secret::new("t")))),
            ("localhost", None),
            ("example", None),
        ] {
            assert_eq!(config.credentials(registry).await.unwrap(), expected, "{registry}");
        }
        assert!(config.credentials("broken.example").await.is_err());
        assert_eq!(
            format!("{:?}", basic("u", "p")),
            "Basic { username: \"u\", password: *** }"
        );
    }

    #[tokio::test]
    async fn helpers_have_plain_names_and_a_missing_file_is_no_fault() {
        let (_folder, config) = config(r#"{"credHelpers":{"r.example":"../../bin/evil"}}"#);
        assert!(
            config
                .credentials("r.example")
                .await
                .unwrap_err()
                .to_string()
                .contains("evil")
        );
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(
            DockerConfig::new(empty.path()).credentials("r.example").await.unwrap(),
            None
        );
    }
}
