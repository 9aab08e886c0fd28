//! The webhook against a real API server: it says what the command line says, and keeps nobody from what is not its business.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use crate::world::{Running, Shipped, World, app, program, until};
use crate::wrong::all;

/// A webhook beside the API server, and what tells that of it.
struct Judge {
    folder: PathBuf,
    port: u16,
    running: Running,
}

impl Judge {
    fn start(world: &World) -> Self {
        let folder = world.path("certificate");
        fs::create_dir(&folder).unwrap();
        world.plane.certify(IpAddr::V4(Ipv4Addr::LOCALHOST), &folder).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let arguments = ["--webhook", &address, "--webhook-certificate", folder.to_str().unwrap()];
        let running = world.operator_with("judge", &arguments);
        until("the webhook listens", || std::net::TcpStream::connect(&address).is_ok());
        let judge = Self { folder, port, running };
        judge.tell(world);
        judge
    }

    /// As it is shipped, but for the way to it: here is no Service and no cert-manager.
    fn tell(&self, world: &World) {
        let shipped = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/webhook/webhook.yaml");
        let shipped = world.plane.kubectl(&[
            "create",
            "--dry-run=client",
            "-o",
            "json",
            "-f",
            shipped.to_str().unwrap(),
        ]);
        let mut shipped: Value = serde_json::from_str(&shipped.unwrap()).unwrap();
        shipped["webhooks"][0]["clientConfig"] = json!({
            "url": format!("https://127.0.0.1:{}/validate", self.port),
            "caBundle": BASE64_STANDARD.encode(world.plane.authority()),
        });
        world.apply(&shipped);
    }
}

/// The words of a fault, without the place: a file has lines, and an object has fields.
fn words(said: &str) -> Vec<String> {
    let of_fault = |line: &&str| {
        ["error[", "  because ", "  hint: "]
            .iter()
            .any(|start| line.starts_with(start))
    };
    said.lines().filter(of_fault).map(str::to_string).collect()
}

/// What `portolan validate` says of the same object as a file.
fn of_the_command_line(world: &World, object: &Value) -> Vec<String> {
    let file = world.write("portolan.yaml", &object.to_string());
    let mut command = Command::new(program());
    command.args(["validate", "-f"]).arg(file);
    let output = command.env("PORTOLAN_HOME", world.path("home")).output().unwrap();
    words(&String::from_utf8_lossy(&output.stderr))
}

/// Without a schema, so that the webhook is asked about everything.
fn open_definitions(world: &World) {
    for name in ["apps", "targets"] {
        let open = json!([
            { "op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema",
              "value": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            { "op": "remove", "path": "/spec/versions/0/subresources/scale" },
        ]);
        let definition = format!("{name}.portolan.dev");
        let open = match name {
            "apps" => open.to_string(),
            _ => json!([open[0]]).to_string(),
        };
        world
            .plane
            .kubectl(&["patch", "crd", &definition, "--type=json", "-p", &open])
            .unwrap();
    }
}

fn create(world: &World, object: &Value) -> Result<String, String> {
    let file = world.write("asked.json", &object.to_string());
    let create = ["create", "--validate=false", "-f", file.to_str().unwrap()];
    world.plane.kubectl(&create).map_err(|error| error.to_string())
}

#[test]
fn the_webhook_says_of_each_wrong_object_what_the_command_line_says() {
    let test = "the_webhook_says_of_each_wrong_object_what_the_command_line_says";
    let Some(world) = World::of(test, Shipped::Cluster) else {
        return;
    };
    open_definitions(&world);
    let _judge = Judge::start(&world);
    let mut first = app("probe", 1);
    first["spec"]["services"]["web"]["image"] = Value::Null;
    until("the API server asks it", || {
        let told = create(&world, &first);
        _ = world
            .plane
            .kubectl(&["delete", "app", "-n", "team", "probe", "--ignore-not-found"]);
        told.is_err()
    });
    let mut astray = Vec::new();
    for wrong in all() {
        let told = create(&world, &wrong.object).err().unwrap_or_default();
        let expected = of_the_command_line(&world, &wrong.object);
        let is_so = words(&told.replace("denied the request: ", "denied the request:\n")) == expected;
        let is_named = expected
            .iter()
            .any(|line| line.starts_with(&format!("error[{}]", wrong.code)));
        let has_place = told.contains(&format!("  at {}", dotted(wrong.place)));
        if !is_so || !is_named || !has_place {
            astray.push(format!("{}: {told}\nand not {expected:#?}", wrong.reason));
        }
    }
    assert!(astray.is_empty(), "{}", astray.join("\n"));
}

/// `ports[0]` as `ports.0`.
fn dotted(place: &str) -> String {
    place.replace('[', ".").replace(']', "")
}

#[test]
fn the_webhook_keeps_nobody_from_deletes_status_and_finalizers_nor_from_anything_once_it_is_gone() {
    let test = "the_webhook_keeps_nobody_from_deletes_status_and_finalizers_nor_from_anything_once_it_is_gone";
    let Some(world) = World::of(test, Shipped::Cluster) else {
        return;
    };
    // Wrong in a way that only its reader sees, and there before the webhook is.
    let mut wrong = app("wrong", 1);
    wrong["spec"]["services"]["web"]["after"] = json!(["nobody"]);
    wrong["metadata"]["finalizers"] = json!(["example.com/somebody"]);
    world.apply(&wrong);
    let judge = Judge::start(&world);
    let kubectl = |arguments: &[&str]| world.plane.kubectl(arguments).map_err(|error| error.to_string());
    let mut other = wrong.clone();
    other["metadata"]["name"] = json!("other");
    other["metadata"]["finalizers"] = json!([]);
    until("the API server asks it", || {
        let told = create(&world, &other);
        _ = kubectl(&[
            "delete",
            "app",
            "-n",
            "team",
            "other",
            "--ignore-not-found",
            "--wait=false",
        ]);
        told.is_err()
    });
    let status = r#"{"status":{"observedGeneration":1}}"#;
    kubectl(&[
        "patch",
        "app",
        "-n",
        "team",
        "wrong",
        "--subresource=status",
        "--type=merge",
        "-p",
        status,
    ])
    .unwrap();
    kubectl(&["annotate", "app", "-n", "team", "wrong", "example.com/note=kept"]).unwrap();
    let change = r#"{"spec":{"services":{"web":{"after":["nobody-else"]}}}}"#;
    let told = kubectl(&["patch", "app", "-n", "team", "wrong", "--type=merge", "-p", change]).unwrap_err();
    assert!(told.contains("error[UnknownDependency]"), "{told}");
    kubectl(&["delete", "app", "-n", "team", "wrong", "--wait=false"]).unwrap();
    let free = r#"{"metadata":{"finalizers":[]}}"#;
    kubectl(&["patch", "app", "-n", "team", "wrong", "--type=merge", "-p", free]).unwrap();
    until("it is gone", || world.get(&["-n", "team", "app", "wrong"]).is_none());

    // Another certificate of the same authority, as cert-manager renews it: what asks anew is shown that one.
    world
        .plane
        .certify(IpAddr::V4(Ipv4Addr::LOCALHOST), &judge.folder)
        .unwrap();
    until("the new certificate is shown", || {
        judge.running.log().contains("the webhook shows another certificate")
    });
    assert!(create(&world, &other).is_err());

    drop(judge);
    create(&world, &other).unwrap();
}
