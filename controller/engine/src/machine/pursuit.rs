//! Pursuing a goal: observe, plan, ask, begin, carry out, watch; and from the beginning whenever the world has moved.

use std::sync::Arc;

use portolan_core::observation::{Failure, Observation};
use portolan_core::plan::{Plan, Problem, Scope, Verb};
use portolan_core::resource::ResourceId;
use portolan_core::status::{Standing, Status, summarise};
use portolan_provider_api::{CallError, ErrorClass};

use super::effect::{Answer, Ask};
use super::ending::{Ending, Winding};
use super::execution::{Execution, Verdict};
use super::goal::Goal;
use super::look::{self, Look};
use super::scribe::Mark;
use super::turn::{Purpose, Turn};
use super::world::{Seen, World};
use super::{Next, PhaseName, Timestamp};
use crate::error::EngineError;
use crate::event::EngineEvent;
use crate::journal::{GenerationKind, Intent, JournalEntry};
use crate::outcome::OutcomeKind;

pub struct Pursuit {
    pub(super) scope: Arc<Scope>,
    pub(super) world: World,
    pub(super) look: Look,
    pub(super) leg: Leg,
    /// The plan that was made last.
    pub(super) plan: Option<Arc<Plan>>,
    /// Digest of the plan that somebody said yes to.
    approved: Option<String>,
    /// How often a plan had to be made anew.
    pub(super) replans: u32,
    last_progress: Timestamp,
    began: Timestamp,
    /// Whether the run before was cut off, so that it may have written a moment ago.
    after_a_cut: bool,
    /// Set once no new call shall be made.
    pub(super) winding: Option<Winding>,
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
}

impl Pursuit {
    pub fn new(scope: Arc<Scope>, goal: Goal, turn: &Turn) -> Self {
        Self {
            began: turn.now,
            after_a_cut: turn.record().is_unfinished(),
            scope,
            world: World::new(goal),
            look: Look::new(),
            leg: Leg::Observing,
            plan: None,
            approved: None,
            replans: 0,
            last_progress: Timestamp::default(),
            winding: None,
        }
    }

    pub fn phase(&self) -> PhaseName {
        match &self.leg {
            _ if !self.world.goal.is_forward() => PhaseName::RollingBack,
            Leg::Observing | Leg::Checking { .. } | Leg::Beginning(..) => PhaseName::Planned,
            Leg::Approving(_) => PhaseName::AwaitingApproval,
            Leg::Executing(_) => PhaseName::Executing,
            Leg::Watching | Leg::Recording(..) => PhaseName::Watching,
        }
    }

    /// Takes in an answer. What it leads to is the business of [`Pursuit::proceed`].
    pub fn take(&mut self, purpose: Purpose, answer: Answer, turn: &mut Turn) -> Next {
        match (purpose, answer) {
            (Purpose::Write, Answer::Write(answer)) => self.written(answer, turn),
            (Purpose::Observe { answered }, Answer::Observe(answer)) => self.observed(answered, answer, turn),
            (Purpose::Approve, Answer::Approve(yes)) => self.approval_given(yes, turn),
            (Purpose::Preflight, Answer::Preflight(answer)) => self.preflight_answered(answer, turn),
            (Purpose::Call(number), Answer::Call(answer)) => self.call_answered(number, answer, turn),
            _ => {}
        }
        Next::Again
    }

    pub fn proceed(&mut self, turn: &mut Turn) -> Next {
        if self.winding.is_some() {
            return self.wind_down(turn);
        }
        match &self.leg {
            Leg::Observing => self.observe(turn),
            Leg::Approving(_) => Next::Wait,
            Leg::Checking { .. } => self.check(turn),
            Leg::Beginning(mark, _) if !turn.base.scribe.is_durable(*mark) => Next::Wait,
            Leg::Beginning(..) => self.begin(turn),
            Leg::Executing(_) => self.execute(turn),
            Leg::Watching => self.watch(turn),
            Leg::Recording(mark, _) if !turn.base.scribe.is_durable(*mark) => Next::Wait,
            Leg::Recording(..) => self.recorded(turn),
        }
    }

    /// The end that is being recorded cannot be stopped any more.
    pub fn interrupt(&mut self, turn: &mut Turn) -> Next {
        if !matches!(self.leg, Leg::Recording(..)) {
            turn.publish(EngineEvent::Interrupted);
            self.wind(Winding::End(Ok(OutcomeKind::Interrupted)), turn);
        }
        Next::Again
    }

