//! Etags, where there are any: nobody overwrites what he has not seen.

use portolan_core::observation::ObservedResource;
use portolan_core::plan::Verb;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{ErrorClass, WriteRequest};

use super::excused;
use crate::account::Account;
use crate::bench::Bench;
use crate::hand::Hand;

/// A write that was made from what stood there before somebody else wrote is refused as a conflict, and leaves that as it is;
/// made from what stands there now it is taken.
pub async fn what_somebody_wrote_since_is_not_overwritten<A: Account>(bench: &mut Bench<A>) {
    let hand = bench.hand(&bench.work(&bench.shop())).await;
    hand.bring_up().await;
    for id in hand.in_order_of_deletes() {
        let about = bench.about(&id);
        let before = hand.settled(&id).await.etag;
        if let Err(reason) = bench.account.change_by_hand(&hand.scope, &id).await {
            assert_eq!(before, None, "{about}: a look tells an etag: {reason}");
            excused::<A>(&format!("an etag of a {}", id.kind), reason);
            continue;
        }
        assert!(before.is_some(), "{about}: a look tells no etag");
        let theirs = told_anew(&hand, &id, before.as_ref()).await;
        for verb in [Verb::Update, Verb::Delete] {
            refused(&hand, verb, &id, before.clone()).await;
        }
        let left = hand.seen(&id).await.and_then(|seen| seen.etag);
        assert_eq!(left, theirs, "{about}: what somebody wrote is not left as it was");
        // Of another generation: where the same is there already, to write it again need be no write.
        let ours = WriteRequest {
            generation: 2,
            ..made_from(&hand, Verb::Update, &id, theirs.clone()).await
        };
        hand.sent(&ours).await;
        hand.settled(&id).await;
        let ours = told_anew(&hand, &id, theirs.as_ref()).await;
        hand.sent(&made_from(&hand, Verb::Delete, &id, ours).await).await;
        hand.gone(&id).await;
    }
}

/// Once reads show what was written, the etag that they show.
async fn told_anew<A: Account>(hand: &Hand<'_, A>, id: &ResourceId, before: Option<&String>) -> Option<String> {
    let another = |seen: Option<&ObservedResource>| Some(&seen?.etag).filter(|etag| etag.as_ref() != before).cloned();
    hand.until(id, "told with another etag than before", another).await
}

async fn refused<A: Account>(hand: &Hand<'_, A>, verb: Verb, id: &ResourceId, etag: Option<String>) {
    let request = made_from(hand, verb, id, etag).await;
    match hand.answered(&request).await {
        Err(error) => assert_eq!(error.class, ErrorClass::Conflict, "{}: {id}: {error:?}", A::NAME),
        Ok(_) => panic!("{}: {verb:?} overwrites what somebody wrote to {id}", A::NAME),
    }
}

async fn made_from<A: Account>(hand: &Hand<'_, A>, verb: Verb, id: &ResourceId, etag: Option<String>) -> WriteRequest {
    let request = hand.request(verb, id).await;
    WriteRequest { etag, ..request }
}
