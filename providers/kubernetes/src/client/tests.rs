//! Lists over several pages, and lists that are none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use kube::client::Body;
use portolan_provider_api::ErrorClass;
use serde_json::json;

use super::*;
use crate::kinds::CONFIG_MAP;

/// A cluster that answers so, one after the other.
fn answers(answers: Vec<(u16, Value)>) -> KubeCluster {
    let (answers, next) = (Arc::new(answers), Arc::new(AtomicUsize::new(0)));
    let service = tower::service_fn(move |_: Request<Body>| {
        let (code, body) = answers[next.fetch_add(1, Ordering::Relaxed)].clone();
        let answer = Response::builder().status(code);
        std::future::ready(answer.body(Body::from(body.to_string().into_bytes())))
    });
    KubeCluster::of(Client::new(service, "shop"))
}

fn page(names: &[&str], next: &str) -> (u16, Value) {
    let items: Vec<Value> = names
        .iter()
        .map(|name| json!({ "metadata": { "name": name } }))
        .collect();
    (
        200,
        json!({ "kind": "ConfigMapList", "metadata": { "continue": next }, "items": items }),
    )
}

#[tokio::test]
async fn a_list_is_whole_or_a_failure() {
    let expired =
        json!({ "kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old" });
    let bare = (200, json!({ "kind": "ConfigMapList", "metadata": {} }));
    let null = (200, json!({ "kind": "ConfigMapList", "metadata": {}, "items": null }));
    for (reason, pages, expected) in [
        ("one page", vec![page(&["a"], "")], Ok(1)),
        ("nothing", vec![page(&[], "")], Ok(0)),
        ("two pages", vec![page(&["a"], "more"), page(&["b"], "")], Ok(2)),
        (
            "the second one is lost",
            vec![page(&["a"], "more"), (410, expired)],
            Err(ErrorClass::Retry { after: None }),
        ),
        ("no items at all", vec![bare], Err(ErrorClass::Bug)),
        (
            "the second one has none",
            vec![page(&["a"], "more"), null],
            Err(ErrorClass::Bug),
        ),
    ] {
        let list = answers(pages).list(&CONFIG_MAP, "shop", "a=b").await;
        let told = list.map(|items| items.len()).map_err(|error| error.class);
        assert_eq!(told, expected, "{reason}");
    }
}

#[test]
fn a_log_is_asked_for_from_a_second_on() {
    let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_767_323_045_999);
    assert_eq!(whole_second(time).to_string(), "2026-01-02T03:04:05Z");
}
