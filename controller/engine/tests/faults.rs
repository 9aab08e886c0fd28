//! What the machine does when something goes wrong, or somebody else is there.

mod harness;

use std::time::Duration;

use harness::manifests::{apply, delete, hello, shop, with, with_options};
use harness::{Cut, Run, Sim, plain};
use portolan_core::name::OwnerId;
use portolan_core::plan::PlanOptions;
use portolan_engine::journal::{Intent, Journal, JournalEntry};
use portolan_engine::machine::Ask;
use portolan_engine::{EngineError, EngineEvent, OutcomeKind, Work};
use portolan_provider_api::{CallError, ErrorClass};
use portolan_provider_fake::kinds::{NETWORK, SERVICE};
use portolan_provider_fake::platform::CLOUD_RUN_LIKE;
use portolan_provider_fake::{Called, Fault, Object, On};
use serde_json::json;

fn error(class: ErrorClass) -> CallError {
    CallError::new(class, "Made", "it was made to fail")
}

const RETRY: ErrorClass = ErrorClass::Retry { after: None };

fn shop_is_up() -> Sim {
    let sim = Sim::new();
    assert_eq!(sim.run(&apply(shop())).kind(), OutcomeKind::Converged);
    sim
}

fn on_web(sim: &Sim) -> On {
    On::Write(sim.shops(SERVICE, "web"))
}

fn newer() -> Work {
    apply(with(
        shop(),
        "/spec/services/web/image",
        json!("registry.example/web:2"),
    ))
}

fn writes(sim: &Sim) -> usize {
    sim.cloud.writes().len()
}

#[test]
fn what_passes_is_tried_again() {
    type Fail = fn(&Sim);
    let cases: [(&str, Fail); 6] = [
        ("a refused write", |sim| {
            sim.cloud.fail_next(on_web(sim), Fault::Refuse(error(RETRY)))
        }),
        ("an answer that was lost", |sim| {
            sim.cloud.fail_next(on_web(sim), Fault::LoseAnswer)
        }),
        ("a read", |sim| {
            sim.cloud.fail_next(On::Observe, Fault::Refuse(error(RETRY)))
        }),
        ("half a read", |sim| sim.cloud.fail_next(On::Observe, Fault::Partial)),
        ("a preflight", |sim| {
            sim.cloud.fail_next(On::Preflight, Fault::Refuse(error(RETRY)))
        }),
        ("the realm", |sim| {
            sim.cloud.fail_next(On::Realm, Fault::Refuse(error(RETRY)))
        }),
    ];
    for (reason, fail) in cases {
        let sim = Sim::new();
        fail(&sim);
        assert_eq!(sim.run(&apply(shop())).kind(), OutcomeKind::Converged, "{reason}");
        assert_eq!(sim.cloud.violations(), [""; 0], "{reason}");
    }
}

/// A target that is asked by many puts each off again and again: nothing is wrong with what was to be written.
#[test]
fn what_is_put_off_is_tried_for_as_long_as_there_is_time() {
    let sim = Sim::new();
    let after = Some(Duration::from_secs(1));
    for _ in 0..100 {
        sim.cloud
            .fail_next(on_web(&sim), Fault::Refuse(error(ErrorClass::Retry { after })));
    }
    assert_eq!(sim.run(&apply(shop())).kind(), OutcomeKind::Converged);
    assert_eq!(sim.cloud.write_times(&sim.shops(SERVICE, "web")).len(), 101);
}

/// To the tick: not a millisecond before the platform said, and not one after.
#[test]
fn retry_after_is_obeyed() {
    let sim = Sim::new();
    let after = Some(Duration::from_millis(12_345));
    sim.cloud
        .fail_next(on_web(&sim), Fault::Refuse(error(ErrorClass::Retry { after })));
    let run = sim.run(&apply(shop()));
    let told = run.events.iter().find_map(|event| match event {
        EngineEvent::StepRetrying { at, .. } => Some(at.0),
        _ => None,
    });
    let times: Vec<u64> = sim.cloud.write_times(&sim.shops(SERVICE, "web"));
    let [refused, taken] = times[..] else {
        panic!("{times:?}")
    };
    assert_eq!(taken - (refused + sim.latency_ms), 12_345);
    assert_eq!(told, Some(taken));
}

