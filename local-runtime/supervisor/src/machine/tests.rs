//! The machine's decisions, one story each, told to a world that answers at once.

use std::time::Duration;

use super::world::World;
use super::*;
use crate::protocol::ObjectState;
use crate::spec::{JobSpec, Labels, Probe, ServiceSpec, Strategy};
use crate::testing::{container, job, service};

const LONG: Duration = Duration::from_secs(60);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn put(world: &mut World, spec: &ServiceSpec) {
    world.takes(Object::Service(spec.clone()));
}

fn put_job(world: &mut World, spec: &JobSpec) {
    world.takes(Object::Job(spec.clone()));
}

/// Another revision that runs another image.
fn changed(spec: &ServiceSpec, revision: &str, image: &str) -> ServiceSpec {
    let mut spec = spec.clone();
    spec.revision = revision.into();
    spec.pod.main.image = image.into();
    spec
}

fn up(spec: &ServiceSpec) -> World {
    let mut world = World::new();
    put(&mut world, spec);
    world.run(LONG);
    assert_eq!(world.verdict(Kind::Service, &spec.name), "Ready");
    world.words();
    world
}

#[test]
fn replicas_come_up_and_take_connections_when_they_are_ready() {
    for (reason, image, verdict, backends) in [
        ("a server is ready once its port answers", "test", "Ready", 2),
        (
            "one whose port never answers takes no connection",
            "unready",
            "Progressing",
            0,
        ),
        ("one that keeps ending has failed", "crash", "CrashLoopBackOff", 0),
        ("and so has one that cannot be started", "broken", "StartFailed", 0),
    ] {
        let mut world = World::new();
        put(&mut world, &changed(&service("web", 2), "r1", image));
        world.run(LONG);
        assert_eq!(world.verdict(Kind::Service, "web"), verdict, "{reason}");
        assert_eq!(routes(&world.state)[0].groups[0].targets.len(), backends, "{reason}");
    }
}

#[test]
fn a_container_that_ends_is_started_again_later_and_later() {
    let mut world = World::new();
    put(&mut world, &changed(&service("web", 1), "r1", "crash"));
    world.run(seconds(5));
    let starts: Vec<u64> = world
        .told
        .iter()
        .filter(|(_, word)| word.starts_with("start"))
        .map(|(at, _)| *at)
        .collect();
    let gaps: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [250, 500, 1000, 2000], "twice as long each time");
}

#[test]
fn a_process_killed_by_hand_is_healed() {
    let mut world = up(&service("web", 2));
    let (pod, name) = world.alive()[0].clone();
    world.end(pod, &name, 137);
    assert_eq!(
        routes(&world.state)[0].groups[0].targets.len(),
        1,
        "it takes no connections meanwhile"
    );
    world.run(seconds(2));
    assert_eq!(world.verdict(Kind::Service, "web"), "Ready");
    assert_eq!(world.service("web").restarts, 1);
}

#[test]
fn a_container_that_runs_again_for_long_is_no_failure_any_more() {
    let mut world = up(&service("web", 1));
    for _ in 0..5 {
        world.end(1, "main", 137);
        world.run(seconds(9));
    }
    assert_eq!(world.verdict(Kind::Service, "web"), "CrashLoopBackOff");
    world.run(LONG);
    assert_eq!(world.verdict(Kind::Service, "web"), "Ready");
}

#[test]
fn a_rolling_update_stops_an_old_replica_only_for_a_new_one_that_is_ready() {
    let spec = service("web", 2);
    let mut world = up(&spec);
    put(&mut world, &changed(&spec, "r2", "server"));
    world.run(LONG);
    assert_eq!(world.verdict(Kind::Service, "web"), "Ready");
    assert_eq!(world.service("web").serving_revisions, ["r2"]);
    let order: Vec<_> = world
        .words()
        .into_iter()
        .filter(|word| !word.starts_with("remove"))
        .collect();
    let expected = ["start 3/main", "SIGTERM 1/main", "start 4/main", "SIGTERM 2/main"];
    assert_eq!(order, expected, "each old one goes after its successor has come");
}

