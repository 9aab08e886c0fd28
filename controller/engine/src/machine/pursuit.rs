//! Pursuing a goal: where the pursuit stands, what comes in, and who has to deal with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portolan_core::mutant::Mutant;
use portolan_core::observation::{Failure, Held, Observation};
use portolan_core::plan::{Plan, Problem, Scope};
use portolan_core::resource::ResourceId;
use portolan_core::status::{Standing, Status, resource_statuses, summarise};
use portolan_provider_api::CallError;

use super::effect::Answer;
use super::ending::{Ending, Winding};
use super::execution::Execution;
use super::goal::{Direction, Goal, newest_shown};
use super::hold;
use super::look::{self, Look};
use super::scribe::Mark;
use super::turn::{Purpose, Turn};
use super::world::{Seen, World};
use super::{Next, PhaseName, Timestamp};
use crate::error::EngineError;
use crate::event::EngineEvent;
use crate::journal::{Intent, JournalEntry};
use crate::outcome::OutcomeKind;

pub struct Pursuit {
    pub(super) scope: Arc<Scope>,
    pub(super) world: World,
    pub(super) look: Look,
    pub(super) leg: Leg,
    /// The plan that was made last.
    pub(super) plan: Option<Arc<Plan>>,
    /// The plan that somebody said yes to.
    pub(super) approved: Option<Arc<Plan>>,
    /// The plan that was told last.
    pub(super) told: Option<Arc<Plan>>,
    /// How often a plan had to be made anew.
    pub(super) replans: u32,
    /// The plan after which a rollout took its next step.
    pub(super) walked: Option<Arc<Plan>>,
    /// What the plan before this one ended with, if it was a conflict.
    pub(super) conflict: Option<Conflict>,
    pub(super) last_progress: Timestamp,
    pub(super) began: Timestamp,
    /// The intents that a run before has left.
    pub(super) intents_before: BTreeMap<ResourceId, Intent>,
    /// What a run before has left at the target, maybe a moment ago; `None` where nobody can say.
    pub(super) left: Option<Goal>,
    /// What that run has told the target of a hold.
    pub(super) told_before: Option<Held>,
    /// Whether the target may remember a hold, by what the journal knew when it began.
    pub(super) was_held: bool,
    /// Set once no new call shall be made.
    pub(super) winding: Option<Winding>,
}

/// A plan that could not be carried out because somebody else wrote.
#[derive(Debug)]
pub(super) struct Conflict {
    pub plan: Arc<Plan>,
    pub failure: Failure,
    pub at: Timestamp,
    /// When it was met for the first time.
    pub since: Timestamp,
}

/// Where between planning and the end it stands.
pub(super) enum Leg {
    Observing,
    /// Somebody is being asked.
    Approving(Execution),
    /// The target is being asked whether the writes can succeed, again at that time if that failed in passing.
    Checking {
        execution: Execution,
        failures: u32,
        due: Timestamp,
    },
    /// The generation is on its way to the journal.
    Beginning(Mark, Option<Execution>),
    Executing(Execution),
    /// Every step was taken; not everything is ready.
    Watching,
    /// The end is on its way to the journal.
    Recording(Mark, Ending),
    /// So it is to the target, and then it is over.
    Noting(OutcomeKind),
}

impl Pursuit {
    pub fn new(scope: Arc<Scope>, goal: Goal, turn: &Turn) -> Self {
        let record = turn.record();
        let known = !turn.base.scribe.spoke_of_another();
        Self {
            began: turn.now,
            intents_before: record.intents.clone(),
            left: Goal::left(record).filter(|_| known),
            told_before: hold::told(record),
            was_held: record.held.is_some(),
            scope,
            world: World::new(goal),
            look: Look::new(),
            leg: Leg::Observing,
            plan: None,
            approved: None,
            told: None,
            replans: 0,
            walked: None,
            conflict: None,
            last_progress: Timestamp::default(),
            winding: None,
        }
    }

    pub fn phase(&self) -> PhaseName {
        match &self.leg {
            _ if matches!(self.world.goal.direction, Direction::Back { .. }) => PhaseName::RollingBack,
            Leg::Observing | Leg::Checking { .. } | Leg::Beginning(..) => PhaseName::Planned,
            Leg::Approving(_) => PhaseName::AwaitingApproval,
            Leg::Executing(_) => PhaseName::Executing,
            Leg::Watching | Leg::Recording(..) | Leg::Noting(_) => PhaseName::Watching,
        }
    }

    /// Takes in an answer. What it leads to is the business of [`Pursuit::proceed`].
    pub fn take(&mut self, purpose: Purpose, answer: Answer, turn: &mut Turn) -> Next {
        match (purpose, answer) {
            (Purpose::Write, Answer::Write(answer)) => self.written(answer, turn),
            (Purpose::Observe { answered, asked }, Answer::Observe(answer)) => {
                self.observed(answered, asked, answer, turn);
            }
            (Purpose::Approve, Answer::Approve(yes)) => self.approval_given(yes, turn),
            (Purpose::Preflight, Answer::Preflight(answer)) => self.preflight_answered(answer, turn),
            (Purpose::Call(number), Answer::Call(answer)) => self.call_answered(number, answer, turn),
            (Purpose::Note, Answer::Note(_)) => return self.noted(turn),
            _ => {}
        }
        Next::Again
    }

