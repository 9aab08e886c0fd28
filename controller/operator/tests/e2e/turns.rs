//! Two operators and one lease: who stood still for longer than that sends no write any more.

use std::thread::sleep;
use std::time::Duration;

use crate::world::{World, app, until};

const ADMINISTRATORS: Option<&str> = Some("system:masters");

#[test]
fn a_frozen_operator_that_thaws_writes_nothing() {
    let Some(world) = World::start("a_frozen_operator_that_thaws_writes_nothing") else {
        return;
    };
    let mut first = world.operator_of("first", "first", ADMINISTRATORS);
    world.apply(&app("hello", 1));
    world.is_ready("hello");
    let second = world.operator_of("second", "second", ADMINISTRATORS);
    sleep(Duration::from_secs(3));
    assert!(!second.log().contains("this side writes now"), "one writes at a time");

    first.signal("-STOP");
    until("the other takes over", || second.log().contains("this side writes now"));
    world.apply(&app("hello", 2));
    world.is_ready("hello");
    let since = world.now();
    first.thaws_and_has_lost_its_lease();
    let late = world.writes("first", &since);
    assert!(late.is_empty(), "{late:#?}");
    world.apply(&app("hello", 3));
    world.is_ready("hello");
    assert!(
        world
            .writes("second", &since)
            .iter()
            .any(|write| write.resource == "deployments")
    );
}
