//! The table of capabilities, held to what the platform shows.

use std::collections::BTreeSet;

use portolan_core::capability::{Support, support_of};
use portolan_core::observation::ObservedResource;
use portolan_core::plan::{FieldChange, Verb};
use portolan_core::resolve::REVISION_VARIABLE;
use portolan_core::resource::{Resource, Resources};
use portolan_engine::{EngineError, Work};
use serde_json::Value;

use crate::account::Account;
use crate::bench::Bench;
use crate::fields::{self, Variation, is_of_no_target, of_the_schema};
use crate::hand::Hand;

/// Every field of a manifest has a row, and every row that is not exact has a reason.
pub async fn the_table_names_every_field<A: Account>(bench: &mut Bench<A>) {
    let table = bench.provider.shape.capabilities();
    let varied: BTreeSet<String> = fields::variations(bench).into_iter().map(|one| one.field).collect();
    for field in of_the_schema() {
        let words: Vec<&str> = field.split('.').collect();
        let support = support_of(table, &words, &Value::Null);
        assert!(support.is_some(), "{}: no row speaks of {field}", A::NAME);
        assert!(
            varied.contains(&field) || is_of_no_target(&field),
            "the suite has no variation of {field}"
        );
    }
    for row in table {
        let reason = row.support.because().is_none_or(|reason| !reason.is_empty());
        assert!(reason, "{}: {} is not exact, and nobody says why", A::NAME, row.field);
    }
}

/// A field that the table calls exact, or emulated, is one by which an observed object differs once it is changed.
pub async fn what_the_table_calls_exact_is_observed<A: Account>(bench: &mut Bench<A>) {
    let full = fields::full(bench);
    let hand = bench.hand(&bench.work(&full)).await;
    shown(bench, &hand).await;
    let table = bench.provider.shape.capabilities();
    for variation in fields::variations(bench) {
        let support = variation.support(table).expect("the table has a row for each");
        if !matches!(support, Support::Exact | Support::Emulated(_)) {
            continue;
        }
        let before = bench.rendered(&bench.work(&variation.before(&full))).await;
        let after = bench.hand(&bench.work(&variation.after(&full))).await;
        shown(bench, &after).await;
        assert!(
            differs(bench, &before, &after, &variation).await,
            "{}: {} is called {}, and no object shows it changed",
            A::NAME,
            variation.field,
            support.word()
        );
    }
}

/// Writes what is not as it shall be, until it shows itself so.
async fn shown<A: Account>(bench: &Bench<A>, hand: &Hand<'_, A>) {
    for id in hand.in_order() {
        let wanted = hand.closed(&hand.resources[&id]).await;
        let seen = hand.seen(&id).await;
        let changes = |seen: &ObservedResource| bench.provider.shape.diff(&wanted, seen);
        let verb = match seen.filter(|seen| !seen.retained) {
            None => Verb::Create,
            Some(seen) if changes(&seen).is_empty() => continue,
            Some(seen) if changes(&seen).iter().any(|change| change.replace) => {
                hand.sent_at_last(&hand.request(Verb::Delete, &id).await).await;
                hand.gone(&id).await;
                Verb::Create
            }
            Some(_) => Verb::Update,
        };
        hand.sent_at_last(&hand.request(verb, &id).await).await;
        let is_shown =
            |seen: Option<&ObservedResource>| seen.is_some_and(|seen| changes(seen).is_empty()).then_some(());
        hand.until(&id, "shown as it was written", is_shown).await;
    }
}

/// Whether an object shows that it is not as the manifest was before.
async fn differs<A: Account>(bench: &Bench<A>, before: &Resources, after: &Hand<'_, A>, variation: &Variation) -> bool {
    let seen = after.look().await;
    for (id, resource) in &after.resources {
        let Some(seen) = seen.resources.get(id) else {
            panic!(
                "{}: {} is not observed with another {}",
                A::NAME,
                id.kind,
                variation.field
            )
        };
        let Some(was) = before.get(id) else { return true };
        if was.body == resource.body {
            continue;
        }
        let told = changes(bench, after, was, seen).await;
        if told.iter().any(|change| shows::<A>(&change.field)) {
            return true;
        }
    }
    false
}

async fn changes<A: Account>(
    bench: &Bench<A>,
    hand: &Hand<'_, A>,
    was: &Resource,
    seen: &ObservedResource,
) -> Vec<FieldChange> {
    bench.provider.shape.diff(&hand.closed(was).await, seen)
}

/// A revision follows from whatever else has changed, shown or not, and so does what the platform keeps for itself.
fn shows<A: Account>(field: &str) -> bool {
    let mut names = field.split(['.', '/']);
    !names.any(|name| name == REVISION_VARIABLE || name == "revision") && !A::is_bookkeeping(field)
}

/// What the table calls impossible is refused, with its place and its reason, before anything is written; what it calls
/// degraded is said in the plan.
pub async fn what_the_table_calls_impossible_is_refused<A: Account>(bench: &mut Bench<A>) {
    let full = fields::full(bench);
    let table = bench.provider.shape.capabilities();
    for variation in fields::variations(bench) {
        let work = bench.work(&variation.after(&full));
        match variation.support(table).expect("the table has a row for each") {
            Support::Impossible(because) => is_refused(bench, work, &variation, because).await,
            Support::Degraded(because) => is_said(bench, &work, &variation, because).await,
            Support::Exact | Support::Emulated(_) => {}
        }
    }
    let writes = bench.recorder.writes();
    assert!(
        writes.is_empty(),
        "{}: what is refused was written: {writes:#?}",
        A::NAME
    );
}

async fn is_refused<A: Account>(bench: &Bench<A>, work: Work, variation: &Variation, because: &str) {
    let field = &variation.field;
    let Err(EngineError::Faults(faults)) = bench.reconcile(work).await else {
        panic!("{}: {field} is called impossible, and taken", A::NAME)
    };
    let told = faults.iter().any(|fault| {
        let place = fault.pointer.starts_with(&variation.pointer);
        place && fault.code == "FieldUnsupported" && fault.message.contains(because)
    });
    assert!(
        told,
        "{}: {field} is refused, and not as impossible: {faults:#?}",
        A::NAME
    );
}

async fn is_said<A: Account>(bench: &Bench<A>, work: &Work, variation: &Variation, because: &str) {
    let plan = bench.preview(work).await;
    let said = plan
        .degraded
        .iter()
        .any(|one| one.pointer.starts_with(&variation.pointer) && one.because == because);
    assert!(
        said,
        "{}: the plan does not say what becomes of {}",
        A::NAME,
        variation.field
    );
}
