//! Ports, logs and exec, as a user meets them.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use portolan_core::plan::Verb;
use portolan_provider_api::WriteRequest;
use portolan_provider_api::operations::{ExecRequest, LogQuery};
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::app::{App, container, service, write};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_port_is_told_by_its_protocol_and_its_owner_may_keep_it() {
    let Some(app) = App::new("ports").await else { return };
    let up = app.command();
    let (db, port) = service("db", 1, "tcp");
    app.put(&up, "Service/db", db.clone(), 1).await;
    let seen = app.ready(&up, "Service/db").await;
    assert_eq!(seen.outputs["endpoints"], json!([format!("tcp://127.0.0.1:{port}")]));
    assert_eq!(
        seen.body["ports"],
        json!(db["ports"]),
        "no difference that a plan would tell"
    );

    let plan = async |writes: &[WriteRequest]| app.command().calls.preflight(&app.scope, writes).await.unwrap();
    let own = plan(&[write(Verb::Update, "Service/db", db.clone(), 2)]).await;
    assert_eq!(own, [], "it holds the port itself");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut moved = db;
    moved["ports"][0]["publish"]["port"] = json!(other.local_addr().unwrap().port());
    let delete = write(Verb::Delete, "Service/old", json!(null), 2);
    let taken = plan(&[delete, write(Verb::Update, "Service/db", moved, 2)]).await;
    assert_eq!(
        taken.iter().map(|fault| fault.code.as_str()).collect::<Vec<_>>(),
        ["PortInUse"]
    );
    app.delete_everything(up).await;
}

#[tokio::test]
async fn logs_pass_over_what_has_written_nothing() {
    let Some(app) = App::new("logs_of_an_idle_service").await else {
        return;
    };
    let up = app.command();
    app.put(&up, "Service/idle", service("idle", 0, "http").0, 1).await;
    app.put(&up, "Service/web", service("web", 1, "http").0, 1).await;
    app.ready(&up, "Service/web").await;
    let mut lines = up
        .logs
        .as_ref()
        .unwrap()
        .logs(&app.scope, LogQuery::default())
        .await
        .unwrap();
    let line = lines.recv().await.expect("web has said something").unwrap();
    assert_eq!(line.workload, "web");
    app.delete_everything(up).await;
}

#[tokio::test]
async fn followed_logs_go_on_at_the_next_supervisor_without_loss_and_doubling() {
    let Some(app) = App::new("followed_logs").await else {
        return;
    };
    let up = app.command();
    let (mut web, _) = service("web", 2, "http");
    let mut counter = container(&["count"]);
    counter["name"] = json!("counter");
    web["pod"]["sidecars"] = json!([counter]);
    app.put(&up, "Service/web", web, 1).await;
    app.ready(&up, "Service/web").await;
    let reader = app.command();
    let query = LogQuery {
        container: Some("counter".into()),
        follow: true,
        ..LogQuery::default()
    };
    let mut lines = reader.logs.as_ref().unwrap().logs(&app.scope, query).await.unwrap();
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..8 {
        let until = Instant::now() + Duration::from_millis(300 + 70 * round);
        let mut slowest = Duration::ZERO;
        while Instant::now() < until {
            let asked = Instant::now();
            let line = tokio::time::timeout(PATIENCE, lines.recv()).await.expect("lines come");
            slowest = slowest.max(asked.elapsed());
            let line = line.expect("it goes on").unwrap();
            let before = last.insert(line.replica.clone(), line.text.parse().unwrap());
            assert_eq!(last[&line.replica], before.unwrap_or(0) + 1, "{}", line.replica);
        }
        println!("round {round}: the longest wait for a line was {slowest:?}");
        match round {
            3 => {
                app.kill_both().await;
                app.put(&app.command(), "Network/app", json!({"name": "app"}), 1).await;
            }
            _ => app.kill_supervisor().await,
        }
    }
    assert_eq!(last.len(), 2, "{last:?}");
    let up = app.command();
    app.ready(&up, "Service/web").await;
    let rest = async {
        while let Some(line) = lines.recv().await {
            line.expect("the app's end is no error");
        }
    };
    let deleted = app.delete_everything(up);
    let both = tokio::time::timeout(PATIENCE, async { tokio::join!(rest, deleted) });
    both.await.expect("it ends with the app");
}

#[tokio::test]
async fn followed_logs_end_with_one_error_where_no_supervisor_comes() {
    let Some(app) = App::new("followed_in_vain").await else {
        return;
    };
    let up = app.command();
    app.put(&up, "Service/web", service("web", 1, "http").0, 1).await;
    app.ready(&up, "Service/web").await;
    let follow = true;
    let query = LogQuery {
        follow,
        ..LogQuery::default()
    };
    let reader = app.command();
    let mut lines = reader.logs.as_ref().unwrap().logs(&app.scope, query).await.unwrap();
    assert!(lines.recv().await.unwrap().is_ok());
    app.kill_both().await;
    let mut failures = vec![];
    while let Some(line) = tokio::time::timeout(PATIENCE, lines.recv()).await.expect("it ends") {
        failures.extend(line.err().map(|failure| failure.code));
    }
    assert_eq!(failures, ["SupervisorNotRunning"]);
    let up = app.command();
    app.put(&up, "Service/web", service("web", 1, "http").0, 2).await;
    app.delete_everything(up).await;
}

#[tokio::test]
async fn exec_takes_a_replica_by_the_name_that_logs_gives_it() {
    let Some(app) = App::new("exec_by_name").await else {
        return;
    };
    let up = app.command();
    app.put(&up, "Service/web", service("web", 1, "http").0, 1).await;
    app.ready(&up, "Service/web").await;
    let mut lines = up
        .logs
        .as_ref()
        .unwrap()
        .logs(&app.scope, LogQuery::default())
        .await
        .unwrap();
    let number = lines.recv().await.expect("web has said something").unwrap().replica;
    for replica in [format!("web-{number}"), number] {
        let request = ExecRequest {
            workload: "web".into(),
            replica: Some(replica.clone()),
            container: None,
            argv: vec!["/bin/app".into(), "env".into(), "PATH".into()],
            terminal: None,
        };
        let mut session = up.exec.as_ref().unwrap().exec(&app.scope, request).await.unwrap();
        let mut said = String::new();
        session.stdout.read_to_string(&mut said).await.unwrap();
        assert!(!said.is_empty(), "{replica}");
        assert_eq!(session.exit.await.unwrap(), Ok(0), "{replica}");
    }
    app.delete_everything(up).await;
}
