//! How much of what containers write is kept.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use portolan_supervisor::spec::{Kind, LogSpec};

use crate::app::{App, container, job, service};

/// Lines of about a megabyte, far more than is kept.
const LINES: &str = "40000";

fn small(max_files: u32) -> LogSpec {
    LogSpec {
        max_size_bytes: LogSpec::SMALLEST_FILE_BYTES,
        max_files,
        max_age: None,
    }
}

/// Bytes of each file of a workload's logs.
fn files(app: &App, workload: &str) -> Vec<u64> {
    let folder: PathBuf = app.launch.state_dir.join("logs").join(workload);
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
        .collect()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_container_that_writes_without_end_takes_no_more_than_its_files() {
    let test = "a_container_that_writes_without_end_takes_no_more_than_its_files";
    let Some(app) = App::new(test).await else { return };
    let mut spec = job("flood", "1", &["lines", LINES]);
    spec.logs = small(3);
    app.put_job(spec).await;
    app.ready(Kind::Job, "flood").await;
    let sizes = files(&app, "job-flood");
    assert_eq!(sizes.len(), 3);
    assert!(
        sizes.iter().all(|size| *size <= LogSpec::SMALLEST_FILE_BYTES),
        "{sizes:?}"
    );
    let lines = app.logs(Kind::Job, "flood").await;
    let first = LINES.parse::<usize>().unwrap() + 1 - lines.len();
    let expected = (first..).map(|number| format!("line {number}"));
    assert!(
        lines.iter().cloned().eq(expected.take(lines.len())),
        "the last lines, each once, in their order"
    );
    assert!(lines.len() > 5000, "and as many as there is room for: {}", lines.len());
    app.delete_everything().await;
}

#[tokio::test]
async fn what_is_kept_changes_under_a_running_container() {
    let Some(app) = App::new("what_is_kept_changes_under_a_running_container").await else {
        return;
    };
    let mut spec = service("web", 1, "hello");
    spec.pod.init = vec![container("flood", &["lines", LINES])];
    spec.logs = small(4);
    app.put_service(spec.clone()).await;
    app.ready(Kind::Service, "web").await;
    let (pids, before) = (app.pids("web").await, app.service("web").await.replicas[0].id);
    assert_eq!(
        files(&app, "service-web").len(),
        5,
        "four of the init container, one of the other"
    );

    // Old enough when the rule comes: logs of ended containers are looked at only then, and each minute.
    tokio::time::sleep(Duration::from_secs(2)).await;
    spec.logs.max_age = Some(Duration::from_secs(2));
    app.put_service(spec).await;
    until("everything is too old at last", || {
        files(&app, "service-web").iter().sum::<u64>() == 0
    })
    .await;
    assert_eq!(app.pids("web").await, pids, "no container is replaced");
    assert_eq!(app.service("web").await.replicas[0].id, before);
    app.delete_everything().await;
}
