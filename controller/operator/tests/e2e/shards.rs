//! Several operators that divide the Apps among them: one writes for each, whoever comes and goes.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::Duration;

use portolan_cluster::Entry;
use serde_json::json;

use crate::life::told;
use crate::world::{World, app, until, until_within};

const APPS: usize = 24;

/// So long nothing is written by anybody who looks each second.
const QUIET: Duration = Duration::from_secs(6);

/// From when a process is gone until another has what it held: a lease's duration, and some looks.
const TAKEN_OVER: Duration = Duration::from_secs(40);

fn apply(world: &World, apps: usize, replicas: u32) {
    let apps: Vec<_> = (0..apps)
        .map(|number| app(&format!("app-{number:02}"), replicas))
        .collect();
    world.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": apps }));
}

fn are_ready(world: &World) {
    let wait = [
        "wait",
        "apps",
        "--all",
        "-n",
        "team",
        "--for=condition=Ready",
        "--timeout=180s",
    ];
    world.plane.kubectl(&wait).unwrap();
}

/// Whoever has written a shard's Lease last, and how many of those each has.
fn loads(world: &World, shards: u32) -> BTreeMap<String, usize> {
    let kind = format!("-of-{shards}");
    let written = world
        .plane
        .audit()
        .unwrap()
        .into_iter()
        .filter(|entry| entry.is_lease() && entry.is_write() && entry.code < 300 && entry.name.ends_with(&kind));
    let holders: BTreeMap<String, String> = written.map(|entry| (entry.name, entry.user)).collect();
    let mut loads = BTreeMap::new();
    for holder in holders.into_values() {
        *loads.entry(holder).or_default() += 1;
    }
    loads
}

fn until_held(world: &World, shards: u32, expected: &[(&str, usize)]) {
    let expected: BTreeMap<String, usize> = expected
        .iter()
        .map(|(user, load)| ((*user).to_string(), *load))
        .collect();
    until_within(TAKEN_OVER, &format!("the shards are held so: {expected:?}"), || {
        sleep(Duration::from_millis(500));
        loads(world, shards) == expected
    });
}

/// Nobody writes anything but Leases.
fn is_quiet(world: &World, users: &[&str], since: &str, why: &str) {
    sleep(QUIET);
    let writes: Vec<Entry> = users.iter().flat_map(|user| world.writes(user, since)).collect();
    assert!(writes.is_empty(), "{why}: {:#?}", told(&writes));
}

#[test]
fn each_app_is_kept_by_one_process_whoever_comes_and_goes() {
    let test = "each_app_is_kept_by_one_process_whoever_comes_and_goes";
    let Some(world) = World::start(test) else { return };
    let four = ["--shards", "4"];
    let first = world.operator_as("first", &four);
    let second = world.operator_as("second", &four);
    until_held(&world, 4, &[("first", 2), ("second", 2)]);
    apply(&world, APPS, 1);
    are_ready(&world);
    sleep(QUIET);
    let mut writers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in ["first", "second"].iter().flat_map(|user| world.writes(user, "")) {
        if let Some(app) = entry.name.strip_prefix("app-") {
            writers.entry(app[..2].to_string()).or_default().insert(entry.user);
        }
    }
    assert!(
        writers.len() == APPS && writers.values().all(|of| of.len() == 1),
        "{writers:?}"
    );
    let all: BTreeSet<&String> = writers.values().flatten().collect();
    assert_eq!(all.len(), 2, "each has some");

    let since = world.now();
    first.kill();
    until_held(&world, 4, &[("second", 4)]);
    is_quiet(&world, &["second"], &since, "what has converged stays as it is");
    apply(&world, APPS, 2);
    are_ready(&world);
    sleep(QUIET);

    let since = world.now();
    let third = world.operator_as("third", &four);
    until_held(&world, 4, &[("second", 2), ("third", 2)]);
    is_quiet(
        &world,
        &["second", "third"],
        &since,
        "nor does it matter to whom it moves",
    );
    assert_eq!(third.stop(), Some(0));
    until_held(&world, 4, &[("second", 4)]);
    is_quiet(&world, &["second"], &since, "also where it comes back");
    apply(&world, APPS, 3);
    are_ready(&world);
    let label = "portolan.dev/controller=cluster";
    let leases = world.get(&["-n", "portolan-system", "leases", "-l", label]).unwrap();
    let leases = leases["items"].as_array().unwrap().iter();
    let names = leases.map(|one| one["metadata"]["name"].as_str().unwrap());
    let members = names.filter(|name| name.contains("-member-")).count();
    assert_eq!(members, 2, "who ends well takes his own away, who was killed leaves it");
    drop(second);
}

#[test]
fn another_count_of_shards_waits_until_nobody_has_the_first() {
    let test = "another_count_of_shards_waits_until_nobody_has_the_first";
    let Some(world) = World::start(test) else { return };
    let first = world.operator_as("first", &["--shards", "2"]);
    apply(&world, 4, 1);
    until_held(&world, 2, &[("first", 2)]);
    are_ready(&world);
    let second = world.operator_as("second", &["--shards", "3"]);
    let third = world.operator_as("third", &[]);
    for waiting in [&second, &third] {
        until("it says that it waits", || waiting.log().contains("it waits for those"));
    }
    is_quiet(&world, &["second", "third"], "", "who waits");
    sleep(Duration::from_secs(20));
    is_quiet(
        &world,
        &["second", "third"],
        "",
        "who waits for longer than a lease lasts",
    );
    assert_eq!(third.stop(), Some(0));

    assert_eq!(first.stop(), Some(0));
    until_held(&world, 3, &[("second", 3)]);
    apply(&world, 4, 2);
    are_ready(&world);
    let left = world.get(&["-n", "portolan-system", "leases"]).unwrap();
    assert!(!left.to_string().contains("-of-2"), "{left:#}");
}

#[test]
fn a_frozen_process_that_thaws_writes_nothing_for_any_shard() {
    let test = "a_frozen_process_that_thaws_writes_nothing_for_any_shard";
    let Some(world) = World::start(test) else { return };
    let four = ["--shards", "4"];
    let mut first = world.operator_as("first", &four);
    let _second = world.operator_as("second", &four);
    until_held(&world, 4, &[("first", 2), ("second", 2)]);
    apply(&world, 8, 1);
    are_ready(&world);

    first.signal("-STOP");
    until_held(&world, 4, &[("second", 4)]);
    apply(&world, 8, 2);
    are_ready(&world);
    let since = world.now();
    first.thaws_and_has_lost_its_lease();
    is_quiet(
        &world,
        &["first"],
        &since,
        "who was away for longer than his leases last",
    );
    apply(&world, 8, 3);
    are_ready(&world);
}
