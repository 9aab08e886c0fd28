//! Who may write, when, and how often: leases and budgets, on tokio with its clock paused.

mod harness;

use std::sync::Arc;
use std::time::Duration;

use harness::bench::Bench;
use harness::manifests::{apply, hello, shop};
use portolan_core::manifest::Budget;
use portolan_engine::{EngineError, Lease, OutcomeKind};
use portolan_provider_api::{CallError, ErrorClass};
use portolan_provider_fake::{Fault, On};
use tokio::time::Instant;

/// The step that waits for a token is not sent once the lease has passed, however long before it was asked for.
#[tokio::test(start_paused = true)]
async fn a_call_that_waits_past_the_lease_is_not_sent() {
    let mut bench = Bench::new();
    let until = Instant::now() + Duration::from_millis(2500);
    bench.engine = bench.engine.with_lease(Lease::until(until));
    let mut work = apply(shop());
    // A request a second, after a burst of two: writes wait long for their turn.
    Arc::make_mut(&mut work.target).spec.budget = Some(Budget { requests_per_second: 1 });
    let ended = bench
        .engine
        .reconcile(&bench.provider, work, bench.listener.clone(), bench.stop.clone())
        .await;
    assert!(matches!(ended, Err(EngineError::LeaseLost)), "{ended:?}");
    assert_eq!(
        bench.cloud.writes().len(),
        1,
        "the second one's turn comes after the end"
    );
    assert!(Instant::now() >= until, "nor did it give up before");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_renewed_does_not_end() {
    let mut bench = Bench::new();
    let lease = Lease::until(Instant::now() + Duration::from_millis(400));
    bench.engine = bench.engine.with_lease(lease.clone());
    let renew = async {
        loop {
            lease.renew(Instant::now() + Duration::from_millis(400));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let kind = tokio::select! {
        kind = bench.reconcile(apply(shop())) => kind.expect("an end"),
        () = renew => unreachable!("it never ends"),
    };
    assert_eq!(kind, OutcomeKind::Converged);
}

/// One app is told to stay away; the call of another, which had its token already, stays away too.
#[tokio::test(start_paused = true)]
async fn who_has_a_token_obeys_a_pause_too() {
    let bench = Bench::new();
    let after = Some(Duration::from_secs(5));
    let told = CallError::new(ErrorClass::Retry { after }, "Throttled", "rate exceeded");
    let mut works = [apply(hello()), apply(shop())];
    for work in &mut works {
        Arc::make_mut(&mut work.target).spec.budget = Some(Budget { requests_per_second: 1 });
    }
    bench.cloud.fail_next(On::Observe, Fault::Refuse(told));
    let [one, other] = works;
    let began = Instant::now();
    let silent = async {
        tokio::time::sleep(Duration::from_millis(4_900)).await;
        bench.cloud.calls().len()
    };
    let (one, other, early) = tokio::join!(bench.reconcile(one), bench.reconcile(other), silent);
    one.expect("an end");
    other.expect("an end");
    assert!(began.elapsed() > Duration::from_secs(5));
    assert_eq!(early, 3, "two that ask for the account, and the look that was refused");
}
