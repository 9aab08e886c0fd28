//! An object as an API server sends it, and what of it is held: all that is compared with what was rendered, and of what is
//! told only what says where it stands. Who owns which field, which is half of an object, is not even parsed.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::kinds::{AUTOSCALER, CRON_JOB, DEPLOYMENT, DISRUPTION_BUDGET, Kind, POD};
use crate::names::{annotation, label};

#[derive(Clone, Debug)]
pub struct Object {
    pub metadata: Metadata,
    rest: Map<String, Value>,
}

/// By hand, because a flattened struct is put together twice, and these come by the ten thousand.
impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Object, A::Error> {
        let (mut metadata, mut rest) = (None, Map::new());
        while let Some(field) = fields.next_key::<String>()? {
            match field.as_str() {
                "metadata" => metadata = Some(fields.next_value()?),
                "apiVersion" | "kind" => drop(fields.next_value::<IgnoredAny>()?),
                _ => drop(rest.insert(field, fields.next_value()?)),
            }
        }
        let metadata = metadata.ok_or_else(|| serde::de::Error::missing_field("metadata"))?;
        Ok(Object { metadata, rest })
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    pub resource_version: String,
    generation: Option<u64>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    creation_timestamp: Option<String>,
    deletion_timestamp: Option<String>,
}

impl Object {
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    pub fn kube_namespace(&self) -> &str {
        &self.metadata.namespace
    }

    pub fn uid(&self) -> &str {
        &self.metadata.uid
    }

    /// Versions grow; one that is no number counts as the oldest, and whatever comes after it as newer.
    pub fn version(&self) -> u64 {
        self.metadata.resource_version.parse().unwrap_or_default()
    }

    pub fn owner(&self) -> Option<&str> {
        self.metadata.labels.get(label::OWNER).map(String::as_str)
    }

    /// Whether it goes well and has not arrived: more will be told of it soon, and nobody waits for each step. Of pods that
    /// are ready, or are so no more, their workload tells. What its controller has not seen yet somebody has written.
    pub fn goes_on(&self, kind: &Kind) -> bool {
        let status = self.rest.get("status").unwrap_or(&Value::Null);
        match kind {
            _ if self.metadata.deletion_timestamp.is_some() => false,
            kind if kind == &POD => is_well(status),
            kind if kind == &DEPLOYMENT => {
                let spec = self.rest.get("spec").unwrap_or(&Value::Null);
                let is_seen = status["observedGeneration"].as_u64() >= self.metadata.generation;
                let wanted = spec["replicas"].as_u64();
                let is_there = |count: &str| status[count].as_u64().or(Some(0)) >= wanted;
                let arrived = is_there("updatedReplicas") && is_there("availableReplicas");
                is_seen && !arrived && !has(status, "Progressing", "False") && !has(status, "ReplicaFailure", "True")
            }
            _ => false,
        }
    }

    /// What is held of it, as JSON. Its version is not in it: two that say the same are the same.
    pub fn text(mut self, kind: &Kind) -> String {
        let rest = std::mem::take(&mut self.rest);
        let mut object = match kind {
            kind if kind == &POD => pod(&rest),
            _ => rest,
        };
        if UNTOLD.contains(&kind) {
            object.remove("status");
        }
        let times = if kind == &POD { TIMES_OF_PODS } else { &[] };
        object
            .get_mut("status")
            .into_iter()
            .for_each(|status| forget_times(status, times));
        object.insert("metadata".into(), self.metadata(kind));
        Value::Object(object).to_string()
    }

    fn metadata(&self, kind: &Kind) -> Value {
        let Metadata {
            labels, annotations, ..
        } = &self.metadata;
        let mut held = json!({ "name": self.metadata.name, "namespace": self.metadata.namespace });
        let mut put = |key: &str, value: Value| held[key] = value;
        put("uid", json!(self.metadata.uid));
        if kind == &POD {
            let of_pod = |key: &str| [label::OWNER, label::INSTANCE, label::REVISION].contains(&key);
            let labels = labels.iter().filter(|(key, _)| of_pod(key));
            put(
                "labels",
                labels.map(|(key, value)| (key.clone(), value.clone())).collect(),
            );
            if let Some(retried) = annotations.get(annotation::RETRIED) {
                put("annotations", json!({ annotation::RETRIED: retried }));
            }
            put("creationTimestamp", json!(self.metadata.creation_timestamp));
        } else {
            put("labels", json!(labels));
            if !annotations.is_empty() {
                put("annotations", json!(annotations));
            }
            if let Some(generation) = self.metadata.generation {
                put("generation", json!(generation));
            }
        }
        if let Some(at) = &self.metadata.deletion_timestamp {
            put("deletionTimestamp", json!(at));
        }
        held
    }
}

