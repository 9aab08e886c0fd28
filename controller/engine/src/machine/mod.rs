//! The step machine: [`step`] takes a state and an input, and gives the next state and the effects to be carried out.
//!
//! It is pure. Time and chance come in with each input; calls, journal writes, questions and waits go out as effects, and
//! whoever drives it answers each [`Ask`] once, in any order. A step first takes in what has happened, then proceeds as far
//! as it can, so that nothing depends on which answer came first. Through the phases, one file each:
//!
//! - [`gather`]: whose account is this, which digests have the images?
//! - [`pursuit`]: where the pursuit of a [`goal`] stands, and what comes in
//! - [`decision`]: what does the plan allow, and who has to agree?
//! - [`carrying_out`], with [`execution`]: which steps may start, what does an answer mean, is everything ready?
//! - [`ending`]: converged, failed, rolled back, stopped: what is to be remembered and told?
//! - [`hold`]: what does the target remember of what failed?
//!
//! What they stand on: [`turn`] (one step in the making), [`scribe`] (what must be durable before what), [`look`] (when to
//! observe) and [`world`] (what the last observation proves).

mod carrying_out;
mod decision;
mod effect;
mod ending;
mod execution;
mod gather;
pub(crate) mod goal;
mod hold;
pub(crate) mod look;
mod policy;
mod pursuit;
mod scribe;
mod time;
mod turn;
mod world;

use std::sync::Arc;

use portolan_provider_api::{CallError, ErrorClass, Shape};

pub use effect::{Answer, Ask, Effect, EffectId, Event, Input};
pub use policy::Policy;
pub use time::Timestamp;

use crate::error::EngineError;
use crate::event::EngineEvent;
use crate::journal::AppRecord;
use crate::outcome::{Outcome, OutcomeKind};
use crate::work::Work;
use gather::Gathering;
use pursuit::Pursuit;
use turn::{Base, Purpose, Turn};

/// One piece of work, somewhere between its beginning and its end.
pub struct State {
    base: Base,
    phase: Phase,
}

enum Phase {
    Gathering(Box<Gathering>),
    Pursuing(Box<Pursuit>),
    Finished(Box<Result<Outcome, EngineError>>),
}

/// Where a piece of work stands, in the words of the design. The last four are ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PhaseName {
    Gathering,
    /// Looked at and planned; nothing is written yet.
    Planned,
    AwaitingApproval,
    Executing,
    Watching,
    RollingBack,
    /// With `no_wait`: every step was taken. So where only promotions are waited for.
    Converged,
    /// The generation has failed, and what served before serves again if there was something.
    Held,
    /// By the plan's problems, by the target's preflight or by whoever was asked.
    Refused,
    /// On request, or because the target, an image or the journal could not be used.
    Stopped,
}

/// What a phase wants after it has proceeded.
enum Next {
    /// Nothing more to do until an answer or the time comes.
    Wait,
    /// Something has changed: proceed again.
    Again,
    Pursue(Box<Pursuit>),
    Finish(Box<Result<Outcome, EngineError>>),
}

impl Next {
    fn finish(result: Result<Outcome, EngineError>) -> Self {
        Self::Finish(Box::new(result))
    }
}

impl State {
    /// `record` is what the journal knows of the app; the first input is [`Event::Start`].
    pub fn new(work: Arc<Work>, shape: Arc<dyn Shape>, policy: Policy, record: AppRecord) -> Self {
        Self {
            base: Base::new(work, shape, policy, record),
            phase: Phase::Gathering(Box::default()),
        }
    }

    pub fn phase(&self) -> PhaseName {
        match &self.phase {
            Phase::Gathering(_) => PhaseName::Gathering,
            Phase::Pursuing(pursuit) => pursuit.phase(),
            Phase::Finished(result) => match &**result {
                Ok(outcome) => outcome.kind.phase(),
                Err(_) => PhaseName::Stopped,
            },
        }
    }

    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished(_))
    }

    /// How it ended; `None` while it goes on.
    pub fn into_result(self) -> Option<Result<Outcome, EngineError>> {
        match self.phase {
            Phase::Finished(result) => Some(*result),
            _ => None,
        }
    }
}

/// One step.
pub fn step(state: State, input: Input) -> (State, Vec<Effect>) {
    let State { base, mut phase } = state;
    let mut turn = Turn::begin(base, input.now, input.random, input.lease);
    let mut next = match input.event {
        Event::Start | Event::Wake => Next::Again,
        Event::Changed => {
            if let Phase::Pursuing(pursuit) = &mut phase {
                pursuit.look.something_changed(&turn);
            }
            Next::Again
        }
        Event::Interrupt => interrupt(&mut phase, &mut turn),
        Event::Done(id, answer) => match turn.answered(id) {
            Some(purpose) => take(&mut phase, purpose, answer, &mut turn),
            None => Next::Again,
        },
    };
    loop {
        next = match next {
            Next::Wait => break,
            Next::Again => proceed(&mut phase, &mut turn),
            Next::Pursue(pursuit) => {
                phase = Phase::Pursuing(pursuit);
                Next::Again
            }
            Next::Finish(result) => {
                phase = Phase::Finished(result);
                Next::Wait
            }
        };
    }
    let (base, effects) = turn.end();
    (State { base, phase }, effects)
}

fn take(phase: &mut Phase, purpose: Purpose, answer: Answer, turn: &mut Turn) -> Next {
    match phase {
        Phase::Gathering(gathering) => gathering.take(purpose, answer, turn),
        Phase::Pursuing(pursuit) => pursuit.take(purpose, answer, turn),
        Phase::Finished(_) => Next::Wait,
    }
}

fn proceed(phase: &mut Phase, turn: &mut Turn) -> Next {
    if let Some(late) = turn.expired() {
        return take(phase, late.clone(), no_answer(&late), turn);
    }
    match phase {
        Phase::Gathering(gathering) => gathering.proceed(turn),
        Phase::Pursuing(pursuit) => pursuit.proceed(turn),
        Phase::Finished(_) => Next::Wait,
    }
}

fn interrupt(phase: &mut Phase, turn: &mut Turn) -> Next {
    match phase {
        Phase::Gathering(_) => {
            turn.abandon_all_but_writes();
            turn.publish(EngineEvent::Interrupted);
            Next::finish(Ok(Outcome {
                kind: OutcomeKind::Interrupted,
                plan: None,
                status: None,
                generation: turn.record().latest.as_ref().map_or(0, |latest| latest.number),
                changed: false,
                is_overtaken: false,
            }))
        }
        Phase::Pursuing(pursuit) => pursuit.interrupt(turn),
        Phase::Finished(_) => Next::Wait,
    }
}

/// What a question answers that has not been answered in time: the outcome is unknown, and it may be asked again.
fn no_answer(purpose: &Purpose) -> Answer {
    let error = no_answer_in_time();
    match purpose {
        Purpose::Observe { .. } => Answer::Observe(Err(error)),
        Purpose::Preflight => Answer::Preflight(Err(error)),
        Purpose::Call(_) => Answer::Call(Err(error)),
        Purpose::Note => Answer::Note(Err(error)),
        Purpose::Realm | Purpose::Pin(_) | Purpose::Approve | Purpose::Write => Answer::Realm(Err(error)),
    }
}

/// As if the target had said so itself.
pub(crate) fn no_answer_in_time() -> CallError {
    CallError::new(
        ErrorClass::Retry { after: None },
        "NoAnswer",
        "the target did not answer in time",
    )
}
