//! Where the machine is heading: rendered resources, as one generation, and how a plan towards them is made.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portolan_core::capability::{Degraded, limits};
use portolan_core::desired::DesiredState;
use portolan_core::facts::{ContainerPath, Facts, PinnedImage};
use portolan_core::fault::Fault;
use portolan_core::manifest::Drift;
use portolan_core::mutant::Mutant;
use portolan_core::name::hash_of;
use portolan_core::observation::{Failure, Observation, ObservedResource, Ownership};
use portolan_core::plan::{FieldChange, Plan, PlanInput, PlanOptions, Scope, plan};
use portolan_core::resolve::{resolve, scope_of};
use portolan_core::resource::{Resource, ResourceId, Resources};
use portolan_provider_api::Shape;

use super::{Policy, Timestamp};
use crate::journal::{AppRecord, Generation, GenerationKind};
use crate::work::{Wish, Work};

#[derive(Clone, Debug)]
pub struct Goal {
    pub direction: Direction,
    pub kind: GenerationKind,
    /// Over kind and resources.
    pub hash: String,
    /// Settled when the target has been seen; 0 until then.
    pub number: u64,
    pub resources: Arc<Resources>,
    pub images: BTreeMap<ContainerPath, PinnedImage>,
    pub patience: Duration,
    /// Of the manifests that are applied, or rolled back under.
    pub intent: Option<String>,
    /// Fields that others may change, by the origin of their resource.
    pub drift: BTreeMap<String, Drift>,
    /// What the target takes with less than the manifest asks for.
    pub degraded: Vec<Degraded>,
}

/// Whether the goal is what the user wants, or what serves because that has failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Direction {
    Forward,
    /// On the way back to what served before.
    Back {
        failure: Failure,
    },
    /// Back there, and kept so.
    InPlace {
        failure: Failure,
    },
}

impl Goal {
    /// What `work` means, given the facts. Images that these do not hold stay open.
    pub fn of(work: &Work, shape: &dyn Shape, realm: &str, facts: Facts, policy: &Policy) -> Result<Self, Vec<Fault>> {
        if let Some(generation) = &work.generation {
            let applied = Self::applied(generation);
            return Ok(Self {
                number: 0,
                intent: match work.wish {
                    Wish::Rollback { .. } => Some(work.intent()),
                    _ => applied.intent.clone(),
                },
                ..applied
            });
        }
        match work.wish {
            Wish::Apply | Wish::Keep | Wish::Again { .. } | Wish::Rollback { .. } => {
                let limits = limits(shape.capabilities(), &work.app);
                let desired = resolved(work, realm, &facts, limits.impossible)?;
                let resources = shape.render(&desired)?;
                let remarks = shape.remarks(&desired);
                let patience = patience(&desired, policy);
                Ok(Self {
                    intent: Some(work.intent()),
                    drift: drift(work),
                    degraded: limits.degraded.into_iter().chain(remarks).collect(),
                    ..Self::forward(GenerationKind::Apply, resources, facts.images, patience)
                })
            }
            Wish::Delete { .. } => Ok(Self::nothing(policy.patience)),
        }
    }

    fn forward(
        kind: GenerationKind,
        resources: Resources,
        images: BTreeMap<ContainerPath, PinnedImage>,
        patience: Duration,
    ) -> Self {
        Self {
            direction: Direction::Forward,
            kind,
            hash: hash(kind, &resources),
            number: 0,
            resources: Arc::new(resources),
            images,
            patience,
            intent: None,
            drift: BTreeMap::new(),
            degraded: Vec::new(),
        }
    }

    fn nothing(patience: Duration) -> Self {
        Self::forward(GenerationKind::Delete, Resources::new(), BTreeMap::new(), patience)
    }

    /// What was applied, to be looked at.
    pub fn applied(generation: &Generation) -> Self {
        Self {
            direction: Direction::Forward,
            kind: generation.kind,
            hash: generation.hash.clone(),
            number: generation.number,
            resources: generation.resources.clone(),
            images: generation.images.clone(),
            patience: generation.patience,
            intent: generation.intent.clone(),
            drift: generation.drift.clone(),
            degraded: Vec::new(),
        }
    }

