//! An App that is as large as its object can be: its status stays small, and says the worst first.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::world::{DIGEST, World, app, until_within};

const SERVICES: usize = 2_000;
/// What is promised, in bytes of JSON.
const MOST: usize = 256 * 1024;

/// The cluster's own controllers need most of it.
const LIMIT: Duration = Duration::from_secs(900);

#[test]
#[ignore = "five minutes"]
fn the_status_of_two_thousand_services_fits_and_says_the_worst_first() {
    let test = "the_status_of_two_thousand_services_fits_and_says_the_worst_first";
    let Some(world) = World::start(test) else { return };
    let _running = world.operator("one");
    let image = format!("registry.example/web@{DIGEST}");
    let service = |number: usize| {
        (
            format!("a-service-of-two-thousand-{number:04}"),
            json!({ "image": image }),
        )
    };
    let mut large = app("large", 1);
    large["spec"]["services"] = Value::Object((0..SERVICES).map(service).collect::<Map<_, _>>());
    world.apply(&large);
    let mut most = 0;
    until_within(LIMIT, "it is ready", || {
        let object = world.get(&["-n", "team", "app", "large"]).unwrap();
        most = most.max(object["status"].to_string().len());
        world.condition("large", "Ready").starts_with("True")
    });
    let object = world
        .get(&["-n", "team", "app", "large", "--show-managed-fields"])
        .unwrap();
    let entry = &object["status"]["targets"]["here"];
    let shown = entry["resources"].as_array().unwrap().len();
    assert!(most > 0 && most < MOST, "{most} bytes");
    assert_eq!(shown as u64 + entry["more"].as_u64().unwrap(), SERVICES as u64);
    let of_status = object["metadata"]["managedFields"].as_array().unwrap().iter();
    let of_status: usize = of_status
        .filter(|one| one["subresource"] == "status")
        .map(|one| one.to_string().len())
        .sum();
    assert!(
        object["status"].to_string().len() + of_status < MOST,
        "who owns which field counts, too: {of_status}"
    );
}
