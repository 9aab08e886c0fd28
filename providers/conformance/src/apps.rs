//! The app that checks apply: a database with a volume, a migration after it, and a web service after that.

use portolan_core::manifest::App;
use serde_json::{Value, json};

use crate::account::Account;

pub const PORT_OF_THE_DATABASE: u16 = 5432;

/// With one port that is published.
pub fn shop<A: Account>(account: &A, port: u16) -> Value {
    let db = with(
        account.server(PORT_OF_THE_DATABASE),
        "/volumes",
        json!([{"name": "data", "path": "/data"}]),
    );
    let web = with(
        account.server(port),
        "/ports",
        json!([{"name": "http", "port": port, "public": true}]),
    );
    let spec = json!({
        "services": { "db": db, "web": with(web, "/after", json!(["migrate"])) },
        "jobs": { "migrate": with(account.task(), "/after", json!(["db"])) },
    });
    app(account, spec)
}

/// The shop whose image of `web` has another tag.
pub fn newer(shop: &Value) -> Value {
    let image = shop["spec"]["services"]["web"]["image"]
        .as_str()
        .expect("web has an image");
    let (name, _) = image.rsplit_once(':').expect("with a tag");
    with(shop.clone(), "/spec/services/web/image", json!(format!("{name}:newer")))
}

pub fn app<A: Account>(account: &A, spec: Value) -> Value {
    let [namespace, name] = account.app();
    named(&namespace, &name, spec)
}

pub fn named(namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": portolan_core::manifest::API_VERSION,
        "kind": "App",
        "metadata": { "name": name, "namespace": namespace },
        "spec": spec,
    })
}

/// The document with the value at `pointer` set; `null` removes it.
pub fn with(mut document: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer has a slash");
    let parent = document
        .pointer_mut(parent)
        .unwrap_or_else(|| panic!("nothing is at {parent}"));
    match (parent, value) {
        (Value::Object(fields), Value::Null) => drop(fields.remove(key)),
        (Value::Object(fields), value) => drop(fields.insert(key.to_string(), value)),
        (Value::Array(items), value) => items[key.parse::<usize>().expect("an index")] = value,
        (other, _) => panic!("{pointer} leads to {other}"),
    }
    document
}

pub fn parsed(manifest: &Value) -> App {
    serde_json::from_value(manifest.clone()).unwrap_or_else(|error| panic!("{error}: {manifest}"))
}
