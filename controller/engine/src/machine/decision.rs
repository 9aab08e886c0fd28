//! Deciding: what the plan allows, who has to agree to it, and what must be durable before it begins.

use std::sync::Arc;
use std::time::Duration;

use portolan_core::mutant::Mutant;
use portolan_core::observation::Failure;
use portolan_core::plan::{Plan, PlanOptions, Problem, Step, Verb};
use portolan_core::resource::{ResourceId, Resources};
use portolan_provider_api::{CallError, ErrorClass};

use super::effect::Ask;
use super::ending::Winding;
use super::execution::Execution;
use super::goal::{Direction, Goal};
use super::pursuit::{Leg, Pursuit, problem};
use super::turn::{Purpose, Turn};
use super::{Next, Timestamp};
use crate::error::EngineError;
use crate::event::EngineEvent;
use crate::journal::{GenerationKind, Intent, JournalEntry};
use crate::outcome::OutcomeKind;
use crate::work::Wish;

impl Pursuit {
    /// Plans from the observation, and takes the one way that the plan allows.
    pub(super) fn decide(&mut self, turn: &mut Turn) -> Next {
        if self.resumes_rollback(turn) {
            return Next::Again;
        }
        if self.world.is_something_leaving() && !turn.is_due(self.began.plus(self.world.goal.patience)) {
            self.look.ask_if_due(&self.scope, &self.world, turn);
            return Next::Wait;
        }
        let Some(plan) = self.make_plan(turn) else {
            return Next::Wait;
        };
        if self.has_open_intent(&plan, turn) || self.is_read_too_old(&plan, turn) {
            self.look.ask_if_due(&self.scope, &self.world, turn);
            return Next::Wait;
        }
        if let Some(until) = self.repeats_a_conflict(&plan, turn) {
            self.look.not_before(until);
            self.look.ask_if_due(&self.scope, &self.world, turn);
            return Next::Wait;
        }
        let held = self.is_held(turn);
        if held.is_none() {
            self.tell(&plan, turn);
        }
        let settled = plan.is_empty() && self.world.is_settled();
        if !plan.problems.is_empty() {
            self.refuse(plan.problems.clone(), turn);
        } else if let Some(problems) = self.departs_from_the_saved(&plan, turn) {
            self.refuse(problems, turn);
        } else if settled {
            self.converge(turn);
        } else if let Some(failure) = held {
            self.stay_held(failure, turn);
        } else if let Some(failure) = self.hears_of_a_hold(turn) {
            self.record_end(OutcomeKind::Held(failure), turn);
        } else if plan.is_empty() {
            self.note_beginning(None, turn);
        } else {
            self.set_out(plan, turn);
        }
        Next::Again
    }

