//! Carrying out and watching: step by step, look by look, until everything is as it shall be or patience has run out.

use std::sync::Arc;

use portolan_core::mutant::Mutant;
use portolan_core::observation::{Failure, Pause};
use portolan_core::plan::{FieldChange, Plan, Step, Verb};
use portolan_core::resource::{Resource, ResourceId, is_closed};
use portolan_provider_api::{Accepted, CallError};

use super::Next;
use super::ending::Winding;
use super::execution::{Execution, Verdict};
use super::pursuit::{Conflict, Leg, Pursuit};
use super::turn::Turn;

impl Pursuit {
    /// The journal knows the generation: the first call may be made.
    pub(super) fn begin(&mut self, turn: &mut Turn) -> Next {
        self.last_progress = turn.now;
        self.look.soon(turn);
        match std::mem::replace(&mut self.leg, Leg::Observing) {
            Leg::Beginning(_, Some(execution)) => self.leg = Leg::Executing(execution),
            _ => self.all_steps_done(turn),
        }
        Next::Again
    }

    pub(super) fn execute(&mut self, turn: &mut Turn) -> Next {
        let lag = turn.base.shape.read_lag();
        let Leg::Executing(execution) = &mut self.leg else {
            return Next::Again;
        };
        if let Some(failure) = self.world.failure(|id| execution.is_pending(id), lag) {
            self.wind(of_failure(failure), turn);
            return Next::Again;
        }
        let waits = execution.advance(&self.world, turn);
        if execution.is_done() {
            self.all_steps_done(turn);
            return Next::Again;
        }
        if !waits {
            return Next::Wait;
        }
        if execution.only_waits() && self.look.take_unjudged() && (self.has_lost_something(turn) || self.goes_on(turn))
        {
            return Next::Again;
        }
        if self.is_waiting() && self.waits_for_promotion() {
            self.paused(turn);
            return Next::Again;
        }
        self.look.ask_if_due(&self.scope, &self.world, turn);
        self.stay_patient(turn)
    }

    fn is_waiting(&self) -> bool {
        self.execution().is_some_and(Execution::only_waits)
    }

    /// What the plan left alone, because it was as desired, is so no more, or was not so but in a read that was too old: no
    /// step mends it.
    fn has_lost_something(&mut self, turn: &mut Turn) -> bool {
        let lost = self.lost(turn).map(ToString::to_string);
        if let Some(id) = &lost {
            let failure = Failure::new("NotConverging", format!("{id} is not as it was when the plan was made"));
            self.wind(Winding::Anew(failure), turn);
        }
        lost.is_some()
    }

    /// What is certainly gone, or in another revision, and not about to be written.
    fn lost(&self, turn: &Turn) -> Option<&ResourceId> {
        let certain = self.world.asked() >= self.began.plus(turn.base.shape.read_lag());
        if !certain || Mutant::DriftMeanwhileIsNotSeen.is_on() {
            return None;
        }
        let lost = |resource: &&Resource| self.world.is_gone(&resource.id) || self.world.is_another(resource);
        let mut left = self
            .world
            .goal
            .resources
            .values()
            .filter(|resource| !self.is_pending(&resource.id));
        left.find(lost).map(|resource| &resource.id)
    }

    fn all_steps_done(&mut self, turn: &mut Turn) {
        match turn.base.work.no_wait && self.world.goal.is_forward() {
            true => self.applied(turn),
            false => self.leg = Leg::Watching,
        }
    }

    pub(super) fn call_answered(&mut self, number: usize, answer: Result<Accepted, CallError>, turn: &mut Turn) {
        let Leg::Executing(execution) = &mut self.leg else {
            return;
        };
        self.last_progress = turn.now;
        self.look.after_a_write(turn);
        match execution.answered(number, answer, &mut self.world, turn) {
            Verdict::GoOn => {}
            Verdict::PlanAnew(failure) => {
                let plan = execution.plan.clone();
                let retried = execution.is_retried(number);
                // Who is not waited for here is not waited for there.
                let hurries = Mutant::NamesAreNotAskedFor.is_on() || Mutant::DrainingIsGone.is_on();
                let drains = |step: &Step| step.verb == Verb::Delete && !hurries;
                let passes = |step: &Step| drains(step) || self.world.is_moving(&step.id);
                let moves = retried || plan.step(number).is_some_and(passes);
                let moves = moves && !Mutant::LeavingObjectsAreUpdated.is_on();
                self.met_a_conflict(plan, moves, failure, turn);
            }
            Verdict::Fail(failure) => self.wind(Winding::Fail(failure), turn),
        }
    }

