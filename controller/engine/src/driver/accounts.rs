//! The budgets of the accounts that this process asks: one bucket an account, whichever apps and Targets lead to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::clock::Clock;
use crate::budget::Budget;
use crate::machine::Timestamp;

/// The bucket of one account, shared by everybody who asks it.
pub type SharedBudget = Arc<Mutex<Budget>>;

pub struct Accounts {
    /// One for all: each run has a clock of its own, and those disagree once somebody has set the machine's.
    clock: Clock,
    budgets: Mutex<BTreeMap<(&'static str, String), SharedBudget>>,
}

impl Accounts {
    pub fn new() -> Self {
        Self {
            clock: Clock::start(),
            budgets: Mutex::default(),
        }
    }

    /// What budgets count by.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The bucket of `account` at `provider`. Whoever comes first says how many requests a second it allows.
    pub fn budget(&self, provider: &'static str, account: &str, per_second: u32) -> SharedBudget {
        // A map of buckets is whole after every line of its code.
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = budgets.entry((provider, account.to_string()));
        budget
            .or_insert_with(|| Arc::new(Mutex::new(Budget::new(per_second))))
            .clone()
    }
}
