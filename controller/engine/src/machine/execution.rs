//! Executing: which steps of a plan may start, and what the answers to their calls mean. It decides nothing about what
//! to do; the plan has.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_core::mutant::Mutant;
use portolan_core::name::hash_of;
use portolan_core::observation::Failure;
use portolan_core::plan::{Plan, PlanOptions, Scope, Stage, Step, Verb};
use portolan_core::resource::{Resource, ResourceId, close_references, is_closed};
use portolan_provider_api::{Accepted, CallError, ErrorClass, OpenOperation, WriteRequest};
use serde_json::Value;

use super::Timestamp;
use super::effect::Ask;
use super::scribe::Mark;
use super::turn::{Purpose, Turn};
use super::world::{Taken, World};
use crate::event::{EngineEvent, StepName};
use crate::journal::{Intent, JournalEntry};

/// A plan that is being carried out.
pub struct Execution {
    pub plan: Arc<Plan>,
    options: PlanOptions,
    scope: Arc<Scope>,
    steps: Vec<StepRun>,
}

/// How far one step has come.
#[derive(Default)]
struct StepRun {
    progress: Progress,
    failures: u32,
    /// Of those, that the platform has put off and named the time for: whoever asks for patience gets it, up to the deadline.
    put_off: u32,
    /// When its call was made for the first time.
    began: Option<Timestamp>,
    /// Whether it was told that the step waits.
    told: bool,
    /// The body of its last call.
    sent: Value,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    #[default]
    Waiting,
    /// Its intent is on its way to the journal.
    Noting(Mark),
    Calling,
    /// Until it is tried again.
    Pausing(Timestamp),
    /// The platform took it; a delete is done once the resource is gone.
    Accepted,
    Done,
}

/// What an answer makes of the whole.
#[derive(Debug)]
pub enum Verdict {
    GoOn,
    /// Somebody else wrote: what the plan was made from is no longer so.
    PlanAnew(Failure),
    Fail(Failure),
}

impl Execution {
    pub fn new(plan: Arc<Plan>, scope: Arc<Scope>, options: PlanOptions) -> Self {
        let steps = plan.steps.iter().map(|_| StepRun::default()).collect();
        Self {
            plan,
            options,
            scope,
            steps,
        }
    }

    pub fn is_done(&self) -> bool {
        self.steps.iter().all(|run| run.progress == Progress::Done)
    }

    /// Whether the plan still has something to write to the resource.
    pub fn is_pending(&self, id: &ResourceId) -> bool {
        let steps = self.plan.steps.iter().zip(&self.steps);
        let mut unwritten = steps.filter(|(_, run)| !matches!(run.progress, Progress::Accepted | Progress::Done));
        unwritten.any(|(step, _)| step.id == *id)
    }

    /// Whether the step was tried before: a try without a good answer may have been taken.
    pub fn is_retried(&self, number: usize) -> bool {
        self.steps[number - 1].failures > 0
    }

    /// Whether every step that is left waits for something else, and none is under way or to be tried again.
    pub fn only_waits(&self) -> bool {
        let idle = |run: &StepRun| matches!(run.progress, Progress::Waiting | Progress::Done);
        self.steps.iter().all(idle)
    }

    /// Starts every step that may start. Answers whether there are steps that wait for what only a look can tell.
    pub fn advance(&mut self, world: &World, turn: &mut Turn) -> bool {
        self.settle(world);
        let Some(stage) = self.open_stage() else { return false };
        if stage == Stage::Prune && !world.is_settled() && !Mutant::PrunesDoNotWait.is_on() {
            return true;
        }
        let plan = self.plan.clone();
        let mut waits = false;
        for step in plan.steps.iter().filter(|step| step.stage == stage) {
            if self.are_needs_done(step) {
                waits |= !self.start(step, world, turn);
            }
        }
        waits
    }

    /// What the platform took is done; a delete only when the resource is seen to be gone.
    fn settle(&mut self, world: &World) {
        for (step, run) in self.plan.steps.iter().zip(&mut self.steps) {
            let done = step.verb != Verb::Delete || world.is_gone(&step.id);
            if run.progress == Progress::Accepted && done {
                run.progress = Progress::Done;
            }
        }
    }

    fn open_stage(&self) -> Option<Stage> {
        let steps = self.plan.steps.iter().zip(&self.steps);
        let undone = steps.filter(|(_, run)| run.progress != Progress::Done);
        undone.map(|(step, _)| step.stage).min()
    }

    fn are_needs_done(&self, step: &Step) -> bool {
        step.needs
            .iter()
            .all(|need| self.steps[need - 1].progress == Progress::Done)
    }

