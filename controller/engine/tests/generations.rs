//! Rollouts that pause, and what the journal holds brought back.

mod harness;

use harness::Sim;
use harness::bench::Bench;
use harness::manifests::{apply, failing, hello, with};
use std::sync::Arc;

use portolan_core::status::{ConditionKind, ROLLOUT_PAUSED};
use portolan_engine::journal::HistoryOutcome;
use portolan_engine::{EngineError, OutcomeKind, PromoteHow, Wish, Work};
use portolan_provider_fake::Called;
use serde_json::{Value, json};

/// Version `n` of the app, whose rollout pauses until it is promoted, or for two hours.
fn version(n: u32, variable: Option<&str>) -> Value {
    let image = format!("registry.example/web:{n}");
    let manifest = with(hello(), "/spec/services/web/image", json!(image));
    match variable {
        Some(variable) => with(manifest, "/spec/services/web/env", json!({ variable: "yes" })),
        None => manifest,
    }
}

/// The app's plan, kept, and the work that carries out nothing else.
async fn kept(bench: &Bench, manifest: Value) -> Work {
    let work = apply(manifest);
    let preview = bench.engine.preview(&bench.provider, &work).await;
    Work {
        only: Some(Arc::new(preview.expect("a plan").saved())),
        ..work
    }
}

#[tokio::test]
async fn a_kept_plan_is_carried_out_and_refused_once_the_target_has_moved() {
    let bench = Bench::new();
    let run = async |work: Work| bench.reconcile(work).await.expect("it comes to an end");
    let first = kept(&bench, version(1, None)).await;
    assert_eq!(run(first.clone()).await, OutcomeKind::Converged);
    let before = bench.cloud.writes().len();
    let again = "what it has done itself is no difference";
    assert_eq!(run(first).await, OutcomeKind::Converged, "{again}");

    let second = kept(&bench, version(2, None)).await;
    assert_eq!(bench.cloud.writes().len(), before, "kept, not carried out");
    run(apply(version(3, None))).await;
    let before = bench.cloud.writes().len();
    let OutcomeKind::Refused(problems) = run(second).await else {
        panic!("the target has moved");
    };
    let said: Vec<String> = problems
        .iter()
        .map(|one| format!("{}: {}", one.code, one.message))
        .collect();
    assert!(said[0].ends_with("has changed at the target"), "{said:?}");
    assert!(said.iter().all(|line| line.starts_with("PlanOutdated: ")), "{said:?}");
    assert_eq!(bench.cloud.writes().len(), before, "nothing was touched");
}

fn wishing(wish: Wish) -> Work {
    Work { wish, ..apply(hello()) }
}

const AGAIN: Wish = Wish::Again { retry: false };

#[test]
fn a_rollout_that_waits_for_its_promotion_ends_the_run_and_is_no_failure() {
    let sim = Sim::new();
    sim.run(&apply(version(1, None)));
    let pausing = apply(version(2, Some("FAKE_PAUSES")));
    let outcome = sim.run(&pausing).outcome();
    assert_eq!((outcome.kind, outcome.changed), (OutcomeKind::Paused, true));
    let status = outcome.status.expect("it was looked at");
    let reconciling = status.condition(ConditionKind::Reconciling).expect("always there");
    assert_eq!(
        (reconciling.status, reconciling.reason.as_str()),
        (true, ROLLOUT_PAUSED)
    );

    let writes = (sim.cloud.writes().len(), sim.journal.writes(&pausing.key()));
    let again = sim.run(&pausing).outcome();
    assert_eq!((again.kind, again.changed), (OutcomeKind::Paused, false));
    assert_eq!(
        (sim.cloud.writes().len(), sim.journal.writes(&pausing.key())),
        writes,
        "found so, nothing is written anywhere"
    );

    assert_eq!(
        sim.run(&apply(version(3, None))).kind(),
        OutcomeKind::Converged,
        "a newer one supersedes it"
    );
}

#[test]
fn what_needs_a_paused_service_is_done_after_its_promotion() {
    let sim = Sim::new();
    let api = json!({ "image": "registry.example/api:1", "after": ["web"] });
    let manifest = with(version(1, Some("FAKE_PAUSES")), "/spec/services/api", api);
    let work = apply(manifest);
    assert_eq!(sim.run(&work).kind(), OutcomeKind::Paused);
    assert_eq!(sim.writes_since(0).len(), 2, "the network and web");
    let web = portolan_provider_fake::object(&sim.scope(&work), portolan_provider_fake::kinds::SERVICE, "web");
    sim.cloud.promote_object(&web).expect("it is there");
    assert_eq!(sim.run(&work).kind(), OutcomeKind::Converged);
    assert_eq!(sim.cloud.writes().len(), 3, "and api, and nothing twice");
}