/// A pod of which nothing bad is told.
fn is_well(status: &Value) -> bool {
    let lists = ["initContainerStatuses", "containerStatuses"];
    let mut containers = lists.iter().filter_map(|list| status[list].as_array()).flatten();
    let phase = status["phase"].as_str().unwrap_or("Pending");
    ["Pending", "Running"].contains(&phase)
        && !has(status, "PodScheduled", "False")
        && containers.all(|container| {
            let waits = container["state"]["waiting"]["reason"].as_str();
            let waits_well = waits.is_none_or(|reason| ["ContainerCreating", "PodInitializing"].contains(&reason));
            let failed = container["state"]["terminated"]["exitCode"]
                .as_i64()
                .is_some_and(|code| code != 0);
            waits_well && !failed && container["restartCount"].as_u64().unwrap_or_default() == 0
        })
}

fn has(status: &Value, kind: &str, word: &str) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions
        .filter(|one| one["type"] == kind)
        .any(|one| one["status"] == word)
}

/// Of a container what a kubelet does with it while it is not ready, and how it fares.
fn pod(object: &Map<String, Value>) -> Map<String, Value> {
    let status = object.get("status").unwrap_or(&Value::Null);
    let told = |field: &str| Some((field.to_string(), status.get(field)?.clone()));
    let of_status = ["phase", "reason", "message", "conditions"];
    let mut kept: Map<String, Value> = of_status.into_iter().filter_map(told).collect();
    for list in ["containerStatuses", "initContainerStatuses"] {
        if let Some(containers) = status.get(list).and_then(Value::as_array) {
            let fields = [
                "name",
                "image",
                "ready",
                "started",
                "restartCount",
                "state",
                "lastState",
            ];
            kept.insert(list.into(), containers.iter().map(|one| only(one, &fields)).collect());
        }
    }
    let containers = object.get("spec").and_then(|spec| spec["containers"].as_array());
    let probes = ["name", "readinessProbe", "startupProbe"];
    let probed = containers.into_iter().flatten().map(|one| only(one, &probes));
    let pod = json!({ "spec": { "containers": probed.collect::<Value>() }, "status": kept });
    match pod {
        Value::Object(pod) => pod,
        _ => Map::new(),
    }
}

fn only(object: &Value, fields: &[&str]) -> Value {
    let kept = fields
        .iter()
        .filter_map(|field| Some(((*field).to_string(), object.get(field)?.clone())));
    Value::Object(kept.filter(|(_, value)| !is_nothing(value)).collect())
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}

/// Kinds whose status says nothing that is looked at.
const UNTOLD: [&Kind; 3] = [&DISRUPTION_BUDGET, &AUTOSCALER, &CRON_JOB];

/// Since when a pod is not ready decides whether it is late.
const TIMES_OF_PODS: &[&str] = &["lastTransitionTime"];