    /// Takes the step as far as it can go now. Answers `false` if it waits for what only a look can tell.
    fn start(&mut self, step: &Step, world: &World, turn: &mut Turn) -> bool {
        let run = &mut self.steps[step.number - 1];
        match run.progress {
            Progress::Calling | Progress::Done => return true,
            Progress::Accepted => return false,
            Progress::Noting(mark) if !turn.base.scribe.is_durable(mark) && !Mutant::IntentsAreNotAwaited.is_on() => {
                return true;
            }
            Progress::Pausing(until) if !turn.is_due(until) => return true,
            _ if turn.calls_under_way() >= turn.base.policy.calls_at_once => return true,
            Progress::Waiting | Progress::Noting(_) | Progress::Pausing(_) => {}
        }
        let Some(body) = self.body_if_ready(step, world, turn) else {
            return false;
        };
        match self.intent_of(step, turn) {
            Some(mark) => self.steps[step.number - 1].progress = Progress::Noting(mark),
            None => self.call(step, body, turn),
        }
        true
    }

    /// The body with every reference closed; `None` while something elsewhere has not come as far as the step needs.
    fn body_if_ready(&mut self, step: &Step, world: &World, turn: &mut Turn) -> Option<Value> {
        let unmet: Vec<_> = step.edges.iter().filter(|edge| !world.holds(edge)).cloned().collect();
        if !unmet.is_empty() && !Mutant::EdgesAreNotAwaited.is_on() {
            let run = &mut self.steps[step.number - 1];
            if !std::mem::replace(&mut run.told, true) {
                let step = self.name(step);
                turn.publish(EngineEvent::StepWaiting { step, edges: unmet });
            }
            return None;
        }
        let body = step.body.as_ref().map_or(Value::Null, |body| {
            close_references(body, &|id, output| world.output(id, output))
        });
        is_closed(&body).then_some(body)
    }

    /// Notes the intent of a create that may not be repeated, if that was not done before.
    fn intent_of(&self, step: &Step, turn: &mut Turn) -> Option<Mark> {
        let noted = matches!(self.steps[step.number - 1].progress, Progress::Noting(_));
        let known = turn.record().intents.get(&step.id);
        let known = known.is_some_and(|intent| intent.generation == self.plan.generation && intent.verb == step.verb);
        if !step.needs_intent || noted || known || Mutant::IntentsAreNotNoted.is_on() {
            return None;
        }
        Some(turn.note(JournalEntry::IntentOpened(Intent {
            id: step.id.clone(),
            verb: step.verb,
            generation: self.plan.generation,
            idempotency_token: self.token(step, turn),
            at: turn.now,
        })))
    }

    fn call(&mut self, step: &Step, body: Value, turn: &mut Turn) {
        let request = self.request(step, body, turn);
        let name = self.name(step);
        let run = &mut self.steps[step.number - 1];
        run.sent = request.body.clone();
        run.progress = Progress::Calling;
        if run.began.is_none() {
            run.began = Some(turn.now);
            turn.publish(EngineEvent::StepStarted { step: name });
        }
        let ask = Ask::Call {
            scope: self.scope.clone(),
            request,
        };
        let within = turn.base.policy.call_deadline;
        turn.ask(Purpose::Call(step.number), ask, Some(within));
    }

    /// Every write of the plan, as far as it is known now: what a preflight judges.
    pub fn requests(&self, world: &World, turn: &Turn) -> Vec<WriteRequest> {
        let steps = self.plan.steps.iter();
        let request = |step: &Step| {
            let body = step.body.as_ref().unwrap_or(&Value::Null);
            let body = close_references(body, &|id, output| world.output(id, output));
            self.request(step, body, turn)
        };
        steps.map(request).collect()
    }

    fn request(&self, step: &Step, body: Value, turn: &Turn) -> WriteRequest {
        WriteRequest {
            verb: step.verb,
            id: step.id.clone(),
            body,
            revision: step.revision.clone(),
            etag: step.etag.clone().filter(|_| !Mutant::EtagsAreLeftOut.is_on()),
            generation: self.plan.generation,
            idempotency_token: self.token(step, turn),
            take_over: self.options.take_over,
            erase_data: step.verb == Verb::Delete && self.options.allow_data_loss,
        }
    }

    /// The same for every try of a step, and after a crash the one that the intent was noted with. A later step gets
    /// another: what was deleted by hand and is created again in the same generation is no repetition, however much the
    /// target looks as it did the first time.
    fn token(&self, step: &Step, turn: &Turn) -> String {
        let known = turn.record().intents.get(&step.id);
        let known = known.filter(|intent| intent.generation == self.plan.generation && intent.verb == step.verb);
        if let Some(intent) = known {
            return intent.idempotency_token.clone();
        }
        let generation = self.plan.generation.to_string();
        let verb = format!("{:?}", step.verb);
        let id = step.id.to_string();
        let began = match Mutant::TokensRepeat.is_on() {
            true => Some(Timestamp::default()),
            false => self.steps[step.number - 1].began,
        };
        let at = began.unwrap_or(turn.now).0.to_string();
        let observed = &self.plan.observed;
        let parts = [self.scope.owner.as_str(), &id, &generation, &verb, observed, &at];
        hash_of(&parts)[..32].to_string()
    }

