//! The apps of the simulation in all their versions, made once: a manifest is read in no run.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_core::facts::Facts;
use portolan_core::manifest::{App, Target};
use portolan_core::plan::PlanOptions;
use portolan_core::resolve::{image_requests, resolve};
use portolan_core::resource::Resources;
use portolan_engine::{Wish, Work};
use portolan_provider_api::{PinRequest, Shape};
use portolan_provider_fake::FakeImages;
use serde_json::{Value, json};

use super::secrets::{PRIVATE, SECRET_NAME};

/// One version of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// One service.
    Hello,
    HelloImage,
    HelloEnv,
    HelloScaled,
    /// A second service beside it.
    HelloWorker,
    /// The service under another name.
    HelloRenamed,
    /// It never gets ready, and says so.
    HelloFails,
    /// Neither does it say so.
    HelloStalls,
    /// It publishes a port, by a load balancer where the platform has those.
    HelloPublic,
    /// Another port.
    HelloPort,
    /// So, and it never gets ready.
    HelloPortFails,
    /// A database with a volume, a migration after it, and a service after that.
    Shop,
    ShopImage,
    ShopMigration,
    ShopWithoutWeb,
    ShopFails,
    /// Nothing but data.
    Delete,
    DeleteWithData,
}

pub const VERSIONS: [Version; 18] = [
    Version::Hello,
    Version::HelloImage,
    Version::HelloEnv,
    Version::HelloScaled,
    Version::HelloWorker,
    Version::HelloRenamed,
    Version::HelloFails,
    Version::HelloStalls,
    Version::HelloPublic,
    Version::HelloPort,
    Version::HelloPortFails,
    Version::Shop,
    Version::ShopImage,
    Version::ShopMigration,
    Version::ShopWithoutWeb,
    Version::ShopFails,
    Version::Delete,
    Version::DeleteWithData,
];

impl Version {
    /// Whether it can get ready at all.
    pub fn is_sound(self) -> bool {
        !matches!(
            self,
            Self::HelloFails | Self::HelloStalls | Self::HelloPortFails | Self::ShopFails
        )
    }

    pub fn is_delete(self) -> bool {
        matches!(self, Self::Delete | Self::DeleteWithData)
    }

    pub fn is_shop(self) -> bool {
        matches!(
            self,
            Self::Shop | Self::ShopImage | Self::ShopMigration | Self::ShopWithoutWeb | Self::ShopFails
        )
    }
}

/// What is asked of the engine for one version, and what it comes to.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub version: Version,
    pub work: Arc<Work>,
    /// As if the user had typed it again.
    pub retry: Arc<Work>,
    /// What there is in the end: worked out here, and not by the engine.
    pub resources: Arc<Resources>,
}

/// All versions of some apps, for one kind of platform.
pub struct Catalogue {
    wanted: BTreeMap<(usize, Version), Wanted>,
}

/// Apps that share a target.
pub const APPS: usize = NAMES.len();

/// One of them is long: cut at 32 or at 63 characters, a name made of it would end with a `-`.
const NAMES: [&str; 3] = ["shop", "blog-of-all-their-ports-and-all-the-pilots-with-charts", "mail"];

/// What accounts call themselves.
pub const REALMS: [&str; 2] = ["fake-account", "other-account"];

impl Catalogue {
    pub fn of(shape: &dyn Shape) -> Self {
        let all = (0..APPS).flat_map(|app| VERSIONS.map(|version| (app, version)));
        Self {
            wanted: all
                .map(|(app, version)| ((app, version), wanted(app, version, shape)))
                .collect(),
        }
    }

    pub fn get(&self, app: usize, version: Version) -> &Wanted {
        &self.wanted[&(app, version)]
    }
}

fn wanted(app: usize, version: Version, shape: &dyn Shape) -> Wanted {
    let manifest: App = serde_json::from_value(manifest(app, version)).expect("the manifest is one");
    let mut work = Work::apply(manifest, Target::local(), "/nowhere");
    // `--allow-data-loss`: what is wanted of the data is told apart by the two kinds of delete.
    work.options.allow_data_loss = false;
    match version {
        Version::Delete => work.wish = Wish::Delete { erase_data: false },
        Version::DeleteWithData => work.wish = Wish::Delete { erase_data: true },
        _ => {}
    }
    let resources = match version.is_delete() {
        true => Resources::new(),
        false => rendered(&work, shape),
    };
    let options = PlanOptions {
        retry: true,
        ..work.options
    };
    let retry = Work {
        options,
        ..work.clone()
    };
    Wanted {
        version,
        work: Arc::new(work),
        retry: Arc::new(retry),
        resources: Arc::new(resources),
    }
}