    fn observe(&mut self, turn: &mut Turn) -> Next {
        if self.look.take_unjudged() {
            return self.decide(turn);
        }
        self.look.ask_if_due(&self.scope, &self.world, turn);
        Next::Wait
    }

    fn observed(&mut self, answered: u64, answer: Result<Observation, CallError>, turn: &mut Turn) {
        match answer.and_then(look::complete) {
            Ok(observation) => {
                let shape = &*turn.base.shape;
                self.world.seen = Some(Seen::new(observation, answered, &self.world.writes, shape, turn.now));
                self.look.saw(turn);
                self.close_questions(turn);
                self.look.tell(
                    self.status(turn).map(|status| status.resources).unwrap_or_default(),
                    turn,
                );
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
        let answered: Vec<_> = turn
            .record()
            .intents
            .values()
            .filter(|intent| !calling(&intent.id))
            .filter(|intent| self.world.is_there(&intent.id) || turn.now >= intent.at.plus(lag))
            .map(|intent| intent.id.clone())
            .collect();
        for id in ended {
            turn.note(JournalEntry::OperationClosed(id));
        }
        for id in answered {
            turn.note(JournalEntry::IntentClosed(id));
        }
    }

    fn execution(&self) -> Option<&Execution> {
        match &self.leg {
            Leg::Executing(execution) => Some(execution),
            _ => None,
        }
    }

    /// Plans from the observation, and takes the one way that the plan allows.
    pub(super) fn decide(&mut self, turn: &mut Turn) -> Next {
        if self.resumes_rollback(turn) {
            return Next::Again;
        }
        let Some(plan) = self.make_plan(turn) else {
            return Next::Wait;
        };
        if self.has_open_intent(&plan, turn) || self.is_read_too_old(&plan, turn) {
            self.look.ask_if_due(&self.scope, &self.world, turn);
            return Next::Wait;
        }
        turn.publish(planned(&plan));
        let settled = plan.is_empty() && self.world.is_settled();
        if !plan.problems.is_empty() {
            self.refuse(plan.problems.clone(), turn);
        } else if settled {
            self.converge(turn);
        } else if let Some(failure) = self.is_held(turn) {
            self.wind(Winding::End(Ok(OutcomeKind::Held(failure))), turn);
        } else if plan.is_empty() {
            self.note_beginning(None, turn);
        } else {
            self.set_out(plan, turn);
        }
        Next::Again
    }

    fn make_plan(&mut self, turn: &Turn) -> Option<Arc<Plan>> {
        let seen = self.world.seen.as_ref()?;
        let options = turn.base.work.plan_options();
        let goal = &mut self.world.goal;
        let plan = goal.plan(
            &self.scope,
            turn.record(),
            &seen.observation,
            &*turn.base.shape,
            options,
        );
        let plan = Arc::new(plan);
        self.plan = Some(plan.clone());
        Some(plan)
    }

    /// A create of another generation may have been sent and not have come to light yet: the question is still open.
    fn has_open_intent(&self, plan: &Plan, turn: &Turn) -> bool {
        let intents = turn.record().intents.values();
        let repeated = |intent: &Intent| {
            let mut steps = plan.steps.iter();
            intent.generation == plan.generation && steps.any(|step| step.id == intent.id && step.verb == intent.verb)
        };
        intents.into_iter().any(|intent| !repeated(intent))
    }

    /// A read is too old if it does not show what this run has written; and, for the verdict that nothing is left to do,
    /// if it may not show what a run before wrote that was cut off.
    fn is_read_too_old(&self, plan: &Plan, turn: &mut Turn) -> bool {
        let lag = turn.base.shape.read_lag();
        let settled = turn.now >= self.began.plus(lag) || !self.after_a_cut;
        !self.world.is_all_fresh() || plan.is_empty() && !settled
    }

    /// Why this generation is not tried again.
    fn is_held(&self, turn: &Turn) -> Option<Failure> {
        let goal = &self.world.goal;
        let tried_again = turn.base.work.options.retry || goal.kind == GenerationKind::Delete || !goal.is_forward();
        let hold = turn
            .record()
            .held
            .as_ref()
            .filter(|hold| hold.hash == goal.hash && !tried_again)?;
        Some(hold.failure.clone())
    }

    /// A rollback that was not finished is, before anything else.
    fn resumes_rollback(&mut self, turn: &mut Turn) -> bool {
        if self.is_held(turn).is_none() {
            return false;
        }
        let record = turn.record();
        let unfinished = record
            .held
            .as_ref()
            .and_then(|hold| Some((hold.clone(), hold.rolling_back_to?)));
        let to = record.converged.clone();
        match (unfinished, to) {
            (Some((hold, number)), Some(to)) if to.number == number => {
                self.turn_back(&to, hold.failure, turn);
                true
            }
            _ => false,
        }
    }

    /// There is something to do: whoever must agree is asked first.
    fn set_out(&mut self, plan: Arc<Plan>, turn: &mut Turn) {
        let options = turn.base.work.plan_options();
        let execution = Execution::new(plan.clone(), self.scope.clone(), options);
        let digest = plan.digest();
        if !plan.approval.is_empty() && self.approved.as_ref() != Some(&digest) {
            turn.publish(EngineEvent::AwaitingApproval {
                plan: digest,
                reasons: plan.approval.clone(),
            });
            let reasons = plan.approval.clone();
            turn.ask(Purpose::Approve, Ask::Approve { plan, reasons }, None);
            self.leg = Leg::Approving(execution);
        } else if self.world.goal.is_forward() && self.world.writes.answered == 0 {
            self.leg = Leg::Checking {
                execution,
                failures: 0,
                due: turn.now,
            };
        } else {
            self.note_beginning(Some(execution), turn);
        }
    }

    /// A yes is to that very plan: the world is looked at again, and another plan asks again.
    fn approval_given(&mut self, yes: bool, turn: &mut Turn) {
        let Leg::Approving(execution) = &self.leg else { return };
        if yes {
            self.approved = Some(execution.plan.digest());
            self.observe_anew(turn.now);
        } else {
            self.wind(Winding::End(Ok(OutcomeKind::Declined)), turn);
        }
    }

    pub(super) fn observe_anew(&mut self, at: Timestamp) {
        self.leg = Leg::Observing;
        self.look.take_unjudged();
        self.look.not_before(at);
    }

    fn check(&mut self, turn: &mut Turn) -> Next {
        let Leg::Checking { execution, due, .. } = &self.leg else {
            return Next::Again;
        };
        let asked = turn.count(|purpose| *purpose == Purpose::Preflight) > 0;
        if !asked && turn.is_due(*due) {
            let writes = execution.requests(&self.world, turn);
            let scope = self.scope.clone();
            let within = turn.base.policy.read_deadline;
            turn.ask(Purpose::Preflight, Ask::Preflight { scope, writes }, Some(within));
        }
        Next::Wait
    }

    fn preflight_answered(&mut self, answer: Result<Vec<CallError>, CallError>, turn: &mut Turn) {
        let leg = std::mem::replace(&mut self.leg, Leg::Observing);
        let Leg::Checking {
            execution, failures, ..
        } = leg
        else {
            self.leg = leg;
            return;
        };
        match answer {
            Ok(faults) if faults.is_empty() => self.note_beginning(Some(execution), turn),
            Ok(faults) => self.refuse(faults.into_iter().map(problem).collect(), turn),
            Err(error) => match error.class {
                ErrorClass::Retry { after } if failures + 1 < turn.base.policy.tries => {
                    let failures = failures + 1;
                    let due = turn.retry_at(failures, after);
                    turn.publish(EngineEvent::ReadRetrying { error, at: due });
                    self.leg = Leg::Checking {
                        execution,
                        failures,
                        due,
                    };
                }
                _ => self.wind(Winding::End(Err(EngineError::Call(error))), turn),
            },
        }
    }

    /// The generation is durable before the first write. One that the journal has already is no news.
    fn note_beginning(&mut self, execution: Option<Execution>, turn: &mut Turn) {
        self.note_generation(turn);
        self.leg = Leg::Beginning(turn.base.scribe.mark(), execution);
    }

    pub(super) fn note_generation(&mut self, turn: &mut Turn) {
        let goal = &self.world.goal;
        let record = turn.record();
        let held = record.held.as_ref().is_some_and(|hold| hold.hash == goal.hash);
        if goal.is_forward() && (held || !goal.is_begun(record)) {
            let generation = Arc::new(goal.generation(turn.now));
            let owner = self.scope.owner.clone();
            turn.note(JournalEntry::Begun { owner, generation });
        }
    }

    fn begin(&mut self, turn: &mut Turn) -> Next {
        self.last_progress = turn.now;
        self.leg = match std::mem::replace(&mut self.leg, Leg::Observing) {
            Leg::Beginning(_, Some(execution)) => Leg::Executing(execution),
            _ => Leg::Watching,
        };
        self.look.soon(turn);
        Next::Again
    }

    fn execute(&mut self, turn: &mut Turn) -> Next {
        let lag = turn.base.shape.read_lag();
        let Leg::Executing(execution) = &mut self.leg else {
            return Next::Again;
        };
        if let Some(failure) = self.world.failure(|id| execution.is_pending(id), lag, turn.now) {
            self.wind(Winding::Fail(failure), turn);
            return Next::Again;
        }
        let waits = execution.advance(&self.world, turn);
        if execution.is_done() {
            return self.all_steps_done(turn);
        }
        if !waits {
            return Next::Wait;
        }
        self.look.ask_if_due(&self.scope, &self.world, turn);
        self.stay_patient(turn)
    }

    fn all_steps_done(&mut self, turn: &mut Turn) -> Next {
        if turn.base.work.no_wait && self.world.goal.is_forward() {
            self.applied(turn);
            return Next::Again;
        }
        self.leg = Leg::Watching;
        Next::Again
    }

    fn call_answered(
        &mut self,
        number: usize,
        answer: Result<portolan_provider_api::Accepted, CallError>,
        turn: &mut Turn,
    ) {
        let Leg::Executing(execution) = &mut self.leg else {
            return;
        };
        self.last_progress = turn.now;
        self.look.soon(turn);
        match execution.answered(number, answer, &mut self.world, turn) {
            Verdict::GoOn => {}
            Verdict::PlanAnew(failure) => self.wind(Winding::Anew(failure), turn),
            Verdict::Fail(failure) => self.wind(Winding::Fail(failure), turn),
        }
    }

    /// Each look that is young enough either shows the end, or that something else has to be done, or that it takes time.
    fn watch(&mut self, turn: &mut Turn) -> Next {
        if let Some(failure) = self.world.failure(|_| false, turn.base.shape.read_lag(), turn.now) {
            self.wind(Winding::Fail(failure), turn);
            return Next::Again;
        }
        let judged = self.look.take_unjudged() && self.world.is_all_fresh();
        if judged && (self.world.is_settled() || self.world.is_something_missing()) {
            return self.decide_again(turn);
        }
        self.look.ask_if_due(&self.scope, &self.world, turn);
        self.stay_patient(turn)
    }

    /// After everything was done a plan should be empty. Where it is not the world has moved, which it may do only so often.
    fn decide_again(&mut self, turn: &mut Turn) -> Next {
        let Some(plan) = self.make_plan(turn) else {
            return Next::Wait;
        };
        if plan.is_empty() && !self.world.is_settled() || self.is_read_too_old(&plan, turn) {
            self.look.ask_if_due(&self.scope, &self.world, turn);
            return self.stay_patient(turn);
        }
        if plan.is_empty() {
            return self.decide(turn);
        }
        let names: Vec<String> = plan.steps.iter().map(|step| step.id.to_string()).collect();
        let message = format!("{} differ again after they were written", names.join(", "));
        self.wind(Winding::Anew(Failure::new("NotConverging", message)), turn);
        Next::Again
    }

    fn stay_patient(&mut self, turn: &mut Turn) -> Next {
        let busy = turn.calls_under_way() > 0;
        if busy || !turn.is_due(self.last_progress.plus(self.world.goal.patience)) {
            return Next::Wait;
        }
        let waited = turn.now.since(self.last_progress).as_secs();
        let message = format!(
            "nothing has moved for {waited} s; not ready: {}",
            self.world.unsettled().join(", ")
        );
        self.wind(Winding::Fail(Failure::new("DeadlineExceeded", message)), turn);
        Next::Again
    }

    pub(super) fn status(&self, turn: &Turn) -> Option<Status> {
        let seen = self.world.seen.as_ref()?;
        let record = turn.record();
        let standing = Standing {
            generation: record
                .latest
                .as_ref()
                .map_or(self.world.goal.number, |latest| latest.number),
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

fn problem(error: CallError) -> Problem {
    Problem {
        code: error.code,
        message: error.message,
        origin: None,
        hint: error.hint,
    }
}

fn planned(plan: &Plan) -> EngineEvent {
    EngineEvent::Planned {
        generation: plan.generation,
        creates: plan.count(Verb::Create),
        updates: plan.count(Verb::Update),
        deletes: plan.count(Verb::Delete),
        unchanged: plan.unchanged.len(),
    }
}
