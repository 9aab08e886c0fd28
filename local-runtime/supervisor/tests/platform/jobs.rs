//! Jobs: once a revision, in order, with their end recorded.

use portolan_supervisor::protocol::{ObjectState, Observed};
use portolan_supervisor::spec::{Kind, VolumeMount};

use crate::app::{App, container, job};
use crate::machine::{Signal, kill_and_wait, signal};

#[tokio::test]
async fn a_job_runs_once_a_revision_and_its_record_outlives_a_delete() {
    let Some(app) = App::new("a_job_runs_once_a_revision_and_its_record_outlives_a_delete").await else {
        return;
    };
    let migrate = |revision: &str| {
        let mut spec = job("migrate", revision, &["append", "/data/runs", revision]);
        spec.pod.main.volumes.push(VolumeMount {
            name: "data".into(),
            path: "/data".into(),
            read_only: false,
        });
        spec
    };
    let runs = |app: &App| std::fs::read_to_string(app.data("data").join("runs")).unwrap();
    app.put_job(migrate("r1")).await;
    let seen = app.ready(Kind::Job, "migrate").await.job.unwrap();
    assert_eq!((seen.attempts, seen.exit_code), (1, Some(0)));
    app.delete(Kind::Job, "migrate").await;
    app.put_job(migrate("r1")).await;
    app.ready(Kind::Job, "migrate").await;
    assert_eq!(runs(&app), "r1\n", "the same revision is not run again");
    app.put_job(migrate("r2")).await;
    app.ready(Kind::Job, "migrate").await;
    app.client().await.run_job("migrate").await.unwrap();
    app.ready(Kind::Job, "migrate").await;
    assert_eq!(runs(&app), "r1\nr2\nr2\n", "another one is, and one that is told to");
    app.delete_everything().await;
}

#[tokio::test]
async fn a_job_whose_success_cannot_be_recorded_is_not_done_until_it_is() {
    let test = "a_job_whose_success_cannot_be_recorded_is_not_done_until_it_is";
    let Some(app) = App::new(test).await else { return };
    // A folder where the record is first written to.
    let obstacle = app.launch.data_dir.join("jobs/migrate.tmp");
    std::fs::create_dir_all(&obstacle).unwrap();
    app.put_job(job("migrate", "r1", &["exit", "0"])).await;
    app.until(Kind::Job, "migrate", |seen| {
        seen.state
            == ObjectState::Progressing {
                message: "its success is not recorded yet".into(),
            }
    })
    .await;
    std::fs::remove_dir(&obstacle).unwrap();
    let seen = app.ready(Kind::Job, "migrate").await.job.unwrap();
    assert_eq!(seen.attempts, 1, "it has not run again for that");
    app.delete_everything().await;
}

/// A record beside a state from before it would, after a loss of power, be the word of one file against the other's.
#[tokio::test]
async fn a_success_is_not_recorded_before_the_state_that_knows_it() {
    let test = "a_success_is_not_recorded_before_the_state_that_knows_it";
    let Some(app) = App::new(test).await else { return };
    // A server ends with 0 when it is told to stop.
    app.put_job(job("once", "r1", &["serve", "8080", "hello"])).await;
    let pid = |seen: &Observed| seen.job.as_ref()?.attempt.as_ref()?.containers[0].pid;
    let seen = app.until(Kind::Job, "once", |seen| pid(seen).is_some()).await;
    while app.logs(Kind::Job, "once").await.is_empty() {}
    // A folder where the state is first written to.
    let obstacle = app.launch.state_dir.join("state.tmp");
    std::fs::create_dir(&obstacle).unwrap();
    signal(pid(&seen).unwrap(), Signal::SIGTERM);
    app.until(Kind::Job, "once", |seen| {
        seen.state
            == ObjectState::Progressing {
                message: "its success is not recorded yet".into(),
            }
    })
    .await;
    assert!(!app.launch.data_dir.join("jobs/once.json").exists());
    std::fs::remove_dir(&obstacle).unwrap();
    let seen = app.ready(Kind::Job, "once").await.job.unwrap();
    assert_eq!(seen.attempts, 1, "it has not run again for that");
    app.delete_everything().await;
}

