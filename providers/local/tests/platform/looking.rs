//! A look changes nothing; what was killed or rebooted away comes back with the next write.

use std::time::{Duration, Instant};

use portolan_core::plan::Verb;
use portolan_provider_api::ErrorClass;
use portolan_provider_api::operations::LogQuery;
use serde_json::json;

use crate::app::{App, service, write};

const NOBODY: &str = "SupervisorNotRunning";

#[tokio::test]
async fn a_look_starts_no_supervisor_and_the_next_write_takes_over() {
    let Some(app) = App::new("a_look_starts_nothing").await else {
        return;
    };
    let up = app.command();
    let (web, _) = service("web", 1, "http");
    app.put(&up, "Service/web", web.clone(), 1).await;
    let before = app.ready(&up, "Service/web").await;
    drop(up);
    let containers = app.containers();
    app.kill_both().await;

    let status = app.command();
    let seen = app.see(&status, "Service/web").await;
    assert_eq!(seen.failure().expect("nobody looks after it").reason, NOBODY);
    assert_eq!(
        (seen.body, seen.revision, seen.ownership),
        (before.body, before.revision, before.ownership)
    );
    let logs = status
        .logs
        .as_ref()
        .unwrap()
        .logs(&app.scope, LogQuery::default())
        .await;
    assert_eq!(logs.err().map(|error| error.code).as_deref(), Some(NOBODY));
    assert!(app.supervisor().await.is_none(), "nothing was started to be asked");
    assert_eq!(app.containers(), containers, "they run on");

    let again = app.command();
    app.put(&again, "Service/web", web, 1).await;
    app.ready(&again, "Service/web").await;
    assert_eq!(app.containers(), containers, "the same ones");
    app.delete_everything(again).await;
}

#[tokio::test]
async fn a_look_after_a_reboot_starts_no_container() {
    let Some(app) = App::new("a_look_after_a_reboot").await else {
        return;
    };
    let up = app.command();
    let (web, _) = service("web", 1, "http");
    app.put(&up, "Service/web", web.clone(), 1).await;
    app.ready(&up, "Service/web").await;
    drop(up);
    app.kill_both().await;
    app.reboot();

    let plan = app.command();
    assert_eq!(app.see(&plan, "Service/web").await.failure().unwrap().reason, NOBODY);
    assert!(app.supervisor().await.is_none() && app.containers().is_empty());

    let up = app.command();
    app.put(&up, "Service/web", web, 1).await;
    app.ready(&up, "Service/web").await;
    app.delete_everything(up).await;
}

#[tokio::test]
async fn what_expects_writes_begins_a_supervisor_that_leaves_nothing() {
    let Some(app) = App::unwritten("expected_writes_begin_one") else {
        return;
    };
    let up = app.command();
    app.look(&up).await.unwrap();
    assert!(app.supervisor().await.is_none(), "a look begins none");
    up.calls.expect_writes(&app.scope.namespace, &app.scope.app);
    let begun = Instant::now();
    while app.supervisor().await.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(20), "none was begun");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    app.delete_everything(up).await;
}

#[tokio::test]
async fn a_supervisor_killed_under_the_command_that_wrote_is_started_again() {
    let Some(app) = App::new("killed_under_a_command").await else {
        return;
    };
    let up = app.command();
    app.put(&up, "Service/web", service("web", 1, "http").0, 1).await;
    app.ready(&up, "Service/web").await;
    app.kill_supervisor().await;
    app.ready(&up, "Service/web").await;
    assert!(app.supervisor().await.is_some());
    app.delete_everything(up).await;
}

#[tokio::test]
async fn a_damaged_state_is_told_as_that_and_not_tried_again() {
    let Some(app) = App::new("a_damaged_state").await else {
        return;
    };
    app.kill_both().await;
    let whole = app.damage_state();
    let look = app.look(&app.command()).await.unwrap_err();
    assert_eq!((look.code.as_str(), look.class), ("StateUnusable", ErrorClass::Invalid));
    assert!(look.message.contains("state.json is damaged"), "{}", look.message);
    let request = write(Verb::Update, "Network/app", json!({"name": "app"}), 1);
    let put = app.command().calls.update(&app.scope, &request).await.unwrap_err();
    assert_eq!(
        (put.code.as_str(), put.class),
        ("SupervisorStartFailed", ErrorClass::Invalid)
    );
    assert!(put.message.contains("damaged"), "{}", put.message);
    app.mend_state(whole);
    app.delete_everything(app.command()).await;
}
