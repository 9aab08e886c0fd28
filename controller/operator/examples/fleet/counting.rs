//! How many objects there are, and how many of them are ready, asked in ways that cost the API server little.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use kube::api::DynamicObject;
use kube::discovery::ApiResource;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client};
use serde_json::Value;

use crate::plane::until;

pub struct Counted {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    is_ready: fn(&Value) -> bool,
}

pub const APPS: &Counted = &Counted {
    group: "portolan.dev",
    version: "v1alpha1",
    plural: "apps",
    is_ready: |app| has(app, "Ready"),
};

pub const DEPLOYMENTS: &Counted = &Counted {
    group: "apps",
    version: "v1",
    plural: "deployments",
    is_ready: |deployment| deployment["status"]["availableReplicas"] == deployment["spec"]["replicas"],
};

fn has(object: &Value, kind: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .filter(|one| one["type"] == kind)
        .any(|one| one["status"] == "True")
}

/// Seconds until there are so many of each, by a page of one that says how many it leaves out.
pub async fn counted(client: Client, namespace: &'static str, paths: &'static [&'static str], count: usize) -> f64 {
    let began = Instant::now();
    for path in paths {
        let path = path.replace("NAMESPACE", namespace);
        until(&path, Duration::from_millis(250), || async {
            let request = http::Request::get(format!("{path}?limit=1")).body(Vec::new()).unwrap();
            let page: Value = client.request(request).await.unwrap();
            let left_out = page["metadata"]["remainingItemCount"].as_u64().unwrap_or(0);
            let there = usize::try_from(left_out).unwrap() + page["items"].as_array().map_or(0, Vec::len);
            (there >= count).then_some(())
        })
        .await;
    }
    began.elapsed().as_secs_f64()
}

/// Seconds until so many have been seen ready, by one watch.
pub async fn watched_until(client: Client, of: &'static Counted, namespace: &'static str, count: usize) -> f64 {
    let began = Instant::now();
    let (group, version, plural) = (of.group.into(), of.version.into(), of.plural.into());
    let resource = ApiResource {
        api_version: format!("{}/{}", of.group, of.version),
        kind: String::new(),
        group,
        version,
        plural,
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
    let mut events = pin!(watcher(api, Config::default()));
    let mut ready = BTreeSet::new();
    while ready.len() < count {
        let object = match events.next().await.unwrap().unwrap() {
            Event::Apply(object) | Event::InitApply(object) => object,
            _ => continue,
        };
        if (of.is_ready)(&object.data) {
            ready.insert(object.metadata.name.unwrap_or_default());
        }
    }
    began.elapsed().as_secs_f64()
}
