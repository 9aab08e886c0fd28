//! What is watched is looked at when it changes, and asked for no more than once.

use std::thread::sleep;
use std::time::{Duration, Instant};

use portolan_cluster::Entry;

use crate::world::{ACCOUNT, World, app, until};

const SELECTED: &[&str] = &["-n", "team", "services", "-l", "portolan.dev/app=hello"];

fn services(world: &World) -> usize {
    let found = world.get(SELECTED).unwrap_or_default();
    found["items"].as_array().map_or(0, Vec::len)
}

/// The next look that nobody asks for would be ten minutes later.
#[test]
fn what_is_deleted_by_hand_is_back_at_once_and_looks_ask_for_nothing() {
    let test = "what_is_deleted_by_hand_is_back_at_once_and_looks_ask_for_nothing";
    let Some(world) = World::start(test) else { return };
    let first = world.operator("one");
    world.apply(&app("hello", 2));
    world.is_ready("hello");
    assert_eq!(first.stop(), Some(0));
    let second = world.operator_that_rests("one", "10m");
    until("it has its turn", || second.log().contains("this side writes now"));
    sleep(Duration::from_secs(5));

    let since = world.now();
    world
        .plane
        .kubectl(&[&["delete", "--wait=false"], SELECTED].concat())
        .unwrap();
    let began = Instant::now();
    until("it is back", || services(&world) == 1);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "only after {:?}",
        began.elapsed()
    );
    sleep(Duration::from_secs(1));
    let asked = world.plane.audit().unwrap();
    let asked = asked
        .iter()
        .filter(|one| one.user == ACCOUNT && one.at.as_str() > since.as_str());
    // Whether a stranger has the name that is missing is asked for, for no watch shows it.
    let of_ours = |one: &&Entry| one.verb == "list" && !one.uri.contains("%21portolan.dev");
    let lists: Vec<&Entry> = asked.filter(of_ours).collect();
    assert!(lists.is_empty(), "{lists:#?}");
}
