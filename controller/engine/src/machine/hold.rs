//! What the target remembers of a generation that failed: it is told when a run ends, and heard where the journal is lost.
//!
//! The journal always comes first: the target is told what is durable there, and heard only about what the journal has not
//! come as far as. A note that does not arrive ends no run; the next one sees that it is missing.

use portolan_core::mutant::Mutant;
use portolan_core::observation::{Failure, Held};

use super::Next;
use super::effect::Ask;
use super::execution::{LONGEST_LINE, cut};
use super::pursuit::{Leg, Pursuit};
use super::turn::{Purpose, Turn};
use crate::journal::{AppRecord, GenerationKind, Hold, JournalEntry};
use crate::outcome::OutcomeKind;

impl Pursuit {
    /// The run is over once the target knows too.
    pub(super) fn tell_the_target(&mut self, kind: OutcomeKind, turn: &mut Turn) -> Next {
        let Some(held) = self.untold(&kind, turn).filter(|_| !turn.has_lost_lease()) else {
            return Next::finish(Ok(self.outcome(kind, turn)));
        };
        let scope = self.scope.clone();
        let within = turn.base.policy.read_deadline;
        turn.ask(Purpose::Note, Ask::Note { scope, held }, Some(within));
        self.leg = Leg::Noting(kind);
        Next::Wait
    }

    /// Well or not.
    pub(super) fn noted(&mut self, turn: &Turn) -> Next {
        match std::mem::replace(&mut self.leg, Leg::Observing) {
            Leg::Noting(kind) => Next::finish(Ok(self.outcome(kind, turn))),
            leg => {
                self.leg = leg;
                Next::Again
            }
        }
    }

    /// What the target has to be told: a hold until it shows it, and that there is none as long as it may remember one.
    fn untold(&self, kind: &OutcomeKind, turn: &Turn) -> Option<Option<Held>> {
        let shown = self.world.seen.as_ref()?.observation.held.as_ref();
        match kind {
            OutcomeKind::Converged => {
                let remembered = shown.is_some() || self.was_held;
                (remembered && !Mutant::HoldsOutlastTheirEnd.is_on()).then_some(None)
            }
            OutcomeKind::Held(_) | OutcomeKind::RolledBack { .. } => {
                let held = told(turn.record())?;
                // What was written since may bear it no more.
                let told = shown == Some(&held) && self.world.writes.accepted == 0;
                (!told && !Mutant::HoldsAreNotNoted.is_on()).then_some(Some(held))
            }
            _ => None,
        }
    }

    /// Why this generation is not tried again, if the target alone remembers that: the journal learns it anew.
    pub(super) fn hears_of_a_hold(&mut self, turn: &mut Turn) -> Option<Failure> {
        if self.is_tried_again(turn) || Mutant::HoldsAreNotHeard.is_on() {
            return None;
        }
        let goal = &self.world.goal;
        let held = self.world.seen.as_ref()?.observation.held.as_ref()?;
        let known = turn.record().latest.as_ref().map_or(0, |latest| latest.number);
        // Where the journal or a tag is newer, the number is another one.
        let is_it = held.hash == goal.hash && held.generation == goal.number && known < held.generation;
        let hold = is_it.then(|| hold_of(held))?;
        let failure = hold.failure.clone();
        self.note_generation(turn);
        turn.note(JournalEntry::Held(hold));
        Some(failure)
    }
}

/// What the target has been told, if all that the journal knows was told.
pub(super) fn told(record: &AppRecord) -> Option<Held> {
    let of_apply = record.latest.as_ref().map(|latest| latest.kind) == Some(GenerationKind::Apply);
    record.held.as_ref().filter(|_| of_apply).map(note_of)
}

fn note_of(hold: &Hold) -> Held {
    Held {
        generation: hold.generation,
        hash: hold.hash.clone(),
        reason: hold.failure.reason.clone(),
        message: cut(&hold.failure.message, LONGEST_LINE),
    }
}

fn hold_of(held: &Held) -> Hold {
    Hold {
        generation: held.generation,
        hash: held.hash.clone(),
        failure: Failure::new(&held.reason, &held.message),
        rolling_back_to: None,
        serving: None,
    }
}
