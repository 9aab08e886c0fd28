//! One request to a registry, with what belongs to it: the check of every address, redirects followed by hand,
//! credentials for the registry's own origin alone, and one answer to one challenge.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use portolan_core::reference::{DEFAULT_REGISTRY, ImageReference};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Body, Client, Method, Url, redirect};

use super::ClientOptions;
use super::address::{self, CheckedDns, is_loopback_host, same_origin};
use super::answer::Answer;
use super::auth::{TokenRequest, parse_challenges};
use super::credentials::Credentials;
use crate::error::{Error, Result};

const MAX_REDIRECTS: usize = 5;

/// The connections, and what is known of each registry.
pub(super) struct Http {
    /// For this machine, which no proxy can reach.
    loopback: Client,
    /// For registries named insecure, through the proxy of the environment if there is one.
    plain: Client,
    /// For everything else; made when it is first needed, because a machine without root certificates can have none.
    tls: OnceLock<Client>,
    credentials: Arc<dyn Credentials>,
    options: ClientOptions,
    /// The last good `Authorization` for a registry and a scope.
    tokens: Mutex<HashMap<(String, String), HeaderValue>>,
}

/// A request below `/v2/NAME/` of a registry, or to an address that it gave.
pub(super) struct Request {
    method: Method,
    registry: String,
    scope: String,
    target: Target,
    headers: HeaderMap,
    /// Small enough to be sent again when the first time was refused.
    document: Option<bytes::Bytes>,
}

enum Target {
    /// Path below `/v2/`, and a query.
    Path(String, Vec<(&'static str, String)>),
    Url(Url),
}

impl Request {
    pub(super) fn new(method: Method, reference: &ImageReference, below: &str) -> Self {
        let path = format!("{}/{below}", reference.repository());
        let scope = format!("repository:{}:pull", reference.repository());
        let registry = reference.registry().to_owned();
        Self {
            method,
            registry,
            scope,
            target: Target::Path(path, Vec::new()),
            headers: HeaderMap::new(),
            document: None,
        }
    }

    pub(super) fn document(mut self, bytes: Vec<u8>) -> Self {
        self.document = Some(bytes.into());
        self
    }

    /// With the right to push; and, for a mount, to pull from another repository.
    pub(super) fn pushing(mut self, mount_from: Option<&str>) -> Self {
        self.scope.push_str(",push");
        if let Some(other) = mount_from {
            self.scope.push_str(&format!(" repository:{other}:pull"));
        }
        self
    }

    pub(super) fn at(mut self, url: Url) -> Self {
        self.target = Target::Url(url);
        self
    }

    pub(super) fn query(mut self, name: &'static str, value: &str) -> Self {
        if let Target::Path(_, query) = &mut self.target {
            query.push((name, value.to_owned()));
        }
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.insert(name, value);
        }
        self
    }

    fn url(&self, base: &Url) -> Result<Url> {
        match &self.target {
            Target::Url(url) => Ok(url.clone()),
            Target::Path(path, query) => {
                let mut url = base
                    .join(&format!("/v2/{path}"))
                    .map_err(|_| malformed(&self.registry))?;
                if !query.is_empty() {
                    url.query_pairs_mut().extend_pairs(query);
                }
                Ok(url)
            }
        }
    }
}

impl Http {
    pub(super) fn new(credentials: Arc<dyn Credentials>, options: ClientOptions) -> Result<Self> {
        // An error means that the program has chosen a provider already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let failed = |source| Error::HttpClient { source };
        let loopback = builder().no_proxy().tls_certs_only([]).build().map_err(failed)?;
        let plain = builder().tls_certs_only([]).build().map_err(failed)?;
        Ok(Self {
            loopback,
            plain,
            tls: OnceLock::new(),
            credentials,
            options,
            tokens: Mutex::default(),
        })
    }

    pub(super) fn credentials(&self) -> &dyn Credentials {
        self.credentials.as_ref()
    }

    pub(super) fn token_servers(&self) -> &[(String, String)] {
        &self.options.token_servers
    }

    pub(super) fn client_for(&self, url: &Url) -> Result<&Client> {
        if is_loopback_host(url.host_str().unwrap_or_default()) {
            return Ok(&self.loopback);
        }
        if url.scheme() == "http" {
            return Ok(&self.plain);
        }
        match self.tls.get() {
            Some(client) => Ok(client),
            None => {
                let client = builder().build().map_err(|source| Error::HttpClient { source })?;
                Ok(self.tls.get_or_init(|| client))
            }
        }
    }

    /// Sends a request with a small body or none. Redirects are followed; a challenge is answered once.
    pub(super) async fn send(&self, request: Request) -> Result<Answer> {
        let base = self.base(&request.registry)?;
        let first = self.follow(&request, &base, self.known_token(&request)).await?;
        if first.status() != 401 {
            return Ok(first);
        }
        let Some(header) = self.new_token(&request, &base, &first).await? else {
            return Ok(first);
        };
        self.follow(&request, &base, Some(header)).await
    }

