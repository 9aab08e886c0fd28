//! What Events tell sooner than a status, or alone, put where the status would have it. Pure.
//!
//! A kubelet says that a pull failed in an Event at once, and in the pod's status after its back-off. That a quota refuses
//! a pod stands in the status of a Deployment; of a StatefulSet and a Job it is told by an Event and nowhere else.

use serde_json::{Value, json};

use super::{containers, pull_failure};
use crate::kinds::{JOB, Kind, STATEFUL_SET};
use crate::names::MANAGER;
use crate::read::{is_deleting, items, number, text};

/// The field selector of those that say why an image is not there. One list is for all pods that wait.
pub const OF_PULLS: &str = "involvedObject.kind=Pod,reason=Failed";

/// The field selector of those about one object.
pub fn about(object: &Value) -> String {
    let uid = text(object, "/metadata/uid").unwrap_or_default();
    format!("involvedObject.uid={uid}")
}

/// How long a kubelet says so before the container is made, and when its pull has failed.
const WAITS_FOR_ITS_IMAGE: &[&str] = &[
    "ContainerCreating",
    "PodInitializing",
    "ErrImagePull",
    "ImagePullBackOff",
];

/// Whether a pod waits, and its status does not say for what.
pub fn is_silent(pod: &Value) -> bool {
    !is_deleting(pod) && containers(pod).any(waits_silently)
}

fn waits_silently(container: &Value) -> bool {
    let reason = text(container, "/state/waiting/reason");
    reason.is_some_and(|reason| WAITS_FOR_ITS_IMAGE.contains(&reason)) && pull_failure(container).is_none()
}

/// Whether an object's controller makes fewer pods than are wanted, and has no word for why in its status.
pub fn lacks_pods(kind: &Kind, object: &Value) -> bool {
    let count = |field: &str| number(object, field);
    match kind {
        _ if is_deleting(object) => false,
        kind if kind == &STATEFUL_SET => count("/status/replicas") < count("/spec/replicas"),
        kind if kind == &JOB => {
            let ended = count("/status/succeeded") + count("/status/failed");
            text(object, "/status/startTime").is_some() && count("/status/active") + ended == 0
        }
        _ => false,
    }
}

/// Has the containers of a pod that wait silently say why their image could not be pulled the last time.
pub fn tell_pulls(pod: &mut Value, events: &[Value]) {
    let uid = text(pod, "/metadata/uid").unwrap_or_default().to_string();
    for (statuses, field) in [
        ("initContainerStatuses", "spec.initContainers"),
        ("containerStatuses", "spec.containers"),
    ] {
        let statuses = pod
            .pointer_mut(&format!("/status/{statuses}"))
            .and_then(Value::as_array_mut);
        for container in statuses.into_iter().flatten().filter(|one| waits_silently(one)) {
            let place = format!("{field}{{{}}}", text(container, "/name").unwrap_or_default());
            let is_it = |event: &&Value| {
                let of_pod = text(event, "/involvedObject/uid") == Some(uid.as_str());
                of_pod && text(event, "/involvedObject/fieldPath") == Some(place.as_str()) && is_of_a_pull(event)
            };
            if let Some(message) = newest(events.iter().filter(is_it)).and_then(|event| text(event, "/message")) {
                say_pull_failed(container, message);
            }
        }
    }
}

fn is_of_a_pull(event: &Value) -> bool {
    text(event, "/message").is_some_and(|message| message.starts_with("Failed to pull image"))
}

fn say_pull_failed(container: &mut Value, message: &str) {
    let waiting = &mut container["state"]["waiting"];
    if waiting["reason"] != "ImagePullBackOff" {
        waiting["reason"] = json!("ErrImagePull");
    }
    waiting["message"] = json!(message);
}

/// Has an object that lacks pods say who refuses them: by the condition that a Deployment has for it.
pub fn tell_refusal(object: &mut Value, events: &[Value]) {
    let created = |event: &&Value| matches!(text(event, "/reason"), Some("FailedCreate" | "SuccessfulCreate"));
    let Some(last) = newest(events.iter().filter(created)) else {
        return;
    };
    if text(last, "/reason") != Some("FailedCreate") || time(last) <= written(object) {
        return;
    }
    let told = json!({ "type": "ReplicaFailure", "status": "True", "message": last["message"] });
    let status = &mut object["status"];
    match status["conditions"].as_array_mut() {
        Some(conditions) => conditions.push(told),
        None => status["conditions"] = json!([told]),
    }
}

/// When we wrote it last: what was refused before may be taken now.
fn written(object: &Value) -> Option<&str> {
    let entries = items(object, "/metadata/managedFields");
    let ours = entries.filter(|entry| entry["manager"] == MANAGER && entry.get("subresource").is_none());
    ours.filter_map(|entry| text(entry, "/time")).max()
}

fn newest<'a>(events: impl Iterator<Item = &'a Value>) -> Option<&'a Value> {
    events.max_by_key(|event| time(event))
}

