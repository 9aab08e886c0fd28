//! Where an object stands, by the rules of kstatus: what its controller has seen, and how far it has come with it.

use std::time::{Duration, SystemTime};

use portolan_core::observation::{Failure, ResourceState};
use serde_json::Value;

use super::{is_accepted, is_deleting, items, note, number, text, time_of};
use crate::explain::{self, Log, Pods};
use crate::kinds::{CLAIM, DEPLOYMENT, HTTP_ROUTE, JOB, Kind, SCALED_OBJECT, STATEFUL_SET};
use crate::names::annotation;

type State = (ResourceState, Option<Log>);

pub fn of(kind: &Kind, object: &Value, pods: &Pods<'_>, now: SystemTime) -> State {
    match kind {
        _ if is_deleting(object) => (ResourceState::Deleting, None),
        kind if kind == &DEPLOYMENT => deployment(object, pods),
        kind if kind == &STATEFUL_SET => stateful_set(object, pods, now),
        kind if kind == &JOB => job(object, pods),
        kind if kind == &CLAIM => (claim(object), None),
        kind if kind == &HTTP_ROUTE => route(object),
        kind if kind == &SCALED_OBJECT => scaled_object(object),
        _ => (ResourceState::Ready, None),
    }
}

fn deployment(object: &Value, pods: &Pods<'_>) -> State {
    if !is_seen(object) {
        return on_its_way("its controller has not seen it yet");
    }
    let stalled = condition_that_is(object, "Progressing", "False");
    let late = stalled.filter(|one| text(one, "/reason") == Some("ProgressDeadlineExceeded"));
    if let Some(refusal) = refusal(object).filter(|_| lacks_pods(object)) {
        return refused(refusal, late.is_none() && pods.others_end());
    }
    match (pods.trouble(), late) {
        (Some(trouble), _) => failed(trouble.failure, trouble.log),
        (None, Some(late)) => failed(explain::too_late(pods, text(late, "/message")), None),
        (None, None) => (replicas(object, pods), None),
    }
}

fn refusal(object: &Value) -> Option<&Value> {
    condition(object, "ReplicaFailure")
}

/// What a quota has no room for now it may have once another pod has ended.
fn refused(refusal: &Value, may_pass: bool) -> State {
    let failure = explain::refused_pod(refusal);
    match may_pass {
        true => on_its_way(&format!(
            "a pod has to wait until others have ended: {}",
            failure.message
        )),
        false => failed(failure, None),
    }
}

/// The condition stays a moment after its revision has been taken back: where the one that is wanted has all of its pods, none
/// of them is refused.
fn lacks_pods(deployment: &Value) -> bool {
    number(deployment, "/status/updatedReplicas") < number(deployment, "/spec/replicas")
}

/// It has no deadline of its own: how long a pod of it has not been ready is held against the manifest's.
fn stateful_set(object: &Value, pods: &Pods<'_>, now: SystemTime) -> State {
    if !is_seen(object) {
        return on_its_way("its controller has not seen it yet");
    }
    if let Some(trouble) = pods.trouble() {
        return failed(trouble.failure, trouble.log);
    }
    if let Some(refusal) = refusal(object) {
        return refused(refusal, pods.others_end());
    }
    let state = replicas(object, pods);
    let waits = matches!(state, ResourceState::Progressing { .. });
    match waits && is_late(object, pods, now) {
        true => failed(explain::too_late(pods, None), None),
        false => (state, None),
    }
}

fn is_late(object: &Value, pods: &Pods<'_>, now: SystemTime) -> bool {
    let deadline = note(object, annotation::DEADLINE).and_then(|text| text.parse().ok());
    let begun = pods.unready_since().and_then(time_of);
    match (deadline, begun) {
        (Some(seconds), Some(begun)) => begun + Duration::from_secs(seconds) < now,
        _ => false,
    }
}

fn replicas(object: &Value, pods: &Pods<'_>) -> ResourceState {
    let wanted = number(object, "/spec/replicas");
    let count = |field: &str| number(object, &format!("/status/{field}"));
    let waiting = |text: String| match pods.waits() {
        Some(why) => ResourceState::progressing(format!("{text}: {why}")),
        None => ResourceState::progressing(text),
    };
    let updated = count("updatedReplicas");
    if updated < wanted {
        return waiting(format!("{updated} of {wanted} replicas are of the new revision"));
    }
    if count("replicas") > wanted {
        return waiting(format!("{} old replicas end", count("replicas") - wanted));
    }
    match count("availableReplicas") {
        ready if ready < wanted => waiting(format!("{ready} of {wanted} replicas are ready")),
        _ => ResourceState::Ready,
    }
}

