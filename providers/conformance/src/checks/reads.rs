//! Looks: they change nothing, and never tell a part as the whole.

use portolan_core::observation::ObservedResource;
use portolan_core::plan::Verb;
use portolan_core::resource::ResourceId;
use serde_json::json;

use super::excused;
use crate::account::Account;
use crate::apps;
use crate::bench::Bench;
use crate::hand::Hand;

/// A look changes nothing, and what does not change looks the same.
pub async fn a_look_changes_nothing<A: Account>(bench: &mut Bench<A>) {
    let work = bench.work(&bench.shop());
    let hand = bench.hand(&work).await;
    let none = hand.look().await;
    assert!(
        none.resources.is_empty(),
        "{}: an empty account shows {none:#?}",
        A::NAME
    );
    hand.bring_up().await;
    let first = hand.look().await;
    for id in first.resources.keys() {
        let copies = bench.account.copies(&hand.scope, id).await;
        for _ in 0..3 {
            let again = hand.look().await;
            let (one, other) = (first.fingerprints(), again.fingerprints());
            assert_eq!(
                one.get(id),
                other.get(id),
                "{}: it looks different each time",
                bench.about(id)
            );
        }
        let after = bench.account.copies(&hand.scope, id).await;
        assert_eq!(
            copies,
            after,
            "{}: looking has changed how many there are",
            bench.about(id)
        );
    }
}

/// A look that has seen a part says so, or fails; it never answers a short list.
pub async fn a_part_is_never_told_as_the_whole<A: Account>(bench: &mut Bench<A>) {
    let hand = bench.hand(&bench.work(&bench.shop())).await;
    hand.bring_up().await;
    if let Err(reason) = bench.account.hide_a_part().await {
        let requests = requests_of_a_look(bench, &hand).await;
        assert!(
            requests.len() <= 1,
            "{}: a look is {} requests, so that one of them can be lost: {reason}",
            A::NAME,
            requests.len()
        );
        return excused::<A>("a part of a list", reason);
    }
    let wanted: Vec<ResourceId> = hand.resources.keys().cloned().collect();
    if let Ok(seen) = bench.provider.calls.observe(&hand.scope, &wanted, &[]).await {
        assert!(!seen.complete, "{}: a part is told as the whole: {seen:#?}", A::NAME);
    }
    let whole = hand.look().await;
    for id in &wanted {
        assert!(
            whole.resources.contains_key(id),
            "{}: the next look lacks it",
            bench.about(id)
        );
    }
}

/// What starts and fails is told as failed, in its revision, with a reason and in words; another revision mends it.
pub async fn what_fails_is_told_with_its_cause<A: Account>(bench: &mut Bench<A>) {
    let port = bench.account.free_ports(1)[0];
    let app = |web| apps::app(&bench.account, json!({ "services": { "web": web } }));
    let broken = bench.hand(&bench.work(&app(bench.account.failing()))).await;
    let mended = bench.hand(&bench.work(&app(bench.account.server(port)))).await;
    for id in broken.in_order() {
        broken.sent(&broken.request(Verb::Create, &id).await).await;
        let wanted = &broken.resources[&id];
        if wanted.origin != "/spec/services/web" || !wanted.awaited {
            continue;
        }
        let failed = |seen: Option<&ObservedResource>| Some((seen?.revision.clone(), seen?.failure()?.clone()));
        let (revision, failure) = broken.until(&id, "told as failed", failed).await;
        let about = bench.about(&id);
        assert_eq!(revision, wanted.revision, "{about}: another revision is told as failed");
        let words = !failure.reason.is_empty() && !failure.message.is_empty();
        assert!(words, "{about}: nothing is said about why: {failure:?}");
    }
    for id in mended.in_order() {
        let there = broken.resources.contains_key(&id);
        let verb = if there { Verb::Update } else { Verb::Create };
        mended.sent_at_last(&mended.request(verb, &id).await).await;
        mended.settled(&id).await;
    }
}

async fn requests_of_a_look<A: Account>(bench: &Bench<A>, hand: &Hand<'_, A>) -> Vec<String> {
    bench.account.listen(&hand.scope).await;
    let calls = bench.account.provider().calls;
    let wanted: Vec<ResourceId> = hand.resources.keys().cloned().collect();
    let before = bench.account.requests().len();
    let answer = calls.observe(&hand.scope, &wanted, &[]).await;
    assert!(answer.is_ok(), "{}: a look fails: {answer:?}", A::NAME);
    bench.account.requests().split_off(before)
}
