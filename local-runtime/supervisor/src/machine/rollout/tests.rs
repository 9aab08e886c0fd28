//! Canary, and blue and green, by the minute.

use std::time::Duration;

use super::super::world::World;
use super::super::*;
use crate::protocol::{SharesStatus, WaitsFor};
use crate::spec::{RolloutStep, ServiceSpec, Strategy};
use crate::testing::service;

const MINUTE: Duration = Duration::from_secs(60);

fn step(weight: u8, pause: Option<Duration>) -> RolloutStep {
    RolloutStep { weight, pause }
}

fn canary(replicas: u32, steps: &[RolloutStep]) -> ServiceSpec {
    let mut spec = service("web", replicas);
    spec.rollout.strategy = Strategy::Canary;
    spec.rollout.steps = steps.to_vec();
    spec
}

fn blue_green(replicas: u32, steps: &[RolloutStep]) -> ServiceSpec {
    let mut spec = canary(replicas, steps);
    spec.rollout.strategy = Strategy::BlueGreen;
    spec
}

/// The first revision, with all replicas ready.
fn up(spec: &ServiceSpec) -> World {
    let mut world = World::new();
    world.takes(Object::Service(spec.clone()));
    world.run(MINUTE);
    assert_eq!(
        world.verdict(Kind::Service, "web"),
        "Ready",
        "the first revision has no steps"
    );
    world.words();
    world
}

fn change(world: &mut World, spec: &ServiceSpec, image: &str) {
    let mut spec = spec.clone();
    (spec.revision, spec.pod.main.image) = ("r2".into(), image.into());
    world.takes(Object::Service(spec));
}

fn promote(world: &mut World, full: bool) {
    let name = "web".into();
    world.event(Event::Promote { name, full });
}

/// Weight and number of replicas that take connections, of the old and of the new revision.
fn groups(world: &World) -> Vec<(u32, usize)> {
    let routes = routes(&world.state);
    let groups = routes[0].groups.iter();
    groups.map(|group| (group.weight, group.targets.len())).collect()
}

fn shares(world: &World) -> Option<SharesStatus> {
    world.service("web").shares
}

#[test]
fn a_canary_walks_its_steps() {
    let spec = canary(4, &[step(10, Some(MINUTE)), step(50, None)]);
    let mut world = up(&spec);
    change(&mut world, &spec, "server");
    world.run(MINUTE / 2);
    assert_eq!(
        groups(&world),
        [(90, 4), (10, 1)],
        "one in ten connections, one new replica at least"
    );
    assert_eq!(shares(&world).unwrap().waits_for, Some(WaitsFor::Time));
    world.run(MINUTE);
    assert_eq!(groups(&world), [(50, 4), (50, 2)], "the pause is over");
    assert_eq!(shares(&world).unwrap().waits_for, Some(WaitsFor::Promotion));
    world.run(60 * MINUTE);
    assert_eq!(
        groups(&world),
        [(50, 4), (50, 2)],
        "nobody has promoted it; no deadline counts"
    );
    assert_eq!(world.verdict(Kind::Service, "web"), "Progressing");
    promote(&mut world, false);
    promote(&mut world, false);
    world.run(MINUTE);
    assert_eq!(groups(&world), [(1, 4)], "the new revision is all there is");
    assert_eq!(world.verdict(Kind::Service, "web"), "Ready");
    assert_eq!(world.service("web").serving_revisions, ["r2"]);
}

#[test]
fn a_canary_keeps_every_old_replica_until_the_new_ones_are_all_ready() {
    let spec = canary(4, &[step(25, None)]);
    let mut world = up(&spec);
    change(&mut world, &spec, "server");
    world.run(MINUTE);
    world.words();
    promote(&mut world, false);
    world.run(MINUTE);
    let words = world.words();
    let last_start = words.iter().rposition(|word| word.starts_with("start")).unwrap();
    let first_stop = words.iter().position(|word| word.starts_with("SIGTERM")).unwrap();
    assert!(last_start < first_stop, "{words:?}");
}

#[test]
fn a_promotion_that_is_said_twice_is_one() {
    let spec = canary(4, &[step(25, None), step(75, None)]);
    let mut world = up(&spec);
    promote(&mut world, true);
    change(&mut world, &spec, "server");
    promote(&mut world, false);
    world.run(MINUTE);
    assert_eq!(
        shares(&world).unwrap().step,
        Some(1),
        "before it waits there is nothing to promote"
    );
    promote(&mut world, false);
    promote(&mut world, false);
    world.run(MINUTE);
    assert_eq!(shares(&world).unwrap().step, Some(2));
}