#[test]
fn tries_are_counted() {
    let sim = Sim::new();
    for _ in 0..100 {
        sim.cloud.fail_next(on_web(&sim), Fault::Refuse(error(RETRY)));
    }
    let kind = sim.run(&apply(shop())).kind();
    assert!(
        matches!(&kind, OutcomeKind::Held(failure) if failure.reason == "Made"),
        "{kind:?}"
    );
    let tries = sim.cloud.write_times(&sim.shops(SERVICE, "web")).len();
    assert_eq!(tries, sim.policy.tries as usize);
}

#[test]
fn what_cannot_pass_fails_the_generation_at_once() {
    for class in [
        ErrorClass::Denied,
        ErrorClass::Quota,
        ErrorClass::Invalid,
        ErrorClass::Bug,
    ] {
        let sim = shop_is_up();
        let before = sim.shown();
        sim.cloud.fail_next(on_web(&sim), Fault::Refuse(error(class)));
        let kind = sim.run(&newer()).kind();
        assert!(
            matches!(kind, OutcomeKind::RolledBack { to_generation: 1, .. }),
            "{class:?}: {kind:?}"
        );
        assert_eq!(sim.shown(), before, "{class:?}");
    }
}

#[test]
fn a_partial_read_deletes_nothing_and_is_said() {
    let sim = shop_is_up();
    for _ in 0..100 {
        sim.cloud.fail_next(On::Observe, Fault::Partial);
    }
    let before = writes(&sim);
    let removed = apply(with(shop(), "/spec/services/web", json!(null)));
    match sim.run(&removed).kind() {
        OutcomeKind::Refused(problems) => assert_eq!(problems[0].code, "PartialRead"),
        other => panic!("{other:?}"),
    }
    assert_eq!(writes(&sim), before);
}

#[test]
fn a_target_that_cannot_be_read_is_an_error_and_no_failure_of_the_app() {
    let sim = shop_is_up();
    sim.cloud
        .fail_next(On::Observe, Fault::Refuse(error(ErrorClass::Denied)));
    let result = sim.run(&newer()).result.expect("it ended");
    assert!(matches!(result, Err(EngineError::Call(_))));
    assert_eq!(
        sim.run(&newer()).kind(),
        OutcomeKind::Converged,
        "and it is not held against it"
    );
}

fn somebody_elses(body: serde_json::Value) -> Object {
    Object::by_hand(OwnerId::from_tag("somebody"), body)
}

#[test]
fn what_is_foreign_is_left_alone() {
    let sim = Sim::new();
    let network = sim.shops(NETWORK, "app");
    sim.cloud
        .put_by_hand(network.clone(), somebody_elses(json!({ "theirs": true })));
    match sim.run(&apply(shop())).kind() {
        OutcomeKind::Refused(problems) => assert_eq!(problems[0].code, "Conflict"),
        other => panic!("{other:?}"),
    }
    assert_eq!(writes(&sim), 0);
    assert_eq!(sim.run(&delete(shop(), true)).kind(), OutcomeKind::Converged);
    assert!(sim.shown().contains_key(&network), "a delete leaves it too");
    let take_over = PlanOptions {
        take_over: true,
        ..PlanOptions::default()
    };
    assert_eq!(sim.run(&with_options(shop(), take_over)).kind(), OutcomeKind::Converged);
}

#[test]
fn another_writer_leads_to_another_plan() {
    let sim = shop_is_up();
    sim.cloud
        .fail_next(on_web(&sim), Fault::Refuse(error(ErrorClass::Conflict)));
    let run = sim.run(&newer());
    assert_eq!(count(&run, is_anew), 1);
    assert_eq!(run.kind(), OutcomeKind::Converged);
}

fn count(run: &Run, wanted: fn(&EngineEvent) -> bool) -> usize {
    run.events.iter().filter(|event| wanted(event)).count()
}

fn is_anew(event: &EngineEvent) -> bool {
    matches!(event, EngineEvent::PlanningAnew { .. })
}