    /// Whoever wrote in between has changed what the next plan is made from. Where that very plan meets the very conflict
    /// again nobody has, and it will not pass; unless the resource still moves, or this was a retry: then our own earlier write,
    /// whose answer was lost, may be what is in the way, and it ends by itself. So does what keeps something from being
    /// deleted: it drains, and where no record knows its name no list shows it.
    fn met_a_conflict(&mut self, plan: Arc<Plan>, moves: bool, failure: Failure, turn: &mut Turn) {
        if self.winding.is_some() {
            return;
        }
        let at = turn.now;
        let known = self.conflict.as_ref();
        let known = known.filter(|known| known.plan == plan && known.failure == failure);
        let since = known.map_or(at, |known| known.since);
        let passes = moves && at < since.plus(self.world.goal.patience);
        let winding = match known {
            Some(_) if !passes => Winding::Fail(failure.clone()),
            Some(_) => {
                // The very same again is not another plan.
                self.replans = self.replans.saturating_sub(1);
                Winding::Anew(failure.clone())
            }
            None => Winding::Anew(failure.clone()),
        };
        self.conflict = Some(Conflict {
            plan,
            failure,
            at,
            since,
        });
        self.wind(winding, turn);
    }

    /// Each look that is young enough either shows the end, or that something else has to be done, or that it takes time.
    pub(super) fn watch(&mut self, turn: &mut Turn) -> Next {
        if let Some(failure) = self.world.failure(|_| false, turn.base.shape.read_lag()) {
            self.wind(of_failure(failure), turn);
            return Next::Again;
        }
        let judged = self.look.take_unjudged() && self.world.is_all_fresh();
        if judged && (self.world.is_settled() || self.world.is_something_missing() || self.lost(turn).is_some()) {
            return self.decide_again(turn);
        }
        if judged && self.goes_on(turn) {
            return Next::Again;
        }
        if judged && self.waits_for_promotion() {
            self.paused(turn);
            return Next::Again;
        }
        self.look.ask_if_due(&self.scope, &self.world, turn);
        self.stay_patient(turn)
    }

    /// A rollout that the platform does not walk takes its next step: a write like any other, and a plan of its own. The same
    /// plan twice is no step.
    fn goes_on(&mut self, turn: &mut Turn) -> bool {
        if !self.world.goes_on(|id| self.is_pending(id)) {
            return false;
        }
        if self.walked.is_some() && self.walked == self.plan {
            let failure = Failure::new("NotConverging", "a rollout stands where it stood before its last step");
            self.wind(Winding::Anew(failure), turn);
        } else {
            self.walked = self.plan.clone();
            // It has come further: what was in the way before is so no more.
            self.replans = 0;
            self.conflict = None;
            self.observe_anew(turn.now);
        }
        true
    }

    /// After everything was done a plan should be empty. Where it is not the world has moved, which it may do only so often.
    fn decide_again(&mut self, turn: &mut Turn) -> Next {
        let Some(plan) = self.make_plan(turn) else {
            return Next::Wait;
        };
        let unfinished = match plan.is_empty() {
            true => !self.world.is_settled(),
            false => plan
                .steps
                .iter()
                .all(|step| self.only_drains(step) || only_lacks_outputs(step)),
        };
        if unfinished || self.is_read_too_old(&plan, turn) {
            self.look.ask_if_due(&self.scope, &self.world, turn);
            return self.stay_patient(turn);
        }
        if plan.is_empty() {
            return self.decide(turn);
        }
        if Mutant::RefusalsArePassedOver.is_on() {
            self.converge(turn);
            return Next::Again;
        }
        let names: Vec<String> = plan.steps.iter().map(|step| step.id.to_string()).collect();
        let message = format!("{} differ again after they were written", names.join(", "));
        self.wind(Winding::Anew(Failure::new("NotConverging", message)), turn);
        Next::Again
    }

    /// A read may show again, on its way out, what an earlier one has not shown any more.
    fn only_drains(&self, step: &Step) -> bool {
        step.verb == Verb::Delete && self.world.is_draining(&step.id)
    }

    /// All that could be done is done, and only somebody's word is missing. Going back never waits for one.
    fn waits_for_promotion(&self) -> bool {
        let wanted = |pause| pause == Pause::Promotion;
        self.world.goal.is_forward() && self.world.is_paused(|id| self.is_pending(id), wanted)
    }

    fn is_pending(&self, id: &ResourceId) -> bool {
        self.execution().is_some_and(|execution| execution.is_pending(id))
    }

    /// A pause that the manifest asks for is no standstill.
    fn stay_patient(&mut self, turn: &mut Turn) -> Next {
        let rests = |pause| pause != Pause::Over;
        if self.world.goal.is_forward() && self.world.is_paused(|id| self.is_pending(id), rests) {
            self.last_progress = turn.now;
        }
        let busy = turn.calls_under_way() > 0;
        let until = self.last_progress.plus(self.world.goal.patience);
        if busy || Mutant::PatienceHasNoEnd.is_on() || !turn.is_due(until) {
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
}

/// All that differs is what some resource answers once it is known, and nothing is written to that resource: a read may be
/// older than its answer.
fn only_lacks_outputs(step: &Step) -> bool {
    let mut changes = step.changes.iter();
    let lacks = |change: &FieldChange| change.new.as_ref().is_some_and(|value| !is_closed(value));
    step.verb == Verb::Update && changes.len() > 0 && changes.all(lacks)
}

/// What was lost is put there again, as often as plans are made anew: nothing is wrong with the generation.
fn of_failure(failure: Failure) -> Winding {
    match failure.lost && !Mutant::LossesAreFailures.is_on() {
        true => Winding::Anew(failure),
        false => Winding::Fail(failure),
    }
}
