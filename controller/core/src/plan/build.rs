//! From resources and an observation to a plan.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::order::{DraftStep, numbered};
use super::{FieldChange, Kept, Plan, Problem, Scope, Stage, Step, Verb};
use crate::mutant::Mutant;
use crate::observation::{Observation, ObservedResource, Ownership, ResourceState};
use crate::resolve::REVISION_VARIABLE;
use crate::resource::{Resource, ResourceId, Resources, close_references, is_closed};

/// All that a plan is a function of.
pub struct PlanInput<'a> {
    pub scope: &'a Scope,
    pub generation: u64,
    pub desired: &'a Resources,
    pub observed: &'a Observation,
    /// The provider's `diff`: it knows the platform's defaults.
    pub diff: &'a dyn Fn(&Resource, &ObservedResource) -> Vec<FieldChange>,
    pub options: PlanOptions,
}

/// What the user allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlanOptions {
    /// Whether the whole app is to go: what holds data is then kept without being a problem.
    pub delete: bool,
    /// `--allow-data-loss`, or `--volumes` on a delete.
    pub allow_data_loss: bool,
    /// Typed by the user (`apply` again, `retry`): what has failed in the wanted revision is tried again. The loop never
    /// says so, but what has been lost comes back without.
    pub retry: bool,
    /// `--take-over`: resources of others under our names become ours.
    pub take_over: bool,
    /// `--prune-threshold`: deletes above this number ask first, unless the whole app is deleted.
    pub prune_threshold: Option<usize>,
    /// Said by the target: every step asks first, unless the whole app is deleted.
    pub ask_always: bool,
    /// Said by a controller: fields that a manifest lets others change stay as they are found.
    pub leave_observed: bool,
}

/// Where the user names none.
const PRUNE_THRESHOLD: usize = 10;

/// Compares and decides. Never fails: what forbids a plan is listed in it.
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let mut draft = Draft::default();
    if !input.observed.complete && !Mutant::PartialReadsAreWhole.is_on() {
        draft.problems.push(partial_read());
    } else {
        draft.creates_and_updates(input);
        draft.deletes(input);
    }
    let approval = draft.approvals(input);
    Plan {
        scope: input.scope.clone(),
        generation: input.generation,
        observed: input.observed.fingerprint(),
        steps: numbered(draft.steps),
        unchanged: draft.unchanged,
        kept: draft.kept,
        degraded: Vec::new(),
        problems: draft.problems,
        approval,
    }
}

#[derive(Default)]
struct Draft {
    steps: Vec<DraftStep>,
    unchanged: Vec<ResourceId>,
    kept: Vec<Kept>,
    problems: Vec<Problem>,
    /// Observed resources whose delete has to make room for a create.
    make_room: BTreeSet<ResourceId>,
}

impl Draft {
    fn creates_and_updates(&mut self, input: &PlanInput<'_>) {
        for resource in input.desired.values() {
            let Some(observed) = input.observed.resources.get(&resource.id) else {
                self.create(input, resource);
                continue;
            };
            if observed.retained {
                self.create(input, resource);
                continue;
            }
            if let Some(problem) = conflict(resource, observed, input.options) {
                self.problems.push(problem);
                continue;
            }
            let resource = &*closed(resource, input.observed);
            let mut changes = (input.diff)(resource, observed);
            forget_the_told_revision(&mut changes, resource, observed);
            let failure = observed.failure();
            let tried_again = failure.is_some_and(|failure| failure.lost || input.options.retry)
                || Mutant::JobsRunAgain.is_on() && observed.state == ResourceState::Completed;
            let becomes_ours = !matches!(observed.ownership, Ownership::Ours { .. });
            match changes.iter().any(|change| change.replace) {
                _ if changes.is_empty() && !tried_again && !becomes_ours => self.unchanged.push(resource.id.clone()),
                _ if loses_data(&changes) && !input.options.allow_data_loss => {
                    let origin = Some(resource.origin.clone());
                    self.problems.push(data_loss_problem(&resource.id, origin));
                }
                false => self.update(input, resource, observed, changes),
                true => self.replace(input, resource, observed, changes),
            }
        }
    }

