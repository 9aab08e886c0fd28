//! Apps and Targets for the tests, and what they become.

use std::fs;
use std::path::{Path, PathBuf};

use portolan_core::desired::DesiredState;
use portolan_core::facts::{Facts, ImageDefaults, ImageSource, PinnedImage};
use portolan_core::manifest::{App, Target};
use portolan_core::parse::{SourceFile, parse_files};
use portolan_core::resolve::{ResolveInput, image_requests, resolve};
use portolan_provider_ecs::{EcsShape, Rendered};
use serde_json::{Value, json};

use crate::judge::settings;

/// An app, and the settings of a Target.
pub struct Given {
    pub app: Value,
    pub ecs: Value,
}

impl Given {
    pub fn rendered(&self) -> Rendered {
        let target = settings(&self.ecs);
        EcsShape { target }.rendered(&self.desired())
    }

    pub fn desired(&self) -> DesiredState {
        let app: App = serde_json::from_value(self.app.clone()).unwrap_or_else(|error| panic!("{error}: {}", self.app));
        let document = json!({
            "apiVersion": "portolan.dev/v1alpha1", "kind": "Target", "metadata": { "name": "prod" },
            "spec": { "provider": "ecs", "ecs": self.ecs },
        });
        let target: Target = serde_json::from_value(document).unwrap();
        let input = ResolveInput {
            app: &app,
            target: &target,
            realm: "123456789012/eu-west-1/prod",
            source: "file",
            folder: Path::new("."),
        };
        resolve(&input, &pinned(&input)).unwrap()
    }
}

/// Every image, as if it had been looked up.
fn pinned(input: &ResolveInput<'_>) -> Facts {
    let requests = image_requests(input).unwrap().into_iter();
    let image = |source: ImageSource| PinnedImage {
        reference: match source {
            ImageSource::Reference(reference) => reference,
            ImageSource::Build(build) => build.tag,
        },
        digest: format!("sha256:{}", "a".repeat(64)).parse().unwrap(),
        config: ImageDefaults {
            entrypoint: vec!["/server".to_string()],
            cmd: vec!["--quiet".to_string()],
            architecture: Some("amd64".to_string()),
            ..ImageDefaults::default()
        },
    };
    Facts {
        images: requests.map(|(path, source)| (path, image(source))).collect(),
    }
}

pub fn root() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.ancestors().nth(2).unwrap().to_path_buf()
}

/// The App of an example, with images in a registry in the place of those that it builds.
pub fn app_of_example(name: &str) -> Value {
    let path = root().join("examples").join(name).join("portolan.yaml");
    let bytes = fs::read(&path).unwrap();
    let (documents, faults) = parse_files(vec![SourceFile { path, bytes }]);
    assert!(faults.is_empty(), "{faults:?}");
    let app = documents
        .into_iter()
        .find(|document| document.manifest.as_app().is_some());
    let mut app = serde_json::to_value(app.unwrap().manifest).unwrap();
    push(&mut app["spec"]);
    app
}

fn push(value: &mut Value) {
    if let Value::Object(fields) = value {
        if fields.remove("build").is_some() {
            let image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/portolan/example:1";
            fields.insert("image".to_string(), json!(image));
        }
        fields.values_mut().for_each(push);
    }
}

/// With everything that an example wants.
pub fn target() -> Value {
    json!({
        "account": "123456789012",
        "region": "eu-west-1",
        "cluster": "prod",
        "subnets": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        "securityGroups": ["sg-0123456789abcdef0"],
        "namespace": { "id": "ns-0123456789abcdef", "name": "harbour.local" },
        "vpc": "vpc-0123456789abcdef0",
        "applicationLoadBalancer": {
            "arn": balancer("loadbalancer/app/edge/0123456789abcdef"),
            "httpListener": balancer("listener/app/edge/0123456789abcdef/0123456789abcdef"),
            "httpsListener": balancer("listener/app/edge/0123456789abcdef/0123456789abcde0"),
        },
        "networkLoadBalancer": balancer("loadbalancer/net/edge/0123456789abcdef"),
        "fileSystem": "fs-0123456789abcdef0",
        "filesImage": "public.ecr.aws/docker/library/busybox:1.37",
    })
}

fn balancer(resource: &str) -> String {
    format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:{resource}")
}

pub fn app(spec: Value) -> Value {
    json!({
        "apiVersion": "portolan.dev/v1alpha1", "kind": "App",
        "metadata": { "name": "shop", "namespace": "default" }, "spec": spec,
    })
}