#[tokio::test]
async fn a_job_that_fails_is_tried_again_and_tells_its_last_words() {
    let Some(app) = App::new("a_job_that_fails_is_tried_again_and_tells_its_last_words").await else {
        return;
    };
    let mut spec = job("train", "r1", &["exit", "3"]);
    spec.retries = 1;
    app.put_job(spec).await;
    let seen = app
        .until(Kind::Job, "train", |seen| matches!(seen.state, ObjectState::Failed(_)))
        .await;
    let ObjectState::Failed(failure) = seen.state else {
        unreachable!("it was waited for")
    };
    assert_eq!(failure.reason, "JobFailed");
    assert!(
        failure.message.contains("exit code 3") && failure.message.contains("attempt 2 of 2"),
        "{}",
        failure.message
    );
    assert_eq!(failure.evidence, ["about to end"]);
    assert_eq!(
        app.logs(Kind::Job, "train").await,
        ["about to end", "about to end"],
        "of both attempts"
    );
    app.delete_everything().await;
}

#[tokio::test]
async fn init_runs_first_and_a_sidecar_goes_with_its_job() {
    let Some(app) = App::new("init_runs_first_and_a_sidecar_goes_with_its_job").await else {
        return;
    };
    let mut spec = job("task", "r1", &["is", "/data/prepared"]);
    let data = VolumeMount {
        name: "data".into(),
        path: "/data".into(),
        read_only: false,
    };
    let mut init = container("prepare", &["append", "/data/prepared", "x"]);
    init.volumes.push(data.clone());
    spec.pod.main.volumes.push(data);
    spec.pod.init.push(init);
    spec.pod.sidecars.push(container("proxy", &["sleep"]));
    app.put_job(spec).await;
    app.ready(Kind::Job, "task").await;
    app.until(Kind::Job, "task", |seen| {
        seen.job.as_ref().is_some_and(|job| job.attempt.is_none())
    })
    .await;
    app.delete_everything().await;
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_ended() {
    let Some(app) = App::new("a_job_that_takes_too_long_is_ended").await else {
        return;
    };
    let mut spec = job("slow", "r1", &["sleep"]);
    spec.timeout = Some(std::time::Duration::from_millis(300));
    app.put_job(spec).await;
    let seen = app
        .until(Kind::Job, "slow", |seen| matches!(seen.state, ObjectState::Failed(_)))
        .await;
    let ObjectState::Failed(failure) = seen.state else {
        unreachable!("it was waited for")
    };
    assert_eq!(failure.reason, "Timeout");
    app.delete_everything().await;
}

#[tokio::test]
async fn a_job_that_ends_while_the_supervisor_is_dead_has_ended_as_it_did() {
    let test = "a_job_that_ends_while_the_supervisor_is_dead_has_ended_as_it_did";
    let Some(app) = App::new(test).await else { return };
    // A server ends with 0 when it is told to stop.
    app.put_job(job("once", "r1", &["serve", "8080", "hello"])).await;
    let pid = |seen: &Observed| seen.job.as_ref()?.attempt.as_ref()?.containers[0].pid;
    let seen = app.until(Kind::Job, "once", |seen| pid(seen).is_some()).await;
    while app.logs(Kind::Job, "once").await.is_empty() {}
    let (supervisor, keeper) = (app.client().await.welcome().pid, app.keeper());
    signal(keeper, Signal::SIGSTOP);
    kill_and_wait(supervisor);
    signal(pid(&seen).unwrap(), Signal::SIGTERM);
    signal(keeper, Signal::SIGCONT);
    app.ready(Kind::Job, "once").await;
    let status = app.until(Kind::Job, "once", |_| true).await.job.unwrap();
    assert_eq!((status.attempts, status.exit_code), (1, Some(0)));
    app.delete_everything().await;
}