#[test]
fn a_pause_in_time_is_waited_for_beyond_the_deadline() {
    let sim = Sim::new();
    let began = sim.now_ms();
    let outcome = sim.run(&apply(version(1, Some("FAKE_RESTS")))).kind();
    assert_eq!(outcome, OutcomeKind::Converged);
    assert!(sim.now_ms() - began > 2 * 60 * 60 * 1000, "two hours");
}

#[test]
fn a_rollout_that_the_platform_does_not_walk_is_walked_by_writes() {
    let sim = Sim::new();
    let api = json!({ "image": "registry.example/api:1", "after": ["web"] });
    let manifest = with(version(1, Some("FAKE_IS_WALKED")), "/spec/services/api", api);
    let walked = apply(manifest);
    assert_eq!(sim.run(&walked).kind(), OutcomeKind::Converged);
    let writes = sim.cloud.writes().len();
    assert_eq!(writes, 3 + 9, "network, web, its steps, and api after them");
    assert_eq!(sim.run(&walked).outcome().kind, OutcomeKind::Converged);
    assert_eq!(sim.cloud.writes().len(), writes, "it has arrived");

    let standing = apply(version(2, Some("FAKE_STANDS_STILL")));
    let told = sim.run(&standing).kind();
    assert!(
        matches!(told, OutcomeKind::RolledBack { .. }),
        "a step that leads nowhere is not taken for ever: {told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn promoting_goes_on_with_what_the_journal_holds() {
    let bench = Bench::new();
    bench
        .reconcile(apply(version(1, Some("FAKE_PAUSES"))))
        .await
        .expect("an end");
    let work = wishing(AGAIN);
    let promoted = bench
        .engine
        .promote(&bench.provider, &work, None, PromoteHow::default())
        .await;
    assert_eq!(promoted.expect("it waits"), ["web"]);
    let calls = bench.cloud.calls();
    assert!(calls.iter().any(|call| matches!(call, Called::Promote(_))));
    assert_eq!(
        bench.reconcile(work.clone()).await.expect("an end"),
        OutcomeKind::Converged
    );
    let nothing = bench
        .engine
        .promote(&bench.provider, &work, Some("web"), PromoteHow::default())
        .await;
    assert!(matches!(nothing, Err(EngineError::NotPaused { .. })), "{nothing:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_is_a_new_generation_with_what_an_earlier_one_was() {
    let bench = Bench::new();
    for n in 1..=3 {
        bench.reconcile(apply(version(n, None))).await.expect("an end");
    }
    let image = || {
        bench
            .cloud
            .objects()
            .into_values()
            .find_map(|one| Some(one.body.get("image")?.clone()))
    };
    let third = image();
    for (to, generation) in [(None, 4), (Some(1), 5)] {
        let work = wishing(Wish::Rollback { to });
        let outcome = bench
            .engine
            .reconcile(&bench.provider, work, bench.listener.clone(), bench.stop.clone());
        let outcome = outcome.await.expect("an end");
        assert_eq!(
            (outcome.kind, outcome.generation),
            (OutcomeKind::Converged, generation),
            "{to:?}"
        );
        assert_ne!(image(), third, "{to:?}");
    }
    let unknown = bench.reconcile(wishing(Wish::Rollback { to: Some(77) })).await;
    assert!(
        matches!(unknown, Err(EngineError::UnknownGeneration { number: Some(77), .. })),
        "{unknown:?}"
    );
    bench.reconcile(apply(version(3, None))).await.expect("an end");
    assert_eq!(image(), third, "the file is applied as ever");
    let past = bench.engine.history("default", "hello", "local").expect("lines");
    let told: Vec<_> = past
        .iter()
        .map(|line| (line.generation, line.outcome.clone()))
        .collect();
    assert_eq!(told[0], (6, HistoryOutcome::Converged));
    assert_eq!(told.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_tried_again_on_a_word() {
    let bench = Bench::new();
    let broken = apply(failing(hello(), "services/web"));
    bench.reconcile(broken).await.expect("an end");
    let writes = bench.cloud.writes().len();
    let looked = bench.reconcile(wishing(AGAIN)).await.expect("an end");
    assert!(matches!(looked, OutcomeKind::Held(_)), "{looked:?}");
    assert_eq!(bench.cloud.writes().len(), writes, "not by itself");
    let tried = bench
        .reconcile(wishing(Wish::Again { retry: true }))
        .await
        .expect("an end");
    assert!(matches!(tried, OutcomeKind::Held(_)), "{tried:?}");
    assert!(bench.cloud.writes().len() > writes, "it was tried");
    let nothing = Bench::new().reconcile(wishing(AGAIN)).await;
    assert!(
        matches!(nothing, Err(EngineError::UnknownGeneration { number: None, .. })),
        "{nothing:?}"
    );
}
