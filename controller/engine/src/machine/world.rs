//! What the last observation proves, given what was written since. Questions only; nothing here changes anything but the
//! tally of writes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portolan_core::mutant::Mutant;
use portolan_core::observation::{Failure, Observation, ObservedResource, Ownership, Pause, ResourceState};
use portolan_core::plan::{FieldChange, Step};
use portolan_core::resource::{Edge, EdgeCondition, Resource, ResourceId};
use portolan_provider_api::Shape;
use serde_json::Value;

use super::Timestamp;
use super::goal::Goal;

/// The goal beside what is known of the target.
pub struct World {
    pub goal: Goal,
    pub seen: Option<Seen>,
    pub writes: Writes,
    /// When a read last showed what may not be made twice.
    shown_at: BTreeMap<ResourceId, Timestamp>,
    /// Whether a long operation has not been seen to end: what it works on may yet fail.
    pub is_operated_on: bool,
    /// What had failed before the plan began and is not written to by it: what the plan does may heal it.
    excused: BTreeSet<ResourceId>,
}

/// An observation, and how old it is.
pub struct Seen {
    pub observation: Observation,
    /// How many writes had been answered when it was asked for.
    pub answered: u64,
    /// It shows what was so no longer than the lag of reads before this.
    pub asked: Timestamp,
    /// What it shows as it was before our last write, though it was asked for after that.
    pub behind: BTreeSet<ResourceId>,
}

/// The writes of this run.
#[derive(Default)]
pub struct Writes {
    /// Calls that were answered, well or not.
    pub answered: u64,
    /// Calls that the platform took.
    pub accepted: u64,
    by_id: BTreeMap<ResourceId, Write>,
    /// `update Service/web: image`, in order.
    pub lines: Vec<String>,
}

#[derive(Default)]
struct Write {
    /// The place of the last answer among all answers.
    at: u64,
    /// When it came.
    answered: Timestamp,
    accepted: Option<Taken>,
}

/// What the platform took, and answered.
pub struct Taken {
    pub at: Timestamp,
    pub generation: u64,
    /// `None` for a delete.
    pub written: Option<Resource>,
    /// Whether a read can tell it from what was there before; where not, time alone does.
    pub is_told: bool,
    pub outputs: BTreeMap<String, Value>,
}

impl Writes {
    /// Whatever came of it, an older observation says nothing about the resource any more.
    pub fn answered(&mut self, id: &ResourceId, now: Timestamp) {
        self.answered += 1;
        let write = self.by_id.entry(id.clone()).or_default();
        write.at = self.answered;
        write.answered = now;
    }

    /// Everything that was written to.
    pub fn ids(&self) -> impl Iterator<Item = &ResourceId> {
        self.by_id.keys()
    }

    /// Whether the platform has taken a write to it, as far as is known.
    pub fn was_taken(&self, id: &ResourceId) -> bool {
        self.by_id.get(id).is_some_and(|write| write.accepted.is_some())
    }

    /// When the last call to the resource was answered; the beginning of time if there was none.
    pub fn answered_at(&self, id: &ResourceId) -> Timestamp {
        self.by_id.get(id).map(|write| write.answered).unwrap_or_default()
    }

    pub fn accepted(&mut self, step: &Step, taken: Taken) {
        self.accepted += 1;
        self.by_id.entry(step.id.clone()).or_default().accepted = Some(taken);
        self.lines.push(line(step));
    }

    /// What was written to without a good answer, which says nothing about whether the write was taken, so that a read of
    /// then may or may not show it.
    fn in_doubt(&self, lag: Duration, asked: Timestamp) -> impl Iterator<Item = &ResourceId> {
        let in_doubt = move |write: &Write| {
            let known = write.accepted.as_ref().is_some_and(|taken| taken.at == write.answered);
            !known && asked < write.answered.plus(lag)
        };
        let in_doubt = self.by_id.iter().filter(move |(_, write)| in_doubt(write));
        in_doubt.map(|(id, _)| id)
    }

    /// What may be older in a read that was asked for then than it is.
    fn recent(&self, lag: Duration, asked: Timestamp) -> impl Iterator<Item = (&ResourceId, &Taken)> {
        let accepted = self
            .by_id
            .iter()
            .filter_map(|(id, write)| Some((id, write.accepted.as_ref()?)));
        accepted.filter(move |(_, accepted)| asked < accepted.at.plus(lag))
    }
}