#[test]
fn promotion_in_full_skips_the_steps() {
    let spec = canary(2, &[step(10, None), step(20, None), step(30, None)]);
    let mut world = up(&spec);
    change(&mut world, &spec, "server");
    world.run(MINUTE);
    promote(&mut world, true);
    world.run(MINUTE);
    assert_eq!(world.verdict(Kind::Service, "web"), "Ready");
    assert_eq!(world.service("web").serving_revisions, ["r2"]);
}

#[test]
fn a_revision_that_was_complete_before_comes_back_without_a_step() {
    for (reason, spec) in [
        ("canary", canary(4, &[step(10, Some(60 * MINUTE)), step(50, None)])),
        ("blue and green", blue_green(4, &[step(0, None)])),
    ] {
        let mut world = up(&spec);
        change(&mut world, &spec, "server");
        world.run(MINUTE);
        promote(&mut world, true);
        world.run(MINUTE);
        assert_eq!(world.service("web").serving_revisions, ["r2"], "{reason}");
        world.words();

        world.takes(Object::Service(spec.clone()));
        world.run(MINUTE);
        assert_eq!(world.verdict(Kind::Service, "web"), "Ready", "{reason}: it is back");
        assert_eq!(world.service("web").serving_revisions, ["r1"], "{reason}");
        let words = world.words();
        let last_start = words.iter().rposition(|word| word.starts_with("start")).unwrap();
        let first_stop = words.iter().position(|word| word.starts_with("SIGTERM")).unwrap();
        assert!(last_start < first_stop, "{reason}: beside all the others: {words:?}");

        change(&mut world, &spec, "server");
        world.run(MINUTE);
        assert_eq!(
            shares(&world).unwrap().step,
            Some(1),
            "{reason}: forward again is step by step"
        );
    }
}

#[test]
fn a_way_back_that_fails_is_no_step_forward() {
    let spec = canary(2, &[step(50, None)]);
    let mut world = up(&spec);
    for (revision, image) in [("r2", "server"), ("r3", "stubborn")] {
        let mut next = spec.clone();
        (next.revision, next.pod.main.image) = (revision.into(), image.into());
        world.takes(Object::Service(next));
        world.run(MINUTE);
        promote(&mut world, true);
        world.run(MINUTE);
    }
    let mut back = spec.clone();
    back.pod.main.image = "crash".into();
    world.takes(Object::Service(back.clone()));
    world.run(spec.rollout.deadline + MINUTE);
    assert_eq!(world.verdict(Kind::Service, "web"), "CrashLoopBackOff");
    assert_eq!(world.service("web").serving_revisions, ["r3"], "what served goes on");

    change(&mut world, &spec, "server");
    world.run(MINUTE);
    assert_eq!(
        world.verdict(Kind::Service, "web"),
        "Ready",
        "another one of before, at once"
    );
    assert_eq!(world.service("web").serving_revisions, ["r2"]);
}

#[test]
fn blue_and_green_switch_at_once() {
    for (reason, steps, promoted) in [
        ("by itself once all are ready", vec![], false),
        ("after a look", vec![step(0, Some(MINUTE))], false),
        ("on a word", vec![step(0, None)], true),
    ] {
        let spec = blue_green(3, &steps);
        let mut world = up(&spec);
        change(&mut world, &spec, "server");
        if !steps.is_empty() {
            world.run(MINUTE / 2);
            assert_eq!(
                groups(&world),
                [(100, 3), (0, 3)],
                "{reason}: all stand ready, none is asked"
            );
        }
        if promoted {
            promote(&mut world, false);
        }
        world.run(MINUTE);
        assert_eq!(world.verdict(Kind::Service, "web"), "Ready", "{reason}");
        assert_eq!(world.service("web").serving_revisions, ["r2"], "{reason}");
    }
}

