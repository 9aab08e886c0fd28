//! Image references and digests: the two names an image has. A *reference* (`docker.io/library/debian:12`) is what
//! people write and may move; a *digest* (`sha256:…`) is the identity of bytes and never does.
//!
//! The grammar is that of the OCI distribution specification and of its reference implementation, including the
//! customary short forms: no registry means `docker.io`, a single path component there means `library/…`, neither
//! tag nor digest means `latest`. Parsing is total: any text gives a reference or an [`InvalidReference`] that says
//! which part is wrong. Nothing here does I/O.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The registry that a reference without one means.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// Stands where a registry's name would for what is built or imported on a machine and pushed nowhere.
const LOCAL_ONLY: &str = "portolan.local";
/// The tag that a reference with neither tag nor digest means.
pub const DEFAULT_TAG: &str = "latest";
/// Longest `registry/repository`, as in the reference implementation.
const MAX_NAME: usize = 255;
/// Longest tag (OCI distribution specification, "Pulling manifests").
const MAX_TAG: usize = 128;

/// A parsed and normalised image reference: registry, repository, and a tag, a digest, or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// The identity of a sequence of bytes: `sha256:<64 hex>` or `sha512:<128 hex>`, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

/// The hash functions a digest may use (OCI image specification, "Registered algorithms").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

/// Why a text is no image reference or digest. `text` is the whole input, shortened when it is very long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidReference {
    pub text: String,
    pub reason: String,
}

impl ImageReference {
    /// Parses `[registry/]repository[:tag][@digest]` and fills in what the short forms leave out.
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        parse_reference(text).map_err(|reason| InvalidReference {
            text: shorten(text),
            reason,
        })
    }

    /// Whether it is of the store of this machine alone: no registry is called so, and none is asked.
    pub fn is_local_only(&self) -> bool {
        self.registry() == LOCAL_ONLY
    }

    /// Host and optional port, in lower case: `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path inside the registry: `library/debian`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if there is one; present whenever there is no digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if the reference is pinned.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// `registry/repository`, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same reference pinned to `digest`; a tag stays as a reminder of where it came from.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The same repository under another tag, unpinned.
    pub fn with_tag(&self, tag: &str) -> Result<Self, InvalidReference> {
        let problem = |reason| InvalidReference {
            text: shorten(tag),
            reason,
        };
        check_tag(tag).map_err(problem)?;
        Ok(Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// The shortest text that parses to the same reference, for people: `debian:12`.
    pub fn familiar(&self) -> String {
        let name = match self.registry.as_str() {
            DEFAULT_REGISTRY => self
                .repository
                .strip_prefix("library/")
                .unwrap_or(&self.repository)
                .to_owned(),
            _ => self.name(),
        };
        format!("{name}{}", self.suffix())
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self
            .digest
            .as_ref()
            .map(|digest| format!("@{digest}"))
            .unwrap_or_default();
        tag + &digest
    }
}

impl Digest {
    /// Parses `algorithm:hex`; the length must fit the algorithm and the digits be lower case.
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        parse_digest(text).map_err(|reason| InvalidReference {
            text: shorten(text),
            reason,
        })
    }

    /// The digest whose hash value is `bytes`; `None` when the length does not fit the algorithm.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        (bytes.len() * 2 == algorithm.hex_len()).then(|| Self {
            algorithm,
            hex: hex_of(bytes),
        })
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hash value in lower-case hexadecimal; safe as a file name.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve digits, for people.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }
}

impl Algorithm {
    /// `sha256` or `sha512`; safe as a file name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

fn parse_reference(text: &str) -> Result<ImageReference, String> {
    if text.is_empty() {
        return Err("the reference is empty".into());
    }
    if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(format!("{odd:?} cannot be part of a reference"));
    }
    if text.contains("://") {
        return Err("a reference has no scheme such as https://".into());
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(parse_digest(digest)?)),
        None => (text, None),
    };
    let (name, tag) = split_tag(rest);
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let (registry, repository) = split_name(name)?;
    let tag = tag.or(if digest.is_none() { Some(DEFAULT_TAG) } else { None });
    Ok(ImageReference {
        registry,
        repository,
        tag: tag.map(str::to_owned),
        digest,
    })
}

/// A colon is a tag's only after the last slash; before it, it is a port's.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !tag.ends_with(']') => (name, Some(tag)),
        _ => (text, None),
    }
}

/// Splits and normalises the name. The first component is a registry when it looks like a host.
fn split_name(name: &str) -> Result<(String, String), String> {
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if looks_like_host(first) => (first.to_ascii_lowercase(), rest.to_owned()),
        _ => (DEFAULT_REGISTRY.to_owned(), name.to_owned()),
    };
    check_host(&registry)?;
    let registry = if registry == "index.docker.io" {
        DEFAULT_REGISTRY.to_owned()
    } else {
        registry
    };
    check_repository(&repository)?;
    let repository = match registry == DEFAULT_REGISTRY && !repository.contains('/') {
        true => format!("library/{repository}"),
        false => repository,
    };
    if registry.len() + 1 + repository.len() > MAX_NAME {
        return Err(format!(
            "registry and repository together are longer than {MAX_NAME} characters"
        ));
    }
    Ok((registry, repository))
}

