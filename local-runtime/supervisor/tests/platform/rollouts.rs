//! Two revisions beside each other, and none of them ever missing, on the real kernel.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portolan_supervisor::protocol::{ObjectState, Observed, WaitsFor};
use portolan_supervisor::spec::{Kind, RolloutStep, ServiceSpec, Strategy};

use crate::app::{App, get, service};

/// A service that answers `first`, and the update to it that answers `second`, with one step that waits for a word.
fn two_revisions(replicas: u32, strategy: Strategy, weight: u8) -> (ServiceSpec, ServiceSpec) {
    let mut first = service("web", replicas, "first");
    first.rollout.strategy = strategy;
    first.rollout.steps = vec![RolloutStep { weight, pause: None }];
    let mut second = first.clone();
    second.revision = "second".into();
    second.pod.main.command[3] = "second".into();
    (first, second)
}

fn waits_for_promotion(seen: &Observed) -> bool {
    let shares = seen.service.as_ref().and_then(|service| service.shares);
    shares.is_some_and(|shares| shares.waits_for == Some(WaitsFor::Promotion))
}

/// How many of so many new connections the second revision answers.
async fn answers_of_the_second(address: SocketAddrV4, of: usize) -> usize {
    let mut count = 0;
    for _ in 0..of {
        count += usize::from(get(address, "/").await.unwrap().starts_with("second from"));
    }
    count
}

#[tokio::test]
async fn a_canary_gets_its_share_of_the_connections() {
    let Some(app) = App::new("a_canary_gets_its_share_of_the_connections").await else {
        return;
    };
    let (first, second) = two_revisions(2, Strategy::Canary, 20);
    app.put_service(first).await;
    let address = app.address("web").await;
    app.put_service(second).await;
    app.until(Kind::Service, "web", waits_for_promotion).await;
    let share = answers_of_the_second(address, 200).await;
    assert!((36..=44).contains(&share), "{share} of 200 is not near 20 %");
    app.client().await.promote("web", false).await.unwrap();
    assert_eq!(app.service("web").await.serving_revisions, ["second"]);
    assert_eq!(answers_of_the_second(address, 20).await, 20, "it has everything now");
    app.delete_everything().await;
}

#[tokio::test]
async fn blue_and_green_switch_at_once_and_lose_no_request() {
    let Some(app) = App::new("blue_and_green_switch_at_once_and_lose_no_request").await else {
        return;
    };
    let (first, second) = two_revisions(2, Strategy::BlueGreen, 0);
    app.put_service(first).await;
    let address = app.address("web").await;
    app.put_service(second).await;
    let seen = app.until(Kind::Service, "web", waits_for_promotion).await;
    assert_eq!(seen.service.unwrap().updated_ready, 2, "all of them stand ready");
    assert_eq!(answers_of_the_second(address, 40).await, 0, "and none is asked");
    let stop = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn(ask_until(stop.clone(), address));
    app.client().await.promote("web", false).await.unwrap();
    app.ready(Kind::Service, "web").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.store(true, Ordering::Relaxed);
    let answers = asking.await.unwrap();
    let switched = answers.iter().position(|new| *new).expect("it has switched");
    assert!(answers[switched..].iter().all(|new| *new), "no connection goes back");
    app.delete_everything().await;
}

/// One connection after the other: whether the second revision has answered it.
async fn ask_until(stop: Arc<AtomicBool>, address: SocketAddrV4) -> Vec<bool> {
    let mut answers = vec![];
    while !stop.load(Ordering::Relaxed) {
        answers.push(answers_of_the_second(address, 1).await == 1);
    }
    answers
}

#[tokio::test]
async fn a_canary_that_never_gets_ready_gives_way() {
    let Some(app) = App::new("a_canary_that_never_gets_ready_gives_way").await else {
        return;
    };
    let (first, mut second) = two_revisions(2, Strategy::Canary, 20);
    app.put_service(first).await;
    let address = app.address("web").await;
    second.pod.main.command = ["/bin/app", "sleep"].map(String::from).to_vec();
    second.rollout.deadline = Duration::from_secs(1);
    app.put_service(second).await;
    let has_failed = |seen: &Observed| matches!(seen.state, ObjectState::Failed(_));
    let seen = app.until(Kind::Service, "web", has_failed).await;
    let ObjectState::Failed(failure) = seen.state else {
        unreachable!("it was waited for")
    };
    assert_eq!(failure.reason, "ProgressDeadlineExceeded", "{}", failure.message);
    let status = seen.service.unwrap();
    assert_eq!((status.ready, status.serving_revisions), (2, vec!["first".to_string()]));
    assert_eq!(answers_of_the_second(address, 20).await, 0);
    app.delete_everything().await;
}

#[tokio::test]
async fn an_update_never_has_fewer_ready_replicas_than_wanted() {
    let Some(app) = App::new("an_update_never_has_fewer_ready_replicas_than_wanted").await else {
        return;
    };
    let (mut first, mut second) = two_revisions(3, Strategy::Rolling, 0);
    (first.rollout.steps, second.rollout.steps) = (vec![], vec![]);
    app.put_service(first).await;
    app.ready(Kind::Service, "web").await;
    app.put_service(second).await;
    let seen = app.until(Kind::Service, "web", never_fewer_than_three).await;
    assert_eq!(seen.service.unwrap().serving_revisions, ["second"]);
    app.delete_everything().await;
}

/// True once the update is done.
fn never_fewer_than_three(seen: &Observed) -> bool {
    let service = seen.service.as_ref().unwrap();
    assert!(service.ready >= 3, "{} of 3 are ready", service.ready);
    seen.state == ObjectState::Ready
}
