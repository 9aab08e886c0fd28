//! The facade and the driver on tokio, with its clock paused, and the journal in a real file.

mod harness;

use std::sync::Arc;
use std::time::Duration;

use harness::bench::{Bench, Slow};
use harness::manifests::{apply, delete, failing, hello, shop, with};
use portolan_core::manifest::Budget;
use portolan_core::plan::Verb;
use portolan_engine::journal::Journal;
use portolan_engine::{EngineError, EngineEvent, OutcomeKind, Work};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn an_app_lives_and_goes() {
    let bench = Bench::new();
    let status = bench
        .engine
        .status(&bench.provider, &apply(shop()))
        .await
        .expect("a status");
    assert!(!status.is_ready());
    assert_eq!(
        bench.reconcile(apply(shop())).await.expect("an end"),
        OutcomeKind::Converged
    );
    let status = bench
        .engine
        .status(&bench.provider, &apply(shop()))
        .await
        .expect("a status");
    assert!(status.is_ready());
    let newer = with(shop(), "/spec/services/web/image", json!("registry.example/web:2"));
    let preview = bench
        .engine
        .preview(&bench.provider, &apply(newer.clone()))
        .await
        .expect("a preview");
    assert_eq!((preview.plan.count(Verb::Update), preview.plan.steps.len()), (1, 1));
    assert_eq!(
        (
            preview.standing.number,
            preview.standing.begun,
            preview.standing.converged
        ),
        (2, false, Some(1))
    );
    assert_eq!(
        bench.reconcile(apply(newer)).await.expect("an end"),
        OutcomeKind::Converged
    );
    let broken = bench
        .reconcile(apply(failing(shop(), "services/web")))
        .await
        .expect("an end");
    assert!(matches!(broken, OutcomeKind::RolledBack { to_generation: 2, .. }));
    assert_eq!(
        bench.reconcile(delete(shop(), true)).await.expect("an end"),
        OutcomeKind::Converged
    );
    assert!(bench.cloud.objects().is_empty());
    let history = bench.engine.history("default", "shop", "local").expect("a history");
    let generations: Vec<u64> = history.iter().map(|line| line.generation).collect();
    assert_eq!(generations, [4, 3, 2, 1]);
    let [change] = &history[2].changes[..] else {
        panic!("{:?}", history[2].changes)
    };
    assert!(
        change.starts_with("update Service/") && change.ends_with("image"),
        "{change}"
    );
    assert_eq!(bench.cloud.violations(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn one_writer_for_an_app_and_as_many_as_there_are_apps() {
    let bench = Bench::new();
    let lock = bench.journal.lock(&apply(shop()).key()).expect("a free lock");
    match bench.reconcile(apply(shop())).await {
        Err(EngineError::Busy { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.cloud.calls(), []);
    drop(lock);
    let (one, other) = tokio::join!(bench.reconcile(apply(shop())), bench.reconcile(apply(hello())));
    assert_eq!(
        (one.expect("an end"), other.expect("an end")),
        (OutcomeKind::Converged, OutcomeKind::Converged)
    );
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_stops_and_the_next_run_finishes() {
    let bench = Bench::new();
    let (stop, stopped) = watch::channel(false);
    let work = apply(shop());
    let run = bench
        .engine
        .reconcile(&bench.provider, work.clone(), bench.listener.clone(), stopped);
    let press = async {
        while bench.cloud.writes().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        stop.send(true).expect("somebody listens");
    };
    let (outcome, ()) = tokio::join!(run, press);
    assert_eq!(outcome.expect("an end").kind, OutcomeKind::Interrupted);
    let written = bench.cloud.writes().len();
    assert!(written < 5, "it stopped half way");
    assert_eq!(bench.reconcile(work).await.expect("an end"), OutcomeKind::Converged);
    assert_eq!(bench.cloud.writes().len(), 5, "and what was done is not done again");
}

/// The signal stays true: a driver that asks for it again and again never hears the answer that it waits for.
#[tokio::test(start_paused = true)]
async fn an_interrupt_is_heard_once_and_what_is_under_way_is_awaited() {
    let mut bench = Bench::new();
    bench.slow_down(Slow {
        writes: Duration::from_secs(5),
        ..Slow::default()
    });
    let (stop, stopped) = watch::channel(false);
    let run = bench
        .engine
        .reconcile(&bench.provider, apply(hello()), bench.listener.clone(), stopped);
    let press = async {
        sleep(Duration::from_secs(2)).await;
        assert_eq!(bench.cloud.writes().len(), 0, "the first is under way");
        stop.send(true).expect("somebody listens");
    };
    let (outcome, ()) = tokio::join!(run, press);
    let outcome = outcome.expect("an end");
    assert_eq!((outcome.kind, outcome.changed), (OutcomeKind::Interrupted, true));
    assert_eq!(bench.cloud.writes().len(), 1, "it was made, and no other");
    let told = bench
        .events()
        .into_iter()
        .filter(|event| *event == EngineEvent::Interrupted);
    assert_eq!(told.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_apps_share_one_budget() {
    let bench = Bench::new();
    let began = Instant::now();
    let named = |n: u32| apply(with(hello(), "/metadata/name", json!(format!("hello-{n}"))));
    let works: Vec<Work> = (0..30).map(named).collect();
    let mut runs = Vec::new();
    for work in works {
        runs.push(bench.reconcile(work));
    }
    let mut runs = runs.into_iter().map(Box::pin).collect::<Vec<_>>();
    // All are polled together, without a library for it: the paused clock moves only when every one of them waits.
    let mut ended = 0;
    std::future::poll_fn(|context| {
        runs.retain_mut(|run| match run.as_mut().poll(context) {
            std::task::Poll::Ready(kind) => {
                assert_eq!(kind.expect("an end"), OutcomeKind::Converged);
                ended += 1;
                false
            }
            std::task::Poll::Pending => true,
        });
        if runs.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    assert_eq!(ended, 30);
    let seconds = began.elapsed().as_secs_f64();
    let calls = bench.cloud.calls().len() as f64;
    assert!(calls <= 40.0 + 20.0 * (seconds + 1.0), "{calls} calls in {seconds} s");
}

/// What a test does not measure must not be what it waits for.
const AMPLE: Budget = Budget {
    requests_per_second: 10_000,
};

/// A plan of many apps is the work of moments: this bound is ten times what an unoptimised build needs.
#[tokio::test]
async fn a_look_costs_little() {
    let bench = Bench::new();
    let began = std::time::Instant::now();
    for n in 0..100 {
        let mut work = apply(with(shop(), "/metadata/name", json!(format!("shop-{n}"))));
        Arc::make_mut(&mut work.target).spec.budget = Some(AMPLE);
        let preview = bench.engine.preview(&bench.provider, &work).await.expect("a preview");
        assert_eq!(preview.plan.steps.len(), 5);
    }
    let took = began.elapsed();
    println!("100 previews took {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}