    fn create(&mut self, input: &PlanInput<'_>, resource: &Resource) {
        let step = self.create_step(input, resource);
        self.push(input, resource, step);
    }

    fn create_step(&mut self, input: &PlanInput<'_>, resource: &Resource) -> Step {
        let mut step = step_for(resource, Verb::Create);
        step.needs_intent = !resource.create_is_idempotent;
        step.downtime = self.room_for(input, resource);
        step
    }

    fn update(
        &mut self,
        input: &PlanInput<'_>,
        resource: &Resource,
        observed: &ObservedResource,
        changes: Vec<FieldChange>,
    ) {
        let mut step = step_for(resource, Verb::Update);
        step.etag.clone_from(&observed.etag);
        let room = self.room_for(input, resource);
        step.downtime = room.or_else(|| changes.iter().find_map(|change| change.downtime.clone()));
        step.data_loss = changes.iter().find_map(|change| change.data_loss.clone());
        step.changes = changes;
        self.push(input, resource, step);
    }

    /// Lets what is to go and holds what `resource` claims go first. Answers the downtime that this means.
    fn room_for(&mut self, input: &PlanInput<'_>, resource: &Resource) -> Option<String> {
        let holders: Vec<&ResourceId> = holders_of(input, resource).map(|holder| &holder.id).collect();
        if holders.is_empty() {
            return None;
        }
        let names: Vec<String> = holders.iter().map(ToString::to_string).collect();
        self.make_room.extend(holders.into_iter().cloned());
        Some(format!(
            "{} is held by {} until that is deleted",
            resource.claims.join(", "),
            names.join(", ")
        ))
    }

    fn replace(
        &mut self,
        input: &PlanInput<'_>,
        resource: &Resource,
        observed: &ObservedResource,
        changes: Vec<FieldChange>,
    ) {
        let mut delete = delete_step(observed, Stage::MakeRoom);
        delete.replacement = true;
        delete.downtime = changes.iter().find_map(|change| change.downtime.clone());
        delete.data_loss = changes.iter().find_map(|change| change.data_loss.clone());
        delete.changes = changes;
        self.steps.push(DraftStep {
            step: delete,
            needs: Vec::new(),
        });
        let mut create = self.create_step(input, resource);
        create.replacement = true;
        self.push(input, resource, create);
    }

    /// Within the apply stage a step comes after the steps of all that it has edges to, and after the updates by which
    /// others give up what it claims.
    fn push(&mut self, input: &PlanInput<'_>, resource: &Resource, step: Step) {
        let edges = resource.edges.iter().map(|edge| &edge.to);
        let needs = edges
            .flat_map(|to| [(Verb::Create, to.clone()), (Verb::Update, to.clone())])
            .chain(givers_of(input, resource).map(|giver| (Verb::Update, giver.clone())))
            .collect();
        self.steps.push(DraftStep { step, needs });
    }

    fn deletes(&mut self, input: &PlanInput<'_>) {
        for observed in input.observed.resources.values() {
            if input.desired.contains_key(&observed.id) {
                continue;
            }
            match &observed.ownership {
                Ownership::Foreign => {}
                _ if Mutant::DeletesAreForWorkloads.is_on() && observed.revision.is_none() => {}
                _ if observed.retained && !input.options.delete => {}
                Ownership::OtherSource { source } if !input.options.take_over => self.kept.push(Kept {
                    id: observed.id.clone(),
                    because: format!("it belongs to the source `{source}`"),
                }),
                _ => self.delete(input, observed),
            }
        }
    }

