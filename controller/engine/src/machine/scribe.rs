//! The record as it will be once everything noted is durable, and how far the journal has come.

use portolan_core::name::OwnerId;

use crate::journal::{AppRecord, JournalEntry};

/// One write is under way at a time, so that entries become durable in the order in which they were noted.
pub struct Scribe {
    record: AppRecord,
    spoke_of_another: bool,
    unwritten: Vec<JournalEntry>,
    noted: u64,
    under_way: Option<u64>,
    durable: u64,
    broken: bool,
}

/// A place in the journal: everything noted up to here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

impl Scribe {
    pub fn new(record: AppRecord) -> Self {
        Self {
            record,
            spoke_of_another: false,
            unwritten: Vec::new(),
            noted: 0,
            under_way: None,
            durable: 0,
            broken: false,
        }
    }

    pub fn record(&self) -> &AppRecord {
        &self.record
    }

    /// Forgets, in memory, what speaks of somebody else's account.
    pub fn keep_only_of(&mut self, owner: &OwnerId) {
        self.spoke_of_another = self.record.owner.as_ref().is_some_and(|known| known != owner);
        self.record = std::mem::take(&mut self.record).of(owner);
    }

    /// Whether it knew somebody else's account, and so nothing of what may have been done at this one.
    pub fn spoke_of_another(&self) -> bool {
        self.spoke_of_another
    }

    pub fn note(&mut self, entry: JournalEntry) -> Mark {
        self.record.apply(&entry);
        self.unwritten.push(entry);
        self.noted += 1;
        Mark(self.noted)
    }

    /// Everything noted so far.
    pub fn mark(&self) -> Mark {
        Mark(self.noted)
    }

    pub fn is_durable(&self, mark: Mark) -> bool {
        self.durable >= mark.0
    }

    /// Whether there is nothing to wait for: all is durable, or never will be.
    pub fn is_idle(&self) -> bool {
        self.broken || self.durable == self.noted
    }

    /// What was noted since the last write, unless one is under way.
    pub fn next_write(&mut self) -> Option<Vec<JournalEntry>> {
        if self.under_way.is_some() || self.broken || self.unwritten.is_empty() {
            return None;
        }
        self.under_way = Some(self.noted);
        Some(std::mem::take(&mut self.unwritten))
    }

    pub fn written(&mut self) {
        if let Some(noted) = self.under_way.take() {
            self.durable = noted;
        }
    }

    /// A write has failed: nothing more is written in this run.
    pub fn give_up(&mut self) {
        self.broken = true;
    }
}
