//! What the machine does, told as stories: each applies something, changes something, and looks at the cloud.

mod harness;

use harness::manifests::{apply, delete, failing, hello, retry, shop, with};
use harness::{Cut, Sim, plain};
use portolan_engine::machine::PhaseName;
use portolan_engine::{OutcomeKind, Work};
use portolan_provider_api::{CallError, ErrorClass};
use portolan_provider_fake::kinds::{JOB, SERVICE};
use portolan_provider_fake::{Fault, On};
use serde_json::json;

/// A sim in which the shop is up.
fn shop_is_up() -> Sim {
    let sim = Sim::new();
    assert_eq!(sim.run(&apply(shop())).kind(), OutcomeKind::Converged);
    sim
}

fn writes(sim: &Sim) -> usize {
    sim.cloud.writes().len()
}

#[test]
fn create_follows_the_edges() {
    let sim = Sim::new();
    let run = sim.run(&apply(shop()));
    let outcome = run.outcome();
    assert_eq!(outcome.kind, OutcomeKind::Converged);
    assert_eq!(outcome.generation, 1);
    assert!(outcome.changed);
    assert!(outcome.status.is_some_and(|status| status.is_ready()));
    let expected = [
        "create Network/app",
        "create Volume/data",
        "create Service/db",
        "create Job/migrate",
        "create Service/web",
    ];
    let made = sim.writes_since(0);
    assert_eq!(made.len(), expected.len());
    assert_eq!(made[2..], expected[2..], "{made:?}");
    assert_eq!(sim.cloud.violations(), [""; 0]);
}

#[test]
fn each_way_goes_through_the_phases_of_the_design() {
    use PhaseName::{
        AwaitingApproval, Converged, Executing, Gathering, Held, Planned, Refused, RollingBack, Stopped, Watching,
    };
    let without_volume = with(shop(), "/spec/services/db/volumes", json!([]));
    let many = (0..12).fold(shop(), |manifest, n| {
        let service = json!({ "image": "registry.example/web:1" });
        with(manifest, &format!("/spec/services/web{n}"), service)
    });
    let denied = CallError::new(ErrorClass::Denied, "Made", "it was made to fail");
    type Prepare<'a> = &'a dyn Fn(&mut Sim);
    type Case<'a> = (&'a str, Prepare<'a>, Work, Option<Cut>, &'a [PhaseName]);
    let nothing: Prepare<'_> = &|_| {};
    let cases: [Case<'_>; 8] = [
        (
            "nothing to do",
            nothing,
            apply(shop()),
            None,
            &[Gathering, Planned, Converged],
        ),
        (
            "a change",
            nothing,
            apply(with(shop(), "/spec/services/web/scale", json!({ "min": 3 }))),
            None,
            &[Gathering, Planned, Executing, Watching, Converged],
        ),
        (
            "a failure",
            nothing,
            apply(failing(shop(), "services/web")),
            None,
            &[Gathering, Planned, Executing, Watching, RollingBack, Held],
        ),
        (
            "a failure that is held",
            &|sim| drop(sim.run(&apply(failing(shop(), "services/web")))),
            apply(failing(shop(), "services/web")),
            None,
            &[Gathering, Planned, Held],
        ),
        (
            "a yes",
            &|sim| drop(sim.run(&apply(many.clone()))),
            apply(shop()),
            None,
            &[
                Gathering,
                Planned,
                AwaitingApproval,
                Planned,
                Executing,
                Watching,
                Converged,
            ],
        ),
        (
            "a no",
            &|sim| {
                sim.run(&apply(many.clone()));
                sim.approves = false;
            },
            apply(shop()),
            None,
            &[Gathering, Planned, AwaitingApproval, Refused],
        ),
        (
            "a plan with problems",
            nothing,
            apply(without_volume),
            None,
            &[Gathering, Planned, Refused],
        ),
        (
            "Ctrl-C",
            nothing,
            apply(shop()),
            Some(Cut::Interrupt(0)),
            &[Gathering, Stopped],
        ),
    ];
    for (reason, prepare, work, cut, expected) in cases {
        let mut sim = shop_is_up();
        prepare(&mut sim);
        assert_eq!(sim.drive(&work, cut).phases, expected, "{reason}");
    }
    let sim = Sim::new();
    sim.cloud.fail_next(On::Observe, Fault::Refuse(denied));
    assert_eq!(
        sim.run(&apply(shop())).phases,
        [Gathering, Planned, Stopped],
        "a target that cannot be read"
    );
}

