//! A plan that was kept to be carried out later, and what speaks against that once the world has moved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::text::{change_line, word};
use super::{FieldChange, Plan, Step, field_changes};
use crate::observation::Observation;
use crate::resource::{Open, ResourceId, Resources, is_closed};

/// A plan, and what it was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedPlan {
    pub plan: Plan,
    /// Fingerprints of what the target showed.
    pub seen: BTreeMap<ResourceId, String>,
    /// Whether its generation had begun before.
    pub begun: bool,
}

impl SavedPlan {
    pub fn of(plan: Plan, observed: &Observation, begun: bool) -> Self {
        Self {
            seen: observed.fingerprints(),
            plan,
            begun,
        }
    }

    /// How `now`, the plan as it would be made today towards `desired`, departs from this one: a line for each difference,
    /// none if it may be carried out. What was open in the saved plan may have become anything, or nothing. With `begun`,
    /// its generation has begun by now: what the plan has done itself is no difference.
    pub fn differences(&self, now: &Plan, desired: &Resources, observed: &Observation, begun: bool) -> Vec<String> {
        if self.plan.scope != now.scope {
            return vec!["it was made for another app, target, account or source".to_string()];
        }
        let mut lines = self.not_planned(now);
        lines.extend(self.plan.steps.iter().flat_map(|saved| departures(saved, now, desired)));
        if self.begun || !begun {
            lines.extend(self.not_needed(now));
            lines.extend(self.moved(now, observed));
        }
        lines
    }

    fn not_planned(&self, now: &Plan) -> Vec<String> {
        let new = now.steps.iter().filter(|step| find(&self.plan, step).is_none());
        new.map(|step| format!("to {} {} was not planned", word(step), step.id))
            .collect()
    }

    fn not_needed(&self, now: &Plan) -> Vec<String> {
        let gone = |saved: &&Step| !is_open(saved) && find(now, saved).is_none();
        let gone = self.plan.steps.iter().filter(gone);
        gone.map(|step| format!("to {} {} is not needed any more", word(step), step.id))
            .collect()
    }

    /// What has come and is as it shall be, such as an image that was built meanwhile, is in nobody's way.
    fn moved(&self, now: &Plan, observed: &Observation) -> Vec<String> {
        let seen = observed.fingerprints();
        let known = self.seen.iter().filter_map(|(id, print)| match seen.get(id) {
            None => Some(format!("{id} has gone from the target")),
            Some(other) if other != print => Some(format!("{id} has changed at the target")),
            Some(_) => None,
        });
        let new = seen
            .keys()
            .filter(|id| !self.seen.contains_key(id) && !now.unchanged.contains(id));
        let new = new.map(|id| format!("{id} has come to the target"));
        known.chain(new).collect()
    }
}

/// How what a step brings, now or after it was taken, is not what was planned.
fn departures(saved: &Step, now: &Plan, desired: &Resources) -> Vec<String> {
    let step = find(now, saved);
    let wanted = desired.get(&saved.id).map(|resource| &resource.body);
    let body = step.map_or(wanted, |step| step.body.as_ref());
    let changes = match (&saved.body, body) {
        (Some(saved), Some(now)) => field_changes(saved, now),
        _ => Vec::new(),
    };
    let is_open = |value: &Option<Value>| value.as_ref().and_then(Open::of).is_some();
    let known = |change: &&FieldChange| !is_open(&change.old) && !is_open(&change.new);
    let changes = changes.iter().filter(known).map(change_line);
    let costs = step.filter(|step| step.data_loss != saved.data_loss || step.downtime != saved.downtime);
    let costs = costs.map(|_| "what it costs is not what was planned".to_string());
    changes
        .chain(costs)
        .map(|line| format!("to {} {}: {line}", word(saved), saved.id))
        .collect()
}

fn find<'a>(plan: &'a Plan, wanted: &Step) -> Option<&'a Step> {
    let is_same = |step: &&Step| (step.stage, step.verb, &step.id) == (wanted.stage, wanted.verb, &wanted.id);
    plan.steps.iter().find(is_same)
}

