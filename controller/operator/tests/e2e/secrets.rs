//! Secrets that come from elsewhere: refused where nobody has installed what brings them, and made where somebody has.

use serde_json::{Value, json};

use crate::world::{World, app, target, until};

fn by(name: &str, settings: Value) -> Value {
    let mut target = target(name);
    target["spec"]["kubernetes"] = settings;
    target
}

/// An App whose service takes a secret, on that Target.
fn taking(name: &str, target: &str) -> Value {
    let mut app = app(name, 1);
    app["spec"]["targets"] = json!([target]);
    app["spec"]["services"]["web"]["secrets"] = json!({ "TOKEN": { "name": "prod/token", "key": "key" } });
    app
}

#[test]
fn secrets_are_brought_by_what_somebody_has_installed() {
    let test = "secrets_are_brought_by_what_somebody_has_installed";
    let Some(world) = World::start(test) else { return };
    let _running = world.operator("one");
    world.apply(&by(
        "stored",
        json!({ "secretStore": { "name": "vault", "refresh": "5m" } }),
    ));
    world.apply(&by("driven", json!({ "secretProviderClass": "vault" })));
    let by_store = taking("by-store", "stored");
    world.apply(&by_store);
    let mut by_driver = taking("by-driver", "driven");
    by_driver["spec"]["services"]["web"]["secrets"]["TOKEN"]["name"] = json!("token");
    world.apply(&by_driver);
    until("there is no such kind", || {
        world.condition("by-store", "Ready") == "False KindMissing"
    });
    until("nor such a class", || {
        world.condition("by-driver", "Ready") == "False SecretClassMissing"
    });

    world.plane.install_definitions().unwrap();
    world.apply(&json!({
        "apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass",
        "metadata": { "name": "vault", "namespace": "team" }, "spec": { "provider": "vault" },
    }));
    // What failed is tried again with another manifest.
    for mut app in [by_store, by_driver] {
        app["spec"]["services"]["web"]["scale"] = json!({ "min": 2 });
        world.apply(&app);
    }
    world.is_ready("by-store");
    world.is_ready("by-driver");
    let found = world
        .get(&["-n", "team", "externalsecrets", "-l", "portolan.dev/app=by-store"])
        .unwrap();
    let made = &found["items"][0];
    assert_eq!(made["spec"]["data"][0]["remoteRef"]["key"], "prod/token");
    assert_eq!(made["spec"]["refreshInterval"], "5m");
    let deployments = world
        .get(&["-n", "team", "deployments", "-l", "portolan.dev/app"])
        .unwrap();
    let pod_of = |app: &str| {
        let mut all = deployments["items"].as_array().unwrap().iter();
        let of_app = |one: &&Value| one["metadata"]["labels"]["portolan.dev/app"] == app;
        all.find(of_app).unwrap()["spec"]["template"]["spec"].clone()
    };
    let pod = pod_of("by-store");
    let mut variables = pod["containers"][0]["env"].as_array().unwrap().iter();
    let token = variables.find(|one| one["name"] == "TOKEN").unwrap();
    assert_eq!(
        token["valueFrom"]["secretKeyRef"]["name"], made["metadata"]["name"],
        "its pods take what it makes"
    );
    assert_eq!(
        pod_of("by-driver")["volumes"][0]["csi"]["volumeAttributes"]["secretProviderClass"],
        "vault"
    );

    let delete = ["delete", "app", "-n", "team", "by-store", "by-driver", "--timeout=90s"];
    world.plane.kubectl(&delete).unwrap();
    assert_eq!(world.get(&["-n", "team", "externalsecrets"]), None, "nothing is left");
}