#[test]
fn a_conflict_without_end_is_told_once_and_is_one_failure() {
    let sim = shop_is_up();
    for _ in 0..100 {
        sim.cloud
            .fail_next(on_web(&sim), Fault::Refuse(error(ErrorClass::Conflict)));
    }
    let began = sim.now_ms();
    let run = sim.run(&newer());
    let failed = run
        .events
        .iter()
        .position(|event| matches!(event, EngineEvent::RollingBack { .. }));
    let told = |event: &&EngineEvent| matches!(event, EngineEvent::Planned { .. });
    assert_eq!(run.events[..failed.expect("it failed")].iter().filter(told).count(), 1);
    assert_eq!(count(&run, is_anew), 1);
    let tries = sim.cloud.write_times(&sim.shops(SERVICE, "web"));
    let [_, first, second] = tries[..] else {
        panic!("{tries:?}")
    };
    assert!(second - first >= 2000, "a conflict has time to pass: {tries:?}");
    assert!(sim.now_ms() - began < 10_000);
    assert!(matches!(run.kind(), OutcomeKind::RolledBack { .. }));
}

/// Three times in a row somebody is faster; each time the world is another one, and so is the plan.
#[test]
fn a_race_is_run_again_as_long_as_somebody_else_moves() {
    let sim = shop_is_up();
    let web = sim.shops(SERVICE, "web");
    let mut cut = 0;
    let run = sim.drive_with(&newer(), &mut |ask| {
        if cut < 3 && matches!(ask, Ask::Call { .. }) {
            cut += 1;
            let mut object = sim.cloud.objects()[&web].clone();
            object.body["by"] = json!(cut);
            sim.cloud.put_by_hand(web.clone(), object);
            sim.cloud
                .fail_next(on_web(&sim), Fault::Refuse(error(ErrorClass::Conflict)));
        }
    });
    assert_eq!(count(&run, is_anew), 3);
    assert_eq!(run.kind(), OutcomeKind::Converged);
}

/// Where etags tell, nobody has to say so: the write that was made from what is there no more is refused by itself.
#[test]
fn what_was_changed_since_the_plan_is_looked_at_again() {
    let sim = Sim::of(&CLOUD_RUN_LIKE);
    assert_eq!(sim.run(&apply(shop())).kind(), OutcomeKind::Converged);
    let web = sim.shops(SERVICE, "web");
    let mut is_changed = false;
    let run = sim.drive_with(&newer(), &mut |ask| {
        if !is_changed && matches!(ask, Ask::Call { .. }) {
            is_changed = true;
            let mut object = sim.cloud.objects()[&web].clone();
            object.body["by"] = json!("somebody");
            sim.cloud.put_by_hand(web.clone(), object);
        }
    });
    assert_eq!(count(&run, is_anew), 1);
    assert_eq!(run.kind(), OutcomeKind::Converged);
    assert_eq!(sim.cloud.objects()[&web].body.get("by"), None, "seen, and taken back");
    assert_eq!(sim.cloud.violations(), [""; 0]);
}

