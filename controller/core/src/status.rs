//! Status: the same everywhere, for the command line, a cluster and a page alike.
//!
//! Conditions are kstatus-compatible (Ready, Reconciling, Stalled) plus Drifted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::hash_of;
use crate::observation::{Failure, Observation, ObservedResource, Pause, Replicas, ResourceState};
use crate::plan::Scope;
use crate::resource::{Resource, ResourceId, Resources};

/// Where an app stands on one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub namespace: String,
    pub app: String,
    pub target: String,
    /// The generation that this status speaks of.
    pub observed_generation: u64,
    pub conditions: Vec<Condition>,
    pub resources: Vec<ResourceStatus>,
}

/// As `metav1.Condition`, without the times, which the publisher adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: ConditionKind,
    pub status: bool,
    pub reason: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConditionKind {
    Ready,
    Reconciling,
    Stalled,
    Drifted,
}

/// One resource that the user asked for, or a plain one that keeps the app from being ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceStatus {
    pub id: ResourceId,
    pub state: StateWord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// Addresses that answer, as URLs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// What the platform says it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What its rollout waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// Of a rollout in steps: which one it is at, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StateWord {
    Absent,
    Progressing,
    Ready,
    Completed,
    Failed,
    Deleting,
}

/// What the engine knows beyond the observation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub generation: u64,
    /// Whether a plan is being carried out or watched.
    pub reconciling: bool,
    /// Why this generation is not tried again.
    pub held: Option<Failure>,
    /// Resources that differ from what was last applied.
    pub drifted: Vec<ResourceId>,
}

/// Puts it all into one value; plain, and the same for every reader.
pub fn summarise(scope: &Scope, desired: &Resources, observed: &Observation, standing: &Standing) -> Status {
    let resources = resource_statuses(desired, observed);
    Status {
        namespace: scope.namespace.clone(),
        app: scope.app.clone(),
        target: scope.target.clone(),
        observed_generation: standing.generation,
        conditions: conditions(&resources, observed, standing),
        resources,
    }
}

/// Of each resource that is awaited.
pub fn resource_statuses(desired: &Resources, observed: &Observation) -> Vec<ResourceStatus> {
    let awaited = desired.values().filter(|resource| resource.awaited);
    awaited
        .map(|resource| resource_status(resource, observed.resources.get(&resource.id)))
        .collect()
}

impl Status {
    pub fn condition(&self, kind: ConditionKind) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    pub fn is_ready(&self) -> bool {
        self.condition(ConditionKind::Ready)
            .is_some_and(|condition| condition.status)
    }

    /// The word for the very pause that is to be promoted, if one is: of these services in these revisions at these steps.
    pub fn pause(&self) -> Option<String> {
        let waiting = self.resources.iter().filter(|one| waits_for_a_promotion(one));
        let waiting: Vec<_> = waiting.map(|one| (&one.id, &one.revision, one.step)).collect();
        if waiting.is_empty() {
            return None;
        }
        let text = serde_json::to_string(&(&self.target, self.observed_generation, waiting));
        Some(hash_of(&["pause", &text.expect("names and numbers")])[..12].to_string())
    }
}

fn waits_for_a_promotion(resource: &ResourceStatus) -> bool {
    resource.paused == Some(Pause::Promotion)
}

/// What an earlier delete has retained is no part of the app until it is applied again.
fn resource_status(resource: &Resource, observed: Option<&ObservedResource>) -> ResourceStatus {
    let observed = observed.filter(|seen| !seen.retained);
    let state = match observed.map(|seen| &seen.state) {
        None => StateWord::Absent,
        Some(ResourceState::Progressing { .. }) => StateWord::Progressing,
        Some(ResourceState::Ready) => StateWord::Ready,
        Some(ResourceState::Completed) => StateWord::Completed,
        Some(ResourceState::Failed { .. }) => StateWord::Failed,
        Some(ResourceState::Deleting) => StateWord::Deleting,
    };
    let message = match observed.map(|seen| &seen.state) {
        Some(ResourceState::Progressing { message, .. }) => Some(message.clone()),
        _ => None,
    };
    ResourceStatus {
        id: resource.id.clone(),
        state,
        revision: observed.and_then(|seen| seen.revision.clone()),
        replicas: observed.and_then(|seen| seen.replicas),
        endpoints: observed.map(|seen| endpoints(&seen.outputs)).unwrap_or_default(),
        message,
        paused: observed.and_then(ObservedResource::pause),
        step: observed.and_then(ObservedResource::step),
        failure: observed.and_then(|seen| seen.failure().cloned()),
    }
}

