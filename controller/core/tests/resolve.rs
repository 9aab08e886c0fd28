//! resolve, from a manifest's text to desired state: what a reader of the manifest would expect, case by case.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use portolan_core::desired::{After, DesiredState, EnvPart, EnvValue, ProbeCheck};
use portolan_core::facts::{ContainerPath, Facts, ImageDefaults, ImageSource, PinnedImage};
use portolan_core::fault::Fault;
use portolan_core::manifest::{App, Target};
use portolan_core::parse::{SourceFile, parse_files};
use portolan_core::reference::Digest;
use portolan_core::resolve::{ResolveInput, image_requests, resolve};

const SHOP: &str = r#"
apiVersion: portolan.dev/v1alpha1
kind: App
metadata: {name: shop}
spec:
  services:
    web:
      build: {context: ./web}
      ports: [{name: http, port: 8080, public: true}]
      env: {GREETING: hello, CATALOG: "${services.catalog.url}/v1"}
      health: {ready: {http: {path: /healthz}}}
      scale: {min: 2}
      sidecars:
        stats: {image: registry.example/stats:1, ports: [{name: metrics, port: 9000}]}
      after: [migrate]
    catalog:
      build: {context: ./catalog}
      ports: [{name: http, port: 9090}]
      volumes: [{name: data, path: /data}]
  jobs:
    migrate: {build: {context: ./migrate}, volumes: [{name: data, path: /data, size: 1Gi}]}
"#;

fn app(text: &str) -> App {
    let file = SourceFile {
        path: "shop/portolan.yaml".into(),
        bytes: text.as_bytes().to_vec(),
    };
    let (documents, diagnostics) = parse_files(vec![file]);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    documents[0].manifest.as_app().unwrap().clone()
}

fn with<T>(text: &str, target: &Target, act: impl FnOnce(&ResolveInput<'_>) -> T) -> T {
    let app = app(text);
    act(&ResolveInput {
        app: &app,
        target,
        realm: "machine",
        source: "file",
        folder: Path::new("shop"),
    })
}

/// Facts in which every image is pinned to a digest made of `byte`.
fn facts(input: &ResolveInput<'_>, byte: u8) -> Facts {
    let images = image_requests(input).unwrap().into_iter().map(|(path, source)| {
        let reference = match source {
            ImageSource::Build(build) => build.tag,
            ImageSource::Reference(reference) => reference,
        };
        let digest = Digest::parse(&format!("sha256:{}", format!("{byte:02x}").repeat(32))).unwrap();
        let config = ImageDefaults {
            entrypoint: vec!["/app".into()],
            ..ImageDefaults::default()
        };
        (
            path,
            PinnedImage {
                reference,
                digest,
                config,
            },
        )
    });
    Facts {
        images: images.collect(),
    }
}

fn resolved(text: &str, byte: u8) -> DesiredState {
    with(text, &Target::local(), |input| {
        resolve(input, &facts(input, byte)).unwrap()
    })
}

fn faults(text: &str, target: &Target) -> Vec<Fault> {
    with(text, target, |input| resolve(input, &facts(input, 1)).unwrap_err())
}

#[test]
fn every_container_asks_for_its_image_from_the_manifests_folder() {
    with(SHOP, &Target::local(), |input| {
        let requests = image_requests(input).unwrap();
        let paths: Vec<&str> = requests.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "services/catalog",
                "services/web/sidecars/stats",
                "services/web",
                "jobs/migrate"
            ]
        );
        let ImageSource::Build(build) = &requests[0].1 else {
            panic!("catalog is built")
        };
        assert_eq!(build.context, Path::new("shop/./catalog"));
        assert_eq!(
            build.tag.to_string(),
            "portolan.local/default/shop/services/catalog:latest"
        );
    });
}

#[test]
fn a_manifest_means_this() {
    let desired = resolved(SHOP, 1);
    let web = &desired.services["web"];
    assert_eq!(web.replicas, 2);
    assert_eq!(web.after, [After::Job("migrate".into())]);
    assert_eq!(web.container.argv.as_deref(), Some(&["/app".to_string()][..]));
    assert_eq!(
        web.probes.ready.as_ref().unwrap().check,
        ProbeCheck::Http {
            path: "/healthz".into(),
            port: 8080
        }
    );
    assert_eq!(web.stop.signal, "SIGTERM");
    assert_eq!(
        desired.volumes["data"].size_bytes,
        Some(1 << 30),
        "the largest size that any mount asks for"
    );
    assert_eq!(
        web.sidecars["stats"].container.env["PORT"],
        EnvValue::text("9000"),
        "a sidecar's port is its own"
    );
}

