//! Whose it is: told by tags, whatever it is called.

use portolan_core::observation::Ownership;
use portolan_core::plan::{PlanOptions, Verb};
use portolan_engine::{OutcomeKind, Work};
use portolan_provider_api::{ErrorClass, WriteRequest};

use crate::account::Account;
use crate::bench::Bench;
use crate::hand::Hand;

/// What somebody else put under a name of ours is told as foreign; no write touches it that may not take it over, and one
/// that may makes it ours.
pub async fn what_is_foreign_is_told_and_left_alone<A: Account>(bench: &mut Bench<A>) {
    let hand = bench.hand(&bench.work(&bench.shop())).await;
    for id in hand.in_order() {
        let create = hand.request(Verb::Create, &id).await;
        if A::place(&hand.scope, &id).is_none() {
            hand.sent(&create).await;
            continue;
        }
        let about = bench.about(&id);
        bench.account.put_foreign(&hand.scope, &id, &create.body).await;
        let is_foreign = |seen: Option<&_>| is(seen, &Ownership::Foreign);
        hand.until(&id, "told as foreign", is_foreign).await;
        for verb in [Verb::Create, Verb::Update, Verb::Delete] {
            refused(&hand, &WriteRequest { verb, ..create.clone() }, &about).await;
        }
        hand.until(&id, "left as it was", is_foreign).await;
        let taken_over = WriteRequest {
            verb: Verb::Update,
            take_over: true,
            ..create
        };
        hand.sent(&taken_over).await;
        hand.settled(&id).await;
    }
}

fn is(seen: Option<&portolan_core::observation::ObservedResource>, ownership: &Ownership) -> Option<()> {
    seen.is_some_and(|seen| seen.ownership == *ownership).then_some(())
}

async fn refused<A: Account>(hand: &Hand<'_, A>, request: &WriteRequest, about: &str) {
    let request = WriteRequest {
        erase_data: request.verb == Verb::Delete,
        ..request.clone()
    };
    let verb = request.verb;
    match hand.answered(&request).await {
        Err(error) => assert_eq!(
            error.class,
            ErrorClass::Conflict,
            "{about}: {verb:?} of what is another's: {error:?}"
        ),
        Ok(_) => panic!("{about}: {verb:?} of what is another's is not refused"),
    }
}

/// What bears our tag and was written by another source of intent is told with that source; it is left alone unless it may
/// be taken over, and is then ours.
pub async fn what_another_source_wrote_is_told_and_left_alone<A: Account>(bench: &mut Bench<A>) {
    let ours = bench.work(&bench.shop());
    let outcome = bench.outcome(ours.clone()).await;
    assert_eq!(
        outcome.kind,
        OutcomeKind::Converged,
        "{}: the shop does not come up",
        A::NAME
    );
    let theirs = Work {
        source: "git:elsewhere".into(),
        ..ours.clone()
    };
    let hand = bench.hand(&theirs).await;
    let source = &ours.source;
    for id in hand.placed() {
        let another = Ownership::OtherSource { source: source.clone() };
        hand.until(&id, "told with its source", |seen| is(seen, &another)).await;
        let update = hand.request(Verb::Update, &id).await;
        refused(&hand, &update, &bench.about(&id)).await;
    }
    bench.journal.forget();
    let before = bench.recorder.writes().len();
    let outcome = bench.outcome(theirs.clone()).await;
    let conflicts =
        matches!(&outcome.kind, OutcomeKind::Refused(problems) if problems.iter().all(|one| one.code == "Conflict"));
    assert!(
        conflicts,
        "{}: what another source wrote is no conflict: {:?}",
        A::NAME,
        outcome.kind
    );
    let writes = bench.recorder.writes().split_off(before);
    assert!(
        writes.is_empty(),
        "{}: it is written to all the same: {writes:#?}",
        A::NAME
    );
    let options = PlanOptions {
        take_over: true,
        ..PlanOptions::default()
    };
    let outcome = bench.outcome(Work { options, ..theirs }).await;
    assert_eq!(
        outcome.kind,
        OutcomeKind::Converged,
        "{}: it cannot be taken over",
        A::NAME
    );
    for id in hand.placed() {
        hand.settled(&id).await;
    }
}