/// To the second, in the one spelling that can be compared as text.
fn time(event: &Value) -> Option<&str> {
    text(event, "/lastTimestamp").or_else(|| text(event, "/metadata/creationTimestamp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(reason: &str, place: &str, at: &str, message: &str) -> Value {
        json!({
            "reason": reason, "message": message, "lastTimestamp": format!("2026-01-01T00:00:{at}Z"),
            "involvedObject": { "uid": "1", "fieldPath": place },
        })
    }

    fn pod(waiting: Value) -> Value {
        json!({
            "metadata": { "uid": "1" },
            "status": { "containerStatuses": [{ "name": "web", "image": "shop:2", "state": { "waiting": waiting } }] },
        })
    }

    #[test]
    fn a_pod_that_waits_says_what_its_last_pull_said() {
        let not_found = "Failed to pull image \"shop:2\": failed to resolve reference \"shop:2\": shop:2: not found";
        let refused = "Failed to pull image \"shop:2\": dial tcp: connection refused";
        let web = "spec.containers{web}";
        let creating = json!({ "reason": "ContainerCreating" });
        let untold = json!({ "reason": "ImagePullBackOff", "message": "Back-off pulling image \"shop:2\"" });
        let told = json!({ "reason": "ErrImagePull", "message": "pull access denied" });
        for (reason, waiting, events, expected) in [
            (
                "before its status does",
                creating.clone(),
                vec![event("Failed", web, "01", not_found)],
                ("ErrImagePull", not_found),
            ),
            (
                "the last of them",
                creating.clone(),
                vec![
                    event("Failed", web, "02", not_found),
                    event("Failed", web, "01", refused),
                ],
                ("ErrImagePull", not_found),
            ),
            (
                "where the back-off does not say the cause",
                untold,
                vec![event("Failed", web, "01", refused)],
                ("ImagePullBackOff", refused),
            ),
            (
                "another container's",
                creating.clone(),
                vec![event("Failed", "spec.containers{proxy}", "01", not_found)],
                ("ContainerCreating", ""),
            ),
            (
                "of something else",
                creating,
                vec![event("Failed", web, "01", "Error: ErrImagePull")],
                ("ContainerCreating", ""),
            ),
            (
                "what the status tells is newer",
                told,
                vec![event("Failed", web, "01", not_found)],
                ("ErrImagePull", "pull access denied"),
            ),
        ] {
            let mut pod = pod(waiting);
            tell_pulls(&mut pod, &events);
            let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
            let told = (text(waiting, "/reason"), text(waiting, "/message").unwrap_or_default());
            assert_eq!(told, (Some(expected.0), expected.1), "{reason}");
        }
    }

    #[test]
    fn only_what_waits_is_asked_for() {
        for (reason, pod, expected) in [
            ("it is made", pod(json!({ "reason": "ContainerCreating" })), true),
            (
                "it says why it waits",
                pod(json!({ "reason": "ErrImagePull", "message": "not found" })),
                false,
            ),
            ("it crashes", pod(json!({ "reason": "CrashLoopBackOff" })), false),
            (
                "it runs",
                json!({ "status": { "containerStatuses": [{ "state": { "running": {} } }] } }),
                false,
            ),
            ("it is not placed", json!({ "status": { "phase": "Pending" } }), false),
        ] {
            assert_eq!(is_silent(&pod), expected, "{reason}");
        }
        let set = |there: u32| json!({ "spec": { "replicas": 2 }, "status": { "replicas": there } });
        let job = |status: Value| json!({ "status": status });
        for (reason, kind, object, expected) in [
            ("a set has too few", &STATEFUL_SET, set(1), true),
            ("it has all", &STATEFUL_SET, set(2), false),
            (
                "a job has none",
                &JOB,
                job(json!({ "startTime": "2026-01-01T00:00:00Z" })),
                true,
            ),
            ("it has not begun", &JOB, job(json!({})), false),
            (
                "it runs",
                &JOB,
                job(json!({ "startTime": "2026-01-01T00:00:00Z", "active": 1 })),
                false,
            ),
            (
                "it has run",
                &JOB,
                job(json!({ "startTime": "2026-01-01T00:00:00Z", "succeeded": 1 })),
                false,
            ),
        ] {
            assert_eq!(lacks_pods(kind, &object), expected, "{reason}");
        }
    }

    #[test]
    fn a_refusal_holds_until_something_is_created_or_written() {
        let refused = |at: &str| event("FailedCreate", "", at, "exceeded quota: few");
        let made = |at: &str| event("SuccessfulCreate", "", at, "create Pod web-0");
        for (reason, events, expected) in [
            ("the last try was refused", vec![made("02"), refused("03")], true),
            ("a later one was not", vec![refused("02"), made("03")], false),
            ("it was written to since", vec![refused("01")], false),
            ("nobody says anything", vec![], false),
        ] {
            let mut object = json!({
                "metadata": { "managedFields": [{ "manager": MANAGER, "time": "2026-01-01T00:00:01Z" }] },
                "status": { "replicas": 0 },
            });
            tell_refusal(&mut object, &events);
            let message = text(&object, "/status/conditions/0/message");
            assert_eq!(message.is_some(), expected, "{reason}");
        }
    }
}