#[test]
fn converged_means_silent() {
    let sim = shop_is_up();
    let (calls, journal) = (writes(&sim), sim.journal.writes(&apply(shop()).key()));
    let reads = sim.cloud.calls().len();
    let outcome = sim.run(&apply(shop())).outcome();
    assert_eq!(outcome.kind, OutcomeKind::Converged);
    assert!(!outcome.changed);
    assert_eq!(writes(&sim), calls);
    assert_eq!(sim.journal.writes(&apply(shop()).key()), journal, "the journal too");
    assert_eq!(
        sim.cloud.calls().len(),
        reads + 2,
        "one question for the realm, one look"
    );
}

#[test]
fn changes_become_the_steps_they_should() {
    let web = "/spec/services/web";
    let renamed = {
        let service = shop().pointer(web).cloned().expect("the shop has a web service");
        with(with(shop(), web, json!(null)), "/spec/services/front", service)
    };
    let cases = [
        (
            "a new image is an update",
            with(shop(), &format!("{web}/image"), json!("registry.example/web:2")),
            vec!["update Service/web"],
        ),
        (
            "scaling is an update",
            with(shop(), &format!("{web}/scale"), json!({ "min": 3 })),
            vec!["update Service/web"],
        ),
        (
            "what is removed is deleted",
            with(shop(), web, json!(null)),
            vec!["delete Service/web"],
        ),
        (
            "a rename frees the port before it is taken",
            renamed,
            vec!["delete Service/web", "create Service/front"],
        ),
        (
            "a new job runs before what comes after it",
            with(shop(), "/spec/jobs/migrate/image", json!("registry.example/migrate:2")),
            vec!["update Job/migrate"],
        ),
    ];
    for (reason, manifest, expected) in cases {
        let sim = shop_is_up();
        let before = writes(&sim);
        let outcome = sim.run(&apply(manifest.clone())).outcome();
        assert_eq!(outcome.kind, OutcomeKind::Converged, "{reason}");
        assert_eq!(outcome.generation, 2, "{reason}");
        assert_eq!(sim.writes_since(before), expected, "{reason}");
        let before = writes(&sim);
        assert_eq!(sim.run(&apply(manifest)).kind(), OutcomeKind::Converged, "{reason}");
        assert_eq!(writes(&sim), before, "{reason}: and then silence");
        assert_eq!(sim.cloud.violations(), [""; 0], "{reason}");
    }
}

#[test]
fn a_failed_rollout_gives_way_to_what_served_before_and_is_held() {
    let sim = shop_is_up();
    let before = sim.shown();
    let broken = failing(shop(), "services/web");
    let outcome = sim.run(&apply(broken.clone())).outcome();
    let OutcomeKind::RolledBack { failure, to_generation } = outcome.kind else {
        panic!("{:?}", outcome.kind)
    };
    assert_eq!((failure.reason.as_str(), to_generation), ("Crashed", 1));
    assert_eq!(sim.shown(), before);
    let writes_before = writes(&sim);
    assert!(
        matches!(sim.run(&apply(broken.clone())).kind(), OutcomeKind::Held(_)),
        "the loop does not try again"
    );
    assert_eq!(writes(&sim), writes_before);
    assert!(
        matches!(sim.run(&retry(broken)).kind(), OutcomeKind::RolledBack { .. }),
        "the user may"
    );
    assert!(writes(&sim) > writes_before);
    let outcome = sim.run(&apply(shop())).outcome();
    assert_eq!(
        (outcome.kind, outcome.generation, outcome.changed),
        (OutcomeKind::Converged, 3, false)
    );
}

#[test]
fn what_serves_in_place_of_a_held_generation_is_kept() {
    let sim = shop_is_up();
    let before = sim.shown();
    let broken = failing(shop(), "services/web");
    sim.run(&apply(broken.clone()));
    let held = |changed: bool| {
        let outcome = sim.run(&apply(broken.clone())).outcome();
        assert!(matches!(outcome.kind, OutcomeKind::Held(_)), "{:?}", outcome.kind);
        assert_eq!((outcome.generation, outcome.changed), (2, changed));
        assert_eq!(sim.shown(), before);
    };
    sim.cloud.remove_by_hand(&sim.shops(SERVICE, "web"));
    held(true);
    let (writes_before, entries_before) = (writes(&sim), sim.journal.writes(&apply(shop()).key()));
    held(false);
    assert_eq!(writes(&sim), writes_before);
    assert_eq!(sim.journal.writes(&apply(shop()).key()), entries_before);
    assert_eq!(sim.cloud.violations(), [""; 0]);
}