#[test]
fn variables_are_the_standard_ones_and_those_that_are_named() {
    let desired = resolved(SHOP, 1);
    let web = &desired.services["web"].container.env;
    assert_eq!(web["PORT"], EnvValue::text("8080"));
    assert_eq!(web["PORTOLAN_APP"], EnvValue::text("shop"));
    assert!(web.contains_key("CATALOG_URL"), "web names catalog in a variable");
    assert!(matches!(&web["CATALOG"].0[..], [EnvPart::Service { .. }, EnvPart::Text(path)] if path == "/v1"));
    assert!(
        !desired.services["catalog"].container.env.contains_key("WEB_URL"),
        "catalog names nobody"
    );
    assert_eq!(
        web["PORTOLAN_REVISION"],
        EnvValue::text(desired.services["web"].revision.clone().unwrap())
    );
}

#[test]
fn a_revision_follows_what_runs_and_nothing_else() {
    let base = resolved(SHOP, 1);
    let revision = |desired: &DesiredState| desired.services["web"].revision.clone();
    let cases = [
        (SHOP.replace("min: 2", "min: 5"), true, "scaling makes no revision"),
        (
            SHOP.replace("scale: {min: 2}", "scale: {min: 2}\n      logs: {maxFiles: 9}"),
            true,
            "nor does what is kept of the logs",
        ),
        (SHOP.replace("hello", "good day"), false, "a variable does"),
        (SHOP.replace("/healthz", "/ready"), false, "a probe does"),
        (
            SHOP.replace("9090", "9091"),
            true,
            "another service's port is looked up by name",
        ),
    ];
    for (text, same, reason) in cases {
        assert_eq!(revision(&resolved(&text, 1)) == revision(&base), same, "{reason}");
    }
    assert_ne!(revision(&resolved(SHOP, 2)), revision(&base), "an image does");
}

#[test]
fn what_is_not_pinned_stays_open() {
    let desired = with(SHOP, &Target::local(), |input| {
        resolve(input, &Facts::default()).unwrap()
    });
    let web = &desired.services["web"];
    assert_eq!((web.revision.as_ref(), web.container.argv.as_ref()), (None, None));
    assert_eq!(web.container.image.reference.tag(), Some("latest"));
}

#[test]
fn an_init_container_without_an_image_runs_its_services() {
    let text = SHOP.replace("scale: {min: 2}", "init: [{name: seed, command: [/seed]}]");
    with(&text, &Target::local(), |input| {
        let facts = facts(input, 1);
        assert!(!facts.images.contains_key(&ContainerPath::service("web").init("seed")));
        let desired = resolve(input, &facts).unwrap();
        let (_, seed) = &desired.services["web"].init[0];
        assert_eq!(seed.image.digest, desired.services["web"].container.image.digest);
        assert_eq!(seed.argv.as_deref(), Some(&["/seed".to_string()][..]));
    });
}

#[test]
fn faults_are_all_reported_with_their_fields() {
    let text = r#"
apiVersion: portolan.dev/v1alpha1
kind: App
metadata: {name: shop}
spec:
  bindings: {db: {type: postgres}}
  services:
    web:
      image: registry.example/web:1
      env: {DB: "${bindings.db.url}"}
      sidecars: {stats: {image: registry.example/stats:1, env: {HOST: "${bindings.db.host}"}}}
"#;
    let found: Vec<(String, String)> = faults(text, &Target::local())
        .into_iter()
        .map(|fault| (fault.code, fault.pointer))
        .collect();
    let expected = [
        ("BindingMissing", "/spec/services/web/env/DB"),
        ("BindingMissing", "/spec/services/web/sidecars/stats/env/HOST"),
    ];
    assert_eq!(
        found,
        expected.map(|(code, pointer)| (code.to_string(), pointer.to_string()))
    );
}

#[test]
fn what_apps_use_of_each_other_is_named_on_both_sides() {
    let manifest = "apiVersion: portolan.dev/v1alpha1\nkind: App\nmetadata: {name: shop, namespace: team}\nspec:\n  \
         services:\n    web:\n      image: web:1\n      env: {STOCK: \"${uses.stock.url}/v1\"}\n      \
         ports: [{name: http, port: 80}]\n      traffic: {allow: [{app: admin}, {app: a, namespace: b}]}\n  \
         uses:\n    stock: {app: warehouse, service: api, port: 9000}\n";
    let desired = resolved(manifest, 1);
    let stock = &desired.uses["stock"];
    assert_eq!(
        (stock.of.namespace.as_str(), stock.of.app.as_str()),
        ("team", "warehouse"),
        "the same namespace if left out"
    );
    assert_eq!((stock.service.as_str(), stock.port), ("api", 9000));
    let web = &desired.services["web"];
    let allowed: Vec<_> = web
        .allow
        .iter()
        .map(|other| format!("{}/{}", other.namespace, other.app))
        .collect();
    assert_eq!(allowed, ["team/admin", "b/a"]);
    let env = &web.container.env;
    assert_eq!(env["STOCK"].0.len(), 2);
    for (name, expected) in [
        ("STOCK_HOST", "stock"),
        ("STOCK_PORT", "9000"),
        ("STOCK_URL", "http://stock:9000"),
    ] {
        assert_eq!(env[name], EnvValue::text(expected), "{name}");
    }
}