fn job(object: &Value, pods: &Pods<'_>) -> State {
    if condition(object, "Complete").is_some() {
        return (ResourceState::Completed, None);
    }
    if let Some(failure) = condition(object, "Failed") {
        let (failure, log) = explain::failed_job(failure, pods);
        return failed(failure, log);
    }
    if let Some(trouble) = pods.trouble() {
        return failed(trouble.failure, trouble.log);
    }
    if let Some(refusal) = refusal(object) {
        return refused(refusal, pods.others_end());
    }
    let tries = number(object, "/status/failed") + 1;
    on_its_way(&match pods.waits() {
        Some(why) => format!("attempt {tries} waits: {why}"),
        None => format!("attempt {tries} runs"),
    })
}

/// Whether it is bound is told by the pods that wait for it: a claim may wait for its first pod.
fn claim(object: &Value) -> ResourceState {
    match text(object, "/status/phase") {
        Some("Lost") => ResourceState::Failed {
            failure: explain::hinted(Failure::new("VolumeLost", "the volume behind the claim is gone")),
        },
        _ => ResourceState::Ready,
    }
}

/// What a gateway says of it; one that says nothing has not taken it up.
fn route(object: &Value) -> State {
    let conditions = || items(object, "/status/parents").flat_map(|parent| items(parent, "/conditions"));
    let refusal = conditions().find(|one| text(one, "/status") == Some("False"));
    match refusal {
        Some(refusal) => failed(explain::refused_route(refusal), None),
        None if is_accepted(object) => (ResourceState::Ready, None),
        None => on_its_way("no gateway has taken it up yet"),
    }
}

/// KEDA says whether it can ask; until it has, the workload stays as it is.
fn scaled_object(object: &Value) -> State {
    match condition_that_is(object, "Ready", "False") {
        Some(refusal) => failed(explain::refused_scaling(refusal), None),
        None => (ResourceState::Ready, None),
    }
}

fn is_seen(object: &Value) -> bool {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_u64);
    let observed = object.pointer("/status/observedGeneration").and_then(Value::as_u64);
    observed >= generation
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    condition_that_is(object, kind, "True")
}

fn condition_that_is<'a>(object: &'a Value, kind: &str, status: &str) -> Option<&'a Value> {
    let mut conditions = items(object, "/status/conditions");
    conditions.find(|one| text(one, "/type") == Some(kind) && text(one, "/status") == Some(status))
}

fn on_its_way(message: &str) -> State {
    (ResourceState::progressing(message), None)
}

