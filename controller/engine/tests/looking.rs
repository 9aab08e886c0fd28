//! Looking without touching keeps to the same rules as carrying out: budgets, deadlines, and tries that are counted.

mod harness;

use std::sync::Arc;
use std::time::Duration;

use harness::bench::{Bench, Slow};
use harness::manifests::{apply, shop};
use portolan_core::manifest::Budget;
use portolan_core::resource::{KnownAfter, Open};
use portolan_core::status::ConditionKind;
use portolan_engine::machine::Policy;
use portolan_engine::{EngineError, OutcomeKind, Preview};
use portolan_provider_api::{CallError, ErrorClass};
use portolan_provider_fake::{Called, Fault, On};
use tokio::time::Instant;

fn refuse(class: ErrorClass) -> Fault {
    Fault::Refuse(CallError::new(class, "Made", "it was made to fail"))
}

fn looks(bench: &Bench) -> usize {
    let calls = bench.cloud.calls().into_iter();
    calls.filter(|call| matches!(call, Called::Observe { .. })).count()
}

async fn preview(bench: &Bench) -> Preview {
    let preview = bench.engine.preview(&bench.provider, &apply(shop())).await;
    preview.expect("a preview")
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_again() {
    let retry = ErrorClass::Retry { after: None };
    let cases = [
        ("the realm", On::Realm, refuse(retry)),
        ("a read", On::Observe, refuse(retry)),
        ("an answer that was lost", On::Observe, Fault::LoseAnswer),
        ("half a read", On::Observe, Fault::Partial),
    ];
    for (reason, on, fault) in cases {
        let bench = Bench::new();
        assert_eq!(
            bench.reconcile(apply(shop())).await.expect("an end"),
            OutcomeKind::Converged
        );
        bench.cloud.fail_next(on.clone(), fault.clone());
        assert!(preview(&bench).await.plan.is_empty(), "{reason}: preview");
        bench.cloud.fail_next(on, fault);
        let status = bench.engine.status(&bench.provider, &apply(shop())).await;
        assert!(status.expect("a status").is_ready(), "{reason}: status");
    }
}

#[tokio::test(start_paused = true)]
async fn tries_are_counted_and_only_what_passes_has_any() {
    let retry = ErrorClass::Retry { after: None };
    let tries = Policy::default().tries as usize;
    for (class, expected) in [(retry, tries), (ErrorClass::Denied, 1), (ErrorClass::Bug, 1)] {
        let bench = Bench::new();
        (0..100).for_each(|_| bench.cloud.fail_next(On::Observe, refuse(class)));
        let status = bench.engine.status(&bench.provider, &apply(shop())).await;
        assert!(matches!(status, Err(EngineError::Call(_))), "{class:?}");
        assert_eq!(looks(&bench), expected, "{class:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_platform_says_when_to_come_back() {
    let bench = Bench::new();
    let after = Some(Duration::from_secs(77));
    bench.cloud.fail_next(On::Observe, refuse(ErrorClass::Retry { after }));
    let began = Instant::now();
    preview(&bench).await;
    assert_eq!(began.elapsed().as_secs(), 77);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_hangs_is_given_up_and_tried_again() {
    let mut bench = Bench::new();
    bench.slow_down(Slow {
        looks: vec![Duration::from_secs(24 * 60 * 60)],
        ..Slow::default()
    });
    let began = Instant::now();
    preview(&bench).await;
    let deadline = Policy::default().read_deadline;
    assert!(
        (deadline..deadline * 2).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_target_that_never_shows_all_is_shown_as_far_as_it_does() {
    let bench = Bench::new();
    (0..100).for_each(|_| bench.cloud.fail_next(On::Observe, Fault::Partial));
    assert_eq!(preview(&bench).await.plan.problems[0].code, "PartialRead");
    let status = bench
        .engine
        .status(&bench.provider, &apply(shop()))
        .await
        .expect("a status");
    let ready = status.condition(ConditionKind::Ready).expect("there is one");
    assert_eq!((ready.status, ready.reason.as_str()), (false, "PartialRead"));
}

/// 100 looks are 200 calls: 20 at once, and then 10 a second.
#[tokio::test(start_paused = true)]
async fn looks_share_the_budget_of_their_account() {
    let bench = Bench::new();
    let mut work = apply(shop());
    Arc::make_mut(&mut work.target).spec.budget = Some(Budget {
        requests_per_second: 10,
    });
    let began = Instant::now();
    for _ in 0..100 {
        bench.engine.status(&bench.provider, &work).await.expect("a status");
    }
    let took = began.elapsed().as_secs();
    assert!((17..20).contains(&took), "{took} s");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_not_there_yet_stays_open() {
    let bench = Bench::new();
    bench.images.lack("services/web");
    let open = preview(&bench).await;
    let image = |preview: &Preview| {
        let web = preview.desired.values().find(|one| one.origin == "/spec/services/web");
        Open::of(&web.expect("the shop has a web service").body["image"])
    };
    assert_eq!(image(&open), Some(Open::Unknown(KnownAfter::AfterBuild)));
    assert_eq!(open.plan.steps.len(), 5);
    assert_eq!(
        bench.reconcile(apply(shop())).await.expect("an end"),
        OutcomeKind::Converged
    );
    let closed = preview(&bench).await;
    assert_eq!(image(&closed), None);
    assert!(closed.plan.is_empty());
}