#[test]
fn a_failed_update_leaves_the_old_revision_serving_and_is_held() {
    for (reason, image, failure) in [
        ("it keeps ending", "crash", "CrashLoopBackOff"),
        ("it cannot be started", "broken", "StartFailed"),
        ("it never gets ready", "unready", "ProgressDeadlineExceeded"),
    ] {
        let spec = service("web", 2);
        let mut world = up(&spec);
        let bad = changed(&spec, "r2", image);
        put(&mut world, &bad);
        world.run(spec.rollout.deadline + LONG);
        let status = world.service("web");
        assert_eq!(world.verdict(Kind::Service, "web"), failure, "{reason}");
        assert_eq!(
            (status.ready, status.updated),
            (2, 0),
            "{reason}: the old replicas are all there is"
        );
        assert_eq!(status.serving_revisions, ["r1"], "{reason}");
        assert_eq!(
            world.observed(Kind::Service, "web").unwrap().object.revision(),
            "r2",
            "{reason}: what was put"
        );
        world.words();
        world.run(LONG);
        assert!(world.words().is_empty(), "{reason}: nothing is tried again by itself");
        put(&mut world, &spec);
        world.run(LONG);
        assert_eq!(
            world.verdict(Kind::Service, "web"),
            "Ready",
            "{reason}: the old spec put again is a rollback"
        );
        assert!(world.words().is_empty(), "{reason}: for which no container is touched");
    }
}

#[test]
fn a_retry_tries_a_failed_update_again() {
    let spec = service("web", 1);
    let mut world = up(&spec);
    put(&mut world, &changed(&spec, "r2", "broken"));
    world.run(LONG);
    world.words();
    world.event(Event::Retry { name: "web".into() });
    assert_eq!(world.verdict(Kind::Service, "web"), "Progressing");
    world.run(LONG);
    assert!(
        world.words().iter().any(|word| word.starts_with("start")),
        "it was tried"
    );
    assert_eq!(world.verdict(Kind::Service, "web"), "StartFailed");
}

#[test]
fn a_first_rollout_without_progress_fails_at_its_deadline() {
    let mut spec = changed(&service("web", 1), "r1", "unready");
    spec.rollout.deadline = seconds(30);
    let mut world = World::new();
    put(&mut world, &spec);
    world.run(seconds(29));
    assert_eq!(world.verdict(Kind::Service, "web"), "Progressing");
    world.run(seconds(2));
    let ObjectState::Failed(failure) = world.state_of(Kind::Service, "web") else {
        panic!("it has not failed")
    };
    assert_eq!(failure.reason, "ProgressDeadlineExceeded");
    assert!(
        failure.message.contains("refused"),
        "the cause is told: {}",
        failure.message
    );
}

#[test]
fn recreate_starts_nothing_before_all_old_ones_are_gone() {
    let mut spec = service("web", 2);
    spec.rollout.strategy = Strategy::Recreate;
    let mut world = up(&spec);
    put(&mut world, &changed(&spec, "r2", "server"));
    world.run(LONG);
    let words = world.words();
    let first_start = words.iter().position(|word| word.starts_with("start")).unwrap();
    let last_removal = words.iter().rposition(|word| word.starts_with("remove")).unwrap();
    assert!(last_removal < first_start, "{words:?}");
    assert_eq!(world.verdict(Kind::Service, "web"), "Ready");
}

#[test]
fn what_changes_no_container_touches_none() {
    let spec = service("web", 2);
    for (reason, change) in [
        (
            "labels",
            (|s| s.labels = Labels::from([("a".into(), "b".into())])) as fn(&mut ServiceSpec),
        ),
        ("the name of the revision", |s| s.revision = "r2".into()),
        ("what is kept of its logs", |s| s.logs.max_files = 9),
        ("the deadline", |s| s.rollout.deadline = seconds(5)),
    ] {
        let mut world = up(&spec);
        let mut other = spec.clone();
        change(&mut other);
        put(&mut world, &other);
        world.run(LONG);
        assert!(world.words().is_empty(), "{reason}");
        assert_eq!(world.verdict(Kind::Service, "web"), "Ready", "{reason}");
    }
}