fn looks_like_host(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':', '[']) || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn check_host(registry: &str) -> Result<(), String> {
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest
                .split_once(']')
                .ok_or("the registry's IPv6 address lacks its closing ]")?;
            address
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| format!("{address:?} is no IPv6 address of a registry"))?;
            match after.strip_prefix(':') {
                Some(port) => (None, Some(port)),
                None if after.is_empty() => (None, None),
                None => return Err("only a port may follow the registry's IPv6 address".into()),
            }
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(registry), None),
        },
    };
    if let Some(port) = port {
        let plain = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        if !plain || port.parse::<u16>().map_or(true, |port| port == 0) {
            return Err(format!("{port:?} is no port of a registry"));
        }
    }
    match host {
        Some(host) if !host.split('.').all(is_host_label) => Err(format!("{host:?} is no host name of a registry")),
        _ => Ok(()),
    }
}

fn is_host_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn check_repository(repository: &str) -> Result<(), String> {
    if repository.is_empty() {
        return Err("the repository is missing".into());
    }
    if repository.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(format!("the repository {repository:?} must be in lower case"));
    }
    if repository.len() == 64 && repository.bytes().all(is_lower_hex) {
        return Err("64 hexadecimal digits are an image id, not a repository".into());
    }
    match repository.split('/').find(|part| !is_path_component(part)) {
        Some("") => Err("the repository has an empty component".into()),
        Some(part) => Err(format!("{part:?} is no component of a repository")),
        None => Ok(()),
    }
}

/// `[a-z0-9]+` groups, joined by one of `.`, `_`, `__` or any number of `-`.
fn is_path_component(part: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = part.as_bytes();
    loop {
        let length = rest.iter().take_while(|b| word(**b)).count();
        if length == 0 {
            return false;
        }
        rest = &rest[length..];
        if rest.is_empty() {
            return true;
        }
        let separator = rest.iter().take_while(|b| !word(**b)).count();
        let known = matches!(&rest[..separator], b"." | b"_" | b"__") || rest[..separator].iter().all(|b| *b == b'-');
        if !known {
            return false;
        }
        rest = &rest[separator..];
    }
}

fn check_tag(tag: &str) -> Result<(), String> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    match tag.as_bytes() {
        [] => Err("the tag after the colon is empty".into()),
        [b'.' | b'-', ..] => Err(format!("the tag {tag:?} must not begin with a dot or a dash")),
        bytes if bytes.len() > MAX_TAG => Err(format!("the tag is longer than {MAX_TAG} characters")),
        bytes if !bytes.iter().all(|b| inner(*b)) => Err(format!("{tag:?} is no tag")),
        _ => Ok(()),
    }
}

fn parse_digest(text: &str) -> Result<Digest, String> {
    let (name, hex) = text.split_once(':').ok_or("a digest is written sha256:…")?;
    let algorithm = match name {
        "sha256" => Algorithm::Sha256,
        "sha512" => Algorithm::Sha512,
        _ => return Err(format!("the digest algorithm {name:?} is neither sha256 nor sha512")),
    };
    if hex.len() != algorithm.hex_len() {
        return Err(format!(
            "a {name} digest has {} digits, not {}",
            algorithm.hex_len(),
            hex.len()
        ));
    }
    if !hex.bytes().all(is_lower_hex) {
        return Err("a digest consists of the digits 0-9 and a-f".into());
    }
    Ok(Digest {
        algorithm,
        hex: hex.to_owned(),
    })
}

fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

fn hex_of(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS[usize::from(nibble)] as char;
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.repository, self.suffix())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl fmt::Display for InvalidReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid image reference {:?}: {}", self.text, self.reason)
    }
}

impl std::error::Error for InvalidReference {}