fn failed(failure: Failure, log: Option<Log>) -> State {
    (ResourceState::Failed { failure }, log)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::CONFIG_MAP;
    use serde_json::json;

    fn told(kind: &Kind, object: &Value, pods: &[Value], seconds: u64) -> String {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        match of(kind, object, &Pods::of(pods, object), now).0 {
            ResourceState::Progressing { message, .. } => message,
            ResourceState::Failed { failure } => failure.reason,
            other => format!("{other:?}"),
        }
    }

    fn with(generation: u64, status: Value) -> Value {
        json!({
            "metadata": { "generation": generation, "annotations": { annotation::DEADLINE: "60" } },
            "spec": { "replicas": 2, "template": { "metadata": { "labels": labels() } } },
            "status": status,
        })
    }

    fn labels() -> Value {
        json!({ "app.kubernetes.io/instance": "web", "portolan.dev/revision": "r1" })
    }

    fn counts(updated: u32, all: u32, available: u32) -> Value {
        json!({ "observedGeneration": 2, "updatedReplicas": updated, "replicas": all, "availableReplicas": available })
    }

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        let condition = json!({ "type": kind, "status": status, "reason": reason, "message": "exceeded quota: few" });
        json!({ "observedGeneration": 2, "conditions": [condition] })
    }

    #[test]
    fn a_deployment_stands_where_its_controller_says() {
        for (reason, object, expected) in [
            (
                "not seen",
                with(3, counts(2, 2, 2)),
                "its controller has not seen it yet",
            ),
            (
                "half way",
                with(2, counts(1, 3, 2)),
                "1 of 2 replicas are of the new revision",
            ),
            ("an old one is left", with(2, counts(2, 3, 2)), "1 old replicas end"),
            ("not available", with(2, counts(2, 2, 1)), "1 of 2 replicas are ready"),
            ("all of it", with(2, counts(2, 2, 2)), "Ready"),
            (
                "out of time",
                with(2, condition("Progressing", "False", "ProgressDeadlineExceeded")),
                "ProgressDeadlineExceeded",
            ),
            (
                "its pods are refused",
                with(2, condition("ReplicaFailure", "True", "FailedCreate")),
                "QuotaExceeded",
            ),
            (
                "those of a revision that was taken back are refused",
                with(2, {
                    let mut status = condition("ReplicaFailure", "True", "FailedCreate");
                    status["updatedReplicas"] = json!(2);
                    status["replicas"] = json!(2);
                    status["availableReplicas"] = json!(2);
                    status
                }),
                "Ready",
            ),
            (
                "on its way out",
                json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } }),
                "Deleting",
            ),
        ] {
            assert_eq!(told(&DEPLOYMENT, &object, &[], 0), expected, "{reason}");
        }
    }

    #[test]
    fn a_stateful_set_has_the_manifests_deadline() {
        let ready =
            |status: &str, since: &str| json!([{ "type": "Ready", "status": status, "lastTransitionTime": since }]);
        for (reason, conditions, now, expected) in [
            ("in time", json!([]), 160, "1 of 2 replicas are ready"),
            ("too late", json!([]), 161, "ProgressDeadlineExceeded"),
            (
                "it was ready for long, and is not just now",
                ready("False", "1970-01-01T01:00:00Z"),
                3660,
                "1 of 2 replicas are ready",
            ),
            (
                "it has not come back",
                ready("False", "1970-01-01T01:00:00Z"),
                3661,
                "ProgressDeadlineExceeded",
            ),
            (
                "it is ready, and not counted yet",
                ready("True", "1970-01-01T00:01:41Z"),
                3600,
                "1 of 2 replicas are ready",
            ),
        ] {
            let object = with(2, counts(2, 2, 1));
            let pods = [json!({
                "metadata": { "name": "web-0", "labels": labels(), "creationTimestamp": "1970-01-01T00:01:40Z" },
                "status": { "conditions": conditions },
            })];
            assert_eq!(told(&STATEFUL_SET, &object, &pods, now), expected, "{reason}");
        }
    }

    #[test]
    fn what_is_refused_waits_for_pods_that_end() {
        let waits = "a pod has to wait until others have ended: exceeded quota: few";
        let refused = || condition("ReplicaFailure", "True", "FailedCreate");
        let late = || {
            let mut status = refused();
            let late = condition("Progressing", "False", "ProgressDeadlineExceeded");
            let conditions = status["conditions"].as_array_mut().unwrap();
            conditions.push(late["conditions"][0].clone());
            status
        };
        let ends = json!({ "metadata": { "name": "db-0", "deletionTimestamp": "2026-01-01T00:00:00Z" } });
        for (reason, kind, status, pods, expected) in [
            ("nobody makes room", &DEPLOYMENT, refused(), vec![], "QuotaExceeded"),
            (
                "a pod of the app ends",
                &DEPLOYMENT,
                refused(),
                vec![ends.clone()],
                waits,
            ),
            (
                "it ends for too long",
                &DEPLOYMENT,
                late(),
                vec![ends.clone()],
                "QuotaExceeded",
            ),
            ("a set's", &STATEFUL_SET, refused(), vec![], "QuotaExceeded"),
            (
                "a set's, and a pod ends",
                &STATEFUL_SET,
                refused(),
                vec![ends.clone()],
                waits,
            ),
            ("a job's", &JOB, refused(), vec![], "QuotaExceeded"),
            ("a job's, and a pod ends", &JOB, refused(), vec![ends], waits),
        ] {
            assert_eq!(told(kind, &with(2, status), &pods, 0), expected, "{reason}");
        }
    }

    #[test]
    fn jobs_and_claims_end_by_their_own_rules() {
        let status = |kind: &str| json!({ "status": { "conditions": [{ "type": kind, "status": "True" }] } });
        let phase = |phase: &str| json!({ "status": { "phase": phase } });
        for (reason, kind, object, expected) in [
            ("a job that ran", &JOB, status("Complete"), "Completed"),
            ("one that gave up", &JOB, status("Failed"), "JobFailed"),
            ("one that runs", &JOB, json!({}), "attempt 1 runs"),
            (
                "one that runs again",
                &JOB,
                json!({ "status": { "failed": 1 } }),
                "attempt 2 runs",
            ),
            (
                "a claim that waits for its first pod",
                &CLAIM,
                phase("Pending"),
                "Ready",
            ),
            ("one whose volume is gone", &CLAIM, phase("Lost"), "VolumeLost"),
            ("what is there is ready", &CONFIG_MAP, json!({}), "Ready"),
        ] {
            assert_eq!(told(kind, &object, &[], 0), expected, "{reason}");
        }
    }
}
