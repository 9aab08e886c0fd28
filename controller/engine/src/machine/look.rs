//! When to observe, what to do when that fails, and what has changed since the last time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use portolan_core::mutant::Mutant;
use portolan_core::observation::{Observation, Replicas};
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use portolan_core::status::{ResourceStatus, StateWord};
use portolan_provider_api::{CallError, ErrorClass, Shape};

use super::Timestamp;
use super::effect::Ask;
use super::turn::{Purpose, Turn};
use super::world::World;
use crate::event::EngineEvent;
use crate::journal::AppRecord;

/// The schedule of observations: soon after something was done, then ever less often.
pub struct Look {
    due: Timestamp,
    interval: Duration,
    failures: u32,
    /// When to look for a change that was told since the last look was asked for.
    told: Option<Timestamp>,
    /// Whether an observation has come that nobody has judged yet.
    unjudged: bool,
    shown: BTreeMap<ResourceId, Shown>,
}

/// What was told of a resource last.
type Shown = (StateWord, Option<String>, Option<Replicas>);

impl Look {
    /// The first look is due at once.
    pub fn new() -> Self {
        Self {
            due: Timestamp::default(),
            interval: Duration::ZERO,
            failures: 0,
            told: None,
            unjudged: false,
            shown: BTreeMap::new(),
        }
    }

    /// Something was done or has changed: look soon, and often at first.
    pub fn soon(&mut self, turn: &Turn) {
        self.interval = first_interval(turn);
        self.due = turn.now.plus(self.interval);
    }

    /// As [`Look::soon`]; at once where a read shows what was written a moment ago.
    pub fn after_a_write(&mut self, turn: &Turn) {
        self.soon(turn);
        if turn.base.shape.read_lag().is_zero() {
            self.due = turn.now;
        }
    }

    /// Not before then.
    pub fn not_before(&mut self, at: Timestamp) {
        self.due = at;
    }

    /// A change was told: look once those that come with it are there too.
    pub fn something_changed(&mut self, turn: &Turn) {
        let at = turn.now.plus(turn.base.policy.changes_gather);
        self.told.get_or_insert(at);
        self.heed_changes();
    }

    /// Whether one was told since the last look was asked for.
    pub fn is_overtaken(&self) -> bool {
        self.told.is_some()
    }

    fn heed_changes(&mut self) {
        // A look that has failed is repeated when its time comes.
        if let Some(at) = self.told.filter(|_| self.failures == 0) {
            self.due = self.due.min(at);
        }
    }

    /// Asks for an observation once it is due, unless one is under way.
    pub fn ask_if_due(&mut self, scope: &Arc<Scope>, world: &World, turn: &mut Turn) {
        let under_way = turn.count(|purpose| matches!(purpose, Purpose::Observe { .. })) > 0;
        if under_way || !turn.is_due(self.due) {
            return;
        }
        self.told = None;
        let answered = world.writes.answered;
        let ask = Ask::Observe {
            scope: scope.clone(),
            wanted: wanted(world, &*turn.base.shape, turn.record()),
            open: turn.record().operations.values().cloned().collect(),
        };
        let within = turn.base.policy.read_deadline;
        let asked = turn.now;
        turn.ask(Purpose::Observe { answered, asked }, ask, Some(within));
    }

    /// A look has succeeded; `is_told` says whether somebody tells of what changes in what it saw.
    pub fn saw(&mut self, is_told: bool, turn: &mut Turn) {
        turn.reads_again(self.failures);
        self.failures = 0;
        self.unjudged = true;
        self.due = turn.now.plus(match is_told {
            true => turn.base.policy.poll_told.max(self.interval),
            false => self.interval,
        });
        self.interval = turn.base.policy.next_interval(self.interval.max(first_interval(turn)));
        self.heed_changes();
    }

    /// A look has failed, wholly or in part. Answers the error if it is no use to look again.
    pub fn failed(&mut self, error: CallError, turn: &mut Turn) -> Result<(), CallError> {
        self.failures += 1;
        match error.class {
            ErrorClass::Retry { after } if self.failures < turn.base.policy.tries => {
                self.due = turn.retry_at(self.failures, after);
                turn.publish(EngineEvent::ReadRetrying { error, at: self.due });
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Whether there is an observation that was not judged before; now it is.
    pub fn take_unjudged(&mut self) -> bool {
        std::mem::take(&mut self.unjudged)
    }

    /// Tells what has changed among the resources that the user waits for. The first look is where changes count from.
    pub fn tell(&mut self, resources: Vec<ResourceStatus>, turn: &mut Turn) {
        let first = self.shown.is_empty();
        for resource in resources {
            let now = (resource.state, resource.message.clone(), resource.replicas);
            let before = self.shown.insert(resource.id.clone(), now.clone());
            if !first && before.as_ref() != Some(&now) {
                turn.publish(EngineEvent::StateChanged {
                    id: resource.id,
                    state: resource.state,
                    message: resource.message,
                    replicas: resource.replicas,
                    failure: resource.failure,
                });
            }
        }
    }
}

/// What is desired, and by its name too what was: a platform may leave out of its lists what is on its way out, and still
/// count it as there.
fn wanted(world: &World, shape: &dyn Shape, record: &AppRecord) -> Vec<ResourceId> {
    let mut wanted: BTreeSet<&ResourceId> = world.goal.resources.keys().collect();
    let known = record.generations().flat_map(|generation| generation.resources.keys());
    let by_name = |id: &&ResourceId| shape.is_pruned(id) && !Mutant::NamesAreNotAskedFor.is_on();
    wanted.extend(known.chain(world.writes.ids()).filter(by_name));
    wanted.into_iter().cloned().collect()
}

/// Never more often than the platform takes requests: one that takes few has seldom moved within milliseconds.
fn first_interval(turn: &Turn) -> Duration {
    let one_request = Duration::from_secs(1) / turn.base.shape.requests_per_second().max(1);
    turn.base.policy.poll_first.max(one_request)
}

/// A read that does not show everything is a failure that passes.
pub fn complete(observation: Observation) -> Result<Observation, CallError> {
    match observation.complete || Mutant::PartialReadsAreWhole.is_on() {
        true => Ok(observation),
        false => Err(CallError::new(
            ErrorClass::Retry { after: None },
            PARTIAL_READ,
            "the target did not show everything",
        )),
    }
}

pub const PARTIAL_READ: &str = "PartialRead";
