//! The provider under the real engine, whose journal may be lost at any time.

use portolan_core::plan::Verb;
use portolan_engine::{OutcomeKind, Wish, Work};
use portolan_provider_api::WriteRequest;
use serde_json::json;

use crate::account::Account;
use crate::apps::{self, newer, with};
use crate::bench::Bench;

/// What is up is recognised by its tags: without the journal nothing is written, no job runs and no generation comes twice.
pub async fn a_lost_journal_is_rebuilt_from_the_tags<A: Account>(bench: &mut Bench<A>) {
    let shop = bench.shop();
    converged(bench, &shop).await;
    let second = converged(bench, &newer(&shop)).await;
    bench.journal.forget();
    bench.begin_anew();
    let found = converged(bench, &newer(&shop)).await;
    let writes = bench.recorder.writes();
    assert!(
        writes.is_empty(),
        "{}: without its journal the engine writes {writes:#?}",
        A::NAME
    );
    assert_eq!(found, second, "{}: the generation is not read from the tags", A::NAME);
    bench.journal.forget();
    let third = converged(bench, &shop).await;
    assert!(third > second, "{}: generation {third} comes after {second}", A::NAME);
    let hand = bench.hand(&bench.work(&shop)).await;
    let runs = bench.account.runs(&hand.scope, "migrate").await;
    assert_eq!(runs, 1, "{}: a job ran {runs} times", A::NAME);
}

/// What failed and is held is not tried again by who has lost the journal, and is remembered no longer than until something
/// newer has converged.
pub async fn what_is_held_is_remembered_by_the_target<A: Account>(bench: &mut Bench<A>) {
    let port = bench.account.free_ports(1)[0];
    let app = |web| apps::app(&bench.account, json!({ "services": { "web": web } }));
    let (good, bad) = (app(bench.account.server(port)), app(bench.account.failing()));
    converged(bench, &good).await;
    let failed = bench.outcome(bench.work(&bad)).await;
    let is_held = matches!(failed.kind, OutcomeKind::RolledBack { .. } | OutcomeKind::Held(_));
    assert!(is_held, "{}: what fails has {:?}", A::NAME, failed.kind);
    // Nobody is back so soon that a read need not show what was noted.
    tokio::time::sleep(bench.provider.shape.read_lag()).await;
    bench.journal.forget();
    bench.begin_anew();
    let again = bench.outcome(bench.work(&bad)).await;
    let writes = bench.recorder.writes();
    let is_held = matches!(again.kind, OutcomeKind::Held(_));
    assert!(
        is_held && writes.is_empty(),
        "{}: what failed is tried again without its journal: {:?}, {writes:#?}",
        A::NAME,
        again.kind
    );
    assert_eq!(
        again.generation,
        failed.generation,
        "{}: it is another generation",
        A::NAME
    );
    let newer = converged(bench, &good).await;
    assert!(newer > failed.generation, "{}: {newer} is no newer generation", A::NAME);
    tokio::time::sleep(bench.provider.shape.read_lag()).await;
    let hand = bench.hand(&bench.work(&good)).await;
    let held = hand.look().await.held;
    assert_eq!(held, None, "{}: it is remembered for ever", A::NAME);
}

/// A job runs once for each revision: not again for another generation, a lost journal, a repeated call or another revision of
/// what comes after it; and again where it is another job.
pub async fn a_job_is_not_repeated<A: Account>(bench: &mut Bench<A>) {
    let shop = bench.shop();
    converged(bench, &shop).await;
    converged(bench, &newer(&shop)).await;
    bench.journal.forget();
    converged(bench, &newer(&shop)).await;
    let hand = bench.hand(&bench.work(&newer(&shop))).await;
    let ids = hand.in_order();
    let job = ids.iter().find(|id| hand.resources[*id].origin == "/spec/jobs/migrate");
    let job = job.unwrap_or_else(|| panic!("{}: no resource stands for the job", A::NAME));
    for verb in [Verb::Update, Verb::Create] {
        if verb == Verb::Create && !hand.resources[job].create_is_idempotent {
            continue;
        }
        let request = WriteRequest {
            generation: 7,
            idempotency_token: format!("again-{verb:?}"),
            ..hand.request(verb, job).await
        };
        hand.sent(&request).await;
        hand.settled(job).await;
    }
    let runs = bench.account.runs(&hand.scope, "migrate").await;
    assert_eq!(runs, 1, "{}: the same job ran {runs} times", bench.about(job));
    let another = with(newer(&shop), "/spec/jobs/migrate/env", json!({ "STEP": "2" }));
    converged(bench, &another).await;
    let runs = bench.account.runs(&hand.scope, "migrate").await;
    assert_eq!(runs, 2, "{}: two jobs ran {runs} times", bench.about(job));
}

/// A delete of the app takes all that was made, in an order that the platform takes, and keeps what holds data.
pub async fn a_delete_leaves_nothing_but_data<A: Account>(bench: &mut Bench<A>) {
    let shop = bench.shop();
    converged(bench, &shop).await;
    let hand = bench.hand(&bench.work(&shop)).await;
    for erase_data in [false, true] {
        let delete = Work {
            wish: Wish::Delete { erase_data },
            ..bench.work(&shop)
        };
        let outcome = bench.outcome(delete).await;
        assert_eq!(
            outcome.kind,
            OutcomeKind::Converged,
            "{}: it cannot be deleted",
            A::NAME
        );
        for id in hand.in_order_of_deletes() {
            if hand.resources[&id].holds_data && !erase_data {
                let kept = hand.seen(&id).await;
                assert!(kept.is_some(), "{}: its data is lost", bench.about(&id));
            } else {
                hand.gone(&id).await;
            }
        }
    }
}

/// Applies, and once more: what is converged is silent. Answers the generation.
async fn converged<A: Account>(bench: &Bench<A>, manifest: &serde_json::Value) -> u64 {
    let first = bench.outcome(bench.work(manifest)).await;
    assert_eq!(first.kind, OutcomeKind::Converged, "{}: it does not converge", A::NAME);
    let before = bench.recorder.writes().len();
    let again = bench.outcome(bench.work(manifest)).await;
    let writes = bench.recorder.writes().split_off(before);
    assert!(
        writes.is_empty(),
        "{}: what has converged is written again: {writes:#?}",
        A::NAME
    );
    assert_eq!(
        again.generation,
        first.generation,
        "{}: it is another generation",
        A::NAME
    );
    again.generation
}