    /// What the run before has left at the target; `None` where the journal cannot say, for it came to no end or to a bad
    /// one.
    pub fn left(record: &AppRecord) -> Option<Self> {
        let nothing = || Self::nothing(Duration::ZERO);
        let left = || record.converged.as_deref().map_or_else(nothing, Self::applied);
        record.ended_well().then(left)
    }

    /// Back to a generation that converged, because a later one has failed.
    pub fn back(to: &Generation, failure: Failure) -> Self {
        Self {
            direction: Direction::Back { failure },
            ..Self::applied(to)
        }
    }

    /// What serves in place of a generation that is held.
    pub fn in_place(serving: &Generation, failure: Failure) -> Self {
        Self {
            direction: Direction::InPlace { failure },
            ..Self::applied(serving)
        }
    }

    pub fn is_forward(&self) -> bool {
        self.direction == Direction::Forward
    }

    /// Every resource that a look at the target has to tell about.
    pub fn wanted(&self) -> Vec<ResourceId> {
        self.resources.keys().cloned().collect()
    }

    /// Plans from what was seen, and settles the number of the generation.
    pub fn plan(
        &mut self,
        scope: &Scope,
        record: &AppRecord,
        observed: &Observation,
        shape: &dyn Shape,
        options: PlanOptions,
    ) -> Plan {
        let options = match self.direction {
            Direction::Forward => options,
            // What a rollback finds too much, and what holds data in it, was made by the generation that failed:
            // nobody is asked, and data is kept.
            Direction::Back { .. } => PlanOptions {
                delete: true,
                retry: true,
                ..PlanOptions::default()
            },
            Direction::InPlace { .. } => PlanOptions {
                delete: true,
                leave_observed: options.leave_observed,
                ..PlanOptions::default()
            },
        };
        let ordered = with_applied_needs(observed, &self.resources, record);
        let mut plan = plan(&PlanInput {
            scope,
            generation: self.number,
            desired: &self.resources,
            observed: &ordered,
            diff: &|resource, seen| match options.leave_observed {
                _ if Mutant::RollbacksAreForWorkloads.is_on() && self.leaves(resource) => Vec::new(),
                true => self.changes_of_ours(resource, seen, record, shape),
                false => shape.diff(resource, seen),
            },
            options,
        });
        plan.degraded.clone_from(&self.degraded);
        if self.is_forward() {
            self.number = number(&self.hash, record, observed, plan.is_empty());
            plan.generation = self.number;
        }
        plan
    }

    /// What a rollback of workloads alone leaves as it is.
    fn leaves(&self, resource: &Resource) -> bool {
        !self.is_forward() && resource.revision.is_none()
    }

    /// The difference without what somebody else may have changed since it was applied.
    fn changes_of_ours(
        &self,
        resource: &Resource,
        seen: &ObservedResource,
        record: &AppRecord,
        shape: &dyn Shape,
    ) -> Vec<FieldChange> {
        let mut changes = shape.diff(resource, seen);
        let applied = record
            .converged
            .as_ref()
            .and_then(|one| one.resources.get(&resource.id));
        if let (Some(drift), Some(applied)) = (self.drift.get(&resource.origin), applied) {
            let since = shape.diff(applied, seen);
            let drifted = |change: &FieldChange| {
                let same = |other: &FieldChange| other.field == change.field && other.new == change.new;
                drift.observes(&change.field) && since.iter().any(same)
            };
            changes.retain(|change| !drifted(change));
        }
        changes
    }

    /// Whether the journal has this generation as its newest.
    pub fn is_begun(&self, record: &AppRecord) -> bool {
        let latest = record.latest.as_ref();
        let is_it = |latest: &Arc<Generation>| {
            latest.number == self.number && latest.hash == self.hash && latest.intent == self.intent
        };
        latest.is_some_and(is_it)
    }

