//! The registry client against registries that lie: credentials must stay at home, content must be what was
//! announced, and nothing is tried twice behind the caller's back.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use common::archive::Archive;
use common::server::{Reply, Seen, Server};
use portolan_image::manifest::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use portolan_image::registry::{Auth, ClientOptions, Credentials, Platforms, RegistryClient, Secret};
use portolan_image::store::Hasher;
use portolan_image::{
    Algorithm, Descriptor, Error, ErrorClass, ImageConfig, ImageReference, Manifest, Result, Silent, Store,
};

/// `Basic` for `user:hunter2`.
const BASIC: &str = "Basic dXNlcjpodW50ZXIy";

/// One password, for every registry that asks.
struct Password;

#[async_trait]
impl Credentials for Password {
    async fn credentials(&self, _registry: &str) -> Result<Option<Auth>> {
        Ok(Some(Auth::Basic {
            username: "user".into(),
            password: Secret::new("hunter2"),
        }))
    }
}

fn client() -> RegistryClient {
    RegistryClient::new(Arc::new(Password), ClientOptions::default()).unwrap()
}

fn anonymous() -> RegistryClient {
    RegistryClient::new(Arc::new(portolan_image::registry::Anonymous), ClientOptions::default()).unwrap()
}

fn reference(server: &Server) -> ImageReference {
    ImageReference::parse(&format!("{}/shop/web:1", server.host())).unwrap()
}

fn store() -> (tempfile::TempDir, Store) {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    (temp, store)
}

/// An image as documents and blobs.
struct Image {
    manifest: Vec<u8>,
    config: Vec<u8>,
    layer: Vec<u8>,
}

impl Image {
    fn new() -> Self {
        let layer = Archive::new().file("file", "content").end();
        let mut config = ImageConfig::empty();
        let content = |bytes: &[u8]| Hasher::content_of(Algorithm::Sha256, bytes);
        config.rootfs.diff_ids.push(content(&layer).digest);
        let config = serde_json::to_vec(&config).unwrap();
        let layers = vec![Descriptor::new(OCI_LAYER, content(&layer))];
        let manifest = Manifest::new(Descriptor::new(OCI_CONFIG, content(&config)), layers);
        Self {
            manifest: serde_json::to_vec(&manifest).unwrap(),
            config,
            layer,
        }
    }

    /// Answers as a registry does; `None` for what is not a part of the image.
    fn answer(&self, seen: &Seen) -> Option<Reply> {
        let digest = |bytes: &[u8]| Hasher::content_of(Algorithm::Sha256, bytes).digest.to_string();
        let own = digest(&self.manifest);
        if seen.path.ends_with("/manifests/1") || seen.path.ends_with(&own) {
            let reply = Reply::new(200)
                .header("Content-Type", OCI_MANIFEST)
                .header("Docker-Content-Digest", own);
            return Some(reply.body(self.manifest.clone()));
        }
        let blobs = [&self.config, &self.layer];
        let found = blobs.into_iter().find(|bytes| seen.path.ends_with(&digest(bytes)))?;
        Some(Reply::new(200).body(found.clone()))
    }

    fn put(&self, store: &Store) -> Descriptor {
        store.put_blob(&self.config[..], None).unwrap();
        store.put_blob(&self.layer[..], None).unwrap();
        store.put_bytes(OCI_MANIFEST, &self.manifest).unwrap()
    }
}

