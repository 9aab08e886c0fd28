//! Where an object stands, by the rules of kstatus: what its controller has seen, and how far it has come with it.

use std::time::{Duration, SystemTime};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use portolan_core::observation::{Failure, ResourceState};
use serde_json::Value;

use super::{is_deleting, items, note, number, text};
use crate::explain::{self, Log, Pods};
use crate::kinds::{CLAIM, DEPLOYMENT, JOB, Kind, STATEFUL_SET};
use crate::names::annotation;

type State = (ResourceState, Option<Log>);

pub fn of(kind: &Kind, object: &Value, pods: &Pods<'_>, now: SystemTime) -> State {
    match kind {
        _ if is_deleting(object) => (ResourceState::Deleting, None),
        kind if kind == &DEPLOYMENT => deployment(object, pods),
        kind if kind == &STATEFUL_SET => stateful_set(object, pods, now),
        kind if kind == &JOB => job(object, pods),
        kind if kind == &CLAIM => (claim(object), None),
        _ => (ResourceState::Ready, None),
    }
}

fn deployment(object: &Value, pods: &Pods<'_>) -> State {
    if !is_seen(object) {
        return on_its_way("its controller has not seen it yet");
    }
    if let Some(refusal) = condition(object, "ReplicaFailure") {
        return failed(explain::refused_pod(refusal), None);
    }
    let progress = condition_that_is(object, "Progressing", "False");
    match (pods.trouble(), progress) {
        (Some(trouble), _) => failed(trouble.failure, trouble.log),
        (None, Some(late)) if text(late, "/reason") == Some("ProgressDeadlineExceeded") => {
            failed(explain::too_late(pods, text(late, "/message")), None)
        }
        _ => (replicas(object, pods), None),
    }
}

/// It has no deadline of its own: how long its newest pod has been there is held against the manifest's.
fn stateful_set(object: &Value, pods: &Pods<'_>, now: SystemTime) -> State {
    if !is_seen(object) {
        return on_its_way("its controller has not seen it yet");
    }
    if let Some(trouble) = pods.trouble() {
        return failed(trouble.failure, trouble.log);
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
    let begun = pods.newest_unready().and_then(time_of);
    match (deadline, begun) {
        (Some(seconds), Some(begun)) => begun + Duration::from_secs(seconds) < now,
        _ => false,
    }
}

fn time_of(timestamp: &str) -> Option<SystemTime> {
    let time: Time = serde_json::from_value(timestamp.into()).ok()?;
    let seconds = u64::try_from(time.0.as_second()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
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