    fn delete(&mut self, input: &PlanInput<'_>, observed: &ObservedResource) {
        if observed.holds_data && !input.options.allow_data_loss && !Mutant::VolumesGoInPassing.is_on() {
            match input.options.delete {
                true => self.kept.push(Kept {
                    id: observed.id.clone(),
                    because: "it holds data".into(),
                }),
                false => self.problems.push(data_loss_problem(&observed.id, None)),
            }
            return;
        }
        let stage = if self.make_room.contains(&observed.id) {
            Stage::MakeRoom
        } else {
            Stage::Prune
        };
        let mut step = delete_step(observed, stage);
        if observed.holds_data {
            step.data_loss = Some("all data in it is lost".into());
        }
        // Whoever depends on this one goes before it.
        let needs = input
            .observed
            .resources
            .values()
            .filter(|other| other.depends_on.contains(&observed.id))
            .map(|other| (Verb::Delete, other.id.clone()))
            .collect();
        self.steps.push(DraftStep { step, needs });
    }

    fn approvals(&self, input: &PlanInput<'_>) -> Vec<String> {
        let deletes = self
            .steps
            .iter()
            .filter(|draft| draft.step.verb == Verb::Delete)
            .count();
        let threshold = input.options.prune_threshold.unwrap_or(PRUNE_THRESHOLD);
        if input.options.delete || self.steps.is_empty() {
            return Vec::new();
        }
        let many =
            (deletes > threshold).then(|| format!("it deletes {deletes} resources, more than {threshold} at once"));
        let target = &input.scope.target;
        let any = input
            .options
            .ask_always
            .then(|| format!("the target `{target}` wants a yes to every change"));
        many.into_iter().chain(any).collect()
    }
}

/// A container's variable with its revision follows from what else has changed, and is no change that anybody has made.
fn forget_the_told_revision(changes: &mut Vec<FieldChange>, resource: &Resource, observed: &ObservedResource) {
    let is = |value: &Option<Value>, revision: &Option<String>| {
        value.as_ref().and_then(Value::as_str) == revision.as_deref()
    };
    let follows = |change: &FieldChange| {
        let name = change.field.rsplit('.').next();
        let told = is(&change.old, &observed.revision) && is(&change.new, &resource.revision);
        name == Some(REVISION_VARIABLE) && told
    };
    if !changes.iter().all(follows) {
        changes.retain(|change| !follows(change));
    }
}

fn loses_data(changes: &[FieldChange]) -> bool {
    changes.iter().any(|change| change.data_loss.is_some())
}

/// The resource with every reference closed that the observation can answer: an output known from an earlier apply is
/// no difference.
fn closed<'a>(resource: &'a Resource, observed: &Observation) -> Cow<'a, Resource> {
    if is_closed(&resource.body) {
        return Cow::Borrowed(resource);
    }
    let lookup = |id: &ResourceId, output: &str| observed.resources.get(id)?.outputs.get(output).cloned();
    Cow::Owned(Resource {
        body: close_references(&resource.body, &lookup),
        ..resource.clone()
    })
}

fn step_for(resource: &Resource, verb: Verb) -> Step {
    Step {
        number: 0,
        stage: Stage::Apply,
        verb,
        id: resource.id.clone(),
        changes: Vec::new(),
        needs: Vec::new(),
        edges: resource.edges.clone(),
        body: Some(resource.body.clone()),
        revision: resource.revision.clone(),
        etag: None,
        replacement: false,
        downtime: None,
        data_loss: None,
        origin: Some(resource.origin.clone()),
        needs_intent: false,
    }
}

fn delete_step(observed: &ObservedResource, stage: Stage) -> Step {
    Step {
        number: 0,
        stage,
        verb: Verb::Delete,
        id: observed.id.clone(),
        changes: Vec::new(),
        needs: Vec::new(),
        edges: Vec::new(),
        body: None,
        revision: observed.revision.clone(),
        etag: observed.etag.clone(),
        replacement: false,
        downtime: None,
        data_loss: None,
        origin: None,
        needs_intent: false,
    }
}

