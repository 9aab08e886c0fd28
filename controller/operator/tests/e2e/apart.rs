//! What others set on our objects is theirs: it is left alone, and costs no write.

use serde_json::{Value, json};

use crate::life::rests_for;
use crate::world::{World, app, until};

const OF_APP: &str = "portolan.dev/app=hello";

/// As people and controllers do it: what is changed, by whom, and where it is seen afterwards.
fn others() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let sidecar = json!({ "name": "mesh", "image": "registry.example/mesh:1" });
    vec![
        (
            "a sidecar",
            "deployments",
            json!({ "spec": { "template": { "spec": { "containers": [sidecar] } } } }),
            "/spec/template/spec/containers/1/name",
        ),
        (
            "an annotation of pods",
            "deployments",
            json!({ "spec": { "template": { "metadata": { "annotations": { "mesh.example/on": "yes" } } } } }),
            "/spec/template/metadata/annotations/mesh.example~1on",
        ),
        (
            "a toleration",
            "deployments",
            json!({ "spec": { "template": { "spec": { "tolerations": [{ "key": "spot", "operator": "Exists" }] } } } }),
            "/spec/template/spec/tolerations/0/key",
        ),
        (
            "a label",
            "services",
            json!({ "metadata": { "labels": { "team": "blue" } } }),
            "/metadata/labels/team",
        ),
        (
            "an annotation",
            "services",
            json!({ "metadata": { "annotations": { "cost": "low" } } }),
            "/metadata/annotations/cost",
        ),
        (
            "a finalizer",
            "networkpolicies",
            json!({ "metadata": { "finalizers": ["audit.example/hold"] } }),
            "/metadata/finalizers/0",
        ),
        (
            "a secret to pull by",
            "serviceaccounts",
            json!({ "imagePullSecrets": [{ "name": "registry" }] }),
            "/imagePullSecrets/0/name",
        ),
        (
            "a behaviour",
            "horizontalpodautoscalers",
            json!({ "spec": { "behavior": { "scaleDown": { "stabilizationWindowSeconds": 60 } } } }),
            "/spec/behavior/scaleDown/stabilizationWindowSeconds",
        ),
    ]
}

#[test]
fn what_others_set_is_left_alone_and_ten_resyncs_write_nothing() {
    let test = "what_others_set_is_left_alone_and_ten_resyncs_write_nothing";
    let Some(world) = World::start(test) else { return };
    let _running = world.operator("one");
    let mut hello = app("hello", 1);
    hello["spec"]["services"]["web"]["scale"] = json!({ "min": 1, "max": 5, "on": [{ "cpu": "70%" }] });
    hello["spec"]["services"]["web"]["resources"] = json!({ "cpu": "100m" });
    world.apply(&hello);
    world.is_settled("team", "hello");
    for (what, kind, patch, _) in others() {
        let name = only(&world, kind)["metadata"]["name"].as_str().unwrap().to_string();
        let manager = format!("--field-manager={}", what.replace(' ', "-"));
        let patch = patch.to_string();
        let words = [
            "patch",
            "-n",
            "team",
            kind,
            &name,
            "--type=strategic",
            &manager,
            "-p",
            &patch,
        ];
        world.plane.kubectl(&words).unwrap();
    }
    world
        .plane
        .kubectl(&["scale", "-n", "team", "deployment", "-l", OF_APP, "--replicas=4"])
        .unwrap();
    until("what was set has been rolled out", || {
        let deployment = only(&world, "deployments");
        deployment["status"]["availableReplicas"] == 4 && deployment["status"]["replicas"] == 4
    });
    world.is_settled("team", "hello");
    rests_for(&world, 10, "what others have set");
    for (what, kind, _, pointer) in others() {
        assert!(only(&world, kind).pointer(pointer).is_some(), "{what} is there still");
    }
    assert_eq!(only(&world, "deployments")["spec"]["replicas"], 4);

    // What is changed by the manifest takes nothing of it along.
    hello["spec"]["services"]["web"]["env"] = json!({ "COLOUR": "green" });
    world.apply(&hello);
    until("the change is rolled out", || {
        only(&world, "deployments")["spec"]["template"]
            .to_string()
            .contains("COLOUR")
    });
    world.is_settled("team", "hello");
    for (what, kind, _, pointer) in others() {
        assert!(
            only(&world, kind).pointer(pointer).is_some(),
            "{what} outlives a change of ours"
        );
    }
    assert_eq!(only(&world, "deployments")["spec"]["replicas"], 4);
    rests_for(&world, 10, "after a change of ours");
    let freed = [
        "patch",
        "-n",
        "team",
        "networkpolicies",
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":null}}"#,
    ];
    let policy = only(&world, "networkpolicies");
    world
        .plane
        .kubectl(&[&freed[..], &[policy["metadata"]["name"].as_str().unwrap()]].concat())
        .unwrap();
}

/// The App's one object of that kind.
fn only(world: &World, kind: &str) -> Value {
    let found = world.get(&["-n", "team", kind, "-l", OF_APP]).unwrap();
    assert_eq!(found["items"].as_array().unwrap().len(), 1, "{kind}");
    found["items"][0].clone()
}