impl Seen {
    /// `answered` writes had been answered when the observation was asked for.
    pub fn new(observation: Observation, answered: u64, asked: Timestamp, writes: &Writes, shape: &dyn Shape) -> Self {
        let recent = writes.recent(shape.read_lag(), asked);
        let behind = recent.filter(|(id, accepted)| {
            let seen = observation.resources.get(*id).filter(|seen| !seen.retained);
            match (&accepted.written, seen) {
                (Some(written), Some(seen)) => {
                    let old = !accepted.is_told || is_before(seen, accepted.generation);
                    let old = old && !Mutant::OldPassesForNew.is_on();
                    old || !shape.diff(written, seen).is_empty()
                }
                (Some(_), None) => true,
                (None, seen) => seen.is_some_and(|seen| seen.state != ResourceState::Deleting),
            }
        });
        let behind = behind.map(|(id, _)| id);
        let behind = behind.chain(writes.in_doubt(shape.read_lag(), asked));
        let behind = behind.filter(|_| !Mutant::ReadsShowEveryWrite.is_on());
        let behind = behind.cloned().collect();
        Self {
            observation,
            answered,
            asked,
            behind,
        }
    }
}

impl World {
    pub fn new(goal: Goal) -> Self {
        Self {
            goal,
            seen: None,
            writes: Writes::default(),
            shown_at: BTreeMap::new(),
            is_operated_on: false,
            excused: BTreeSet::new(),
        }
    }

    /// When the last observation was asked for; the beginning of time if there is none.
    pub fn asked(&self) -> Timestamp {
        self.seen.as_ref().map(|seen| seen.asked).unwrap_or_default()
    }

    /// The resource, if the observation is younger than the last write to it.
    pub fn fresh(&self, id: &ResourceId) -> Option<&ObservedResource> {
        if self.is_fresh(id) { self.shown(id) } else { None }
    }

    /// Whether the last observation is younger than every write.
    pub fn is_all_fresh(&self) -> bool {
        let seen = self.seen.as_ref();
        seen.is_some_and(|seen| seen.answered >= self.writes.answered && seen.behind.is_empty())
    }

    pub fn is_there(&self, id: &ResourceId) -> bool {
        self.fresh(id).is_some_and(|seen| !seen.retained)
    }

    pub fn is_gone(&self, id: &ResourceId) -> bool {
        let draining =
            |seen: &ObservedResource| seen.state == ResourceState::Deleting && Mutant::DrainingIsGone.is_on();
        self.is_fresh(id) && self.shown(id).is_none_or(|seen| seen.retained || draining(seen))
    }

    /// Whether what was begun on it has ended, as far as can be seen.
    pub fn has_come_to_rest(&self, id: &ResourceId) -> bool {
        self.is_fresh(id) && !self.is_moving(id)
    }

    /// Whether the last observation, however old, shows that something goes on with it.
    pub fn is_moving(&self, id: &ResourceId) -> bool {
        let moving =
            |seen: &ObservedResource| matches!(seen.state, ResourceState::Progressing { .. } | ResourceState::Deleting);
        self.shown(id).is_some_and(moving)
    }

    pub fn holds(&self, edge: &Edge) -> bool {
        let wanted = self.goal.resources.get(&edge.to);
        let revision = wanted.and_then(|resource| resource.revision.as_deref());
        self.fresh(&edge.to)
            .is_some_and(|seen| !seen.retained && seen.meets(edge.condition, revision))
    }

    /// Closes a reference: from the observation, or while that is too old, from what the write itself has answered.
    pub fn output(&self, id: &ResourceId, output: &str) -> Option<Value> {
        let shown = self.fresh(id).and_then(|seen| seen.outputs.get(output));
        let answered = || self.writes.by_id.get(id)?.accepted.as_ref()?.outputs.get(output);
        shown.or_else(answered).cloned()
    }

    /// Whether everything desired is as far as it shall come, and stays.
    pub fn is_settled(&self) -> bool {
        let mut resources = self.goal.resources.values();
        let awaited = self.is_operated_on && !Mutant::OperationsAreNotAwaited.is_on();
        !awaited && resources.all(|resource| self.is_resource_settled(resource))
    }

