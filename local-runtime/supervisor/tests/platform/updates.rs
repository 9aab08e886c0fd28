//! Updates while requests run, and updates that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use portolan_supervisor::protocol::ObjectState;
use portolan_supervisor::spec::Kind;

use crate::app::{App, get, service};

#[tokio::test]
async fn an_update_loses_no_request() {
    let Some(app) = App::new("an_update_loses_no_request").await else {
        return;
    };
    let mut spec = service("web", 2, "first");
    app.put_service(spec.clone()).await;
    let address = app.address("web").await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut answers = vec![];
            while !stop.load(Ordering::Relaxed) {
                answers.push(get(address, "/").await);
            }
            answers
        }
    });
    spec.revision = "second".into();
    spec.pod.main.command[3] = "second".into();
    app.put_service(spec).await;
    let status = app.service("web").await;
    assert_eq!(status.serving_revisions, ["second"]);
    assert_eq!(status.endpoints[0].published, Some(address), "the address is the same");
    stop.store(true, Ordering::Relaxed);
    let answers = load.await.unwrap();
    let failed: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert!(
        failed.is_empty(),
        "{} of {} requests failed: {:?}",
        failed.len(),
        answers.len(),
        failed[0]
    );
    assert!(get(address, "/").await.unwrap().starts_with("second from"));
    app.delete_everything().await;
}

#[tokio::test]
async fn a_failed_update_leaves_the_old_revision_serving() {
    let Some(app) = App::new("a_failed_update_leaves_the_old_revision_serving").await else {
        return;
    };
    let spec = service("web", 1, "first");
    app.put_service(spec.clone()).await;
    let address = app.address("web").await;
    let mut bad = spec.clone();
    bad.revision = "second".into();
    bad.pod.main.command = ["/bin/app", "exit", "3"].map(String::from).to_vec();
    app.put_service(bad).await;
    let seen = app
        .until(Kind::Service, "web", |seen| {
            matches!(seen.state, ObjectState::Failed(_))
        })
        .await;
    let ObjectState::Failed(failure) = seen.state else {
        unreachable!("it was waited for")
    };
    assert_eq!(failure.reason, "CrashLoopBackOff");
    assert_eq!(failure.evidence, ["about to end"; 4], "its last words");
    assert_eq!(seen.object.revision(), "second", "what was put");
    assert_eq!(seen.service.unwrap().serving_revisions, ["first"], "what serves");
    assert!(get(address, "/").await.unwrap().starts_with("first from"));
    app.put_service(spec).await;
    app.ready(Kind::Service, "web").await;
    app.delete_everything().await;
}