/// Observed resources of ours, no longer desired, that hold what `resource` claims.
fn holders_of<'a>(input: &'a PlanInput<'_>, resource: &'a Resource) -> impl Iterator<Item = &'a ObservedResource> {
    input.observed.resources.values().filter(|observed| {
        !input.desired.contains_key(&observed.id)
            && matches!(observed.ownership, Ownership::Ours { .. })
            && observed.claims.iter().any(|claim| resource.claims.contains(claim))
    })
}

/// Desired resources that hold what `resource` claims, and will not once they are updated.
fn givers_of<'a>(input: &'a PlanInput<'_>, resource: &'a Resource) -> impl Iterator<Item = &'a ResourceId> {
    let others = input.desired.values().filter(|other| other.id != resource.id);
    others
        .filter(|other| {
            let held = input.observed.resources.get(&other.id).map(|seen| &seen.claims);
            let given_up = |claim: &String| !other.claims.contains(claim) && resource.claims.contains(claim);
            held.is_some_and(|held| held.iter().any(given_up))
        })
        .map(|other| &other.id)
}

fn conflict(resource: &Resource, observed: &ObservedResource, options: PlanOptions) -> Option<Problem> {
    let whose = match &observed.ownership {
        Ownership::Ours { .. } => return None,
        _ if options.take_over || Mutant::ForeignObjectsAreTaken.is_on() => return None,
        Ownership::OtherSource { source } => format!("belongs to the source `{source}`"),
        Ownership::Foreign => "exists and was not made by Portolan".to_string(),
    };
    Some(Problem {
        code: "Conflict".into(),
        message: format!("{} {whose}", resource.id),
        origin: Some(resource.origin.clone()),
        hint: Some("remove it, choose another name, or make it ours with --take-over".into()),
    })
}

fn data_loss_problem(id: &ResourceId, origin: Option<String>) -> Problem {
    Problem {
        code: "DataLoss".into(),
        message: format!("{id} holds data that would be lost"),
        origin,
        hint: Some("put it back into the manifest, or say --allow-data-loss".into()),
    }
}