    fn is_resource_settled(&self, resource: &Resource) -> bool {
        match self.fresh(&resource.id) {
            Some(seen) if resource.awaited && !Mutant::StartingIsReady.is_on() => {
                seen.meets(EdgeCondition::Ready, resource.revision.as_deref())
            }
            Some(seen) => seen.state != ResourceState::Deleting,
            None => !resource.awaited,
        }
    }

    /// Whether nothing keeps the goal from being reached but pauses that are `wanted`; `pending` tells what is still to be
    /// written to.
    pub fn is_paused(&self, pending: impl Fn(&ResourceId) -> bool, wanted: impl Fn(Pause) -> bool) -> bool {
        let unsettled = |resource: &&Resource| !pending(&resource.id) && !self.is_resource_settled(resource);
        let mut left = self.goal.resources.values().filter(unsettled).peekable();
        left.peek().is_some() && left.all(|resource| self.pause(resource).is_some_and(&wanted))
    }

    /// Whether something goes on with the next write, and nothing is about to be written to it.
    pub fn goes_on(&self, pending: impl Fn(&ResourceId) -> bool) -> bool {
        let mut resources = self.goal.resources.keys();
        resources.any(|id| !pending(id) && self.is_to_go_on(id))
    }

    /// Whether its next write is a step of its rollout.
    pub fn is_to_go_on(&self, id: &ResourceId) -> bool {
        let resource = self.goal.resources.get(id);
        resource.and_then(|resource| self.pause(resource)) == Some(Pause::Over)
    }

    fn pause(&self, resource: &Resource) -> Option<Pause> {
        let seen = self.fresh(&resource.id)?;
        seen.pause().filter(|_| seen.revision == resource.revision)
    }

    /// Whether a read that shows what is written shows it by this write: the last observation differs, by what it says or by
    /// its generation, and this run has not written it before. What is gone back to, or put back after somebody has changed it,
    /// was there a moment ago.
    pub fn is_told_from(&self, written: &Resource, generation: u64, shape: &dyn Shape) -> bool {
        let is_first = !self.writes.was_taken(&written.id) || Mutant::WhatIsWrittenAgainIsBelieved.is_on();
        let shown = self.shown(&written.id).filter(|seen| !seen.retained);
        is_first && shown.is_none_or(|seen| is_before(seen, generation) || !shape.diff(written, seen).is_empty())
    }

    /// Whether this run has deleted it and it is still on its way out: it needs no second delete.
    pub fn is_draining(&self, id: &ResourceId) -> bool {
        let leaving = self.shown(id).is_some_and(|seen| seen.state == ResourceState::Deleting);
        leaving && self.writes.was_taken(id)
    }

    /// Keeps in mind what the observation shows that may not be made twice: a later one may be older.
    pub fn remember_shown(&mut self, now: Timestamp) {
        let once = self
            .goal
            .resources
            .values()
            .filter(|resource| !resource.create_is_idempotent);
        let shown = once.filter(|resource| self.shown(&resource.id).is_some_and(|seen| !seen.retained));
        let shown: Vec<_> = shown.map(|resource| (resource.id.clone(), now)).collect();
        self.shown_at.extend(shown);
    }

    /// Whether an observation before the last one has shown it, so short a time ago that the last may be the older one.
    pub fn was_shown_lately(&self, id: &ResourceId, lag: Duration) -> bool {
        let shown = self.shown_at.get(id);
        shown.is_some_and(|at| self.asked() < at.plus(lag))
    }

    /// Whether something desired is on its way out: until it is gone it can be neither changed nor made.
    pub fn is_something_leaving(&self) -> bool {
        let leaving = |id: &ResourceId| self.shown(id).is_some_and(|seen| seen.state == ResourceState::Deleting);
        self.goal.resources.keys().any(leaving) && !Mutant::LeavingObjectsAreUpdated.is_on()
    }

    /// Whether it is there in another revision than the one desired.
    pub fn is_another(&self, resource: &Resource) -> bool {
        let seen = self.fresh(&resource.id).filter(|seen| !seen.retained);
        resource.revision.is_some() && seen.is_some_and(|seen| seen.revision != resource.revision)
    }

    /// Whether something desired is not there at all.
    pub fn is_something_missing(&self) -> bool {
        self.goal.resources.keys().any(|id| self.is_gone(id))
    }

