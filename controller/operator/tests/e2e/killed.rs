//! An operator that is killed again and again, at moments that nobody has chosen, while Apps come, change and go.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use crate::life::rests_for;
use crate::role::{INSTALLED, KINDS};
use crate::world::{World, app, until};

const APPS: u64 = 6;

/// Moments and changes: the same ones for the same seed.
struct Chance(u64);

impl Chance {
    /// Less than that.
    fn below(&mut self, bound: u64) -> u64 {
        // Knuth's MMIX; its upper bits are the better ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn killed_at_ten_random_moments() {
    killed("killed_at_ten_random_moments", 10, 1);
}

#[test]
#[ignore = "five minutes"]
fn killed_at_a_hundred_random_moments() {
    killed("killed_at_a_hundred_random_moments", 100, 2);
}

fn killed(test: &str, times: u64, seed: u64) {
    let Some(world) = World::start(test) else { return };
    let mut chance = Chance(seed);
    // How many replicas each App is to have that is wanted.
    let mut wanted: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..times {
        let running = world.operator("one");
        // From before it has its turn until it has long begun.
        sleep(Duration::from_millis(chance.below(1_500)));
        for _ in 0..=chance.below(3) {
            let name = format!("app-{}", chance.below(APPS));
            match chance.below(4) {
                0 if wanted.remove(&name).is_some() => {
                    world
                        .plane
                        .kubectl(&["delete", "app", "-n", "team", &name, "--wait=false"])
                        .unwrap();
                }
                _ => {
                    let replicas = u32::try_from(1 + chance.below(3)).unwrap();
                    // One that is going has to be gone before another one comes by its name.
                    if is_not_going(&world, &name) {
                        world.apply(&app(&name, replicas));
                        wanted.insert(name, replicas);
                    }
                }
            }
            sleep(Duration::from_millis(chance.below(400)));
        }
        running.kill();
    }
    let _running = world.operator("one");
    for name in wanted.keys() {
        world.is_settled("team", name);
    }
    until("those that were deleted are gone", || {
        names(&world, "apps").len() == wanted.len()
    });
    world.apply(&app("alone", 2));
    world.is_settled("team", "alone");
    let alone = objects(&world, "alone");
    assert!(alone.len() >= 4 && alone.values().all(|count| *count == 1), "{alone:?}");
    for (name, replicas) in &wanted {
        let mut expected = alone.clone();
        // One replica has no budget of disruptions.
        if *replicas == 1 {
            expected.remove("PodDisruptionBudget");
        }
        assert_eq!(objects(&world, name), expected, "{name}, seed {seed}");
        let label = format!("portolan.dev/app={name}");
        let deployments = world.get(&["-n", "team", "deployments", "-l", &label]).unwrap();
        assert_eq!(
            deployments["items"][0]["spec"]["replicas"], *replicas,
            "{name}, seed {seed}"
        );
    }
    let orphans: Vec<String> = all(&world)
        .into_iter()
        .filter(|(app, _)| app != "alone" && !wanted.contains_key(app))
        .map(|(app, kind)| format!("{kind} of {app}"))
        .collect();
    assert!(orphans.is_empty(), "seed {seed}: {orphans:?}");
    rests_for(&world, 3, "after it was killed so often");
}

fn is_not_going(world: &World, name: &str) -> bool {
    let object = world.get(&["-n", "team", "app", name]);
    object.is_none_or(|object| object["metadata"]["deletionTimestamp"].is_null())
}

fn names(world: &World, kind: &str) -> Vec<String> {
    let found = world.get(&["-n", "team", kind]).unwrap();
    let names = found["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["metadata"]["name"].as_str().unwrap());
    names.map(String::from).collect()
}

/// App and kind of each object that bears an App's label.
fn all(world: &World) -> Vec<(String, String)> {
    let kinds = KINDS.split(',').filter(|kind| !INSTALLED.contains(kind));
    let kinds = kinds.collect::<Vec<_>>().join(",");
    let found = world.get(&["-n", "team", &kinds, "-l", "portolan.dev/app"]);
    let found = found.map(|found| found["items"].as_array().cloned().unwrap_or_default());
    let told = |one: &serde_json::Value| {
        let app = one["metadata"]["labels"]["portolan.dev/app"].as_str().unwrap();
        (app.to_string(), one["kind"].as_str().unwrap().to_string())
    };
    found.unwrap_or_default().iter().map(told).collect()
}

/// How many of each kind an App has.
fn objects(world: &World, app: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (_, kind) in all(world).into_iter().filter(|(of, _)| of == app) {
        *counts.entry(kind).or_default() += 1;
    }
    counts
}