/// A registry that demands a token of `realm`, and then serves the image.
fn guarded(realm: impl Fn() -> String + Send + Sync + 'static) -> Server {
    let image = Image::new();
    Server::start(move |seen| {
        if seen.path.starts_with("/token") {
            return Reply::new(200).body(r#"{"token":"t0k3n"}"#);
        }
        match seen.header("authorization") {
            Some("Bearer t0k3n") => image.answer(seen).unwrap_or(Reply::new(404)),
            _ => Reply::new(401).header(
                "WWW-Authenticate",
                format!("Bearer realm=\"{}\",service=\"s\"", realm()),
            ),
        }
    })
}

fn token_server() -> Server {
    Server::start(|_| Reply::new(200).body(r#"{"token":"t0k3n"}"#))
}

fn leaked(server: &Server) -> bool {
    server.seen().iter().any(|seen| {
        seen.header("authorization")
            .is_some_and(|value| value.contains("Basic"))
    })
}

#[tokio::test]
async fn a_foreign_realm_gets_no_credentials() {
    let thief = token_server();
    let realm = thief.url("/token");
    let registry = guarded(move || realm.clone());
    client().fetch(&reference(&registry)).await.unwrap();
    assert_eq!(thief.seen().len(), 1, "it is asked, anonymously");
    assert!(!leaked(&thief) && !leaked(&registry));
    let path = &thief.seen()[0].path;
    assert!(
        path.contains("scope=repository%3Ashop%2Fweb%3Apull") && path.contains("service=s"),
        "{path}"
    );
}

#[tokio::test]
async fn a_realm_of_its_own_or_a_configured_one_gets_them() {
    let address = Arc::new(std::sync::OnceLock::new());
    let own = Arc::clone(&address);
    let registry = guarded(move || format!("http://{}/token", own.get().unwrap()));
    address.set(registry.address).unwrap();
    client().fetch(&reference(&registry)).await.unwrap();
    let asked: Vec<_> = registry
        .seen()
        .into_iter()
        .filter(|seen| seen.path.starts_with("/token"))
        .collect();
    assert_eq!(asked[0].header("authorization"), Some(BASIC));

    let known = token_server();
    let realm = known.url("/token");
    let registry = guarded(move || realm.clone());
    let token_servers = vec![(registry.host(), known.host())];
    let options = ClientOptions {
        token_servers,
        ..ClientOptions::default()
    };
    let client = RegistryClient::new(Arc::new(Password), options).unwrap();
    client.fetch(&reference(&registry)).await.unwrap();
    assert_eq!(known.seen()[0].header("authorization"), Some(BASIC));
    assert!(!leaked(&registry), "the registry itself sees the token only");
}

#[tokio::test]
async fn realms_that_attack_the_machine_are_not_asked() {
    for (realm, reason) in [
        ("http://169.254.169.254/latest/meta-data/", "metadata"),
        ("http://[fd00:ec2::254]/", "metadata over IPv6"),
        ("http://[::ffff:169.254.169.254]/", "metadata in disguise"),
        ("file:///etc/passwd", "another scheme"),
        ("no address", "malformed"),
        ("http://user:pass@127.0.0.1/", "a password in it"),
    ] {
        let registry = guarded(move || realm.to_owned());
        let error = client().fetch(&reference(&registry)).await.expect_err(reason);
        assert_eq!(error.class(), ErrorClass::Invalid, "{reason}: {error}");
        assert_eq!(registry.seen().len(), 1, "{reason}");
    }
}

#[tokio::test]
async fn a_redirect_elsewhere_gets_no_credentials() {
    let image = Arc::new(Image::new());
    let served = Arc::clone(&image);
    let storage = Server::start(move |seen| served.answer(seen).unwrap_or(Reply::new(404)));
    let (to, served) = (storage.url(""), Arc::clone(&image));
    let registry = Server::start(move |seen| match seen.header("authorization") {
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
        Some(_) if seen.path.contains("/blobs/") => Reply::new(307).header("Location", format!("{to}{}", seen.path)),
        Some(_) => served.answer(seen).unwrap_or(Reply::new(404)),
    });
    let (_temp, store) = store();
    let pulled = client()
        .pull(&reference(&registry), &store, Platforms::Host, &Silent)
        .await
        .unwrap();
    assert!(leaked(&registry), "its own origin gets the password");
    assert_eq!(storage.seen().len(), 2);
    assert!(storage.seen().iter().all(|seen| seen.header("authorization").is_none()));
    assert_eq!(store.unpack(&pulled.manifest).unwrap().layers.len(), 1);
}

/// A challenge by the target of a redirect is nobody's business.
#[tokio::test]
async fn a_challenge_elsewhere_is_not_answered() {
    let thief = Server::start(|_| Reply::new(401).header("WWW-Authenticate", "Basic realm=\"give\""));
    let to = thief.url("/steal");
    let registry = Server::start(move |_| Reply::new(302).header("Location", to.clone()));
    let error = client().fetch(&reference(&registry)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Denied);
    assert_eq!((thief.seen().len(), leaked(&thief)), (1, false));
}

#[tokio::test]
async fn redirects_that_attack_or_never_end_are_refused() {
    for (location, reason, requests) in [
        ("http://169.254.169.254/latest", "metadata", 1),
        ("//169.254.169.254/latest", "metadata, relative", 1),
        ("http://100.100.100.200/", "metadata of another cloud", 1),
        ("gopher://127.0.0.1/", "another scheme", 1),
        ("/v2/again", "without end", 6),
    ] {
        let registry = Server::start(move |_| Reply::new(302).header("Location", location));
        let error = client().fetch(&reference(&registry)).await.expect_err(reason);
        assert_eq!(error.class(), ErrorClass::Invalid, "{reason}: {error}");
        assert_eq!(registry.seen().len(), requests, "{reason}");
    }
}

#[tokio::test]
async fn an_upload_elsewhere_gets_no_credentials() {
    let elsewhere = Server::start(|_| Reply::new(201));
    let to = elsewhere.url("/upload?signature=1");
    let registry = Server::start(move |seen| match (seen.header("authorization"), seen.method.as_str()) {
        (None, _) => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
        (_, "HEAD") => Reply::new(404),
        (_, "POST") => Reply::new(202).header("Location", to.clone()),
        _ => Reply::new(201),
    });
    let (_temp, store) = store();
    let image = Image::new();
    let descriptor = image.put(&store);
    client()
        .push(&store, &descriptor, &reference(&registry), &Silent)
        .await
        .unwrap();
    let uploads = elsewhere.seen();
    assert_eq!(uploads.len(), 2);
    for upload in uploads {
        assert_eq!(upload.header("authorization"), None);
        assert!(
            upload.path.starts_with("/upload?signature=1&digest=sha256%3A"),
            "{}",
            upload.path
        );
        assert!(upload.body == image.layer || upload.body == image.config);
    }
    let last = registry.seen().pop().unwrap();
    assert_eq!(
        (last.path.as_str(), last.body == image.manifest),
        ("/v2/shop/web/manifests/1", true)
    );

    let hostile = Server::start(|seen| match seen.method.as_str() {
        "HEAD" => Reply::new(404),
        _ => Reply::new(202).header("Location", "http://169.254.169.254/latest"),
    });
    let error = client()
        .push(&store, &descriptor, &reference(&hostile), &Silent)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::AddressForbidden { .. }), "{error}");
}

/// A token that has become too old is renewed once; a registry that refuses every token is not asked for ever.
#[tokio::test]
async fn an_old_token_is_renewed_once() {
    let (image, tokens) = (Image::new(), Arc::new(AtomicUsize::new(0)));
    let address = Arc::new(std::sync::OnceLock::new());
    let (own, given) = (Arc::clone(&address), Arc::clone(&tokens));
    let registry = Server::start(move |seen| {
        if seen.path.starts_with("/token") {
            return Reply::new(200).body(format!(
                r#"{{"access_token":"t{}"}}"#,
                given.fetch_add(1, Ordering::SeqCst)
            ));
        }
        let newest = format!("Bearer t{}", given.load(Ordering::SeqCst).wrapping_sub(1));
        let old = given.load(Ordering::SeqCst) == 1 && seen.path.ends_with("/manifests/old");
        if seen.header("authorization") == Some(&newest) && !old && !seen.path.ends_with("/manifests/never") {
            let path = seen.path.replace("/old", "/1");
            return image.answer(&Seen { path, ..seen.clone() }).unwrap_or(Reply::new(404));
        }
        let realm = format!("Bearer realm=\"http://{}/token\"", own.get().unwrap());
        Reply::new(401).header("WWW-Authenticate", realm)
    });
    address.set(registry.address).unwrap();
    let client = client();
    let at = reference(&registry);
    client.fetch(&at).await.unwrap();
    client.fetch(&at.with_tag("old").unwrap()).await.unwrap();
    assert_eq!(tokens.load(Ordering::SeqCst), 2);
    let error = client.fetch(&at.with_tag("never").unwrap()).await.unwrap_err();
    assert_eq!((error.class(), tokens.load(Ordering::SeqCst)), (ErrorClass::Denied, 3));
}

#[tokio::test]
async fn errors_have_a_class_and_are_not_retried() {
    let refused = r#"{"errors":[{"code":"DENIED","message":"no\u001b[31m way"}]}"#;
    for (reply, class, text) in [
        (
            Reply::new(429).header("Retry-After", "7"),
            ErrorClass::Retry(Some(Duration::from_secs(7))),
            "429",
        ),
        (Reply::new(503), ErrorClass::Retry(None), "503"),
        (Reply::new(404), ErrorClass::NotFound, "404"),
        (Reply::new(403).body(refused), ErrorClass::Denied, "403: no[31m way"),
        (Reply::new(401), ErrorClass::Denied, "401"),
        (Reply::new(400).body("<html>"), ErrorClass::Invalid, "400"),
    ] {
        let registry = Server::start(move |_| reply.clone());
        let error = client().fetch(&reference(&registry)).await.unwrap_err();
        assert_eq!(error.class(), class, "{text}");
        assert!(error.to_string().ends_with(text), "{error}");
        assert_eq!(registry.seen().len(), 1, "{text}: asked once");
    }
    let gone = {
        let registry = Server::start(|_| Reply::new(200));
        reference(&registry)
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(
        client().fetch(&gone).await.unwrap_err().class(),
        ErrorClass::Retry(None),
        "nobody answers"
    );
}

#[tokio::test]
async fn documents_that_lie_are_refused() {
    let image = Image::new();
    let manifest = String::from_utf8(image.manifest.clone()).unwrap();
    let both = manifest.replacen('{', r#"{"manifests":[],"#, 1);
    let index = |platform: &str| {
        let digest = Hasher::content_of(Algorithm::Sha256, &image.manifest).digest;
        let entry = format!(r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":1{platform}}}"#);
        format!(r#"{{"schemaVersion":2,"manifests":[{entry},{entry}]}}"#)
    };
    let arm = index(r#","platform":{"os":"linux","architecture":"nothing-known"}"#);
    let path = manifest.replacen("sha256:", "sha256:../../", 1);
    let wrong = format!("sha256:{}", "0".repeat(64));
    let typed = |text: &str, kind: &str| Reply::new(200).header("Content-Type", kind).body(text);
    for (reply, part, reason) in [
        (
            typed(&both, OCI_MANIFEST),
            "both a manifest and an index",
            "two readings",
        ),
        (
            typed(&manifest, OCI_INDEX),
            "not what the media type",
            "a manifest as an index",
        ),
        (
            typed(&index(""), OCI_MANIFEST),
            "not what the media type",
            "an index as a manifest",
        ),
        (
            typed(&arm, OCI_INDEX),
            "only for linux/nothing-known",
            "no platform for us",
        ),
        (
            typed(&path, OCI_MANIFEST),
            "invalid image reference",
            "a path as a digest",
        ),
        (
            typed(&manifest, OCI_MANIFEST).header("Docker-Content-Digest", wrong),
            "content announced",
            "another digest",
        ),
        (
            typed(&" ".repeat(5 << 20), OCI_MANIFEST),
            "larger than",
            "five megabytes of blanks",
        ),
        (typed("<html>", "text/html"), "invalid", "no document"),
        (typed("", OCI_MANIFEST), "invalid", "nothing"),
    ] {
        let registry = Server::start(move |_| reply.clone());
        let (_temp, store) = store();
        let error = anonymous()
            .pull(&reference(&registry), &store, Platforms::Host, &Silent)
            .await
            .expect_err(reason);
        assert!(error.to_string().contains(part), "{reason}: {error}");
        assert!(store.list().unwrap().is_empty(), "{reason}");
    }
}

#[tokio::test]
async fn a_pinned_digest_is_held_to() {
    let image = Image::new();
    let digest = Hasher::content_of(Algorithm::Sha256, &image.manifest).digest;
    let registry = Server::start(move |_| Reply::new(200).header("Content-Type", OCI_MANIFEST).body("{}"));
    let pinned = reference(&registry).with_digest(digest);
    assert!(matches!(
        anonymous().fetch(&pinned).await,
        Err(Error::BlobMismatch { .. })
    ));
}

#[tokio::test]
async fn blobs_that_lie_never_get_a_name() {
    for (change, reason) in [
        ((|body| body.push(0)) as fn(&mut Vec<u8>), "longer"),
        (|body| body.truncate(10), "shorter"),
        (|body| body[0] ^= 1, "another"),
        (Vec::clear, "empty"),
    ] {
        let image = Image::new();
        let layer = Hasher::content_of(Algorithm::Sha256, &image.layer);
        let expected = layer.clone();
        let registry = Server::start(move |seen| {
            let mut reply = image.answer(seen).unwrap_or(Reply::new(404));
            if seen.path.ends_with(&expected.digest.to_string()) {
                change(&mut reply.body);
            }
            reply
        });
        let (_temp, store) = store();
        let error = anonymous()
            .pull(&reference(&registry), &store, Platforms::Host, &Silent)
            .await
            .expect_err(reason);
        assert!(matches!(error, Error::BlobMismatch { .. }), "{reason}: {error}");
        assert!(
            !store.blob_path(&layer.digest).exists() && store.list().unwrap().is_empty(),
            "{reason}"
        );
    }
}

/// A connection that breaks in the middle may be tried again; what came is not kept as a blob.
#[tokio::test]
async fn a_broken_connection_is_no_blob() {
    let image = Image::new();
    let layer = Hasher::content_of(Algorithm::Sha256, &image.layer).digest;
    let cut = layer.to_string();
    let registry = Server::start(move |seen| {
        let mut reply = image.answer(seen).unwrap_or(Reply::new(404));
        if seen.path.ends_with(&cut) {
            reply.length = Some(reply.body.len());
            reply.body.truncate(100);
        }
        reply
    });
    let (_temp, store) = store();
    let error = anonymous()
        .pull(&reference(&registry), &store, Platforms::Host, &Silent)
        .await
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::Retry(None), "{error}");
    assert!(!store.blob_path(&layer).exists());
}

/// What a pull found before is not fetched again; addresses inside a manifest are never followed.
#[tokio::test]
async fn only_what_is_missing_is_fetched() {
    let mut image = Image::new();
    let trap = Server::start(|_| Reply::new(200));
    let mut manifest: Manifest = serde_json::from_slice(&image.manifest).unwrap();
    manifest.layers[0]
        .extra
        .insert("urls".into(), serde_json::json!([trap.url("/layer")]));
    image.manifest = serde_json::to_vec(&manifest).unwrap();
    let registry = Server::start(move |seen| image.answer(seen).unwrap_or(Reply::new(404)));
    let (_temp, store) = store();
    for requests in [3, 4] {
        anonymous()
            .pull(&reference(&registry), &store, Platforms::Host, &Silent)
            .await
            .unwrap();
        assert_eq!(registry.seen().len(), requests);
    }
    assert!(trap.seen().is_empty());
    let head = anonymous().resolve(&reference(&registry)).await.unwrap().unwrap();
    assert_eq!(
        store.resolve(&reference(&registry)).unwrap().unwrap().digest,
        head.digest
    );
    let none = reference(&registry).with_tag("none").unwrap();
    assert!(anonymous().resolve(&none).await.unwrap().is_none());
}