#[test]
fn a_preflight_says_no_before_anything_is_touched() {
    let sim = Sim::new();
    let web = sim.shops(SERVICE, "web");
    let fault = error(ErrorClass::Quota).about(&web);
    sim.cloud.fail_next(On::Preflight, Fault::Refuse(fault));
    match sim.run(&apply(shop())).kind() {
        OutcomeKind::Refused(problems) => {
            assert_eq!(problems[0].code, "Made");
            assert_eq!(
                problems[0].origin.as_deref(),
                Some("/spec/services/web"),
                "at the field that asked for what it is about"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((writes(&sim), sim.journal.writes(&apply(shop()).key())), (0, 0));
}

fn many(count: u32) -> Work {
    let manifest = (0..count).fold(hello(), |manifest, n| {
        let service = json!({ "image": "registry.example/web:1" });
        with(manifest, &format!("/spec/services/web{n}"), service)
    });
    apply(manifest)
}

#[test]
fn many_deletes_want_a_yes() {
    let mut sim = Sim::new();
    assert_eq!(sim.run(&many(12)).kind(), OutcomeKind::Converged);
    sim.approves = false;
    let before = writes(&sim);
    assert_eq!(sim.run(&apply(hello())).kind(), OutcomeKind::Declined);
    assert_eq!(writes(&sim), before);
    sim.approves = true;
    assert_eq!(sim.run(&apply(hello())).kind(), OutcomeKind::Converged);
    assert_eq!(
        sim.shown().keys().map(plain).collect::<Vec<_>>(),
        ["Network/app", "Service/web"]
    );
}

/// No more than so many at a time, and all that may run together does.
#[test]
fn calls_run_beside_each_other() {
    let sim = Sim::new();
    let began = sim.now_ms();
    sim.run(&many(24)).outcome();
    let took = sim.now_ms() - began;
    assert!(took < 1500, "24 services took {took} ms, one of them takes 500");
}

#[test]
fn a_volume_with_data_is_not_lost_in_passing() {
    let sim = shop_is_up();
    let without = with(shop(), "/spec/services/db/volumes", json!([]));
    match sim.run(&apply(without.clone())).kind() {
        OutcomeKind::Refused(problems) => assert_eq!(problems[0].code, "DataLoss"),
        other => panic!("{other:?}"),
    }
    let allowed = PlanOptions {
        allow_data_loss: true,
        ..PlanOptions::default()
    };
    assert_eq!(sim.run(&with_options(without, allowed)).kind(), OutcomeKind::Converged);
    assert!(!sim.shown().keys().any(|id| id.kind == "Volume"));
}

#[test]
fn what_never_gets_ready_has_failed_after_its_deadline() {
    let sim = shop_is_up();
    let slow = with(shop(), "/spec/services/web/env", json!({ "FAKE_NEVER_READY": "yes" }));
    let slow = with(slow, "/spec/services/web/rollout", json!({ "deadline": "2m" }));
    let jobless = with(slow, "/spec/jobs", json!({}));
    let jobless = with(jobless, "/spec/services/web/after", json!([]));
    let began = sim.now_ms();
    let kind = sim.run(&apply(jobless)).kind();
    let OutcomeKind::RolledBack { failure, .. } = kind else {
        panic!("{kind:?}")
    };
    assert_eq!(failure.reason, "DeadlineExceeded");
    assert!(failure.message.contains("web"), "{}", failure.message);
    let took = (sim.now_ms() - began) / 1000;
    // The longest of all services' deadlines, 10 minutes by default, and the grace.
    assert!((600..700).contains(&took), "{took} s");
}

/// The platform takes the token of a create that has failed since for one that it has done.
#[test]
fn an_intent_that_somebody_left_whose_clock_is_ahead_ends_too() {
    let work = apply(shop());
    let sim = Sim::new();
    let (mut asks, mut call) = (0, None);
    sim.fork().drive_with(&work, &mut |ask| {
        if matches!(ask, Ask::Call { request, .. } if request.id.kind == SERVICE.name) {
            call.get_or_insert(asks);
        }
        asks += 1;
    });
    let db = sim.shops(SERVICE, "db");
    sim.cloud.fail_next(On::Write(db), Fault::FailLate { ms: 200 });
    sim.drive(&work, call.map(Cut::CrashAfter));
    let left = sim.journal.load(&work.key()).unwrap().intents.into_values();
    let ahead: Vec<JournalEntry> = left
        .map(|intent| Intent {
            at: intent.at.plus(Duration::from_secs(7200)),
            ..intent
        })
        .map(JournalEntry::IntentOpened)
        .collect();
    assert_eq!(ahead.len(), 1, "the answer to the create was lost with the process");
    sim.journal.append(&work.key(), &ahead).unwrap();
    sim.sleep_ms(1_000);
    assert_eq!(sim.run(&work).kind(), OutcomeKind::Converged);
}

#[test]
fn operations_are_given_back_until_they_end() {
    let sim = Sim::new();
    sim.run(&apply(shop())).outcome();
    let open = |call: &Called| matches!(call, Called::Observe { open, .. } if !open.is_empty());
    assert!(sim.cloud.calls().iter().any(open), "a volume takes its time");
    let last = sim.cloud.calls().pop().expect("there were calls");
    assert!(!open(&last), "but not for ever");
}

#[test]
fn no_wait_returns_after_the_last_step() {
    let sim = Sim::new();
    let work = Work {
        no_wait: true,
        ..apply(hello())
    };
    let run: Run = sim.run(&work);
    let outcome = run.outcome();
    assert_eq!(outcome.kind, OutcomeKind::Applied);
    assert!(outcome.status.is_none_or(|status| !status.is_ready()));
    assert_eq!(sim.run(&apply(hello())).kind(), OutcomeKind::Converged);
    assert_eq!(writes(&sim), 2, "the next run only waits");
}
