//! How a pursuit ends: what is under way is awaited, what must be remembered is noted, and only then it is over.

use std::sync::Arc;

use portolan_core::mutant::Mutant;
use portolan_core::observation::Failure;
use portolan_core::plan::Problem;

use super::Next;
use super::goal::{Direction, Goal, newest_shown};
use super::pursuit::{Leg, Pursuit};
use super::turn::Turn;
use crate::error::EngineError;
use crate::event::EngineEvent;
use crate::journal::JournalError;
use crate::journal::{AppRecord, Generation, GenerationKind, HistoryEntry, HistoryOutcome, Hold, JournalEntry};
use crate::outcome::{Outcome, OutcomeKind};

/// Why no new call is made. A later reason takes the place of an earlier one only if it is stronger.
pub enum Winding {
    /// Somebody else wrote: plan again.
    Anew(Failure),
    /// The generation has failed.
    Fail(Failure),
    End(Result<OutcomeKind, EngineError>),
}

/// What follows once the journal knows.
pub enum Ending {
    Over(OutcomeKind),
    TurnBack(Arc<Generation>, Failure),
}

impl Winding {
    fn strength(&self) -> u8 {
        match self {
            Self::Anew(_) => 0,
            Self::Fail(_) => 1,
            Self::End(Ok(_)) => 2,
            // What could not be written down has not been, whatever else ends the run.
            Self::End(Err(_)) => 3,
        }
    }
}

impl Pursuit {
    /// From here on no new call is made. Questions that change nothing outside are dropped.
    pub(super) fn wind(&mut self, winding: Winding, turn: &mut Turn) {
        let weaker = |before: &Winding| before.strength() >= winding.strength();
        if !self.winding.as_ref().is_some_and(weaker) {
            self.winding = Some(winding);
        }
        turn.abandon_all_but_writes();
    }

    /// Waits for the calls and the journal, and then does what the winding was for.
    pub(super) fn wind_down(&mut self, turn: &mut Turn) -> Next {
        if turn.calls_under_way() > 0 || !turn.base.scribe.is_idle() {
            return Next::Wait;
        }
        match self.winding.take() {
            Some(Winding::Anew(failure)) => self.plan_anew(failure, turn),
            Some(Winding::Fail(failure)) => self.failed(failure, turn),
            Some(Winding::End(Ok(kind))) => return Next::finish(Ok(self.outcome(kind, turn))),
            Some(Winding::End(Err(error))) => return Next::finish(Err(error)),
            None => {}
        }
        Next::Again
    }

    fn plan_anew(&mut self, failure: Failure, turn: &mut Turn) {
        self.replans += 1;
        if self.replans > turn.base.policy.replans {
            return self.failed(failure, turn);
        }
        turn.publish(EngineEvent::PlanningAnew {
            because: failure.message,
        });
        let at = turn.retry_at(self.replans, None);
        self.observe_anew(at);
    }

    /// Nothing of the plan is carried out. A rollback that may not be is one that has failed.
    pub(super) fn refuse(&mut self, problems: Vec<Problem>, turn: &mut Turn) {
        match self.world.goal.direction {
            Direction::Forward => self.wind(Winding::End(Ok(OutcomeKind::Refused(problems))), turn),
            Direction::Back { .. } | Direction::InPlace { .. } => {
                let messages: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
                self.failed(Failure::new("RollbackRefused", messages.join("; ")), turn);
            }
        }
    }

    /// The target is as the goal says. If the journal knew, nothing is written.
    pub(super) fn converge(&mut self, turn: &mut Turn) {
        let goal = &self.world.goal;
        match goal.direction.clone() {
            Direction::Back { failure } => {
                let to_generation = goal.number;
                turn.note(JournalEntry::RolledBack);
                let outcome = HistoryOutcome::RolledBack {
                    failure: failure.clone(),
                    to_generation,
                };
                self.note_history(outcome, turn);
                turn.publish(EngineEvent::Held {
                    generation: self.number(turn),
                    failure: failure.clone(),
                });
                self.record_end(OutcomeKind::RolledBack { failure, to_generation }, turn);
            }
            Direction::InPlace { failure } => {
                if self.world.writes.accepted > 0 {
                    let outcome = HistoryOutcome::RolledBack {
                        failure: failure.clone(),
                        to_generation: goal.number,
                    };
                    self.note_history(outcome, turn);
                }
                self.record_end(OutcomeKind::Held(failure), turn);
            }
            Direction::Forward => {
                self.close_what_nobody_awaits(turn);
                if self.is_news(turn.record()) {
                    self.note_generation(turn);
                    turn.note(JournalEntry::Converged);
                    self.note_history(HistoryOutcome::Converged, turn);
                }
                turn.publish(EngineEvent::Converged {
                    generation: self.world.goal.number,
                    changed: self.world.writes.accepted > 0,
                });
                self.record_end(OutcomeKind::Converged, turn);
            }
        }
    }

    /// What goes on with kept data, say, long after the app is gone: how it ends is no news.
    fn close_what_nobody_awaits(&self, turn: &mut Turn) {
        let desired = &self.world.goal.resources;
        let operations = turn.record().operations.keys();
        let others: Vec<_> = operations.filter(|id| !desired.contains_key(*id)).cloned().collect();
        for id in others {
            turn.note(JournalEntry::OperationClosed(id));
        }
    }

    /// Whether the journal learns something from the goal's being reached.
    fn is_news(&self, record: &AppRecord) -> bool {
        let goal = &self.world.goal;
        // What shows a generation will not do so for ever, and a status may not go back.
        let seen = self.world.seen.as_ref();
        let shown = seen.map_or(0, |seen| newest_shown(&seen.observation));
        let never_there = goal.kind == GenerationKind::Delete && record.latest.is_none() && shown == 0;
        let known = record
            .converged
            .as_ref()
            .is_some_and(|converged| converged.number == goal.number);
        self.world.writes.accepted > 0 || !(never_there || known && goal.is_begun(record) && record.held.is_none())
    }