impl FromStr for ImageReference {
    type Err = InvalidReference;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl FromStr for Digest {
    type Err = InvalidReference;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for ImageReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageReference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn references_are_normalised() {
        let pinned = format!("docker.io/library/debian@sha256:{HEX}");
        let both = format!("ghcr.io/a/b:v1@sha256:{HEX}");
        for (text, expected, reason) in [
            (
                "debian",
                "docker.io/library/debian:latest",
                "no registry, namespace or tag",
            ),
            ("debian:12", "docker.io/library/debian:12", "a tag alone"),
            (
                "portolan/shop",
                "docker.io/portolan/shop:latest",
                "a namespace is no host",
            ),
            (
                "index.docker.io/debian",
                "docker.io/library/debian:latest",
                "the old name of the default registry",
            ),
            (
                "localhost/shop",
                "localhost/shop:latest",
                "localhost is a host without a dot",
            ),
            ("localhost:5000/shop", "localhost:5000/shop:latest", "a port is no tag"),
            (
                "LOCALHOST:5000/shop:A",
                "localhost:5000/shop:A",
                "hosts have no case, tags do",
            ),
            (
                "[::1]:5000/shop",
                "[::1]:5000/shop:latest",
                "an IPv6 registry with a port",
            ),
            ("[::1]/shop", "[::1]/shop:latest", "an IPv6 registry without a port"),
            ("10.0.0.1/a/b/c:x", "10.0.0.1/a/b/c:x", "an IPv4 registry, a deep path"),
            ("a--b__c.d_e", "docker.io/library/a--b__c.d_e:latest", "every separator"),
            (&format!("debian@sha256:{HEX}"), &pinned, "pinned: no tag is invented"),
            (&both, &both, "tag and digest are both kept"),
        ] {
            let parsed = ImageReference::parse(text).unwrap_or_else(|error| panic!("{reason}: {error}"));
            assert_eq!(parsed.to_string(), expected, "{reason}");
            assert_eq!(
                ImageReference::parse(&parsed.to_string()).as_ref(),
                Ok(&parsed),
                "stable: {reason}"
            );
            assert_eq!(
                ImageReference::parse(&parsed.familiar()).as_ref(),
                Ok(&parsed),
                "familiar: {reason}"
            );
        }
    }

    #[test]
    fn wrong_references_say_which_part_is_wrong() {
        let long_tag = format!("a:{}", "t".repeat(129));
        let long_name = format!("a/{}", "n".repeat(300));
        for (text, part, reason) in [
            ("", "empty", "nothing at all"),
            ("Debian", "lower case", "an upper-case repository"),
            ("https://ghcr.io/a", "scheme", "a URL is no reference"),
            ("a b", "' '", "a space"),
            ("a\u{0}b", "'\\0'", "a NUL"),
            ("ä", "'ä'", "not ASCII"),
            ("a:", "tag after the colon is empty", "a colon without a tag"),
            ("a:-x", "begin", "a tag must begin with a word character"),
            (&long_tag, "128", "a tag that is too long"),
            (&long_name, "255", "a name that is too long"),
            ("a//b", "empty component", "an empty component"),
            ("/a", "empty component", "a leading slash"),
            ("a/", "empty component", "a trailing slash"),
            ("a/../b", "\"..\"", "no traversal"),
            ("a___b", "\"a___b\"", "three underscores are no separator"),
            ("-a", "\"-a\"", "a separator begins no component"),
            ("a.b:x/c", "\"x\"", "a port of letters"),
            ("a.b:0/c", "\"0\"", "port zero"),
            ("a.b:99999/c", "\"99999\"", "a port beyond 16 bits"),
            ("[::1/c", "closing", "an open bracket"),
            ("[zz]/c", "IPv6", "no address in the brackets"),
            ("-a.b/c", "host name", "a label must not begin with a dash"),
            (HEX, "image id", "64 hexadecimal digits"),
            ("a@sha256:abc", "64 digits", "a short digest"),
            ("a@md5:abc", "md5", "an unknown algorithm"),
            ("a@", "sha256:", "an empty digest"),
            (
                &format!("a@sha256:{}", HEX.to_uppercase()),
                "0-9 and a-f",
                "an upper-case digest",
            ),
            (
                &format!("a@sha256:../../{}", &HEX[6..]),
                "0-9 and a-f",
                "a path in a digest",
            ),
        ] {
            let error = ImageReference::parse(text).expect_err(reason);
            assert!(error.reason.contains(part), "{reason}: {error}");
        }
    }

    /// Seeds and all their one-byte mutations: never a panic, and what parses is stable.
    #[test]
    fn any_text_gives_a_reference_or_an_error() {
        let seeds = [
            "debian:12",
            "[::1]:5000/a/b:t",
            "a.b:1/c__d--e@sha256:",
            "localhost/x:y@sha512:00",
            "ä/ß:€",
        ];
        for seed in seeds {
            for position in 0..=seed.len() {
                for byte in 0..=255u8 {
                    let mut bytes = seed.as_bytes().to_vec();
                    bytes.splice(position..(position + 1).min(seed.len()), [byte]);
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    if let Ok(parsed) = ImageReference::parse(&text) {
                        assert_eq!(ImageReference::parse(&parsed.to_string()), Ok(parsed), "{text:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn digests_are_checked_and_serialised_as_text() {
        let digest = Digest::from_bytes(Algorithm::Sha256, &[0xab; 32]).unwrap();
        assert_eq!(digest.to_string(), format!("sha256:{}", "ab".repeat(32)));
        assert_eq!(Digest::from_bytes(Algorithm::Sha512, &[0; 32]), None);
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        assert!(serde_json::from_str::<Digest>("\"sha256:zz\"").is_err());
    }
}
