//! The definitions as an API: subresources, columns, names and the words of `kubectl explain`.

use serde_json::{Value, json};

use crate::world::{DIGEST, Shipped, World, app, until};

#[test]
fn an_app_of_one_service_is_scaled_as_a_whole() {
    let Some(world) = World::start("an_app_of_one_service_is_scaled_as_a_whole") else {
        return;
    };
    let _running = world.operator("one");
    let mut hello = app("hello", 1);
    hello["spec"]["services"]["web"]
        .as_object_mut()
        .unwrap()
        .remove("scale");
    world.apply(&hello);
    world.is_ready("hello");
    let kubectl = |arguments: &[&str]| world.plane.kubectl(arguments).map_err(|error| error.to_string());
    kubectl(&["scale", "-n", "team", "app/hello", "--replicas=3"]).unwrap();
    let replicas = || {
        let found = world.get(&["-n", "team", "deployments", "-l", "portolan.dev/app=hello"]);
        found.map_or(Value::Null, |found| found["items"][0]["spec"]["replicas"].clone())
    };
    until("it has three", || replicas() == 3);
    let path = "/apis/portolan.dev/v1alpha1/namespaces/team/apps/hello/scale";
    let scale = || -> Value { serde_json::from_str(&kubectl(&["get", "--raw", path]).unwrap()).unwrap() };
    until("an autoscaler would see three", || scale()["status"]["replicas"] == 3);
    let selector = scale()["status"]["selector"].as_str().unwrap().to_string();
    let pods = world.get(&["-n", "team", "pods", "-l", &selector]).unwrap();
    assert_eq!(
        pods["items"].as_array().unwrap().len(),
        3,
        "its pods are those that the selector names"
    );

    // The same manifest again says nothing of the number, and leaves it to whoever scales.
    world.apply(&hello);
    world.is_ready("hello");
    assert_eq!(replicas(), 3);

    kubectl(&["scale", "-n", "team", "app/hello", "--replicas=0"]).unwrap();
    until("it has none", || replicas() == 0);

    let mut two = app("two", 1);
    two["spec"]["services"]["admin"] = json!({ "image": format!("registry.example/admin@{DIGEST}") });
    world.apply(&two);
    let told = kubectl(&["scale", "-n", "team", "app/two", "--replicas=3"]).unwrap_err();
    assert!(
        told.contains("ReplicasUnclear: `replicas` is for an app of one service"),
        "{told}"
    );
}

#[test]
fn the_definitions_are_what_kubectl_expects() {
    let test = "the_definitions_are_what_kubectl_expects";
    let Some(world) = World::of(test, Shipped::Cluster) else {
        return;
    };
    world.apply(&app("hello", 1));
    // What a definition says is published a moment after it is established.
    let kubectl = |arguments: &[&str]| {
        let mut told = None;
        until(&format!("an answer to kubectl {}", arguments.join(" ")), || {
            told = world.plane.kubectl(arguments).ok();
            told.is_some()
        });
        told.unwrap()
    };
    for (reason, arguments, expected) in [
        (
            "its short name",
            vec!["get", "papp", "-n", "team"],
            "NAME TARGETS READY REASON AGE",
        ),
        (
            "all of it",
            vec!["get", "apps", "-n", "team", "-o", "wide"],
            "NAME TARGETS READY REASON AGE RECONCILING DRIFTED MESSAGE",
        ),
        ("a Target's", vec!["get", "ptarget"], "NAME PROVIDER READY AGE"),
        (
            "all of it",
            vec!["get", "targets", "-o", "wide"],
            "NAME PROVIDER READY AGE MESSAGE",
        ),
    ] {
        let told = kubectl(&arguments);
        let head: Vec<&str> = told.lines().next().unwrap_or_default().split_whitespace().collect();
        assert_eq!(head.join(" "), expected, "{reason}");
    }
    let all = kubectl(&["get", "portolan", "-n", "team", "-o", "name"]);
    assert!(
        all.contains("app.portolan.dev/hello") && all.contains("target.portolan.dev/here"),
        "{all}"
    );

    for definition in ["apps", "targets"] {
        let found = world.get(&["crd", &format!("{definition}.portolan.dev")]).unwrap();
        for kind in ["NonStructuralSchema", "KubernetesAPIApprovalPolicyConformant"] {
            let conditions = found["status"]["conditions"].as_array().unwrap();
            assert!(
                conditions
                    .iter()
                    .all(|one| one["type"] != kind || one["status"] == "False"),
                "{kind}"
            );
        }
        let schema = &found["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut silent = Vec::new();
        without_words(schema, definition, &mut silent);
        assert!(silent.is_empty(), "kubectl explain says nothing of {silent:?}");
    }
    let told = kubectl(&["explain", "app.spec.services.scale.max"]);
    assert!(told.contains("Most replicas that there may be"), "{told}");
    let told = kubectl(&["explain", "app.spec.overrides.services.scale.max"]);
    assert!(told.contains("As spec.services.NAME.scale.max"), "{told}");
}

/// Fields that have no description. Of `metadata` Kubernetes has its own.
fn without_words(schema: &Value, place: &str, found: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        if name == "metadata" {
            continue;
        }
        if field["description"].as_str().unwrap_or_default().is_empty() {
            found.push(place.clone());
        }
        without_words(field, &place, found);
    }
    for part in ["items", "additionalProperties"] {
        if schema[part].is_object() {
            without_words(&schema[part], place, found);
        }
    }
}
