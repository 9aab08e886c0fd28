//! A job run again: its Job is replaced by one of the same words, for none can run twice.
//!
//! The record that it has run goes and comes within one call. Whoever ends in between leaves no Job there, and the next apply
//! makes it, so that it runs after all: that is what was wished.

use std::sync::Arc;

use async_trait::async_trait;
use portolan_core::observation::{Ownership, ResourceState};
use portolan_core::plan::Scope;
use portolan_provider_api::{CallError, RunJob};
use serde_json::{Map, Value, json};

use crate::client::{Answer, Cluster, Created, KubeCluster};
use crate::error;
use crate::kinds::{ENDED_JOB, JOB};
use crate::names::Names;
use crate::read::Seen;
use crate::render::KubernetesShape;

/// What the Job's controller writes into every Job, and what no other one may say.
const OF_ITS_CONTROLLER: [&str; 4] = [
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
];

pub struct KubernetesRunJob {
    cluster: Arc<KubeCluster>,
    shape: Arc<KubernetesShape>,
}

impl KubernetesRunJob {
    pub fn new(cluster: Arc<KubeCluster>, shape: Arc<KubernetesShape>) -> Self {
        Self { cluster, shape }
    }
}

#[async_trait]
impl RunJob for KubernetesRunJob {
    async fn run_job(&self, scope: &Scope, job: &str) -> Result<(), CallError> {
        let kube_namespace = self.shape.kube_namespace(&scope.namespace);
        let id = JOB.id(Names(scope).of(job));
        let Some(live) = self.cluster.get(&JOB, kube_namespace, &id.name).await? else {
            return Err(error::job_not_there(&id));
        };
        let now = std::time::SystemTime::now();
        let seen = Seen { scope, pods: &[], now }.read(&JOB, &live).resource;
        if !matches!(seen.ownership, Ownership::Ours { .. }) {
            return Err(error::not_ours(&id));
        }
        match seen.state {
            ResourceState::Deleting => return Err(error::still_going(&id)),
            ResourceState::Completed | ResourceState::Failed { .. } => {}
            _ => return Err(error::job_runs(&id)),
        }
        match self.cluster.delete(&ENDED_JOB, kube_namespace, &live).await? {
            Answer::Done(_) | Answer::Gone => {}
            Answer::Moved => return Err(error::moved(&id)),
        }
        match self.cluster.create(&JOB, kube_namespace, &again(&live)).await? {
            Created::Made(_) => Ok(()),
            // Somebody else has run it again meanwhile.
            Created::IsThere => Err(error::job_runs(&id)),
        }
    }
}

/// The same Job, without what the API server and the Job's controller have written into it.
fn again(live: &Value) -> Value {
    let metadata = &live["metadata"];
    let mut job = json!({
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": without(&metadata["labels"], &OF_ITS_CONTROLLER),
            "annotations": metadata["annotations"],
        },
        "spec": without(&live["spec"], &["selector", "manualSelector"]),
    });
    let labels = &mut job["spec"]["template"]["metadata"]["labels"];
    *labels = without(labels, &OF_ITS_CONTROLLER);
    job
}

fn without(fields: &Value, names: &[&str]) -> Value {
    let kept = fields.as_object().into_iter().flatten();
    let kept = kept.filter(|(name, _)| !names.contains(&name.as_str()));
    Value::Object(
        kept.map(|(name, value)| (name.clone(), value.clone()))
            .collect::<Map<_, _>>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_comes_again_without_what_was_written_into_it() {
        let live = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": "shop-migrate", "namespace": "team", "uid": "one", "resourceVersion": "7", "generation": 1,
                "labels": { "portolan.dev/owner": "us" }, "annotations": { "portolan.dev/applied": "hash" },
            },
            "spec": {
                "backoffLimit": 0, "selector": { "matchLabels": { "controller-uid": "one" } },
                "template": { "metadata": { "labels": {
                    "portolan.dev/owner": "us", "batch.kubernetes.io/controller-uid": "one", "job-name": "shop-migrate",
                } }, "spec": { "containers": [] } },
            },
            "status": { "succeeded": 1 },
        });
        assert_eq!(
            again(&live),
            json!({
                "apiVersion": "batch/v1", "kind": "Job",
                "metadata": {
                    "name": "shop-migrate", "namespace": "team",
                    "labels": { "portolan.dev/owner": "us" }, "annotations": { "portolan.dev/applied": "hash" },
                },
                "spec": {
                    "backoffLimit": 0,
                    "template": { "metadata": { "labels": { "portolan.dev/owner": "us" } }, "spec": { "containers": [] } },
                },
            })
        );
    }
}
