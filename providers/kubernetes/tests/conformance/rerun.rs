//! A job runs again: once it has ended, and not before.

use portolan_conformance::Account;
use portolan_core::name::{NameGrammar, OwnerId, native_name};
use portolan_core::observation::ResourceState;
use portolan_core::plan::{Scope, Verb};
use portolan_core::resource::ResourceId;
use portolan_provider_api::{Provider, WriteRequest};
use serde_json::{Value, json};

use crate::account::{Cluster, PLAIN};
use crate::cluster::until;

fn scope() -> Scope {
    Scope {
        namespace: "default".into(),
        app: "shop".into(),
        target: "cluster".into(),
        owner: OwnerId::from_tag("rerun"),
        source: "file".into(),
    }
}

async fn state(provider: &Provider, id: &ResourceId) -> Option<ResourceState> {
    let seen = provider
        .calls
        .observe(&scope(), std::slice::from_ref(id), &[])
        .await
        .unwrap();
    seen.resources.get(id).map(|seen| seen.state.clone())
}

fn job(name: &str, further: Value) -> Value {
    let mut pod = json!({
        "restartPolicy": "Never", "containers": [{ "name": "main", "image": "registry.example/task:1" }],
    });
    for (field, value) in further.as_object().unwrap() {
        pod[field] = value.clone();
    }
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": { "labels": { "app.kubernetes.io/name": name, "portolan.dev/revision": "r" }, "annotations": { "portolan.dev/applied": "hash" } },
        "spec": { "backoffLimit": 0, "template": { "metadata": { "labels": { "portolan.dev/revision": "r" } }, "spec": pod } },
    })
}

/// As the provider names what stands for a job.
fn id_of(job: &str) -> ResourceId {
    let grammar = NameGrammar {
        max_length: 52,
        ..NameGrammar::LABEL
    };
    let scope = scope();
    ResourceId::new(
        "Job",
        native_name(&[&scope.app, job, &scope.target, &scope.namespace], grammar),
    )
}

async fn create(provider: &Provider, name: &str, pod: Value) -> ResourceId {
    let id = id_of(name);
    let request = WriteRequest {
        verb: Verb::Create,
        id: id.clone(),
        body: job(name, pod),
        revision: Some("r".into()),
        etag: None,
        generation: 1,
        idempotency_token: "once".into(),
        take_over: false,
        erase_data: false,
    };
    provider.calls.create(&scope(), &request).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_runs_again_once_it_has_ended() {
    let Some(cluster) = Cluster::<PLAIN>::new("a_job_runs_again_once_it_has_ended").await else {
        return;
    };
    let provider = cluster.provider();
    let runner = provider.run_job.clone().unwrap();
    let told = runner.run_job(&scope(), "migrate").await.unwrap_err();
    assert_eq!(told.code, "NotRunning", "there is none yet");

    let id = create(&provider, "migrate", json!({})).await;
    let completed = |id: ResourceId| {
        let provider = provider.clone();
        move || {
            let (provider, id) = (provider.clone(), id.clone());
            async move { matches!(state(&provider, &id).await, Some(ResourceState::Completed)) }
        }
    };
    until("it has run", completed(id.clone())).await;
    let version = || async {
        let seen = provider
            .calls
            .observe(&scope(), std::slice::from_ref(&id), &[])
            .await
            .unwrap();
        seen.resources[&id].etag.clone()
    };
    let before = version().await;
    runner.run_job(&scope(), "migrate").await.unwrap();
    until("it has run once more", completed(id.clone())).await;
    assert_ne!(version().await, before, "by another Job");
    assert_eq!(cluster.runs(&scope(), &id.name).await, 2, "twice, in all");
    let seen = provider
        .calls
        .observe(&scope(), std::slice::from_ref(&id), &[])
        .await
        .unwrap();
    assert_eq!(
        seen.resources[&id].revision.as_deref(),
        Some("r"),
        "its record is the same"
    );

    // No node takes it, so that it does not end.
    create(&provider, "long", json!({ "nodeSelector": { "nowhere": "true" } })).await;
    let told = runner.run_job(&scope(), "long").await.unwrap_err();
    assert_eq!(told.code, "JobRuns");
    cluster.close().await;
}
