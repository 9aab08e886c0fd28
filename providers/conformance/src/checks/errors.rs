//! Failures: each is told by the class that the engine goes by, and only the engine tries again.

use std::collections::BTreeSet;

use portolan_core::plan::Verb;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{CallError, ErrorClass, WriteRequest};
use serde_json::json;

use super::excused;
use crate::account::{Account, Cannot, Request, Trouble};
use crate::bench::Bench;
use crate::hand::{Hand, passes};

/// More looks at once than a platform takes that throttles at all.
const MANY: usize = 300;

/// What the platform refuses is told by its class, with a code and in words.
pub async fn failures_are_told_as_what_they_are<A: Account>(bench: &mut Bench<A>) {
    let hand = bench.hand(&bench.work(&bench.shop())).await;
    hand.bring_up().await;
    for trouble in Trouble::ALL {
        match bench.account.trouble(&hand.scope, trouble).await {
            Ok(request) => {
                let answer = match trouble {
                    Trouble::Throttled => hand.call(&request).await,
                    _ => hand.answered(&request).await,
                };
                let error = answer
                    .err()
                    .unwrap_or_else(|| panic!("{}: {trouble:?} is no failure", A::NAME));
                assert!(
                    trouble.is_told_as(error.class),
                    "{}: {trouble:?} is told as {error:?}",
                    A::NAME
                );
                is_in_words::<A>(&error);
            }
            Err(reason) => {
                if trouble == Trouble::Throttled {
                    is_not_throttled(&hand, bench, reason).await;
                }
                excused::<A>(&format!("{trouble:?}"), reason);
            }
        }
    }
    no_such_kind(&hand).await;
    a_lost_answer_passes(bench, &hand).await;
}

fn is_in_words<A: Account>(error: &CallError) {
    let is_code = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let code = !error.code.is_empty() && error.code.chars().all(is_code);
    assert!(
        code && !error.message.is_empty(),
        "{}: neither code nor words: {error:?}",
        A::NAME
    );
}

async fn is_not_throttled<A: Account>(hand: &Hand<'_, A>, bench: &Bench<A>, reason: Cannot) {
    for _ in 0..MANY {
        let answer = bench.provider.calls.observe(&hand.scope, &[], &[]).await;
        assert!(
            answer.is_ok(),
            "{}: {answer:?} of {MANY} looks at once: {reason}",
            A::NAME
        );
    }
}

async fn no_such_kind<A: Account>(hand: &Hand<'_, A>) {
    let request = WriteRequest {
        verb: Verb::Create,
        id: ResourceId::new("Nonsense", "x"),
        body: json!({}),
        revision: None,
        etag: None,
        generation: 1,
        idempotency_token: "nonsense".into(),
        take_over: false,
        erase_data: false,
    };
    match hand.answered(&request).await {
        Err(error) => assert_eq!(
            error.class,
            ErrorClass::Bug,
            "{}: a kind that is none: {error:?}",
            A::NAME
        ),
        Ok(_) => panic!("{}: a kind that is none is created", A::NAME),
    }
}

async fn a_lost_answer_passes<A: Account>(bench: &Bench<A>, hand: &Hand<'_, A>) {
    bench.account.listen(&hand.scope).await;
    let calls = bench.account.provider().calls;
    bench.account.lose_next_answer(Request::Look).await;
    let look = calls.observe(&hand.scope, &[], &[]).await;
    let error = look
        .err()
        .unwrap_or_else(|| panic!("{}: a look whose answer is lost is no failure", A::NAME));
    assert!(
        passes(&error),
        "{}: a look whose answer is lost is told as {error:?}",
        A::NAME
    );
    for id in hand.placed() {
        let request = hand.request(Verb::Update, &id).await;
        bench.account.lose_next_answer(Request::Write(&id)).await;
        let about = bench.about(&id);
        let answer = calls.update(&hand.scope, &request).await;
        let error = answer
            .err()
            .unwrap_or_else(|| panic!("{about}: a write whose answer is lost is no failure"));
        assert!(
            passes(&error),
            "{about}: a write whose answer is lost is told as {error:?}"
        );
    }
}

/// No request goes over the wire twice in one call, whether it succeeds or its answer is lost: tries are the engine's.
pub async fn no_request_is_sent_twice_in_a_call<A: Account>(bench: &mut Bench<A>) {
    let work = bench.work(&bench.shop());
    bench.hand(&work).await.bring_up().await;
    bench.account.listen(&bench.scope(&work).await).await;
    bench.begin_anew();
    let hand = bench.hand(&work).await;
    for id in hand.placed() {
        let about = bench.about(&id);
        for verb in [Verb::Create, Verb::Update] {
            let request = hand.request(verb, &id).await;
            let before = bench.account.requests().len();
            let answer = hand.call(&request).await;
            let sent = each_once(&bench.account.requests()[before..], &about);
            assert!(sent > 0, "{about}: {verb:?} is not seen on the wire: {answer:?}");
            bench.account.lose_next_answer(Request::Write(&id)).await;
            let before = bench.account.requests().len();
            drop(hand.call(&request).await);
            each_once(&bench.account.requests()[before..], &about);
            hand.settled(&id).await;
        }
    }
    bench.account.lose_next_answer(Request::Look).await;
    let before = bench.account.requests().len();
    let answer = bench.provider.calls.observe(&hand.scope, &[], &[]).await;
    assert!(
        answer.is_err(),
        "{}: a look whose answer is lost is no failure",
        A::NAME
    );
    each_once(&bench.account.requests()[before..], A::NAME);
}

fn each_once(requests: &[String], about: &str) -> usize {
    let mut sent = BTreeSet::new();
    for request in requests {
        assert!(sent.insert(request), "{about}: one call has sent this twice: {request}");
    }
    sent.len()
}