#[test]
fn scaling_adds_and_takes_away_the_youngest() {
    let mut spec = service("web", 2);
    let mut world = up(&spec);
    spec.replicas = 3;
    put(&mut world, &spec);
    world.run(LONG);
    assert_eq!(world.words(), ["start 3/main"]);
    spec.replicas = 1;
    put(&mut world, &spec);
    world.run(LONG);
    assert_eq!(world.alive(), [(1, "main".to_string())]);
}

#[test]
fn containers_of_a_pod_start_in_order_and_stop_the_other_way_round() {
    let mut spec = service("web", 1);
    for (name, image) in [("first", "done"), ("second", "done")] {
        let mut init = container(name);
        init.image = image.into();
        spec.pod.init.push(init);
    }
    spec.pod.sidecars.push(container("proxy"));
    let mut world = World::new();
    put(&mut world, &spec);
    world.run(LONG);
    assert_eq!(
        world.words(),
        ["start 1/first", "start 1/second", "start 1/proxy", "start 1/main"]
    );
    world.takes_delete(Kind::Service, "web");
    world.run(LONG);
    assert_eq!(
        world.words(),
        ["SIGTERM 1/main", "SIGTERM 1/proxy", "remove 1", "forget service web"]
    );
}

#[test]
fn a_pod_waits_for_its_sidecars_startup_probe_and_for_its_init() {
    let waits = |change: fn(&mut ServiceSpec)| {
        let mut spec = service("web", 1);
        change(&mut spec);
        let mut world = World::new();
        put(&mut world, &spec);
        world.run(seconds(20));
        !world.words().iter().any(|word| word.ends_with("/main"))
    };
    assert!(
        waits(|spec| {
            let mut proxy = container("proxy");
            proxy.image = "unready".into();
            let check = Check::Tcp { port: 1 };
            let probe = serde_json::json!({"check": serde_json::to_value(check).unwrap()});
            proxy.health.startup = Some(serde_json::from_value::<Probe>(probe).unwrap());
            spec.pod.sidecars.push(proxy);
        }),
        "a sidecar whose startup probe fails"
    );
    assert!(
        waits(|spec| {
            let mut init = container("migrate");
            init.image = "crash".into();
            spec.pod.init.push(init);
        }),
        "an init container that fails"
    );
}

#[test]
fn a_replica_without_open_connections_is_signalled_at_once() {
    let mut world = up(&service("web", 1));
    world.takes_delete(Kind::Service, "web");
    assert!(world.words().is_empty(), "not before the routes are acknowledged");
    world.follow_routes();
    assert_eq!(world.words(), ["SIGTERM 1/main"]);
}

#[test]
fn delete_drains_then_signals_then_kills_and_leaves_nothing() {
    let mut spec = changed(&service("web", 1), "r1", "stubborn");
    spec.stop.grace_period = seconds(5);
    let mut world = up(&spec);
    let began = world.now.0;
    world.open.insert(1, 3);
    world.takes_delete(Kind::Service, "web");
    assert!(
        routes(&world.state).is_empty(),
        "no new connections from the first moment"
    );
    world.run(LONG);
    let times: Vec<(u64, &str)> = world
        .told
        .iter()
        .map(|(at, word)| (at - began, word.as_str()))
        .collect();
    let expected = [
        (2000, "SIGTERM 1/main"),
        (7000, "SIGKILL 1/main"),
        (7000, "remove 1"),
        (7000, "forget service web"),
    ];
    assert_eq!(times, expected);
    assert!(world.state.services.is_empty());
    world.takes_delete(Kind::Network, "app");
    assert!(world.state.is_empty(), "the supervisor may end");
}