#[test]
fn a_first_rollout_that_fails_is_held_as_it_is() {
    let sim = Sim::new();
    let broken = failing(hello(), "services/web");
    assert!(matches!(sim.run(&apply(broken.clone())).kind(), OutcomeKind::Held(_)));
    let before = writes(&sim);
    assert!(matches!(sim.run(&apply(broken)).kind(), OutcomeKind::Held(_)));
    assert_eq!(writes(&sim), before);
    assert_eq!(
        sim.run(&apply(hello())).kind(),
        OutcomeKind::Converged,
        "a new generation is tried"
    );
}

#[test]
fn a_failed_job_fails_the_generation_at_once() {
    let sim = Sim::new();
    let began = sim.now_ms();
    let outcome = sim.run(&apply(failing(shop(), "jobs/migrate"))).outcome();
    assert!(matches!(outcome.kind, OutcomeKind::Held(_)), "{:?}", outcome.kind);
    assert!(sim.now_ms() - began < 10_000, "without waiting for a deadline");
    assert!(!sim.writes_since(0).contains(&"create Service/web".to_string()));
}

#[test]
fn delete_keeps_data_and_leaves_nothing_else() {
    let sim = shop_is_up();
    let calls = writes(&sim);
    let outcome = sim.run(&delete(shop(), false)).outcome();
    assert_eq!(outcome.kind, OutcomeKind::Converged);
    assert_eq!(
        sim.writes_since(calls),
        [
            "delete Service/web",
            "delete Job/migrate",
            "delete Service/db",
            "delete Network/app"
        ],
        "against the order of creates, `after` between workloads included"
    );
    let left: Vec<String> = sim.shown().keys().map(plain).collect();
    assert_eq!(left, ["Volume/data"]);
    let before = writes(&sim);
    assert_eq!(
        sim.run(&delete(shop(), false)).kind(),
        OutcomeKind::Converged,
        "again is the same"
    );
    assert_eq!(writes(&sim), before);
    assert_eq!(sim.run(&delete(shop(), true)).kind(), OutcomeKind::Converged);
    assert!(sim.shown().is_empty());
    assert_eq!(sim.cloud.violations(), [""; 0]);
}

#[test]
fn drift_is_healed_in_the_same_generation() {
    let sim = shop_is_up();
    let before = sim.shown();
    sim.cloud.remove_by_hand(&sim.shops(SERVICE, "web"));
    let outcome = sim.run(&apply(shop())).outcome();
    assert_eq!(
        (outcome.kind, outcome.generation, outcome.changed),
        (OutcomeKind::Converged, 1, true)
    );
    assert_eq!(sim.shown(), before);
    assert_eq!(sim.cloud.violations(), [""; 0]);
}

#[test]
fn a_job_that_ran_is_not_run_again() {
    let sim = shop_is_up();
    sim.run(&apply(with(
        shop(),
        "/spec/services/web/image",
        json!("registry.example/web:2"),
    )));
    sim.run(&apply(shop()));
    sim.journal.forget();
    assert_eq!(sim.run(&apply(shop())).kind(), OutcomeKind::Converged);
    assert_eq!(sim.cloud.runs(&sim.shops(JOB, "migrate")), 1);
}

#[test]
fn a_lost_journal_is_rebuilt_from_the_tags() {
    let sim = shop_is_up();
    let newer = with(shop(), "/spec/services/web/image", json!("registry.example/web:2"));
    sim.run(&apply(newer.clone()));
    sim.journal.forget();
    let before = writes(&sim);
    let outcome = sim.run(&apply(newer)).outcome();
    assert_eq!((outcome.kind, outcome.generation), (OutcomeKind::Converged, 2));
    assert_eq!(writes(&sim), before);
    sim.journal.forget();
    assert_eq!(
        sim.run(&apply(shop())).outcome().generation,
        3,
        "never below what the target shows"
    );
}
