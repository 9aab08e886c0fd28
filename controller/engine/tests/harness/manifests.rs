//! The apps that tests apply, as small as they can be.

use portolan_core::manifest::{App, Target};
use portolan_core::plan::PlanOptions;
use portolan_engine::{Wish, Work};
use serde_json::{Value, json};

/// A database with a volume, a migration after it, and a web service after that.
pub fn shop() -> Value {
    json!({
        "apiVersion": "portolan.dev/v1alpha1",
        "kind": "App",
        "metadata": { "name": "shop" },
        "spec": {
            "services": {
                "db": {
                    "image": "registry.example/db:1",
                    "volumes": [{ "name": "data", "path": "/data" }]
                },
                "web": {
                    "image": "registry.example/web:1",
                    "ports": [{ "name": "http", "port": 8080, "public": true }],
                    "after": ["migrate"]
                }
            },
            "jobs": {
                "migrate": { "image": "registry.example/migrate:1", "after": ["db"] }
            }
        }
    })
}

/// One service and nothing else.
pub fn hello() -> Value {
    json!({
        "apiVersion": "portolan.dev/v1alpha1",
        "kind": "App",
        "metadata": { "name": "hello" },
        "spec": { "services": { "web": { "image": "registry.example/web:1" } } }
    })
}

/// The manifest with the value at `pointer` set; `null` removes it.
pub fn with(mut manifest: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer has a slash");
    let parent = manifest.pointer_mut(parent).expect("the pointer leads somewhere");
    let fields = parent.as_object_mut().expect("it leads to a map");
    match value {
        Value::Null => drop(fields.remove(key)),
        value => drop(fields.insert(key.to_string(), value)),
    }
    manifest
}

/// A manifest whose `workload` (`services/web`) fails once it has started.
pub fn failing(manifest: Value, workload: &str) -> Value {
    with(
        manifest,
        &format!("/spec/{workload}/env"),
        json!({ "FAKE_FAILS": "yes" }),
    )
}

pub fn apply(manifest: Value) -> Work {
    let app: App = serde_json::from_value(manifest).expect("the manifest is one");
    Work::apply(app, Target::local(), "/nowhere")
}

/// As if the user had typed it again.
pub fn retry(manifest: Value) -> Work {
    with_options(
        manifest,
        PlanOptions {
            retry: true,
            ..PlanOptions::default()
        },
    )
}

pub fn with_options(manifest: Value, options: PlanOptions) -> Work {
    Work {
        options,
        ..apply(manifest)
    }
}

pub fn delete(manifest: Value, erase_data: bool) -> Work {
    Work {
        wish: Wish::Delete { erase_data },
        ..apply(manifest)
    }
}