    pub fn proceed(&mut self, turn: &mut Turn) -> Next {
        if !self.is_ending() && turn.has_lost_lease() {
            self.wind(Winding::End(Err(EngineError::LeaseLost)), turn);
        }
        if self.winding.is_some() {
            return self.wind_down(turn);
        }
        match &self.leg {
            Leg::Observing => self.observe(turn),
            Leg::Approving(_) | Leg::Noting(_) => Next::Wait,
            Leg::Checking { .. } => self.check(turn),
            Leg::Beginning(mark, _)
                if !turn.base.scribe.is_durable(*mark) && !Mutant::GenerationsAreNotAwaited.is_on() =>
            {
                Next::Wait
            }
            Leg::Beginning(..) => self.begin(turn),
            Leg::Executing(_) => self.execute(turn),
            Leg::Watching => self.watch(turn),
            Leg::Recording(mark, _) if !turn.base.scribe.is_durable(*mark) => Next::Wait,
            Leg::Recording(..) => self.recorded(turn),
        }
    }

    /// The end that is being recorded cannot be stopped any more, and one that is near is not stopped twice.
    pub fn interrupt(&mut self, turn: &mut Turn) -> Next {
        if !self.is_ending() {
            turn.publish(EngineEvent::Interrupted);
            self.wind(Winding::End(Ok(OutcomeKind::Interrupted)), turn);
        }
        Next::Again
    }

    fn is_ending(&self) -> bool {
        matches!(self.leg, Leg::Recording(..) | Leg::Noting(_)) || matches!(self.winding, Some(Winding::End(_)))
    }

    /// Looks until there is something to decide on.
    fn observe(&mut self, turn: &mut Turn) -> Next {
        if self.look.take_unjudged() {
            return self.decide(turn);
        }
        self.look.ask_if_due(&self.scope, &self.world, turn);
        Next::Wait
    }

    fn observed(&mut self, answered: u64, asked: Timestamp, answer: Result<Observation, CallError>, turn: &mut Turn) {
        match answer.and_then(look::complete) {
            Ok(observation) => {
                let shape = &*turn.base.shape;
                let resources = resource_statuses(&self.world.goal.resources, &observation);
                let is_told = observation.is_told;
                self.world.seen = Some(Seen::new(observation, answered, asked, &self.world.writes, shape));
                self.world.remember_shown(turn.now);
                // Of a write that this look was too early for nobody tells.
                let is_told = is_told && self.world.is_all_fresh();
                self.look.saw(is_told, turn);
                self.world.forget_excuses();
                self.close_questions(turn);
                self.look.tell(resources, turn);
            }
            Err(error) => {
                if let Err(error) = self.look.failed(error, turn) {
                    self.wind(Winding::End(blind(error)), turn);
                }
            }
        }
    }

    /// Long operations that are seen to have ended, and intents whose create is seen or can no longer come to light.
    fn close_questions(&mut self, turn: &mut Turn) {
        let ended: Vec<_> = turn
            .record()
            .operations
            .keys()
            .filter(|id| self.world.has_come_to_rest(id))
            .cloned()
            .collect();
        let lag = turn.base.shape.read_lag();
        let calling = |id: &ResourceId| self.execution().is_some_and(|execution| execution.is_pending(id));
        let asked = self.world.asked();
        // Its call was made long after the intent, if it was tried again; and a run before may have made it until its end, by
        // a clock that says nothing here.
        let of_before = |intent: &Intent| self.intents_before.get(&intent.id) == Some(intent);
        let noted = |intent: &Intent| if of_before(intent) { self.began } else { intent.at };
        let sent = |intent: &Intent| self.world.writes.answered_at(&intent.id).max(noted(intent));
        let lag = if Mutant::IntentsAreForgotten.is_on() {
            Duration::ZERO
        } else {
            lag
        };
        let known = |intent: &&Intent| self.world.is_there(&intent.id) || asked >= sent(intent).plus(lag);
        let answered: Vec<_> = turn
            .record()
            .intents
            .values()
            .filter(|intent| !calling(&intent.id))
            .filter(known)
            .map(|intent| intent.id.clone())
            .collect();
        for id in ended {
            turn.note(JournalEntry::OperationClosed(id));
        }
        for id in answered {
            turn.note(JournalEntry::IntentClosed(id));
        }
        let resources = &self.world.goal.resources;
        let mut operations = turn.record().operations.keys();
        self.world.is_operated_on = operations.any(|id| resources.contains_key(id));
    }

    pub(super) fn execution(&self) -> Option<&Execution> {
        match &self.leg {
            Leg::Executing(execution) => Some(execution),
            _ => None,
        }
    }

    pub(super) fn status(&self, turn: &Turn) -> Option<Status> {
        let seen = self.world.seen.as_ref()?;
        let record = turn.record();
        let standing = Standing {
            generation: match &record.latest {
                _ if Mutant::StatusIsEarly.is_on() => self.world.goal.number,
                Some(latest) => latest.number,
                // A number that was planned and not begun may be another one's yet.
                None => newest_shown(&seen.observation),
            },
            reconciling: false,
            held: record.held.as_ref().map(|hold| hold.failure.clone()),
            drifted: Vec::new(),
        };
        Some(summarise(
            &self.scope,
            &self.world.goal.resources,
            &seen.observation,
            &standing,
        ))
    }
}

/// A target that cannot be looked at. One that shows itself in part only is not asked for more than it can.
fn blind(error: CallError) -> Result<OutcomeKind, EngineError> {
    if error.code == look::PARTIAL_READ {
        return Ok(OutcomeKind::Refused(vec![problem(error)]));
    }
    Err(EngineError::Call(error))
}

pub(super) fn problem(error: CallError) -> Problem {
    Problem {
        code: error.code,
        message: error.message,
        origin: None,
        hint: error.hint,
    }
}
