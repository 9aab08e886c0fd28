//! The controllers: processes that may end, stand still and have another idea of the time than the world.

use portolan_core::plan::Scope;
use portolan_engine::budget::Budget;
use portolan_engine::machine::{Ask, Timestamp};

use super::agenda::Token;
use super::calls::{Flight, Phase};
use super::invariants::Limits;
use super::world::{MARGIN_MS, World};

pub struct Controller {
    pub alive: bool,
    /// Counts its restarts.
    pub life: u64,
    pub stalled_until: u64,
    /// Its clock minus the world's.
    pub skew_ms: i64,
    /// For each account.
    pub shares: Vec<Share>,
    /// By its own clock; `None` where nobody else could write.
    pub lease: Option<Timestamp>,
}

/// What a controller may ask of one account: as the engine counts it, and as it is counted here once more.
pub struct Share {
    pub budget: Budget,
    pub limits: Limits,
}

impl Controller {
    /// For so many accounts, each of which takes so many requests.
    pub fn new(accounts: usize, rate: u32) -> Self {
        let share = |_| Share {
            budget: Budget::new(rate),
            limits: Limits::new(rate),
        };
        Self {
            alive: true,
            life: 0,
            stalled_until: 0,
            skew_ms: 0,
            shares: (0..accounts).map(share).collect(),
            lease: None,
        }
    }
}

impl<'a> World<'a> {
    pub(super) fn is_stalled(&self, controller: usize) -> Option<u64> {
        let until = self.controllers[controller].stalled_until;
        (until > self.now).then_some(until)
    }

    /// What the controller takes for the time.
    pub(super) fn time_of(&self, controller: usize) -> Timestamp {
        Timestamp(self.now.saturating_add_signed(self.controllers[controller].skew_ms))
    }

    /// Whose the app is at the account.
    pub(super) fn scope(&self, app: usize, account: usize) -> &'a Scope {
        &self.stand.scopes[account][app]
    }

    /// Who may work, if anybody.
    pub(super) fn able(&self) -> Option<usize> {
        let able = |controller: &usize| {
            let one = &self.controllers[*controller];
            let leased = one.lease.is_none_or(|until| self.time_of(*controller) < until);
            one.alive && leased && self.is_stalled(*controller).is_none()
        };
        (0..self.controllers.len()).find(able)
    }

    /// The process ends. What it has sent may still arrive; what it was writing is there whole or not at all.
    pub(super) fn crash(&mut self, controller: usize, skew_ms: Option<i64>) {
        self.note(|_| format!("controller {controller} ends"));
        self.controllers[controller].alive = false;
        if let Some(skew_ms) = skew_ms {
            self.controllers[controller].skew_ms = skew_ms;
        }
        for app in &mut self.apps {
            if app.runs[controller].take().is_some() {
                app.waits = true;
            }
        }
        let flights = std::mem::take(&mut self.flights);
        for flight in flights {
            match flight.controller == controller {
                true => self.cut_off(flight),
                false => self.flights.push(flight),
            }
        }
        let after = 50 + self.latency.below(3_000);
        self.agenda.plan(self.now + after, Token::Restart { controller });
    }

    /// So do all of them.
    pub(super) fn crash_all(&mut self) {
        for controller in 0..self.controllers.len() {
            if self.controllers[controller].alive {
                self.crash(controller, None);
            }
        }
    }

    /// What the target remembers is all that is left.
    pub(super) fn lose_the_journal(&mut self) {
        self.crash_all();
        self.journal.forget();
        self.nobody_until = self.now + self.scenario.lag.longest() + MARGIN_MS;
        for app in 0..self.apps.len() {
            let noted = self.noted(app);
            let state = &mut self.apps[app];
            // Numbers that no object bears are gone.
            state.told = None;
            // A note that was not taken back yet may count again; what was not noted yet is tried again.
            state.excused |= noted.is_some() && noted != state.held;
            self.forget_unnoted(app);
        }
    }

    /// What the target itself remembers to be held, in the form of the app's own word for it.
    pub(super) fn noted(&self, app: usize) -> Option<(usize, String)> {
        let account = self.apps[app].account;
        let noted = self.accounts[account].cloud.noted(self.scope(app, account))?;
        Some((account, noted.hash))
    }

    /// Where no journal knows of a hold, nobody does once it is not noted at the target, or not any more.
    pub(super) fn forget_unnoted(&mut self, app: usize) {
        let noted = self.noted(app);
        let held = &mut self.apps[app].held;
        *held = held.take().filter(|held| Some(held) == noted.as_ref());
    }

    fn cut_off(&mut self, mut flight: Flight) {
        match (&flight.phase, &flight.ask) {
            (Phase::Sent, Ask::Call { .. } | Ask::Note { .. }) if self.latency.chance(500) => {
                flight.is_heard = false;
                self.flights.push(flight);
            }
            (Phase::Sent, Ask::Write(_)) if self.latency.chance(500) => {
                self.append(&flight);
            }
            _ => {}
        }
    }

    /// Whatever the process before had in memory is gone, its lease too.
    pub(super) fn restart(&mut self, controller: usize) {
        if self.now < self.nobody_until {
            self.agenda.plan(self.nobody_until, Token::Restart { controller });
            return;
        }
        let before = &self.controllers[controller];
        self.controllers[controller] = Controller {
            skew_ms: before.skew_ms,
            life: before.life + 1,
            lease: self.has_lease().then_some(Timestamp(0)),
            ..Controller::new(self.accounts.len(), self.shape.requests_per_second())
        };
        self.begin_what_waits();
    }

    pub(super) fn begin_what_waits(&mut self) {
        for app in 0..self.apps.len() {
            if self.apps[app].waits {
                self.agenda.plan(self.now + 1, Token::Begin { app });
            }
        }
    }
}