fn is_open(step: &Step) -> bool {
    step.body.as_ref().is_some_and(|body| !is_closed(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::OwnerId;
    use crate::observation::{ObservedResource, Ownership, ResourceState};
    use crate::plan::{Scope, Stage, Verb};
    use crate::resource::digest_or_open;
    use serde_json::json;

    fn id(name: &str) -> ResourceId {
        ResourceId::new("Service", name)
    }

    fn step(verb: Verb, name: &str, body: Option<Value>) -> Step {
        Step {
            number: 1,
            stage: Stage::Apply,
            verb,
            id: id(name),
            changes: vec![],
            needs: vec![],
            edges: vec![],
            body,
            revision: None,
            etag: None,
            replacement: false,
            downtime: None,
            data_loss: None,
            origin: None,
            needs_intent: false,
        }
    }

    fn plan(steps: Vec<Step>) -> Plan {
        Plan {
            scope: Scope {
                namespace: "default".into(),
                app: "shop".into(),
                target: "local".into(),
                owner: OwnerId::from_tag("ours"),
                source: "file".into(),
            },
            generation: 2,
            observed: String::new(),
            steps,
            unchanged: vec![],
            kept: vec![],
            degraded: vec![],
            problems: vec![],
            approval: vec![],
        }
    }

    fn target(shown: &[(&str, Value)]) -> Observation {
        let resource = |(name, body): &(&str, Value)| ObservedResource {
            id: id(name),
            native_id: (*name).to_string(),
            etag: None,
            body: body.clone(),
            ownership: Ownership::Ours { generation: 1 },
            state: ResourceState::Ready,
            revision: None,
            outputs: BTreeMap::new(),
            depends_on: vec![],
            claims: vec![],
            holds_data: false,
            retained: false,
            replicas: None,
        };
        let resources = shown.iter().map(|one| (id(one.0), resource(one))).collect();
        Observation {
            resources,
            complete: true,
            held: None,
            is_told: false,
        }
    }

    #[test]
    fn what_departs_from_a_saved_plan_is_said() {
        let image = |image: Value| Some(json!({ "image": image, "replicas": 2 }));
        let update = |value: Value| vec![step(Verb::Update, "web", image(value))];
        let then = target(&[("web", json!({"image": "a"}))]);
        let open = digest_or_open(None);
        let open = SavedPlan::of(plan(update(open)), &then, false);
        let closed = SavedPlan::of(plan(update(json!("b"))), &then, false);
        let other = target(&[("web", json!({"image": "c"})), ("cache", json!({}))]);
        let mut costly = update(json!("b"));
        costly[0].data_loss = Some("all of it".into());
        let cases = [
            (&closed, plan(update(json!("b"))), &then, false, vec![], "the same"),
            (
                &open,
                plan(update(json!("b"))),
                &then,
                false,
                vec![],
                "what was open is known",
            ),
            (&open, plan(vec![]), &then, false, vec![], "and may be what is there"),
            (
                &closed,
                plan(update(json!("d"))),
                &then,
                false,
                vec!["to update Service/web: ~ image: b -> d"],
                "another image",
            ),
            (
                &closed,
                plan(vec![]),
                &then,
                false,
                vec!["to update Service/web is not needed any more"],
                "done by somebody else",
            ),
            (&closed, plan(vec![]), &other, true, vec![], "done by itself"),
            (
                &closed,
                plan(vec![step(Verb::Delete, "cache", None)]),
                &then,
                true,
                vec!["to delete Service/cache was not planned"],
                "even half way",
            ),
            (
                &closed,
                plan(update(json!("b"))),
                &other,
                false,
                vec![
                    "Service/web has changed at the target",
                    "Service/cache has come to the target",
                ],
                "the same steps, from another world",
            ),
            (
                &closed,
                plan(costly),
                &then,
                false,
                vec!["to update Service/web: what it costs is not what was planned"],
                "at another price",
            ),
        ];
        for (saved, now, observed, begun, expected, reason) in cases {
            assert_eq!(
                saved.differences(&now, &Resources::new(), observed, begun),
                expected,
                "{reason}"
            );
        }
    }
}
