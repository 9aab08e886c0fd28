//! Ports, logs and exec, as a user meets them.

use std::net::TcpListener;

use portolan_core::plan::Verb;
use portolan_provider_api::WriteRequest;
use portolan_provider_api::operations::{ExecRequest, LogQuery};
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::app::{App, service, write};

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
    let line = lines.recv().await.expect("web has said something");
    assert_eq!(line.workload, "web");
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
    let number = lines.recv().await.expect("web has said something").replica;
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