fn rendered(work: &Work, shape: &dyn Shape) -> Resources {
    let images = FakeImages::default();
    let input = work.resolve_input(REALMS[0]);
    let requests = image_requests(&input).expect("its images can be named");
    let pinned = requests.into_iter().map(|(container, source)| {
        let request = PinRequest { container, source };
        let image = images.pin_now(&request);
        (request.container, image)
    });
    let facts = Facts {
        images: pinned.collect(),
    };
    let desired = resolve(&input, &facts).expect("it can be resolved");
    shape.render(&desired).expect("it can be rendered")
}

const IMAGE: &str = "registry.example/web:1";

const RUN: [&str; 1] = ["/run"];

fn manifest(app: usize, version: Version) -> Value {
    let spec = match version {
        Version::Hello => hello(json!({ "image": IMAGE })),
        Version::HelloImage => hello(json!({ "image": "registry.example/web:2" })),
        Version::HelloEnv => hello(json!({ "image": IMAGE, "env": { "COLOUR": PRIVATE } })),
        Version::HelloScaled => hello(json!({ "image": IMAGE, "scale": { "min": 3 } })),
        Version::HelloFails => hello(fails()),
        Version::HelloStalls => hello(json!({
            "image": "registry.example/unready:1",
            "env": { "FAKE_NEVER_READY": "yes" },
            "health": { "ready": { "exec": { "command": ["/ready"] }, "interval": "10m" } },
            "rollout": { "deadline": "20s" },
        })),
        Version::HelloPublic => hello(public(8080)),
        Version::HelloPort => hello(public(9090)),
        Version::HelloPortFails => {
            let mut web = public(9090);
            for (field, value) in fails().as_object().into_iter().flatten() {
                web[field] = value.clone();
            }
            hello(web)
        }
        Version::HelloWorker => json!({
            "services": {
                "web": { "image": IMAGE, "command": RUN },
                "worker": { "image": "registry.example/worker:1", "command": RUN },
            }
        }),
        Version::HelloRenamed => json!({ "services": { "front": { "image": IMAGE, "command": RUN } } }),
        Version::Shop | Version::Delete | Version::DeleteWithData => shop(json!({ "image": IMAGE }), "1"),
        Version::ShopImage => shop(json!({ "image": "registry.example/web:2" }), "1"),
        Version::ShopMigration => shop(json!({ "image": IMAGE }), "2"),
        Version::ShopFails => shop(fails(), "1"),
        Version::ShopWithoutWeb => shop(Value::Null, "1"),
    };
    json!({
        "apiVersion": "portolan.dev/v1alpha1",
        "kind": "App",
        "metadata": { "name": NAMES[app] },
        "spec": spec,
    })
}

/// As fake clouds understand it, and as the supervisor's simulated machine does: by a variable, and by the image's name.
fn fails() -> Value {
    json!({ "image": "registry.example/crash:1", "env": { "FAKE_FAILS": "yes" } })
}

fn hello(mut web: Value) -> Value {
    web["command"] = json!(RUN);
    web["secrets"] = secrets();
    json!({ "services": { "web": web } })
}

fn secrets() -> Value {
    let (name, key) = SECRET_NAME.split_once('/').expect("it has a key");
    json!({ "TOKEN": { "name": name, "key": key } })
}

fn public(port: u16) -> Value {
    json!({ "image": IMAGE, "ports": [{ "name": "http", "port": port, "public": true }] })
}

fn shop(mut web: Value, migration: &str) -> Value {
    let mut services = json!({
        "db": {
            "image": "registry.example/db:1",
            "command": RUN,
            "secrets": secrets(),
            "volumes": [{ "name": "data", "path": "/data" }],
        }
    });
    if !web.is_null() {
        web["command"] = json!(RUN);
        web["secrets"] = secrets();
        web["after"] = json!(["migrate"]);
        services["web"] = web;
    }
    let image = format!("registry.example/task:{migration}");
    json!({
        "services": services,
        "jobs": { "migrate": { "image": image, "command": RUN, "after": ["db"] } },
    })
}
