//! The shop once more, as an object of the cluster: a controller keeps it that runs there as a pod, in an image which Portolan
//! has built, by the files that are shipped.

use std::fs;
use std::process::Command;

use portolan_tests::wait::until;
use portolan_tests::{program, root};
use serde_json::{Value, json};

use crate::harbour::{Harbour, LIMIT, PLACE, PUSHED_TO};
use crate::load::{Kept, while_asked};

pub fn lives_as_an_object(shop: &mut Harbour) {
    what_is_there_becomes_a_manifest(shop);
    runs_a_controller(shop);
    shop.node.plane().apply(&target().to_string()).unwrap();
    let written = rendered(shop);
    assert!(!written.contains("build") && written.contains("@sha256:"), "{written}");
    shop.node.plane().apply(&written).unwrap();
    is_ready(shop);
    assert!(shop.curl("/", &[]).contains("A brass astrolabe"));

    let [_, before, headline] = shop.whoami();
    shop.edit("web/web.c", &headline, "Charts by an object");
    let next = rendered(shop);
    while_asked(shop, Kept::Closed, || {
        shop.node.plane().apply(&next).unwrap();
        is_ready(shop);
        crate::only_one_revision_answers(shop);
    });
    let [_, after, said] = shop.whoami();
    assert_ne!(before, after);
    assert_eq!(said, "Charts by an object");
    let object = shop.home.path().join("object.yaml");
    fs::write(&object, format!("{next}---\n{}\n", target())).unwrap();
    let native = shop.says(&["render", "-f", object.to_str().unwrap()], 0);
    for part in [
        "kind: Deployment",
        "portolan.dev/owner: ",
        "kind: NetworkPolicy",
        "replicas: 2",
    ] {
        assert!(native.contains(part), "no `{part}` in {native}");
    }
    shop.kubectl(&["delete", "app", "shop", "-n", "default", "--timeout=120s"]);
    shop.leaves(&["persistentvolumeclaim"]);
}

/// A Deployment that somebody has made by hand; it is one that Portolan understands.
fn what_is_there_becomes_a_manifest(shop: &Harbour) {
    let image = "--image=registry.example/plain:1";
    shop.kubectl(&[
        "create",
        "deployment",
        "plain",
        "-n",
        "default",
        image,
        "--replicas=0",
        "--port=8080",
    ]);
    shop.kubectl(&["expose", "deployment", "plain", "-n", "default", "--type=LoadBalancer"]);
    let output = shop.portolan(&["import", "--namespace", "default", "--app", "found"]);
    assert!(output.status.success(), "{}", portolan_tests::home::said(&output));
    let written = String::from_utf8(output.stdout).unwrap();
    for part in [
        "name: found",
        "image: \"registry.example/plain:1\"",
        "port: 8080",
        "public: true",
    ] {
        assert!(written.contains(part), "no `{part}` in {written}");
    }
    let file = shop.home.path().join("found.yaml");
    fs::write(&file, written).unwrap();
    shop.says(&["validate", "-f", file.to_str().unwrap()], 0);
    let missing = shop.says(&["import", "--namespace", "default", "nobody"], 1);
    assert!(
        missing.contains("error[NotRunning]: ") && missing.contains("hint: "),
        "{missing}"
    );
    shop.kubectl(&["delete", "deployment,service", "plain", "-n", "default"]);
}

/// By Kustomize's files, with one replica of two: the node is small.
fn runs_a_controller(shop: &Harbour) {
    let deploy = root().join("controller/operator/deploy");
    let folder = shop.home.path().join("controller-image");
    let made = Command::new(deploy.join("image/make.sh"))
        .arg(program("portolan"))
        .arg(&folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", portolan_tests::home::said(&made));
    let name = format!("{PUSHED_TO}/portolan:1");
    shop.home.run(&folder, &["build", "--tag", &name, "."]);
    shop.says(&["push", &name], 0);
    let shipped = deploy.join("cluster");
    let manifests = shop.kubectl(&["kustomize", shipped.to_str().unwrap()]);
    let manifests = manifests.replace("image: portolan\n", &format!("image: {name}\n"));
    assert!(manifests.contains(&name), "{manifests}");
    let manifests = manifests.replace("replicas: 2\n", "replicas: 1\n");
    shop.node.plane().apply(&manifests).unwrap();
    let rolled_out = [
        "rollout",
        "status",
        "deployment/portolan-controller",
        "-n",
        "portolan-system",
        "--timeout=120s",
    ];
    shop.kubectl(&rolled_out);
}

/// The App with all that it builds pushed.
fn rendered(shop: &Harbour) -> String {
    let repository = format!("{PUSHED_TO}/shop");
    let output = shop.portolan(&["render", "--app", "--push", &repository, "-f", &manifest(shop)]);
    assert!(output.status.success(), "{}", portolan_tests::home::said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Beside the shop's source, for the cluster alone. How long the endpoints take to every node is not the shop's to know.
fn manifest(shop: &Harbour) -> String {
    let text = fs::read_to_string(shop.source.join("portolan.yaml")).unwrap();
    let (app, _) = text.split_once("\n---\n").unwrap();
    let drains = json!({ "cluster": { "services": { "web": { "stop": { "drain": "5s" } } } } });
    let path = shop.source.join("cluster.yaml");
    let manifest = format!(
        "{app}\n  targets: [cluster]\n  overrides: {drains}\n---\n{}\n",
        target()
    );
    fs::write(&path, manifest).unwrap();
    path.to_str().unwrap().to_string()
}

fn target() -> Value {
    json!({
        "apiVersion": "portolan.dev/v1alpha1", "kind": "Target", "metadata": { "name": "cluster" },
        "spec": { "provider": "kubernetes", "kubernetes": { "namespace": PLACE } },
    })
}

fn is_ready(shop: &Harbour) {
    let wait = [
        "wait",
        "--for=condition=Ready",
        "app/shop",
        "-n",
        "default",
        "--timeout=120s",
    ];
    if let Err(error) = shop.node.plane().kubectl(&wait) {
        let app = shop.kubectl(&["get", "app", "shop", "-n", "default", "-o", "yaml"]);
        let log = shop.kubectl(&[
            "logs",
            "deployment/portolan-controller",
            "-n",
            "portolan-system",
            "--tail=60",
        ]);
        panic!("{error}\n{app}\n{log}");
    }
    until("the page answers", LIMIT, || {
        let url = format!("{}/whoami", shop.address());
        shop.node
            .run("curl", &["--silent", "--fail", "--max-time", "5", &url])
            .ok()
    });
}