/// When a condition was written last says nothing that is looked at, but for `kept`, and is most of what changes.
fn forget_times(status: &mut Value, kept: &[&str]) {
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        if let Some(condition) = condition.as_object_mut() {
            let told = ["type", "status", "reason", "message"];
            condition.retain(|field, _| told.contains(&field.as_str()) || kept.contains(&field.as_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(kind: &Kind, object: Value) -> Value {
        let object: Object = serde_json::from_value(object).unwrap();
        serde_json::from_str(&object.text(kind)).unwrap()
    }

    #[test]
    fn what_goes_well_and_has_not_arrived_goes_on() {
        let pod = |status: Value| (&POD, json!({ "metadata": { "name": "web-1" }, "status": status }));
        let waiting = |reason: &str| {
            let container = json!({ "name": "web", "state": { "waiting": { "reason": reason } } });
            json!({ "phase": "Pending", "containerStatuses": [container] })
        };
        let running = |restarts: u64| {
            let container = json!({ "name": "web", "state": { "running": {} }, "restartCount": restarts });
            json!({ "phase": "Running", "containerStatuses": [container] })
        };
        let condition = |kind: &str, word: &str| json!({ "conditions": [{ "type": kind, "status": word }] });
        let deployment = |status: Value| {
            let metadata = json!({ "name": "web", "generation": 2 });
            (
                &DEPLOYMENT,
                json!({ "metadata": metadata, "spec": { "replicas": 2 }, "status": status }),
            )
        };
        let counts = |seen: u64, updated: u64, available: u64| json!({ "observedGeneration": seen, "updatedReplicas": updated, "availableReplicas": available });
        let failing = |kind: &str, word: &str| {
            let mut status = counts(2, 1, 0);
            status["conditions"] = condition(kind, word)["conditions"].clone();
            status
        };
        for (reason, (kind, object), expected) in [
            ("a pod that nobody has seen", pod(json!({})), true),
            ("one that gets its image", pod(waiting("ContainerCreating")), true),
            ("one that has none", pod(waiting("ErrImagePull")), false),
            ("one that runs", pod(running(0)), true),
            ("one that runs again", pod(running(1)), false),
            ("one that has no place", pod(condition("PodScheduled", "False")), false),
            ("one that has ended", pod(json!({ "phase": "Succeeded" })), false),
            ("a Deployment that nobody has seen", deployment(json!({})), false),
            ("one that was just written", deployment(counts(1, 2, 1)), false),
            ("one half way", deployment(counts(2, 2, 1)), true),
            ("one that has arrived", deployment(counts(2, 2, 2)), false),
            ("one that is late", deployment(failing("Progressing", "False")), false),
            (
                "one over its quota",
                deployment(failing("ReplicaFailure", "True")),
                false,
            ),
            ("another kind", (&DISRUPTION_BUDGET, json!({ "metadata": {} })), false),
        ] {
            let object: Object = serde_json::from_value(object).unwrap();
            assert_eq!(object.goes_on(kind), expected, "{reason}");
        }
    }

    #[test]
    fn an_object_is_held_with_all_that_is_compared() {
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "one", "resourceVersion": "7", "generation": 2,
                "labels": { label::OWNER: "me" }, "annotations": { "somebody": "was here" },
                "managedFields": [{ "manager": "portolan" }], "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": { "replicas": 2 },
            "status": { "replicas": 2, "conditions": [
                { "type": "Available", "status": "True", "lastUpdateTime": "2026-01-01T00:00:00Z" },
            ] },
        });
        let expected = json!({
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "one", "generation": 2,
                "labels": { label::OWNER: "me" }, "annotations": { "somebody": "was here" },
            },
            "spec": { "replicas": 2 },
            "status": { "replicas": 2, "conditions": [{ "type": "Available", "status": "True" }] },
        });
        assert_eq!(crate::read::etag(&deployment), crate::read::etag(&expected));
        assert_eq!(held(&DEPLOYMENT, deployment), expected);
    }

    #[test]
    fn of_a_pod_is_held_how_it_fares() {
        let pod = json!({
            "metadata": {
                "name": "web-1", "namespace": "shop", "uid": "two", "resourceVersion": "8",
                "labels": { label::OWNER: "me", "pod-template-hash": "abc" },
            },
            "spec": { "nodeName": "one", "containers": [{ "name": "web", "image": "a", "readinessProbe": { "exec": {} } }] },
            "status": {
                "phase": "Running", "podIP": "10.0.0.1",
                "containerStatuses": [{ "name": "web", "ready": false, "lastState": {}, "containerID": "c" }],
            },
        });
        let expected = json!({
            "metadata": {
                "name": "web-1", "namespace": "shop", "uid": "two", "labels": { label::OWNER: "me" }, "creationTimestamp": null,
            },
            "spec": { "containers": [{ "name": "web", "readinessProbe": { "exec": {} } }] },
            "status": { "phase": "Running", "containerStatuses": [{ "name": "web", "ready": false }] },
        });
        assert_eq!(held(&POD, pod), expected);
    }
}