    /// Sends a request whose body can be sent only once: to one address, with the token that is known already.
    pub(super) async fn send_body(&self, request: Request, length: u64, body: Body) -> Result<Answer> {
        let base = self.base(&request.registry)?;
        let url = request.url(&base)?;
        address::check(&url, &base)?;
        let mut builder = self.client_for(&url)?.request(request.method.clone(), url.clone());
        builder = builder
            .headers(request.headers.clone())
            .header(CONTENT_LENGTH, length)
            .body(body);
        if same_origin(&url, &base)
            && let Some(token) = self.known_token(&request)
        {
            builder = builder.header(AUTHORIZATION, token);
        }
        self.answer(&request.registry, builder).await
    }

    /// The address that an answer's Location gives, checked when it is used.
    pub(super) fn location(&self, answer: &Answer) -> Result<Url> {
        let text = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let url = text.and_then(|text| answer.url().join(text).ok());
        url.ok_or_else(|| Error::RegistryAnswer {
            registry: answer.registry().to_owned(),
            reason: "it names no usable Location".to_owned(),
        })
    }

    pub(super) async fn answer(&self, registry: &str, builder: reqwest::RequestBuilder) -> Result<Answer> {
        let unreachable = |error: reqwest::Error| Error::RegistryUnreachable {
            registry: registry.to_owned(),
            // A URL may carry a signature that is as good as a password.
            source: error.without_url(),
        };
        let response = builder.send().await.map_err(unreachable)?;
        Ok(Answer::new(registry, response))
    }

    async fn follow(&self, request: &Request, base: &Url, token: Option<HeaderValue>) -> Result<Answer> {
        let mut url = request.url(base)?;
        for _ in 0..=MAX_REDIRECTS {
            address::check(&url, base)?;
            let mut builder = self.client_for(&url)?.request(request.method.clone(), url.clone());
            builder = builder.headers(request.headers.clone());
            if let Some(document) = request.document.clone() {
                builder = builder.body(document);
            }
            if let Some(token) = token.clone().filter(|_| same_origin(&url, base)) {
                builder = builder.header(AUTHORIZATION, token);
            }
            let answer = self.answer(&request.registry, builder).await?;
            let is_redirect = matches!(answer.status(), 301 | 302 | 303 | 307 | 308);
            if !is_redirect || !matches!(request.method, Method::GET | Method::HEAD) {
                return Ok(answer);
            }
            url = self.location(&answer)?;
        }
        Err(Error::RegistryAnswer {
            registry: request.registry.clone(),
            reason: "it redirects without end".to_owned(),
        })
    }

    fn known_token(&self, request: &Request) -> Option<HeaderValue> {
        let key = (request.registry.clone(), request.scope.clone());
        self.tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned()
    }

    /// Only a challenge of the registry itself is answered; storage that it redirects to has none to make.
    async fn new_token(&self, request: &Request, base: &Url, refused: &Answer) -> Result<Option<HeaderValue>> {
        if !same_origin(refused.url(), base) {
            return Ok(None);
        }
        let Some(challenge) = parse_challenges(refused.headers().get_all(WWW_AUTHENTICATE).iter()) else {
            return Ok(None);
        };
        let question = TokenRequest {
            registry: &request.registry,
            base,
            challenge: &challenge,
            scope: &request.scope,
        };
        let header = self.answer_challenge(&question).await?;
        if let Some(header) = &header {
            let key = (request.registry.clone(), request.scope.clone());
            self.tokens
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(key, header.clone());
        }
        Ok(header)
    }

    /// The registry's own URL. Docker Hub's API has a host of its own.
    fn base(&self, registry: &str) -> Result<Url> {
        let host = if registry == DEFAULT_REGISTRY {
            "registry-1.docker.io"
        } else {
            registry
        };
        let name = host
            .rsplit_once(':')
            .map_or(host, |(name, port)| match port.ends_with(']') {
                true => host,
                false => name,
            });
        let plain = is_loopback_host(name) || self.options.insecure.iter().any(|insecure| insecure == registry);
        let scheme = if plain { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{host}/")).map_err(|_| malformed(registry))
    }
}

fn builder() -> reqwest::ClientBuilder {
    Client::builder()
        .user_agent(concat!("portolan/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(Duration::from_secs(30))
        // Silence in the middle of an answer, not the answer as a whole.
        .read_timeout(Duration::from_secs(60))
        .dns_resolver(Arc::new(CheckedDns))
}

fn malformed(registry: &str) -> Error {
    Error::RegistryAnswer {
        registry: registry.to_owned(),
        reason: "its address is malformed".to_owned(),
    }
}
