//! What is told apart by what an API server serves, and not by its version: the oldest Kubernetes is asked the same.

use serde_json::json;

use crate::world::{World, app, target, until};

#[test]
fn claims_of_devices_are_made_where_they_are_served_and_missed_by_name_where_not() {
    let test = "claims_of_devices_are_made_where_they_are_served_and_missed_by_name_where_not";
    let Some(world) = World::start(test) else { return };
    let mut claims = target("claims");
    claims["spec"]["kubernetes"] = json!({ "gpus": "resourceClaim" });
    world.apply(&claims);
    let _running = world.operator("one");
    let mut drawing = app("drawing", 1);
    drawing["spec"]["targets"] = json!(["claims"]);
    drawing["spec"]["services"]["web"]["resources"] = json!({ "gpu": {} });
    world.apply(&drawing);
    if world
        .plane
        .kubectl(&["get", "--raw", "/apis/resource.k8s.io/v1"])
        .is_ok()
    {
        until("there is a template of its claims", || {
            let of_it = ["-n", "team", "resourceclaimtemplates", "-l", "portolan.dev/app=drawing"];
            world.get(&of_it).is_some_and(|found| found["items"][0].is_object())
        });
        return;
    }
    until("it says what is missing", || {
        world.condition("drawing", "Stalled") == "True KindMissing"
    });
    let told = world.get(&["-n", "team", "app", "drawing"]).unwrap();
    let ready = told["status"]["conditions"][0]["message"].as_str().unwrap();
    assert!(ready.contains("ResourceClaimTemplate"), "{ready}");
}
