//! The Helm chart: what it makes is what Kustomize makes of the same files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use portolan_cluster::{helm, or_skip};
use serde_json::{Value, json};

use crate::world::{Shipped, World};

const IMAGE: &str = "registry.example/portolan@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn deploy(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(folder)
}

/// What Helm says, if it is content.
fn said(helm: &Path, arguments: &[&str]) -> String {
    let output = Command::new(helm).args(arguments).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "helm {arguments:?}: {words}");
    String::from_utf8(output.stdout).unwrap()
}

/// By kind, namespace and name; YAML as kubectl reads it.
fn objects(world: &World, manifests: &str) -> BTreeMap<String, Value> {
    let file = world.write("objects.yaml", manifests);
    let arguments = [
        "create",
        "--dry-run=client",
        "--validate=false",
        "-o",
        "json",
        "-f",
        file.to_str().unwrap(),
    ];
    let told = world.plane.kubectl(&arguments).unwrap();
    let objects = serde_json::Deserializer::from_str(&told).into_iter::<Value>();
    let all = objects
        .map(Result::unwrap)
        .flat_map(|one| match one["items"].as_array() {
            Some(items) => items.clone(),
            None => vec![one],
        });
    let wanted = all.filter(|one| one["kind"] != "Namespace" && one["kind"] != "CustomResourceDefinition");
    wanted
        .map(|one| {
            let name = |field: &str| one["metadata"][field].as_str().unwrap_or_default().to_string();
            (format!("{} {}/{}", one["kind"], name("namespace"), name("name")), one)
        })
        .collect()
}

/// Enough of a definition for kubectl to know the kind.
fn of_cert_manager(kind: &str) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.cert-manager.io") },
        "spec": {
            "group": "cert-manager.io", "scope": "Namespaced", "names": { "kind": kind, "plural": plural },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            } } }],
        },
    })
}

#[test]
fn helm_makes_what_kustomize_makes() {
    let test = "helm_makes_what_kustomize_makes";
    let Some(helm) = or_skip(test, helm()) else { return };
    let Some(world) = World::of(test, Shipped::Cluster) else {
        return;
    };
    for kind in ["Issuer", "Certificate"] {
        world.apply(&of_cert_manager(kind));
    }
    let chart = deploy("helm/portolan");
    let chart = chart.to_str().unwrap();
    let image = format!("image={IMAGE}");
    said(&helm, &["lint", "--strict", "--set", &image, chart]);
    for (kustomization, values, further) in [
        ("cluster", "watchNamespace=", None),
        ("cluster", "shards=4", Some("--shards=4")),
        ("namespaced", "watchNamespace=apps", None),
        ("cluster-webhook", "webhook=true", None),
    ] {
        let arguments = [
            "template",
            "--kube-version",
            "1.36.0",
            "portolan",
            chart,
            "-n",
            "portolan-system",
            "--set",
            &image,
            "--set",
            values,
        ];
        let made = objects(&world, &said(&helm, &arguments));
        let folder = deploy(kustomization);
        let mut expected = objects(
            &world,
            &world.plane.kubectl(&["kustomize", folder.to_str().unwrap()]).unwrap(),
        );
        let deployment = expected
            .get_mut("\"Deployment\" portolan-system/portolan-controller")
            .unwrap();
        let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
        container["image"] = json!(IMAGE);
        let arguments = container["args"].as_array_mut().unwrap();
        arguments.extend(further.map(|argument| json!(argument)));
        for (name, expected) in &expected {
            assert_eq!(made.get(name), Some(expected), "{kustomization}: {name}");
        }
        assert_eq!(made.len(), expected.len(), "{kustomization}: {:?}", made.keys());
    }
}

#[test]
fn helm_installs_it_and_takes_it_away() {
    let test = "helm_installs_it_and_takes_it_away";
    let Some(helm) = or_skip(test, helm()) else { return };
    let Some(world) = World::of(test, Shipped::Namespaced) else {
        return;
    };
    let kubeconfig = world.plane.kubeconfig();
    let run = |arguments: &[&str]| {
        let mut all = vec!["--kubeconfig", kubeconfig.to_str().unwrap(), "-n", "team"];
        all.extend(arguments);
        said(&helm, &all)
    };
    let chart = deploy("helm/portolan");
    let image = format!("image={IMAGE}");
    run(&[
        "install",
        "another",
        chart.to_str().unwrap(),
        "--set",
        &image,
        "--set",
        "watchNamespace=team",
        "--skip-crds",
    ]);
    let deployment = world.get(&["-n", "team", "deployment", "portolan-controller"]).unwrap();
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], IMAGE);
    let role = world.get(&["-n", "team", "role", "portolan-controller"]);
    assert!(role.is_some(), "its role is that of the namespace that it watches");
    run(&["uninstall", "another", "--wait"]);
    assert_eq!(world.get(&["-n", "team", "deployment", "portolan-controller"]), None);
}