    /// Every step was taken, and nobody waits for more.
    pub(super) fn applied(&mut self, turn: &mut Turn) {
        if self.world.writes.accepted > 0 {
            self.note_history(HistoryOutcome::Applied, turn);
        }
        self.record_end(OutcomeKind::Applied, turn);
    }

    /// Every step that can be taken was, and the rest waits for a promotion.
    pub(super) fn paused(&mut self, turn: &mut Turn) {
        if self.world.writes.accepted > 0 {
            self.note_history(HistoryOutcome::Paused, turn);
        }
        self.record_end(OutcomeKind::Paused, turn);
    }

    /// A failure of the generation: back to the one before, if there is one; held in any case.
    fn failed(&mut self, failure: Failure, turn: &mut Turn) {
        match self.world.goal.direction.clone() {
            Direction::Forward => self.generation_failed(failure, turn),
            Direction::Back { failure: first } | Direction::InPlace { failure: first } => {
                self.rollback_failed(first, &failure, turn);
            }
        }
    }

    fn generation_failed(&mut self, failure: Failure, turn: &mut Turn) {
        let back = self.way_back(turn);
        turn.note(JournalEntry::Held(Hold {
            generation: self.world.goal.number,
            hash: self.world.goal.hash.clone(),
            failure: failure.clone(),
            rolling_back_to: back.as_ref().map(|to| to.number),
            serving: None,
        }));
        match back {
            Some(to) => self.leg = Leg::Recording(turn.base.scribe.mark(), Ending::TurnBack(to, failure)),
            None => self.hold(failure, turn),
        }
    }

    fn rollback_failed(&mut self, mut failure: Failure, second: &Failure, turn: &mut Turn) {
        failure
            .evidence
            .push(format!("rolling back failed too: {}", second.message));
        turn.note(JournalEntry::RollbackFailed);
        self.hold(failure, turn);
    }

    fn hold(&mut self, failure: Failure, turn: &mut Turn) {
        let held = HistoryOutcome::Held {
            failure: failure.clone(),
        };
        self.note_history(held, turn);
        turn.publish(EngineEvent::Held {
            generation: self.number(turn),
            failure: failure.clone(),
        });
        self.record_end(OutcomeKind::Held(failure), turn);
    }

    /// The generation that served before this one, if it may be gone back to.
    fn way_back(&self, turn: &Turn) -> Option<Arc<Generation>> {
        let goal = &self.world.goal;
        let converged = turn.record().converged.as_ref()?;
        let both_apply = [goal.kind, converged.kind] == [GenerationKind::Apply; 2];
        let back = both_apply && converged.hash != goal.hash && !Mutant::FailuresAreNotRolledBack.is_on();
        back.then(|| converged.clone())
    }

    /// From here on the goal is what served before.
    pub(super) fn turn_back(&mut self, to: &Generation, failure: Failure, turn: &mut Turn) {
        turn.publish(EngineEvent::RollingBack {
            generation: self.number(turn),
            to_generation: to.number,
            failure: failure.clone(),
        });
        self.world
            .writes
            .lines
            .push(format!("back to generation {}:", to.number));
        self.world.goal = Goal::back(to, failure);
        self.replans = 0;
        self.observe_anew(turn.now);
    }

    fn note_history(&mut self, outcome: HistoryOutcome, turn: &mut Turn) {
        let goal = &self.world.goal;
        let entry = HistoryEntry {
            at: turn.now,
            generation: self.number(turn),
            kind: goal.kind,
            outcome,
            changes: std::mem::take(&mut self.world.writes.lines),
            images: self.world.goal.images.clone(),
        };
        turn.note(JournalEntry::History(entry));
    }

    /// The generation that the user asked for, also while the one before is being brought back.
    fn number(&self, turn: &Turn) -> u64 {
        match &turn.record().latest {
            Some(latest) => latest.number,
            None => self.world.goal.number,
        }
    }

    pub(super) fn record_end(&mut self, kind: OutcomeKind, turn: &mut Turn) {
        self.leg = Leg::Recording(turn.base.scribe.mark(), Ending::Over(kind));
    }

    pub(super) fn recorded(&mut self, turn: &mut Turn) -> Next {
        match std::mem::replace(&mut self.leg, Leg::Observing) {
            Leg::Recording(_, Ending::TurnBack(to, failure)) => {
                self.turn_back(&to, failure, turn);
                Next::Again
            }
            Leg::Recording(_, Ending::Over(kind)) => {
                turn.abandon_all_but_writes();
                self.tell_the_target(kind, turn)
            }
            leg => {
                self.leg = leg;
                Next::Again
            }
        }
    }

    /// A journal that cannot be written ends the run: nothing more could be done safely.
    pub(super) fn written(&mut self, answer: Result<(), JournalError>, turn: &mut Turn) {
        match answer {
            Ok(()) => turn.base.scribe.written(),
            Err(error) => {
                turn.base.scribe.give_up();
                self.wind(Winding::End(Err(EngineError::Journal(error))), turn);
            }
        }
    }

    pub(super) fn outcome(&self, kind: OutcomeKind, turn: &Turn) -> Outcome {
        Outcome {
            kind,
            plan: self.plan.as_deref().cloned(),
            status: self.status(turn),
            generation: self.number(turn),
            changed: self.world.writes.accepted > 0,
            is_overtaken: self.look.is_overtaken(),
        }
    }
}