#[test]
fn an_old_replica_that_stays_does_not_hold_up_its_successor() {
    let spec = changed(&service("web", 1), "r1", "stubborn");
    let mut world = up(&spec);
    put(&mut world, &changed(&spec, "r2", "server"));
    world.run(seconds(2));
    assert_eq!(world.service("web").serving_revisions, ["r2"]);
}

#[test]
fn a_job_runs_once_a_revision() {
    let mut spec = job("migrate", "r1");
    spec.pod.main.image = "done".into();
    let mut world = World::new();
    put_job(&mut world, &spec);
    world.run(LONG);
    assert_eq!(world.words(), ["start 1/main", "record migrate r1", "remove 1"]);
    world.takes_delete(Kind::Job, "migrate");
    world.run(LONG);
    world.words();
    put_job(&mut world, &spec);
    world.run(LONG);
    assert_eq!(world.verdict(Kind::Job, "migrate"), "Ready");
    assert!(world.words().is_empty(), "the records know it, even after a delete");
    spec.revision = "r2".into();
    put_job(&mut world, &spec);
    world.run(LONG);
    assert_eq!(world.recorded.len(), 2, "another revision runs");
    world.event(Event::RunJob { name: "migrate".into() });
    world.run(LONG);
    assert_eq!(world.recorded.len(), 3, "and so does one that is told to");
}

#[test]
fn a_success_counts_once_it_is_recorded() {
    for (reason, next) in [
        ("the disk was full for a moment", (|_| {}) as fn(&mut World)),
        ("the supervisor was killed", World::resume),
        ("the machine went down", World::reboot),
    ] {
        let mut spec = job("migrate", "r1");
        spec.pod.main.image = "done".into();
        let mut world = World::new();
        put_job(&mut world, &spec);
        while let Some(effect) = world.pending.pop_front() {
            if !matches!(effect, Effect::RecordJob { .. }) {
                world.answer(effect);
            }
        }
        assert_eq!(world.verdict(Kind::Job, "migrate"), "Progressing", "{reason}");
        next(&mut world);
        world.run(LONG);
        assert_eq!(world.recorded, [("migrate".into(), "r1".into())], "{reason}: once");
        assert_eq!(world.verdict(Kind::Job, "migrate"), "Ready", "{reason}");
        let starts = world.words().iter().filter(|word| word.starts_with("start")).count();
        assert_eq!(starts, 1, "{reason}: nor does it run again");
    }
}

#[test]
fn a_success_that_is_recorded_is_known_whenever_the_power_fails() {
    let mut spec = job("migrate", "r1");
    spec.pod.main.image = "done".into();
    let mut ways = BTreeSet::new();
    for answers in 0..8 {
        let mut world = World::new();
        put_job(&mut world, &spec);
        for _ in 0..answers {
            let next = world.pending.pop_front();
            next.into_iter().for_each(|effect| world.answer(effect));
        }
        let is_recorded = world.has_recorded("migrate", "r1");
        world.words();
        world.lose_power();
        world.reboot();
        world.run(LONG);
        let runs_again = world.words().iter().any(|word| word.starts_with("start"));
        assert_eq!(runs_again, !is_recorded, "after {answers} answers");
        assert_eq!(world.verdict(Kind::Job, "migrate"), "Ready", "after {answers} answers");
        ways.insert(is_recorded);
    }
    assert_eq!(ways.len(), 2, "it fails before and after");
}

#[test]
fn a_service_whose_port_is_taken_is_not_ready_until_it_has_it_again() {
    let mut world = up(&service("web", 1));
    let failure = PortFailure {
        reason: "PortInUse".into(),
        message: "taken".into(),
    };
    let taken = BTreeMap::from([("web".to_string(), failure)]);
    world.event(Event::Listening { failures: taken });
    assert_eq!(world.verdict(Kind::Service, "web"), "PortInUse");
    world.run(seconds(6));
    assert_eq!(world.words(), ["listen again"; 3], "each two seconds");
    world.event(Event::Listening {
        failures: BTreeMap::new(),
    });
    assert_eq!(world.verdict(Kind::Service, "web"), "Ready");
    world.run(seconds(3));
    assert!(world.words().is_empty(), "and no further try");
}

