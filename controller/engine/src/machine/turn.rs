//! One step in the making: what every step is given, and the effects it has gathered so far.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portolan_core::facts::ContainerPath;
use portolan_core::mutant::Mutant;
use portolan_core::name::OwnerId;
use portolan_provider_api::Shape;

use super::effect::{Ask, Effect, EffectId};
use super::scribe::{Mark, Scribe};
use super::{Policy, Timestamp};
use crate::event::EngineEvent;
use crate::journal::{AppRecord, JournalEntry};
use crate::work::Work;

/// What lasts from step to step whatever the phase: the fixed inputs, the open questions and the journal's record.
pub struct Base {
    pub work: Arc<Work>,
    pub shape: Arc<dyn Shape>,
    pub policy: Policy,
    pub scribe: Scribe,
    last_ask: u64,
    questions: BTreeMap<EffectId, Question>,
}

struct Question {
    purpose: Purpose,
    deadline: Option<Timestamp>,
}

/// What an open question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    Realm,
    Pin(ContainerPath),
    /// Asked when this many writes had been answered, and at that time: what the answer shows may be older than the answer.
    Observe {
        answered: u64,
        asked: Timestamp,
    },
    Preflight,
    Approve,
    /// The call of the step with this number.
    Call(usize),
    Note,
    Write,
}

impl Base {
    pub fn new(work: Arc<Work>, shape: Arc<dyn Shape>, policy: Policy, record: AppRecord) -> Self {
        Self {
            work,
            shape,
            policy,
            scribe: Scribe::new(record),
            last_ask: 0,
            questions: BTreeMap::new(),
        }
    }
}

/// Handed through a step. It owns the base for as long as the step lasts.
pub struct Turn {
    pub now: Timestamp,
    pub base: Base,
    lease: Option<Timestamp>,
    random: u64,
    effects: Vec<Effect>,
    wake: Option<Timestamp>,
}

impl Turn {
    pub fn begin(base: Base, now: Timestamp, random: u64, lease: Option<Timestamp>) -> Self {
        Self {
            now,
            base,
            lease,
            random,
            effects: Vec::new(),
            wake: None,
        }
    }

    /// Sends what the step has noted to the journal, and gives back what the next step needs.
    pub fn end(mut self) -> (Base, Vec<Effect>) {
        if let Some(entries) = self.base.scribe.next_write() {
            self.ask(Purpose::Write, Ask::Write(entries), None);
        }
        // Whatever else is waited for: a question that nobody answers is given up.
        if let Some(deadline) = self
            .base
            .questions
            .values()
            .filter_map(|question| question.deadline)
            .min()
            .filter(|_| !Mutant::DeadlinesWaitForALook.is_on())
        {
            self.is_due(deadline);
        }
        self.effects.extend(self.wake.map(Effect::WakeAt));
        (self.base, self.effects)
    }

    /// Asks. What has not answered `within` that time is given up by [`Turn::expired`].
    pub fn ask(&mut self, purpose: Purpose, ask: Ask, within: Option<Duration>) {
        self.base.last_ask += 1;
        let id = EffectId(self.base.last_ask);
        let deadline = within.map(|within| self.now.plus(within));
        self.base.questions.insert(id, Question { purpose, deadline });
        self.effects.push(Effect::Ask(id, ask));
    }

    /// What the answer is to; `None` if nobody waits for it any more.
    pub fn answered(&mut self, id: EffectId) -> Option<Purpose> {
        self.base.questions.remove(&id).map(|question| question.purpose)
    }

    /// Gives up one question whose time has passed, and sees to being woken for the others.
    pub fn expired(&mut self) -> Option<Purpose> {
        let deadlines = self.base.questions.iter();
        let (deadline, id) = deadlines
            .filter_map(|(id, question)| Some((question.deadline?, *id)))
            .min()?;
        if !self.is_due(deadline) {
            return None;
        }
        self.effects.push(Effect::Abandon(id));
        self.answered(id)
    }

    /// Gives up everything that changes nothing outside.
    pub fn abandon_all_but_writes(&mut self) {
        let effects = &mut self.effects;
        self.base.questions.retain(|id, question| {
            let keep = matches!(question.purpose, Purpose::Call(_) | Purpose::Write);
            if !keep {
                effects.push(Effect::Abandon(*id));
            }
            keep
        });
    }

    pub fn count(&self, wanted: impl Fn(&Purpose) -> bool) -> usize {
        let questions = self.base.questions.values();
        questions.filter(|question| wanted(&question.purpose)).count()
    }

    pub fn calls_under_way(&self) -> usize {
        self.count(|purpose| matches!(purpose, Purpose::Call(_)))
    }

    pub fn publish(&mut self, event: EngineEvent) {
        self.effects.push(Effect::Publish(event));
    }

    /// A read has succeeded, which may have failed before.
    pub fn reads_again(&mut self, failures: u32) {
        if failures > 0 {
            self.publish(EngineEvent::ReadSucceeded);
        }
    }

    /// Whether `at` has come; if not, the machine is woken by then at the latest.
    pub fn is_due(&mut self, at: Timestamp) -> bool {
        let due = at <= self.now;
        if !due {
            self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
        }
        due
    }

    /// Whether somebody else may write by now. If not, the machine is woken once that may be so.
    pub fn has_lost_lease(&mut self) -> bool {
        let lease = self.lease.filter(|_| !Mutant::HoldersOfLeasesDoNotLook.is_on());
        lease.is_some_and(|until| self.is_due(until))
    }

    /// When to try again after `failures` in a row.
    pub fn retry_at(&mut self, failures: u32, after: Option<Duration>) -> Timestamp {
        let random = self.random();
        self.now.plus(self.base.policy.pause(failures, after, random))
    }

    pub fn record(&self) -> &AppRecord {
        self.base.scribe.record()
    }

    /// From here on the record speaks of `owner` alone.
    pub fn settle_owner(&mut self, owner: &OwnerId) {
        self.base.scribe.keep_only_of(owner);
    }

    pub fn note(&mut self, entry: JournalEntry) -> Mark {
        self.base.scribe.note(entry)
    }

    /// The next random number (SplitMix64).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
