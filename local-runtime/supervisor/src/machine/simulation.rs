//! A seeded world around the step function: answers late and out of order, processes that end, new specs at any moment,
//! new supervisors. What may never happen is checked after every step; a failure prints its seed.

use std::time::Duration;

use super::world::World;
use super::*;
use crate::spec::{RolloutStep, Strategy};
use crate::testing::{job, service};

const SEEDS: u64 = 200;
const STEPS: u64 = 400;

#[test]
fn whatever_happens_it_settles() {
    for seed in 1..=SEEDS {
        let run = std::panic::catch_unwind(|| simulate(seed));
        assert!(run.is_ok(), "seed {seed} fails");
    }
}

fn simulate(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut world = World::new();
    for _ in 0..STEPS {
        something_happens(&mut world, &mut random);
    }
    settles(&mut world, &mut random);
}

fn something_happens(world: &mut World, random: &mut Random) {
    match random.below(20) {
        0..=9 => answer_any(world, random),
        10..=13 => {
            world.now = world.now + Duration::from_millis(random.below(2000));
            world.event(Event::Tick);
        }
        14 => {
            let alive = world.alive();
            if let Some((pod, name)) = random.one_of(&alive) {
                world.end(*pod, name, [0, 1, 137][random.below(3) as usize]);
            }
        }
        15 if random.below(4) == 0 => world.resume(),
        16 if random.below(8) == 0 => {
            if random.below(2) == 0 {
                world.lose_power();
            }
            world.reboot();
        }
        17 => world.takes(Object::Service(some_service(random))),
        18 => {
            let revision = format!("r{}", random.below(3));
            // Refused while the one before is on its way out.
            _ = world.put(Object::Job(some_job(&revision, random)));
        }
        19 => {
            let (name, full) = ("web".into(), random.below(2) == 0);
            world.event(Event::Promote { name, full });
        }
        _ => {}
    }
    world.holds();
}

fn answer_any(world: &mut World, random: &mut Random) {
    if world.pending.is_empty() {
        return;
    }
    let index = random.below(world.pending.len() as u64) as usize;
    let effect = world.pending.remove(index).expect("the index is within");
    world.answer(effect);
}

/// Without further trouble the last spec comes to its end, and a delete leaves nothing.
fn settles(world: &mut World, random: &mut Random) {
    let mut spec = some_service(random);
    spec.pod.main.image = "server".into();
    // A step that waits for somebody would wait for ever.
    spec.rollout
        .steps
        .iter_mut()
        .for_each(|step| step.pause = Some(Duration::from_secs(2)));
    world.takes(Object::Service(spec.clone()));
    world.run(Duration::from_secs(600));
    assert_eq!(world.verdict(Kind::Service, "web"), "Ready");
    assert_eq!(world.service("web").ready, spec.replicas);
    world.words();
    world.run(Duration::from_secs(600));
    let touched: Vec<_> = world.words();
    assert!(
        touched.iter().all(|word| !word.contains("start")),
        "a service at rest is left alone: {touched:?}"
    );
    world.takes_delete(Kind::Service, "web");
    world.takes_delete(Kind::Job, "task");
    world.run(Duration::from_secs(600));
    assert!(world.alive().is_empty() && world.state.services.is_empty() && world.state.jobs.is_empty());
}

fn some_service(random: &mut Random) -> crate::spec::ServiceSpec {
    let mut spec = service("web", 1 + random.below(3) as u32);
    let images = ["server", "server", "server", "stubborn", "unready", "crash", "broken"];
    spec.pod.main.image = random.one_of(&images).unwrap_or(&"server").to_string();
    spec.revision = format!("r-{}", spec.pod.main.image);
    (spec.rollout.strategy, spec.rollout.steps) = some_way(random);
    spec
}

fn some_way(random: &mut Random) -> (Strategy, Vec<RolloutStep>) {
    let step = |weight, seconds: Option<u64>| RolloutStep {
        weight,
        pause: seconds.map(Duration::from_secs),
    };
    match random.below(6) {
        0 => (Strategy::Canary, vec![step(10, Some(5)), step(60, Some(1))]),
        1 => (Strategy::Canary, vec![step(50, None)]),
        2 => (Strategy::BlueGreen, vec![]),
        3 => (Strategy::BlueGreen, vec![step(0, Some(3))]),
        _ => (Strategy::Rolling, vec![]),
    }
}

fn some_job(revision: &str, random: &mut Random) -> crate::spec::JobSpec {
    let mut spec = job("task", revision);
    spec.pod.main.image = random
        .one_of(&["done", "crash", "server"])
        .unwrap_or(&"done")
        .to_string();
    (spec.retries, spec.timeout) = (1, Some(Duration::from_secs(30)));
    spec
}

/// xorshift64*: enough to choose by, and the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn one_of<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        (!of.is_empty()).then(|| &of[self.below(of.len() as u64) as usize])
    }
}
