//! Creates and deletes, again and again.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use portolan_core::plan::Verb;
use portolan_provider_api::WriteRequest;

use crate::account::Account;
use crate::bench::Bench;
use crate::hand::Hand;

/// Creating what we made is success, at once and later, and makes no second one.
pub async fn what_is_created_twice_is_there_once<A: Account>(bench: &mut Bench<A>) {
    let hand = bench.hand(&bench.work(&bench.shop())).await;
    for id in hand.in_order() {
        let request = hand.request(Verb::Create, &id).await;
        hand.sent(&request).await;
        hand.sent(&request).await;
        hand.settled(&id).await;
        hand.sent(&request).await;
        if hand.resources[&id].create_is_idempotent {
            let planned_anew = WriteRequest {
                idempotency_token: format!("planned-anew-{id}"),
                ..request
            };
            hand.sent(&planned_anew).await;
        }
        hand.settled(&id).await;
        let about = bench.about(&id);
        let copies = bench.account.copies(&hand.scope, &id).await;
        assert!(copies <= 1, "{about}: creates of the same have made {copies}");
        let changes = hand.changes(&hand.resources[&id]).await;
        assert!(changes.is_empty(), "{about}: it is not as it was created: {changes:#?}");
    }
    let runs = bench.account.runs(&hand.scope, "migrate").await;
    assert_eq!(runs, 1, "{}: creates of the same job have run it {runs} times", A::NAME);
}

/// Deleting what goes and what is gone is success.
pub async fn what_is_deleted_twice_is_gone<A: Account>(bench: &mut Bench<A>) {
    let hand = bench.hand(&bench.work(&bench.shop())).await;
    hand.bring_up().await;
    for id in hand.in_order_of_deletes() {
        let request = hand.request(Verb::Delete, &id).await;
        let erased = WriteRequest {
            erase_data: true,
            ..request
        };
        hand.sent(&erased).await;
        hand.sent(&erased).await;
        hand.gone(&id).await;
        hand.sent(&erased).await;
        let copies = bench.account.copies(&hand.scope, &id).await;
        assert_eq!(
            copies,
            0,
            "{}: the platform has {copies} after deletes",
            bench.about(&id)
        );
    }
}

/// What holds data is kept by a delete that does not erase it, is told as kept, and is taken up by the next create.
pub async fn data_outlives_a_delete_until_it_is_erased<A: Account>(bench: &mut Bench<A>) {
    let hand = bench.hand(&bench.work(&bench.shop())).await;
    hand.bring_up().await;
    for id in hand.in_order_of_deletes() {
        let request = hand.request(Verb::Delete, &id).await;
        hand.sent(&request).await;
        hand.gone(&id).await;
    }
    let data: Vec<_> = hand.in_order_of_deletes();
    let data: Vec<_> = data.iter().filter(|id| hand.resources[*id].holds_data).collect();
    assert!(
        !data.is_empty(),
        "{}: nothing that a volume is rendered to holds data",
        A::NAME
    );
    for id in data {
        let about = bench.about(id);
        let kept = hand
            .seen(id)
            .await
            .unwrap_or_else(|| panic!("{about}: a delete has lost its data"));
        assert!(
            kept.retained && kept.holds_data,
            "{about}: it is not told as data that was kept: {kept:#?}"
        );
        taken_up(&hand).await;
        let erased = WriteRequest {
            erase_data: true,
            ..hand.request(Verb::Delete, id).await
        };
        hand.sent(&erased).await;
        let what = "gone for good";
        hand.until(id, what, |seen| seen.is_none().then_some(())).await;
    }
}

async fn taken_up<A: Account>(hand: &Hand<'_, A>) {
    for id in hand.in_order() {
        let request = WriteRequest {
            idempotency_token: format!("taken-up-{id}"),
            ..hand.request(Verb::Create, &id).await
        };
        hand.sent(&request).await;
        hand.settled(&id).await;
    }
    for id in hand.in_order_of_deletes() {
        if !hand.resources[&id].holds_data {
            hand.sent(&hand.request(Verb::Delete, &id).await).await;
            hand.gone(&id).await;
        }
    }
}

/// A call whose future is dropped half way has happened or not, and the next look and the same call again tell it.
pub async fn a_call_that_is_dropped_half_way_is_told_by_the_next_look<A: Account>(bench: &mut Bench<A>) {
    let hand = bench.hand(&bench.work(&bench.shop())).await;
    for id in hand.in_order() {
        let request = hand.request(Verb::Create, &id).await;
        begun_and_dropped(hand.call(&request)).await;
        hand.look().await;
        hand.sent(&request).await;
        hand.settled(&id).await;
        let copies = bench.account.copies(&hand.scope, &id).await;
        assert!(copies <= 1, "{}: a dropped create has left {copies}", bench.about(&id));
    }
}

/// Polls it once, and gives what it has begun a moment.
async fn begun_and_dropped<T>(call: impl Future<Output = T>) {
    {
        let mut call = pin!(call);
        _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    tokio::task::yield_now().await;
}
