//! Operations that take longer than the call that begins them.

use std::collections::BTreeSet;
use std::time::Duration;

use portolan_core::observation::ResourceState;
use portolan_core::plan::Verb;
use portolan_core::resource::ResourceId;
use portolan_engine::journal::AppRecord;
use portolan_engine::{OutcomeKind, Work};
use portolan_provider_api::{Accepted, OpenOperation, WriteRequest};
use tokio::time::sleep;

use super::excused;
use crate::account::Account;
use crate::bench::Bench;
use crate::recorder::Recorder;

/// A long operation answers a handle; another process that knows the handle is told that it goes on and how it ends, and
/// does nothing of it again.
pub async fn a_long_operation_is_taken_up_by_its_handle<A: Account>(bench: &mut Bench<A>) {
    by_hand(bench).await;
    if A::has_long_operations().is_ok() {
        by_the_engine(bench).await;
    }
}

async fn by_hand<A: Account>(bench: &mut Bench<A>) {
    let hand = bench.hand(&bench.work(&bench.shop())).await;
    let mut begun = 0;
    for id in hand.in_order() {
        let request = hand.request(Verb::Create, &id).await;
        if let Accepted::Operation { handle } = hand.sent(&request).await {
            begun += 1;
            let open = OpenOperation {
                id: id.clone(),
                verb: Verb::Create,
                handle,
            };
            let another = bench.account.provider().calls;
            let seen = another
                .observe(&hand.scope, std::slice::from_ref(&id), std::slice::from_ref(&open))
                .await;
            let seen = seen.unwrap_or_else(|error| panic!("{}: {open:?} cannot be asked about: {error:?}", A::NAME));
            if let Some(seen) = seen.resources.get(&id) {
                let goes_on = matches!(seen.state, ResourceState::Progressing { .. });
                assert!(goes_on, "{}: {open:?} is told as {:?}", bench.about(&id), seen.state);
            }
        }
        hand.settled(&id).await;
    }
    for id in hand.in_order_of_deletes() {
        let request = WriteRequest {
            erase_data: true,
            ..hand.request(Verb::Delete, &id).await
        };
        begun += usize::from(matches!(hand.sent(&request).await, Accepted::Operation { .. }));
        hand.gone(&id).await;
    }
    match A::has_long_operations() {
        Ok(()) => assert!(begun > 0, "{}: no write has answered a handle", A::NAME),
        Err(reason) => {
            assert_eq!(begun, 0, "{}: {begun} writes answer handles: {reason}", A::NAME);
            excused::<A>("a long operation", reason);
        }
    }
}

async fn by_the_engine<A: Account>(bench: &mut Bench<A>) {
    bench.begin_anew();
    let work = bench.work(&bench.shop());
    tokio::select! {
        outcome = bench.reconcile(work.clone()) => panic!("{}: it ended before it was killed: {outcome:?}", A::NAME),
        () = a_handle_is_noted(bench, &work) => {}
    }
    let before = created(&bench.recorder);
    bench.begin_anew();
    let outcome = bench.outcome(work).await;
    assert_eq!(
        outcome.kind,
        OutcomeKind::Converged,
        "{}: nobody takes up what was begun",
        A::NAME
    );
    let asked_about = bench.recorder.looks().swap_remove(0);
    assert!(
        !asked_about.is_empty(),
        "{}: the first look does not ask about the handle",
        A::NAME
    );
    for open in asked_about {
        let again = created(&bench.recorder).contains(&open.id);
        assert!(
            before.contains(&open.id) && !again,
            "{}: it is created again",
            bench.about(&open.id)
        );
    }
}

async fn a_handle_is_noted<A: Account>(bench: &Bench<A>, work: &Work) {
    let none = |record: &AppRecord| record.operations.is_empty();
    while bench.journal.read(&work.key(), none).unwrap_or(true) {
        sleep(Duration::from_millis(1)).await;
    }
}

fn created(recorder: &Recorder) -> BTreeSet<ResourceId> {
    let writes = recorder.writes().into_iter();
    writes
        .filter(|write| write.verb == Verb::Create)
        .map(|write| write.id)
        .collect()
}