    pub(super) fn make_plan(&mut self, turn: &Turn) -> Option<Arc<Plan>> {
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

    /// A read may show what was so before it was asked for. What it is believed for is one rule: of what this run has
    /// written, what it shows once it shows that; of all else, what it must show, for whatever was done before this run began
    /// is longer ago than reads lag, or what the run before has left there by the word of the journal. A read that departs
    /// from that word may be older than the run before, or show what somebody has done since: time tells.
    pub(super) fn is_read_too_old(&self, plan: &Plan, turn: &Turn) -> bool {
        let lag = turn.base.shape.read_lag();
        let certain = self.world.asked() >= self.began.plus(lag) || Mutant::TheJournalIsNotAsked.is_on();
        let known = certain || self.shows_what_was_left(turn);
        !known || self.makes_what_was_shown(plan, lag) || !self.world.is_all_fresh()
    }

    /// Whether a plan back to what the run before has left would change nothing, but for what this run has written. Data that
    /// deletes have kept is in no record: who wants to erase it waits until reads must show it.
    fn shows_what_was_left(&self, turn: &Turn) -> bool {
        let erases = turn.base.work.wish == Wish::Delete { erase_data: true };
        let (Some(left), Some(seen), false) = (&self.left, &self.world.seen, erases) else {
            return Mutant::IntentsAreForgotten.is_on();
        };
        let options = PlanOptions {
            delete: true,
            allow_data_loss: true,
            leave_observed: turn.base.work.options.leave_observed,
            ..PlanOptions::default()
        };
        let record = turn.record();
        let plan = left
            .clone()
            .plan(&self.scope, record, &seen.observation, &*turn.base.shape, options);
        let retained = |id: &ResourceId| seen.observation.resources.get(id).is_some_and(|seen| seen.retained);
        let explained = |step: &Step| match step.verb {
            Verb::Delete => self.world.writes.was_taken(&step.id) || retained(&step.id),
            Verb::Create | Verb::Update => self.world.writes.was_taken(&step.id),
        };
        let as_told = seen.observation.held == self.told_before;
        as_told && plan.problems.is_empty() && plan.steps.iter().all(explained)
    }

    /// Whether an earlier read has shown what may not be made twice, and would be.
    fn makes_what_was_shown(&self, plan: &Plan, lag: Duration) -> bool {
        let made = |step: &&Step| step.verb == Verb::Create && step.needs_intent && !step.replacement;
        let mut made = plan.steps.iter().filter(made);
        made.any(|step| self.world.was_shown_lately(&step.id, lag))
    }

    /// The very plan that met a conflict waits until a read must show what was in its way, if it has gone by itself.
    fn repeats_a_conflict(&self, plan: &Plan, turn: &Turn) -> Option<Timestamp> {
        let conflict = self.conflict.as_ref()?;
        let pause = turn.base.shape.read_lag().max(turn.base.policy.poll_longest);
        let until = conflict.at.plus(pause);
        (turn.now < until && *plan == *conflict.plan).then_some(until)
    }

    /// Each plan once, however often it is made again.
    fn tell(&mut self, plan: &Arc<Plan>, turn: &mut Turn) {
        if self.told.as_ref() != Some(plan) {
            turn.publish(planned(plan));
            self.told = Some(plan.clone());
        }
    }

    /// What has moved since the plan was made that alone may be carried out.
    fn departs_from_the_saved(&self, plan: &Plan, turn: &Turn) -> Option<Vec<Problem>> {
        // What follows a step of a rollout stands in no plan yet.
        let is_bound = self.world.goal.is_forward() && !self.only_goes_on(plan);
        let saved = turn.base.work.only.as_ref().filter(|_| is_bound)?;
        let seen = self.world.seen.as_ref()?;
        let goal = &self.world.goal;
        let begun = goal.is_begun(turn.record());
        let differences = saved.differences(plan, &goal.resources, &seen.observation, begun);
        let problems: Vec<Problem> = differences.into_iter().map(outdated).collect();
        (!problems.is_empty()).then_some(problems)
    }

    /// Whether nothing is in it but the next step of a rollout, and what stood in the plan before that step: whoever has agreed
    /// to that one has agreed to this one.
    fn only_goes_on(&self, plan: &Plan) -> bool {
        let Some(walked) = &self.walked else { return false };
        plan.steps.iter().all(|step| {
            let is_step = step.verb == Verb::Update && self.world.is_to_go_on(&step.id);
            let mut before = walked.steps.iter();
            is_step || before.any(|before| (&before.id, before.verb) == (&step.id, step.verb))
        })
    }

    /// Why this generation is not tried again.
    fn is_held(&self, turn: &Turn) -> Option<Failure> {
        let goal = &self.world.goal;
        let hold = turn.record().held.as_ref().filter(|hold| {
            hold.hash == goal.hash && !self.is_tried_again(turn) && !Mutant::FailuresAreNotHeld.is_on()
        })?;
        Some(hold.failure.clone())
    }

    /// Whether it would be tried even if it had failed.
    pub(super) fn is_tried_again(&self, turn: &Turn) -> bool {
        let goal = &self.world.goal;
        turn.base.work.plan_options().retry || goal.kind == GenerationKind::Delete || !goal.is_forward()
    }

    /// The generation stays as it is; what serves in its place is looked after.
    fn stay_held(&mut self, failure: Failure, turn: &mut Turn) {
        let serving = turn.record().serving().cloned();
        match serving.filter(|_| !Mutant::WhatServesInPlaceIsLeftAlone.is_on()) {
            Some(serving) => {
                self.world.goal = Goal::in_place(&serving, failure);
                self.observe_anew(turn.now);
            }
            None => self.record_end(OutcomeKind::Held(failure), turn),
        }
    }

    /// A rollback that was not finished is, before anything else.
    fn resumes_rollback(&mut self, turn: &mut Turn) -> bool {
        if self.is_held(turn).is_none() || Mutant::RollbacksAreNotResumed.is_on() {
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

    /// What serves in place of a held generation has drifted.
    fn tell_restoring(&self, turn: &mut Turn) {
        let goal = &self.world.goal;
        if let Direction::InPlace { .. } = goal.direction {
            let generation = goal.number;
            let held = turn.record().held.as_ref().map_or(0, |hold| hold.generation);
            turn.publish(EngineEvent::Restoring { generation, held });
        }
    }

    /// There is something to do: whoever must agree is asked first.
    fn set_out(&mut self, plan: Arc<Plan>, turn: &mut Turn) {
        self.tell_restoring(turn);
        let options = turn.base.work.plan_options();
        let execution = Execution::new(plan.clone(), self.scope.clone(), options);
        self.world.excuse_failures();
        let agreed = turn.base.work.only.is_some() || self.approved.as_ref() == Some(&plan) || self.only_goes_on(&plan);
        if !plan.approval.is_empty() && !agreed {
            turn.publish(EngineEvent::AwaitingApproval {
                plan: plan.digest(),
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
    pub(super) fn approval_given(&mut self, yes: bool, turn: &mut Turn) {
        let Leg::Approving(execution) = &self.leg else { return };
        if yes {
            self.approved = Some(execution.plan.clone());
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

    pub(super) fn check(&mut self, turn: &mut Turn) -> Next {
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

    pub(super) fn preflight_answered(&mut self, answer: Result<Vec<CallError>, CallError>, turn: &mut Turn) {
        let leg = std::mem::replace(&mut self.leg, Leg::Observing);
        let Leg::Checking {
            execution, failures, ..
        } = leg
        else {
            self.leg = leg;
            return;
        };
        if answer.is_ok() {
            turn.reads_again(failures);
        }
        match answer {
            Ok(faults) if faults.is_empty() => self.note_beginning(Some(execution), turn),
            Ok(faults) => {
                let resources = &self.world.goal.resources;
                let problems = faults.into_iter().map(|fault| problem_of(fault, resources));
                self.refuse(problems.collect(), turn);
            }
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

fn outdated(difference: String) -> Problem {
    Problem {
        code: "PlanOutdated".to_string(),
        message: difference,
        origin: None,
        hint: None,
    }
}

/// A fault of the preflight, with the field of the manifest that asked for what it is about.
fn problem_of(fault: CallError, resources: &Resources) -> Problem {
    let resource = fault.subject.as_deref().and_then(|id| resources.get(id));
    Problem {
        origin: resource.map(|resource| resource.origin.clone()),
        ..problem(fault)
    }
}