#[test]
fn a_job_fails_after_its_last_attempt() {
    for (reason, image, retries, failure) in [
        ("no retry", "crash", 0, "JobFailed"),
        ("two retries", "crash", 2, "JobFailed"),
        ("a program that is not there", "broken", 1, "StartFailed"),
        ("one that does not end in time", "server", 1, "Timeout"),
    ] {
        let mut spec = job("train", "r1");
        (spec.retries, spec.timeout) = (retries, Some(seconds(20)));
        spec.pod.main.image = image.into();
        let mut world = World::new();
        put_job(&mut world, &spec);
        world.run(seconds(600));
        assert_eq!(world.verdict(Kind::Job, "train"), failure, "{reason}");
        let starts = world.words().iter().filter(|word| word.starts_with("start")).count() as u32;
        assert_eq!(starts, retries + 1, "{reason}");
        assert!(world.recorded.is_empty() && world.alive().is_empty(), "{reason}");
    }
}

#[test]
fn a_new_supervisor_leaves_alone_what_runs_and_starts_what_does_not() {
    let mut world = up(&service("web", 2));
    world.resume();
    world.run(LONG);
    assert!(world.words().is_empty(), "both run");
    let (pod, _) = world.alive()[0].clone();
    world.end_unseen(pod, "main", None);
    world.resume();
    world.run(LONG);
    assert_eq!(
        world.words(),
        [format!("start {pod}/main")],
        "one had ended while nobody looked"
    );
    assert_eq!(world.verdict(Kind::Service, "web"), "Ready");
}

#[test]
fn a_replica_that_ended_while_no_supervisor_looked_takes_no_connections() {
    let mut world = up(&service("web", 1));
    world.end_unseen(1, "main", Some(137));
    world.resume();
    assert_eq!(world.verdict(Kind::Service, "web"), "Progressing");
    assert!(routes(&world.state)[0].groups[0].targets.is_empty());
}

#[test]
fn after_a_reboot_everything_begins_again() {
    let mut world = up(&service("web", 2));
    let mut spec = job("train", "r1");
    spec.retries = 0;
    put_job(&mut world, &spec);
    world.run(LONG);
    world.words();
    world.reboot();
    world.run(LONG);
    assert_eq!(world.verdict(Kind::Service, "web"), "Ready");
    assert_eq!(
        world.words(),
        ["start 4/main", "start 5/main", "start 6/main"],
        "with new ids"
    );
    assert_eq!(
        world.state.jobs["train"].attempts, 1,
        "the attempt that was cut off does not count"
    );
}

#[test]
fn requests_that_cannot_be_carried_out_are_refused() {
    let mut world = World::new();
    let mut spec = service("web", 1);
    spec.pod.main.volumes.push(crate::spec::VolumeMount {
        name: "data".into(),
        path: "/data".into(),
        read_only: false,
    });
    put(&mut world, &spec);
    let missing = serde_json::from_str::<Object>(r#"{"kind": "network", "name": "other"}"#).unwrap();
    let code = |refused: Result<_, crate::protocol::ErrorBody>| refused.err().map(|body| body.code).unwrap_or_default();
    assert_eq!(code(admit_put(&world.state, &missing).map(drop)), "NetworkExists");
    let in_use = |kind, name| code(admit_delete(&world.state, kind, name).map(drop));
    assert_eq!(in_use(Kind::Volume, "data"), "InUse", "a service mounts it");
    assert_eq!(in_use(Kind::Network, "app"), "InUse", "a service needs it");
    spec.pod.main.volumes[0].name = "nothing".into();
    assert_eq!(
        code(admit_put(&world.state, &Object::Service(spec)).map(drop)),
        "VolumeMissing"
    );
    let empty = State::default();
    assert_eq!(
        code(admit_put(&empty, &Object::Service(service("web", 1))).map(drop)),
        "NetworkMissing"
    );
}
