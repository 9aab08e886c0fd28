//! Many Apps at once, and a controller that begins anew among them.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::world::{ACCOUNT, World, app, until};

const APPS: usize = 200;

fn ready(world: &World) -> usize {
    let apps = world.get(&["-n", "team", "apps"]).unwrap();
    let is_ready = |app: &&serde_json::Value| {
        let conditions = app["status"]["conditions"].as_array();
        conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
    };
    apps["items"].as_array().unwrap().iter().filter(is_ready).count()
}

#[test]
#[ignore = "two minutes"]
fn two_hundred_apps_come_at_once_and_another_controller_writes_nothing() {
    let test = "two_hundred_apps_come_at_once_and_another_controller_writes_nothing";
    let Some(world) = World::start(test) else {
        return;
    };
    let first = world.operator("first");
    let apps: Vec<_> = (0..APPS).map(|number| app(&format!("app-{number}"), 1)).collect();
    let began = Instant::now();
    world.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": apps }));
    let applied = began.elapsed();
    until("all are ready", || ready(&world) == APPS);
    println!(
        "{APPS} Apps applied after {applied:?}, ready after {:?}",
        began.elapsed()
    );
    first.kill();
    let since = world.now();
    let second = world.operator("second");
    until("the next one writes", || second.log().contains("this side writes now"));
    std::thread::sleep(Duration::from_secs(20));
    let writes = world.writes(ACCOUNT, &since);
    assert!(
        writes.is_empty(),
        "{} writes, the first {:?}",
        writes.len(),
        writes.first()
    );
}
