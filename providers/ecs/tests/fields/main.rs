//! The table of what Amazon does with each field of a manifest, held to what is rendered: the part of the conformance suite that needs
//! no platform. What is called exact, or emulated, changes a request when it changes.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod account;

use portolan_conformance::fields::{full, variations};
use portolan_conformance::{Account, Bench, checks, run};
use portolan_core::capability::Support;
use portolan_core::plan::field_changes;
use portolan_core::resolve::REVISION_VARIABLE;
use portolan_core::resource::Resources;

use account::{Nobody, ON_FARGATE, ON_INSTANCES};

#[tokio::test]
async fn the_table_names_every_field_on_fargate() {
    run::<Nobody<ON_FARGATE>>("the_table_names_every_field", checks::the_table_names_every_field).await;
}

#[tokio::test]
async fn the_table_names_every_field_on_instances() {
    run::<Nobody<ON_INSTANCES>>("the_table_names_every_field", checks::the_table_names_every_field).await;
}

#[tokio::test]
async fn what_the_table_calls_impossible_is_refused_on_fargate() {
    let check = checks::what_the_table_calls_impossible_is_refused;
    run::<Nobody<ON_FARGATE>>("what_the_table_calls_impossible_is_refused", check).await;
}

#[tokio::test]
async fn what_the_table_calls_impossible_is_refused_on_instances() {
    let check = checks::what_the_table_calls_impossible_is_refused;
    run::<Nobody<ON_INSTANCES>>("what_the_table_calls_impossible_is_refused", check).await;
}

#[tokio::test]
async fn the_same_is_rendered_for_the_same() {
    run::<Nobody<ON_FARGATE>>(
        "the_same_is_rendered_for_the_same",
        checks::the_same_is_rendered_for_the_same,
    )
    .await;
}

#[tokio::test]
async fn what_the_table_calls_exact_changes_a_request_on_fargate() {
    run::<Nobody<ON_FARGATE>>("what_the_table_calls_exact", each_field_changes_a_request).await;
}

#[tokio::test]
async fn what_the_table_calls_exact_changes_a_request_on_instances() {
    run::<Nobody<ON_INSTANCES>>("what_the_table_calls_exact", each_field_changes_a_request).await;
}

async fn each_field_changes_a_request<A: Account>(bench: &mut Bench<A>) {
    let full = full(bench);
    let table = bench.provider.shape.capabilities();
    let mut silent = Vec::new();
    for variation in variations(bench) {
        let support = variation.support(table).unwrap();
        if !matches!(support, Support::Exact | Support::Emulated(_)) {
            continue;
        }
        let before = bench.rendered(&bench.work(&variation.before(&full))).await;
        let after = bench.rendered(&bench.work(&variation.after(&full))).await;
        if !differs(&before, &after) {
            silent.push(variation.field);
        }
    }
    assert!(
        silent.is_empty(),
        "{}: no request shows a change of {silent:#?}",
        A::NAME
    );
}

/// A revision follows from whatever else has changed.
fn differs(before: &Resources, after: &Resources) -> bool {
    let of_revision = |field: &str| field.contains(REVISION_VARIABLE) || field == "tags";
    let changed = after.values().any(|resource| {
        let Some(was) = before.get(&resource.id) else {
            return true;
        };
        let changes = field_changes(&without_revision(&was.body), &without_revision(&resource.body));
        changes.iter().any(|change| !of_revision(&change.field))
    });
    changed || before.keys().any(|id| !after.contains_key(id))
}

/// Without the one tag that is a revision's: all others count.
fn without_revision(body: &serde_json::Value) -> serde_json::Value {
    let mut body = body.clone();
    if let Some(tags) = body.get_mut("tags").and_then(|tags| tags.as_array_mut()) {
        let tags = std::mem::take(tags)
            .into_iter()
            .filter(|tag| tag["key"] != "portolan.dev/revision");
        let tags: serde_json::Map<_, _> = tags
            .map(|tag| (tag["key"].as_str().unwrap().to_string(), tag["value"].clone()))
            .collect();
        body["tags"] = tags.into();
    }
    body
}
