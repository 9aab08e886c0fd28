//! The budgets of the accounts that this process asks: one bucket an account, whichever apps and Targets lead to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::budget::Budget;

/// The bucket of one account, shared by everybody who asks it.
pub type SharedBudget = Arc<Mutex<Budget>>;

#[derive(Default)]
pub struct Accounts(Mutex<BTreeMap<(&'static str, String), SharedBudget>>);

impl Accounts {
    /// The bucket of `account` at `provider`. Whoever comes first says how many requests a second it allows.
    pub fn budget(&self, provider: &'static str, account: &str, per_second: u32) -> SharedBudget {
        // A map of buckets is whole after every line of its code.
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = accounts.entry((provider, account.to_string()));
        budget
            .or_insert_with(|| Arc::new(Mutex::new(Budget::new(per_second))))
            .clone()
    }
}