    /// Takes in the answer to a call.
    pub fn answered(
        &mut self,
        number: usize,
        answer: Result<Accepted, CallError>,
        world: &mut World,
        turn: &mut Turn,
    ) -> Verdict {
        let plan = self.plan.clone();
        let Some(step) = plan.step(number) else {
            return Verdict::GoOn;
        };
        world.writes.answered(&step.id, turn.now);
        match answer {
            Ok(accepted) => {
                self.accepted(step, accepted, world, turn);
                Verdict::GoOn
            }
            Err(error) => self.refused(step, error, turn),
        }
    }

    fn accepted(&mut self, step: &Step, accepted: Accepted, world: &mut World, turn: &mut Turn) {
        let run = &mut self.steps[step.number - 1];
        run.progress = Progress::Accepted;
        let is_first_try = run.failures == 0;
        let body = std::mem::take(&mut run.sent);
        let desired = world.goal.resources.get(&step.id).filter(|_| step.verb != Verb::Delete);
        let written = desired.map(|resource| Resource {
            body,
            ..resource.clone()
        });
        let outputs = match accepted {
            Accepted::Done { outputs } => outputs,
            Accepted::Operation { handle } => {
                turn.note(JournalEntry::OperationOpened(OpenOperation {
                    id: step.id.clone(),
                    verb: step.verb,
                    handle,
                }));
                BTreeMap::new()
            }
        };
        // Its intent stays open until the resource is seen: after a crash a read may be too old to show it.
        let generation = self.plan.generation;
        // A try whose answer was lost may have been taken as well, and looks the same.
        let is_told = written
            .as_ref()
            .is_none_or(|written| is_first_try && world.is_told_from(written, generation, &*turn.base.shape));
        let taken = Taken {
            at: turn.now,
            generation,
            written,
            is_told,
            outputs,
        };
        world.writes.accepted(step, taken);
        turn.publish(EngineEvent::StepDone { step: self.name(step) });
    }

    /// Only what passes is tried again, and that not for ever.
    fn refused(&mut self, step: &Step, error: CallError, turn: &mut Turn) -> Verdict {
        let name = self.name(step);
        let policy = turn.base.policy;
        let run = &mut self.steps[step.number - 1];
        run.progress = Progress::Waiting;
        let failure = failure_of(step, &error);
        match error.class {
            ErrorClass::Retry { after } => {
                run.failures += 1;
                run.put_off += u32::from(after.is_some());
                let began = run.began.unwrap_or(turn.now);
                if run.failures - run.put_off >= policy.tries || turn.now >= began.plus(policy.operation_deadline) {
                    return Verdict::Fail(failure);
                }
                let at = turn.retry_at(run.failures, after);
                run.progress = Progress::Pausing(at);
                turn.publish(EngineEvent::StepRetrying { step: name, error, at });
                Verdict::GoOn
            }
            _ if Mutant::RefusalsArePassedOver.is_on() => {
                run.progress = Progress::Done;
                Verdict::GoOn
            }
            ErrorClass::Conflict if Mutant::ConflictsFailAtOnce.is_on() => Verdict::Fail(failure),
            ErrorClass::Conflict => Verdict::PlanAnew(failure),
            ErrorClass::Denied | ErrorClass::Quota | ErrorClass::Invalid | ErrorClass::Bug => {
                close_intent(step, turn);
                Verdict::Fail(failure)
            }
        }
    }

    fn name(&self, step: &Step) -> StepName {
        StepName {
            number: step.number,
            of: self.steps.len(),
            verb: step.verb,
            id: step.id.clone(),
        }
    }
}

fn close_intent(step: &Step, turn: &mut Turn) {
    if turn.record().intents.contains_key(&step.id) {
        turn.note(JournalEntry::IntentClosed(step.id.clone()));
    }
}

/// Of what a platform says so much is kept: a failure is written down, and told wherever a status is.
const MOST_LINES: usize = 50;
pub(super) const LONGEST_LINE: usize = 500;

/// The last lines, none of them without end.
fn last_words(evidence: &[String]) -> Vec<String> {
    let first = evidence.len().saturating_sub(MOST_LINES);
    if Mutant::EvidenceHasNoEnd.is_on() {
        return evidence.to_vec();
    }
    let lines = evidence[first..].iter();
    lines.map(|line| cut(line, LONGEST_LINE)).collect()
}

pub(super) fn cut(line: &str, longest: usize) -> String {
    match line.char_indices().nth(longest) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.to_string(),
    }
}

/// A refused call as the failure of the resource.
fn failure_of(step: &Step, error: &CallError) -> Failure {
    Failure {
        reason: error.code.clone(),
        message: format!("{}: {}", step.id, cut(&error.message, LONGEST_LINE)),
        evidence: last_words(&error.evidence),
        hint: error.hint.clone(),
        lost: false,
    }
}