    /// A plan begins: what has failed already has time to heal.
    pub fn excuse_failures(&mut self) {
        let failed = self
            .goal
            .resources
            .values()
            .filter(|resource| self.current_failure(resource).is_some());
        self.excused = failed.map(|resource| resource.id.clone()).collect();
    }

    /// What is seen not to have failed, or was written to, is excused no longer.
    pub fn forget_excuses(&mut self) {
        let mut excused = std::mem::take(&mut self.excused);
        excused.retain(|id| {
            let resource = self.goal.resources.get(id);
            let written = self.writes.by_id.contains_key(id);
            !written && resource.is_some_and(|resource| self.current_failure(resource).is_some())
        });
        self.excused = excused;
    }

    fn current_failure(&self, resource: &Resource) -> Option<&Failure> {
        let seen = self.fresh(&resource.id)?;
        let current = resource.revision.is_none() || seen.revision == resource.revision;
        let counted = current && !Mutant::PatienceHasNoEnd.is_on();
        seen.failure().filter(|_| counted)
    }

    /// What has failed for good in the revision that is wanted; `pending` tells what is still to be written to, whose
    /// failure is an old one. So may be that of what was written within the `lag` of reads.
    pub fn failure(&self, pending: impl Fn(&ResourceId) -> bool, lag: Duration) -> Option<Failure> {
        let recent: BTreeSet<&ResourceId> = self.writes.recent(lag, self.asked()).map(|(id, _)| id).collect();
        let passing = |id: &ResourceId| pending(id) || recent.contains(id) || self.excused.contains(id);
        let passing = |id: &ResourceId| passing(id) && !Mutant::OldFailuresCount.is_on();
        let mut candidates = self.goal.resources.values().filter(|resource| !passing(&resource.id));
        candidates.find_map(|resource| {
            let failure = self.current_failure(resource)?;
            Some(Failure {
                message: format!("{}: {}", resource.id, failure.message),
                ..failure.clone()
            })
        })
    }

    /// What is not settled yet, for the user who has waited too long.
    pub fn unsettled(&self) -> Vec<String> {
        let unsettled = self
            .goal
            .resources
            .values()
            .filter(|resource| !self.is_resource_settled(resource));
        unsettled
            .map(|resource| match self.shown(&resource.id).map(|seen| &seen.state) {
                Some(ResourceState::Progressing { message, .. }) => format!("{} ({message})", resource.id),
                Some(ResourceState::Failed { failure }) => format!("{} ({})", resource.id, failure.message),
                _ => resource.id.to_string(),
            })
            .collect()
    }

    fn shown(&self, id: &ResourceId) -> Option<&ObservedResource> {
        self.seen.as_ref()?.observation.resources.get(id)
    }

    fn is_fresh(&self, id: &ResourceId) -> bool {
        let written = self.writes.by_id.get(id).map_or(0, |write| write.at);
        let seen = self.seen.as_ref();
        seen.is_some_and(|seen| seen.answered >= written && !seen.behind.contains(id))
    }
}

/// Whether it is shown as an earlier generation left it.
fn is_before(seen: &ObservedResource, generation: u64) -> bool {
    matches!(seen.ownership, Ownership::Ours { generation: shown } if shown < generation)
}

/// A step as history tells it.
fn line(step: &Step) -> String {
    let verb = format!("{:?}", step.verb).to_lowercase();
    let fields: Vec<String> = step.changes.iter().map(changed).collect();
    match fields.is_empty() {
        true => format!("{verb} {}", step.id),
        false => format!("{verb} {}: {}", step.id, fields.join(", ")),
    }
}

/// `replicas 1 -> 2` where both values are short; what a user may have written a secret into is named only.
fn changed(change: &FieldChange) -> String {
    let words = |value: &Option<Value>| match value {
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(Value::Bool(yes)) => Some(yes.to_string()),
        Some(Value::String(text)) if text.len() <= 40 => Some(text.clone()),
        _ => None,
    };
    let private = ["env", "files", "command", "args"];
    let told = !change.field.split(['.', '[']).any(|part| private.contains(&part));
    match (words(&change.old), words(&change.new)) {
        (Some(old), Some(new)) if told => format!("{} {old} -> {new}", change.field),
        _ => change.field.clone(),
    }
}
