//! What has failed is tried again by whoever applies it again, in whatever generation; what succeeded is not.

use portolan_core::observation::ResourceState;
use portolan_provider_api::operations::LogQuery;

use crate::app::{App, job};

#[tokio::test]
async fn a_failed_job_is_tried_again_in_another_generation() {
    let Some(app) = App::new("a_failed_job_again").await else {
        return;
    };
    let provider = app.command();
    let failed = |state: &ResourceState| matches!(state, ResourceState::Failed { .. });
    app.put(&provider, "Job/migrate", job("migrate", &["exit", "3"]), 1)
        .await;
    app.until(&provider, "Job/migrate", failed).await;
    assert_eq!(runs(&app, "migrate").await, 1);

    app.put(&provider, "Job/migrate", job("migrate", &["exit", "3"]), 2)
        .await;
    let again = async || runs(&app, "migrate").await == 2;
    let begun = std::time::Instant::now();
    while !again().await {
        assert!(begun.elapsed().as_secs() < 20, "it was not run again");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    app.until(&provider, "Job/migrate", failed).await;
    app.delete_everything(provider).await;
}

#[tokio::test]
async fn a_job_that_succeeded_is_not_run_again() {
    let Some(app) = App::new("a_job_that_succeeded").await else {
        return;
    };
    let provider = app.command();
    for generation in 1..=3 {
        app.put(&provider, "Job/migrate", job("migrate", &["exit", "0"]), generation)
            .await;
        app.ready(&provider, "Job/migrate").await;
    }
    assert_eq!(runs(&app, "migrate").await, 1);
    app.delete_everything(provider).await;
}

/// Each run writes one line.
async fn runs(app: &App, job: &str) -> usize {
    let query = LogQuery {
        workloads: vec![job.into()],
        ..LogQuery::default()
    };
    let mut lines = app.command().logs.unwrap().logs(&app.scope, query).await.unwrap();
    let mut count = 0;
    while lines.recv().await.is_some() {
        count += 1;
    }
    count
}