fn partial_read() -> Problem {
    Problem {
        code: "PartialRead".into(),
        message: "the target did not show everything, so nothing can be told from what is missing".into(),
        origin: None,
        hint: Some("try again; `portolan status` shows what the target answered".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::name::OwnerId;
    use crate::resource::{Edge, EdgeCondition, KnownAfter, Open};
    use serde_json::json;

    fn scope() -> Scope {
        Scope {
            namespace: "default".into(),
            app: "shop".into(),
            target: "local".into(),
            owner: OwnerId::derive("default", "shop", "local", "here"),
            source: "file".into(),
        }
    }

    fn id(text: &str) -> ResourceId {
        text.parse().unwrap()
    }

    fn desired(name: &str, body: Value, edges: &[&str]) -> Resource {
        Resource {
            id: id(name),
            body,
            edges: edges
                .iter()
                .map(|to| Edge {
                    to: id(to),
                    condition: EdgeCondition::Ready,
                })
                .collect(),
            origin: format!("/spec/{name}"),
            holds_data: name.starts_with("Volume/"),
            create_is_idempotent: true,
            awaited: true,
            claims: body_claims(name),
            revision: None,
        }
    }

    fn body_claims(name: &str) -> Vec<String> {
        if name.contains("8080") {
            vec!["host-port/8080".into()]
        } else {
            Vec::new()
        }
    }

    fn observed(name: &str, body: Value, depends_on: &[&str]) -> ObservedResource {
        ObservedResource {
            id: id(name),
            native_id: name.into(),
            etag: None,
            body,
            ownership: Ownership::Ours { generation: 1 },
            state: ResourceState::Ready,
            revision: None,
            outputs: BTreeMap::from([("path".to_string(), json!("/here"))]),
            depends_on: depends_on.iter().map(|to| id(to)).collect(),
            claims: body_claims(name),
            holds_data: name.starts_with("Volume/"),
            retained: false,
            replicas: None,
        }
    }

    fn retained(name: &str) -> ObservedResource {
        ObservedResource {
            retained: true,
            ..observed(name, json!({"v": 1}), &[])
        }
    }

    fn differs(resource: &Resource, seen: &ObservedResource) -> Vec<FieldChange> {
        if resource.body == seen.body {
            return Vec::new();
        }
        let mut change = FieldChange::in_place("body", Some(seen.body.clone()), Some(resource.body.clone()));
        change.replace = resource.body.get("replace").is_some();
        vec![change]
    }

    /// The plan as one line a step: `stage verb id <- needs`, then kept, problems and approvals.
    fn check(want: &[Resource], have: &[ObservedResource], options: PlanOptions, complete: bool) -> String {
        let desired: Resources = want
            .iter()
            .map(|resource| (resource.id.clone(), resource.clone()))
            .collect();
        let resources = have.iter().map(|seen| (seen.id.clone(), seen.clone())).collect();
        let observed = Observation {
            resources,
            complete,
            held: None,
            is_told: false,
        };
        let plan = plan(&PlanInput {
            scope: &scope(),
            generation: 2,
            desired: &desired,
            observed: &observed,
            diff: &differs,
            options,
        });
        let mut lines: Vec<String> = plan
            .steps
            .iter()
            .map(|step| {
                format!(
                    "{}. {:?} {:?} {} <- {:?}",
                    step.number, step.stage, step.verb, step.id, step.needs
                )
            })
            .collect();
        lines.extend(plan.kept.iter().map(|kept| format!("keep {}", kept.id)));
        lines.extend(plan.problems.iter().map(|problem| format!("problem {}", problem.code)));
        lines.extend(plan.approval.iter().map(|_| "approval".to_string()));
        lines.join("; ")
    }

    #[test]
    fn the_revision_that_a_container_is_told_is_no_change_of_its_own() {
        let told = |old: &str, new: Value| FieldChange::in_place("env.PORTOLAN_REVISION", Some(json!(old)), Some(new));
        let image = || FieldChange::in_place("image", Some(json!("a")), Some(json!("b")));
        let after_build = || Open::Unknown(KnownAfter::AfterBuild).into_value();
        for (reason, revision, mut changes, left) in [
            (
                "it follows",
                Some("r2"),
                vec![told("r1", json!("r2")), image()],
                vec!["image"],
            ),
            (
                "from a build, too",
                None,
                vec![told("r1", after_build()), image()],
                vec!["image"],
            ),
            (
                "somebody has changed it at the target",
                Some("r2"),
                vec![told("mine", json!("r2")), image()],
                vec!["env.PORTOLAN_REVISION", "image"],
            ),
            (
                "the manifest says another",
                Some("r2"),
                vec![told("r1", json!("blue")), image()],
                vec!["env.PORTOLAN_REVISION", "image"],
            ),
            (
                "a change that shows nowhere else is still one",
                Some("r2"),
                vec![told("r1", json!("r2"))],
                vec!["env.PORTOLAN_REVISION"],
            ),
        ] {
            let mut wanted = desired("Service/web", json!({}), &[]);
            wanted.revision = revision.map(String::from);
            let mut seen = observed("Service/web", json!({}), &[]);
            seen.revision = Some("r1".into());
            forget_the_told_revision(&mut changes, &wanted, &seen);
            let fields: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
            assert_eq!(fields, left, "{reason}");
        }
    }

    #[test]
    fn plans_decide() {
        let none = PlanOptions::default();
        let delete = PlanOptions { delete: true, ..none };
        let lose = PlanOptions {
            allow_data_loss: true,
            ..none
        };
        let ask = PlanOptions {
            ask_always: true,
            ..none
        };
        let one = || json!({"v": 1});
        let open = || json!({"path": Open::Ref { resource: id("Volume/data"), output: "path".into() }.into_value()});
        type Case = (
            &'static str,
            Vec<Resource>,
            Vec<ObservedResource>,
            PlanOptions,
            bool,
            &'static str,
        );
        let cases: Vec<Case> = vec![
            (
                "what an earlier delete kept is taken up again, and is neither lost nor in the way",
                vec![desired("Volume/data", one(), &[])],
                vec![retained("Volume/data"), retained("Volume/other")],
                none,
                true,
                "1. Apply Create Volume/data <- []",
            ),
            (
                "nothing there: creates follow edges, not names",
                vec![desired("A/web", one(), &["Z/db"]), desired("Z/db", one(), &[])],
                vec![],
                none,
                true,
                "1. Apply Create Z/db <- []; 2. Apply Create A/web <- [1]",
            ),
            (
                "the same is no step",
                vec![desired("A/web", one(), &[])],
                vec![observed("A/web", one(), &[])],
                none,
                true,
                "",
            ),
            (
                "a reference whose output is known already is no difference",
                vec![desired("A/web", open(), &[]), desired("Volume/data", one(), &[])],
                vec![
                    observed("A/web", json!({"path": "/here"}), &[]),
                    observed("Volume/data", one(), &[]),
                ],
                none,
                true,
                "",
            ),
            (
                "a partial read proves no absence and plans nothing",
                vec![desired("A/web", one(), &[])],
                vec![observed("B/old", one(), &[])],
                none,
                false,
                "problem PartialRead",
            ),
            (
                "a rename with an exclusive claim makes room first",
                vec![desired("A/new8080", one(), &[])],
                vec![observed("A/old8080", one(), &[])],
                none,
                true,
                "1. MakeRoom Delete A/old8080 <- []; 2. Apply Create A/new8080 <- []",
            ),
            (
                "without a claim the new one comes first and the prune last",
                vec![desired("A/new", one(), &[])],
                vec![observed("A/old", one(), &[])],
                none,
                true,
                "1. Apply Create A/new <- []; 2. Prune Delete A/old <- []",
            ),
            (
                "deletes run against dependencies",
                vec![],
                vec![observed("A/net", one(), &[]), observed("B/web", one(), &["A/net"])],
                delete,
                true,
                "1. Prune Delete B/web <- []; 2. Prune Delete A/net <- [1]",
            ),
            (
                "a delete keeps data",
                vec![],
                vec![observed("Volume/data", one(), &[])],
                delete,
                true,
                "keep Volume/data",
            ),
            (
                "an update may not lose data unasked",
                vec![],
                vec![observed("Volume/data", one(), &[])],
                none,
                true,
                "problem DataLoss",
            ),
            (
                "it may when told so",
                vec![],
                vec![observed("Volume/data", one(), &[])],
                lose,
                true,
                "1. Prune Delete Volume/data <- []",
            ),
            (
                "a replacement is a delete and a create",
                vec![desired("A/web", json!({"replace": 1}), &[])],
                vec![observed("A/web", one(), &[])],
                none,
                true,
                "1. MakeRoom Delete A/web <- []; 2. Apply Create A/web <- []",
            ),
            (
                "many deletes ask first",
                vec![],
                (0..11).map(|n| observed(&format!("A/{n}"), one(), &[])).collect(),
                none,
                true,
                "approval",
            ),
            (
                "so does every change of a target that wants it",
                vec![desired("A/web", one(), &[])],
                vec![],
                ask,
                true,
                "approval",
            ),
            (
                "but not what changes nothing",
                vec![desired("A/web", one(), &[])],
                vec![observed("A/web", one(), &[])],
                ask,
                true,
                "",
            ),
        ];
        for (reason, want, have, options, complete, expected) in cases {
            let got = check(&want, &have, options, complete);
            match expected {
                "approval" => assert!(got.ends_with("approval"), "{reason}: {got}"),
                expected => assert_eq!(got, expected, "{reason}"),
            }
        }
    }

    #[test]
    fn what_is_claimed_is_given_up_first() {
        let claim = || vec!["host-port/8080".to_string()];
        let body = |v: u32| json!({"v": v});
        let taker = Resource {
            claims: claim(),
            ..desired("A/taker", body(2), &[])
        };
        let before = observed("A/taker", body(1), &[]);
        let holder = |name: &str| ObservedResource {
            claims: claim(),
            ..observed(name, body(1), &[])
        };
        let none = PlanOptions::default();
        assert_eq!(
            check(
                std::slice::from_ref(&taker),
                &[before.clone(), holder("Z/old")],
                none,
                true
            ),
            "1. MakeRoom Delete Z/old <- []; 2. Apply Update A/taker <- []",
            "by what goes, also for what is there already"
        );
        let giver = desired("Z/giver", body(2), &[]);
        assert_eq!(
            check(&[taker, giver], &[before, holder("Z/giver")], none, true),
            "1. Apply Update Z/giver <- []; 2. Apply Update A/taker <- [1]",
            "by what stays, and needs it no more"
        );
    }

    #[test]
    fn what_failed_is_tried_again_only_when_told() {
        let mut seen = observed("A/web", json!({"v": 1}), &[]);
        let failure = crate::observation::Failure::new("CrashLoopBackOff", "it ended");
        seen.state = ResourceState::Failed { failure };
        let mut lost = seen.clone();
        lost.state = ResourceState::Failed {
            failure: crate::observation::Failure {
                lost: true,
                ..crate::observation::Failure::new("NodeRestarted", "nothing runs any more")
            },
        };
        let want = desired("A/web", json!({"v": 1}), &[]);
        let loops = PlanOptions::default();
        assert_eq!(
            check(std::slice::from_ref(&want), &[lost], loops, true),
            "1. Apply Update A/web <- []",
            "what was lost is put there again"
        );
        let typed = PlanOptions { retry: true, ..loops };
        assert_eq!(
            check(std::slice::from_ref(&want), std::slice::from_ref(&seen), loops, true),
            ""
        );
        assert_eq!(check(&[want], &[seen], typed, true), "1. Apply Update A/web <- []");
    }

    #[test]
    fn others_resources_are_left_alone_until_take_over() {
        let mut seen = observed("A/web", json!({"v": 1}), &[]);
        seen.ownership = Ownership::Foreign;
        let want = desired("A/web", json!({"v": 2}), &[]);
        let none = PlanOptions::default();
        assert_eq!(
            check(std::slice::from_ref(&want), std::slice::from_ref(&seen), none, true),
            "problem Conflict"
        );
        let take_over = PlanOptions {
            take_over: true,
            ..none
        };
        assert_eq!(
            check(&[want], &[seen.clone()], take_over, true),
            "1. Apply Update A/web <- []"
        );
        let same = desired("A/web", json!({"v": 1}), &[]);
        assert_eq!(
            check(&[same], &[seen.clone()], take_over, true),
            "1. Apply Update A/web <- []",
            "nothing differs but its owner"
        );
        assert_eq!(
            check(&[], &[seen.clone()], none, true),
            "",
            "a foreign object is never pruned"
        );
        seen.ownership = Ownership::OtherSource { source: "git".into() };
        assert_eq!(check(&[], &[seen], none, true), "keep A/web");
    }

    #[test]
    fn what_is_open_is_said_in_words() {
        let body = json!({"image": Open::Unknown(KnownAfter::AfterBuild).into_value()});
        let want: Resources = [desired("A/web", body, &[])]
            .into_iter()
            .map(|r| (r.id.clone(), r))
            .collect();
        let observed = Observation {
            complete: true,
            ..Observation::default()
        };
        let input = PlanInput {
            scope: &scope(),
            generation: 1,
            desired: &want,
            observed: &observed,
            diff: &differs,
            options: PlanOptions::default(),
        };
        let text = crate::plan::human(&plan(&input));
        assert_eq!(
            text,
            "default/shop on local, generation 1\n  + create A/web\n      image: (known after build)\n1 to create, 0 to update, 0 to delete, 0 unchanged\n"
        );
    }
}