/// The output named `endpoints` is the one that users see: a list of URLs.
fn endpoints(outputs: &BTreeMap<String, Value>) -> Vec<String> {
    let listed = outputs.get("endpoints").and_then(Value::as_array);
    listed
        .into_iter()
        .flatten()
        .filter_map(|url| url.as_str().map(String::from))
        .collect()
}

fn conditions(resources: &[ResourceStatus], observed: &Observation, standing: &Standing) -> Vec<Condition> {
    [
        (ConditionKind::Ready, ready(resources, observed)),
        (ConditionKind::Reconciling, reconciling(resources, standing)),
        (ConditionKind::Stalled, stalled(standing)),
        (ConditionKind::Drifted, drifted(standing)),
    ]
    .into_iter()
    .map(|(kind, (status, reason, message))| Condition {
        kind,
        status,
        reason,
        message,
    })
    .collect()
}

/// The reason of `Reconciling` while a rollout waits for its promotion.
pub const ROLLOUT_PAUSED: &str = "RolloutPaused";

/// Whether it is so, the reason, and a message.
type Verdict = (bool, String, String);

fn ready(resources: &[ResourceStatus], observed: &Observation) -> Verdict {
    let failed = resources
        .iter()
        .find_map(|resource| resource.failure.as_ref().map(|failure| (&resource.id, failure)));
    let waiting: Vec<String> = resources
        .iter()
        .filter(|resource| !matches!(resource.state, StateWord::Ready | StateWord::Completed))
        .map(|resource| resource.id.to_string())
        .collect();
    let absent = !resources.is_empty() && resources.iter().all(|one| one.state == StateWord::Absent);
    match failed {
        _ if !observed.complete => no("PartialRead", "the target did not show everything"),
        Some((id, failure)) => no(&failure.reason, format!("{id}: {}", failure.message)),
        None if absent => no("NotApplied", "nothing of it is on the target"),
        None if !waiting.is_empty() => no("Progressing", format!("waiting for {}", waiting.join(", "))),
        None => (
            true,
            "Ready".into(),
            format!("{} of {} ready", resources.len(), resources.len()),
        ),
    }
}

/// A rollout that waits for its promotion is not settled, though nobody works on it.
fn reconciling(resources: &[ResourceStatus], standing: &Standing) -> Verdict {
    let waits = resources.iter().find(|one| waits_for_a_promotion(one));
    match (standing.reconciling, waits) {
        (true, _) => (
            true,
            "Applying".into(),
            format!("generation {} is being applied", standing.generation),
        ),
        (false, Some(waits)) => {
            let said = waits.message.as_deref().unwrap_or("waits for its promotion");
            (true, ROLLOUT_PAUSED.into(), format!("{}: {said}", waits.id))
        }
        (false, None) => no("Settled", ""),
    }
}

fn stalled(standing: &Standing) -> Verdict {
    match &standing.held {
        Some(failure) => (true, failure.reason.clone(), failure.message.clone()),
        None => no("NotHeld", ""),
    }
}

fn drifted(standing: &Standing) -> Verdict {
    if standing.drifted.is_empty() {
        return no("AsApplied", "");
    }
    let names: Vec<String> = standing.drifted.iter().map(ToString::to_string).collect();
    (
        true,
        "Drifted".into(),
        format!("{} differ from what was applied", names.join(", ")),
    )
}

fn no(reason: &str, message: impl Into<String>) -> Verdict {
    (false, reason.into(), message.into())
}
