//! Who may write: a record with an end, kept by somebody with a clock of its own. Controllers contend for it, each counts
//! what it was given by its own clock and from before it asked, and an answer may be late or lost.

use std::time::Duration;

use portolan_engine::machine::Timestamp;

use super::agenda::Token;
use super::world::World;

/// A lease lasts this long, and is asked for this often.
const LEASE_MS: u64 = 15_000;
const RENEW_MS: u64 = 5_000;

/// Once nothing goes wrong any more whoever has the lease keeps it.
const QUIET_LEASE_MS: u64 = 1_000_000_000;

/// The record, as its keeper has it.
#[derive(Default)]
pub struct LeaseRecord {
    /// And until when, by the keeper's clock.
    holder: Option<(usize, u64)>,
    /// Nobody reaches the keeper before then.
    pub away_until: u64,
}

/// Asked for by a life of a controller, at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseAsk {
    pub controller: usize,
    pub life: u64,
    pub at: u64,
    pub lasts: u64,
}

impl LeaseRecord {
    /// Whether it has it from now on: nobody else does, or their time has passed.
    fn give(&mut self, to: usize, now: u64, lasts: u64) -> bool {
        let free = self.holder.is_none_or(|(holder, until)| holder == to || now >= until);
        if free {
            self.holder = Some((to, now + lasts));
        }
        free
    }

    /// Whether nobody has come after it.
    pub fn was_given_last(&self, to: usize) -> bool {
        self.holder.is_some_and(|(holder, _)| holder == to)
    }

    /// Whether it has it at that time.
    pub fn is_held(&self, by: usize, now: u64) -> bool {
        self.holder.is_some_and(|(holder, until)| holder == by && now < until)
    }

    fn is_for_good(&self, now: u64) -> bool {
        self.holder.is_some_and(|(_, until)| until >= now + LEASE_MS * 2)
    }
}

impl World<'_> {
    /// Two controllers or more need one.
    pub(super) fn has_lease(&self) -> bool {
        self.controllers.len() > 1
    }

    /// Whether the journal takes a write of it: it takes none of somebody who has been succeeded.
    pub(super) fn may_record(&self, controller: usize) -> bool {
        !self.has_lease() || self.lease.was_given_last(controller)
    }

    /// A controller asks, and will ask again.
    pub(super) fn ask_for_lease(&mut self, controller: usize) {
        if self.lease.is_for_good(self.now) {
            return;
        }
        let again = RENEW_MS + self.latency.below(500);
        self.agenda.plan(self.now + again, Token::Lease { controller });
        let one = &self.controllers[controller];
        if !one.alive || self.is_stalled(controller).is_some() {
            return;
        }
        let ask = LeaseAsk {
            controller,
            life: one.life,
            at: self.now,
            lasts: if self.quiet { QUIET_LEASE_MS } else { LEASE_MS },
        };
        let after = self.takes();
        self.agenda.plan(self.now + after, Token::LeaseAsked(ask));
    }

    pub(super) fn lease_asked(&mut self, ask: LeaseAsk) {
        if self.now < self.lease.away_until || !self.lease.give(ask.controller, self.now, ask.lasts) {
            return;
        }
        let is_lost = !self.quiet && self.latency.chance(20);
        let after = self.takes();
        if !is_lost {
            self.agenda.plan(self.now + after, Token::LeaseGiven(ask));
        }
    }

    /// It counts from when it was asked for.
    pub(super) fn lease_given(&mut self, ask: LeaseAsk) {
        if let Some(until) = self.is_stalled(ask.controller) {
            self.agenda.plan(until, Token::LeaseGiven(ask));
            return;
        }
        let one = &self.controllers[ask.controller];
        if !one.alive || one.life != ask.life {
            return;
        }
        let asked = Timestamp(ask.at.saturating_add_signed(one.skew_ms));
        let until = asked.plus(Duration::from_millis(ask.lasts));
        let had = one.lease.is_some_and(|until| self.time_of(ask.controller) < until);
        self.controllers[ask.controller].lease = Some(until);
        if !had {
            self.note(|_| format!("controller {} has the lease", ask.controller));
            self.begin_what_waits();
        }
    }
}
