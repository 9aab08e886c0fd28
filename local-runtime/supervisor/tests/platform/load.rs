//! Debian's wrk against a published port while the service is updated: not one request may fail.

use std::net::SocketAddrV4;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::app::{App, steady_service};

const CONNECTIONS: &str = "24";

#[tokio::test]
async fn updates_under_load_lose_no_request() {
    updates_under_load(
        "updates_under_load_lose_no_request",
        Duration::from_secs(12),
        Kept::Open,
    )
    .await;
}

#[tokio::test]
async fn updates_under_load_lose_no_connection() {
    updates_under_load(
        "updates_under_load_lose_no_connection",
        Duration::from_secs(12),
        Kept::Closed,
    )
    .await;
}

#[tokio::test]
#[ignore = "a minute for each way"]
async fn updates_under_a_minute_of_load_lose_nothing() {
    let test = "updates_under_a_minute_of_load_lose_nothing";
    updates_under_load(test, Duration::from_secs(60), Kept::Open).await;
    updates_under_load(test, Duration::from_secs(60), Kept::Closed).await;
}

/// Whether a connection serves many requests or one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    Open,
    Closed,
}

async fn updates_under_load(test: &str, length: Duration, kept: Kept) {
    if std::process::Command::new("wrk").output().is_err() {
        eprintln!("SKIP {test}: no wrk");
        return;
    }
    let Some(app) = App::new(test).await else { return };
    let mut spec = steady_service("web", 2, "first");
    app.put_service(spec.clone()).await;
    let address = app.address("web").await;
    let wrk = tokio::spawn(wrk(address, length, kept));
    for text in ["second", "third", "fourth"] {
        tokio::time::sleep(length / 5).await;
        assert!(!wrk.is_finished(), "the load lasts longer than the updates");
        spec.revision = text.into();
        spec.pod.main.command[3] = text.into();
        app.put_service(spec.clone()).await;
        assert_eq!(app.service("web").await.serving_revisions, [text]);
    }
    let report = wrk.await.unwrap();
    println!("{report}");
    assert!(report.contains("requests in"), "{report}");
    let faults = ["Socket errors", "Non-2xx"].map(|words| report.contains(words));
    assert_eq!(faults, [false, false], "{report}\n{}", app.supervisor_log());
    app.delete_everything().await;
}

/// What wrk says in the end.
async fn wrk(address: SocketAddrV4, length: Duration, kept: Kept) -> String {
    let mut command = Command::new("wrk");
    command.args(["--threads", "1", "--connections", CONNECTIONS, "--latency"]);
    command.args(["--duration", &format!("{}s", length.as_secs())]);
    if kept == Kept::Closed {
        command.args(["--header", "Connection: close"]);
    }
    let running = command
        .arg(format!("http://{address}/"))
        .stderr(Stdio::inherit())
        .output();
    String::from_utf8_lossy(&running.await.unwrap().stdout).into_owned()
}
