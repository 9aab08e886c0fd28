//! What every app must come to once nothing goes wrong any more: its last version, or a failure that has its reason; and
//! then silence for a day.

use portolan_engine::{EngineError, Outcome, OutcomeKind};

use super::agenda::Token;
use super::world::World;

/// How far an app has come with its end. Passes and days are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Things still go wrong.
    Script,
    /// Its last version is brought to its end.
    Last(u32),
    /// It was held for a fault that has passed, and the user says `retry`.
    Retrying(u32),
    /// It has come to its end, and is looked at again and again.
    Silent(u32),
    Done,
}

/// I1: no more passes than this.
const MOST_PASSES: u32 = 10;

/// A day, in so many looks.
const LOOKS: u32 = 2;
const BETWEEN_LOOKS_MS: u64 = 12 * 60 * 60 * 1000;

impl World<'_> {
    pub(super) fn judge(&mut self, app: usize, retry: bool, result: Result<Outcome, EngineError>) {
        let sound = self.wanted(app, self.apps[app].position).version.is_sound();
        let kind = result.as_ref().ok().map(|outcome| &outcome.kind);
        match (self.apps[app].stage, kind) {
            (Stage::Last(_) | Stage::Retrying(_), Some(OutcomeKind::Converged)) if sound => {
                self.check_truth(app, self.apps[app].account, self.apps[app].position);
                self.check_note(app, false);
                self.be_silent(app, 0);
            }
            (Stage::Last(_) | Stage::Retrying(_), Some(OutcomeKind::Converged)) => {
                self.broken("I7", format!("app {app} cannot get ready, and is said to be"));
            }
            (Stage::Last(_), Some(OutcomeKind::Held(_) | OutcomeKind::RolledBack { .. })) if !sound => {
                self.check_held(app);
                self.check_note(app, true);
                self.be_silent(app, 0);
            }
            (Stage::Last(_), Some(OutcomeKind::Held(failure) | OutcomeKind::RolledBack { failure, .. })) => {
                match self.apps[app].excused {
                    true => self.look_again(app, Stage::Retrying(0)),
                    false => self.broken("I1", format!("app {app} is held without a reason: {failure:?}")),
                }
            }
            (Stage::Silent(_), Some(OutcomeKind::Converged)) if sound => self.was_silent(app),
            (Stage::Silent(_), Some(OutcomeKind::Held(_))) if !sound => {
                self.check_held(app);
                self.was_silent(app);
            }
            (Stage::Silent(_), _) => {
                self.broken("I2", format!("app {app} was at its end, and now: {result:?}"));
            }
            (Stage::Last(passes), _) => self.pass_again(app, Stage::Last(passes + 1), passes, retry),
            (Stage::Retrying(passes), _) => self.pass_again(app, Stage::Retrying(passes + 1), passes, retry),
            (Stage::Script | Stage::Done, _) => {}
        }
    }

    fn pass_again(&mut self, app: usize, stage: Stage, passes: u32, retry: bool) {
        match passes + 1 >= MOST_PASSES {
            true => self.broken(
                "I1",
                format!("app {app} does not converge in {MOST_PASSES} passes (retry: {retry})"),
            ),
            false => self.look_again(app, stage),
        }
    }

    fn look_again(&mut self, app: usize, stage: Stage) {
        self.apps[app].stage = stage;
        self.agenda.plan(self.now + 1_000, Token::Begin { app });
    }

    fn be_silent(&mut self, app: usize, looks: u32) {
        self.apps[app].stage = Stage::Silent(looks);
        self.apps[app].writes_before_silence = self.writes_of(app);
        self.agenda.plan(self.now + BETWEEN_LOOKS_MS, Token::Begin { app });
    }

    fn was_silent(&mut self, app: usize) {
        let Stage::Silent(looks) = self.apps[app].stage else {
            return;
        };
        let writes = self.writes_of(app) - self.apps[app].writes_before_silence;
        if writes > 0 {
            self.broken("I2", format!("app {app} has converged, and writes {writes} times more"));
        }
        match looks + 1 < LOOKS {
            true => self.be_silent(app, looks + 1),
            false => self.apps[app].stage = Stage::Done,
        }
    }

    /// At the target and in the journal.
    fn writes_of(&self, app: usize) -> u64 {
        let journal = self.journal.writes(&self.apps[app].key);
        let account = self.apps[app].account;
        let scope = self.scope(app, account);
        self.accounts[account].cloud.writes_by(scope) + journal as u64
    }
}