#[test]
fn a_bad_canary_gives_way_and_is_held() {
    for (reason, image, failure) in [
        ("it keeps ending", "crash", "CrashLoopBackOff"),
        ("it never gets ready", "unready", "ProgressDeadlineExceeded"),
    ] {
        let spec = canary(3, &[step(10, Some(MINUTE))]);
        let mut world = up(&spec);
        change(&mut world, &spec, image);
        world.run(spec.rollout.deadline + MINUTE);
        assert_eq!(world.verdict(Kind::Service, "web"), failure, "{reason}");
        assert_eq!(groups(&world), [(1, 3)], "{reason}: the old revision has everything");
        assert_eq!(world.service("web").serving_revisions, ["r1"], "{reason}");
        world.words();
        world.run(60 * MINUTE);
        assert!(world.words().is_empty(), "{reason}: it is not tried again by itself");
    }
}

#[test]
fn what_comes_in_between_keeps_the_place_or_begins_anew() {
    let steps = [step(10, None), step(50, None)];
    let at_the_second = |spec: &ServiceSpec| {
        let mut world = up(spec);
        change(&mut world, spec, "server");
        world.run(MINUTE);
        promote(&mut world, false);
        world.run(MINUTE);
        assert_eq!(shares(&world).unwrap().step, Some(2));
        world
    };
    let spec = canary(2, &steps);

    let mut world = at_the_second(&spec);
    world.resume();
    world.run(MINUTE);
    assert_eq!(
        shares(&world).unwrap().step,
        Some(2),
        "another supervisor goes on there"
    );

    world.event(Event::Retry { name: "web".into() });
    world.run(MINUTE);
    assert_eq!(
        shares(&world).unwrap().step,
        Some(2),
        "so does a retry: nothing has failed"
    );

    let mut second = spec.clone();
    (second.revision, second.pod.main.image) = ("r2".into(), "server".into());
    let mut more = second.clone();
    more.replicas = 4;
    world.takes(Object::Service(more));
    world.run(MINUTE);
    assert_eq!(groups(&world), [(50, 4), (50, 2)], "scaling changes both, and no step");

    let mut third = spec.clone();
    (third.revision, third.pod.main.image) = ("r3".into(), "stubborn".into());
    world.takes(Object::Service(third));
    world.run(MINUTE);
    assert_eq!(
        shares(&world).unwrap().step,
        Some(1),
        "a third revision begins at the first step"
    );
    assert_eq!(
        world.service("web").serving_revisions,
        ["r1", "r3"],
        "beside the one that was complete"
    );

    world.takes(Object::Service(spec.clone()));
    world.run(MINUTE);
    assert_eq!(
        world.verdict(Kind::Service, "web"),
        "Ready",
        "the old spec again is a rollback"
    );
    assert_eq!(world.service("web").serving_revisions, ["r1"]);

    let mut world = at_the_second(&spec);
    world.reboot();
    world.run(MINUTE);
    assert_eq!(
        shares(&world).unwrap().step,
        Some(1),
        "after a reboot the steps are walked again"
    );

    let mut world = at_the_second(&spec);
    let mut rolling = second;
    (rolling.rollout.strategy, rolling.rollout.steps) = (Strategy::Rolling, vec![]);
    world.takes(Object::Service(rolling));
    world.run(MINUTE);
    assert_eq!(
        world.verdict(Kind::Service, "web"),
        "Ready",
        "another strategy ends the steps"
    );
}

#[test]
fn a_canary_put_half_way_through_an_update_leaves_as_many_ready() {
    // Without a port to ask for, each replica takes a second.
    let mut rolling = service("web", 3);
    rolling.ports.clear();
    let mut world = up(&rolling);
    (rolling.revision, rolling.pod.main.image) = ("r2".into(), "server".into());
    world.takes(Object::Service(rolling));
    world.run(Duration::from_millis(1_500));
    assert_eq!(world.service("web").serving_revisions, ["r1", "r2"], "half way");
    let mut third = canary(3, &[step(50, None)]);
    third.ports.clear();
    (third.revision, third.pod.main.image) = ("r3".into(), "stubborn".into());
    world.takes(Object::Service(third));
    assert_eq!(
        world.service("web").ready,
        3,
        "the second revision serves with the first"
    );
    world.run(MINUTE);
    let service = world.service("web");
    assert_eq!(
        service.serving_revisions,
        ["r1", "r3"],
        "and goes once the first is whole again"
    );
    promote(&mut world, true);
    world.run(MINUTE);
    assert_eq!(world.verdict(Kind::Service, "web"), "Ready");
}