    pub fn generation(&self, begun: Timestamp) -> Generation {
        Generation {
            number: self.number,
            kind: self.kind,
            hash: self.hash.clone(),
            begun,
            resources: self.resources.clone(),
            images: self.images.clone(),
            patience: self.patience,
            intent: self.intent.clone(),
            drift: self.drift.clone(),
        }
    }
}

/// What the app means, unless it asks for what the target cannot have: no provider is asked to render that.
fn resolved(work: &Work, realm: &str, facts: &Facts, mut impossible: Vec<Fault>) -> Result<DesiredState, Vec<Fault>> {
    match resolve(&work.resolve_input(realm), facts) {
        Ok(desired) if impossible.is_empty() => Ok(desired),
        Ok(_) => Err(impossible),
        Err(others) => {
            impossible.extend(others);
            Err(impossible)
        }
    }
}

/// The observation, in which what is to go also needs what it was applied after: a platform shows its own relations, and
/// `after` between two services is none of them. So deletes run against the order of creates.
fn with_applied_needs<'a>(observed: &'a Observation, desired: &Resources, record: &AppRecord) -> Cow<'a, Observation> {
    let mut ordered = Cow::Borrowed(observed);
    for id in observed.resources.keys().filter(|id| !desired.contains_key(id)) {
        let applied = record
            .generations()
            .filter_map(|generation| generation.resources.get(id));
        let needs: Vec<ResourceId> = applied
            .flat_map(|one| one.edges.iter().map(|edge| edge.to.clone()))
            .collect();
        if !needs.is_empty()
            && let Some(resource) = ordered.to_mut().resources.get_mut(id)
        {
            resource.depends_on.extend(needs);
        }
    }
    ordered
}

fn drift(work: &Work) -> BTreeMap<String, Drift> {
    let services = work.app.spec.services.iter();
    let said = services.filter(|(_, service)| !service.drift.is_empty());
    said.map(|(name, service)| (format!("/spec/services/{name}"), service.drift.clone()))
        .collect()
}

fn hash(kind: GenerationKind, resources: &Resources) -> String {
    let text = serde_json::to_string(&(kind, resources)).expect("resources hold only string keys");
    hash_of(&["generation", &text])
}

/// The longest that any one workload may take. Each step that is done starts it afresh.
fn patience(desired: &DesiredState, policy: &Policy) -> Duration {
    let rollouts = desired.services.values().map(|service| service.rollout.deadline);
    let runs = desired.jobs.values().map(|job| job.timeout * (job.retries + 1));
    if Mutant::PatienceIsShort.is_on() {
        return policy.poll_longest;
    }
    rollouts.chain(runs).max().unwrap_or(policy.patience) + policy.grace
}

/// The number of the generation with `hash`. The target's tags know of generations that a lost journal has forgotten, and
/// of those that another machine has written: a new one comes after all of them.
fn number(hash: &str, record: &AppRecord, observed: &Observation, is_there: bool) -> u64 {
    let known = record.latest.as_ref().map_or(0, |latest| latest.number);
    let shown = newest_shown(observed);
    let same = record.latest.as_ref().is_some_and(|latest| latest.hash == hash);
    let held = observed.held.as_ref().filter(|held| held.generation == shown);
    let is_shown = held.map_or(is_there, |held| held.hash == hash);
    match known >= shown {
        true if same => known,
        true => known + 1,
        // The journal is behind, but the target is as desired, or remembers that this failed: what it shows is this generation.
        false if is_shown => shown,
        false => shown + 1,
    }
}

/// The newest generation by the target's tags, and by what it remembers; 0 where it shows none of ours.
pub fn newest_shown(observed: &Observation) -> u64 {
    let generations = observed.resources.values().filter_map(|seen| match seen.ownership {
        Ownership::Ours { generation } => Some(generation),
        _ => None,
    });
    let held = observed.held.iter().map(|held| held.generation);
    generations.chain(held).max().unwrap_or(0)
}

/// Which app on which target the work is about.
pub fn scope(work: &Work, realm: &str) -> Scope {
    scope_of(&work.resolve_input(realm))
}
