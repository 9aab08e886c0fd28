//! What is to be kept, as somebody tells it who knows what has changed: with very many apps nobody puts all of them together
//! for one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::Assignment;
use crate::journal::AppKey;

/// Of each app what it is assigned by now; none for one that is to be kept no more.
pub type Reassigned = BTreeMap<AppKey, Option<Assignment>>;

/// Each app once, however often it is told of, until somebody takes it.
#[derive(Default)]
pub struct Roll {
    told: Mutex<Reassigned>,
    news: Notify,
}

impl Roll {
    pub fn tell(&self, changed: Reassigned) {
        if changed.is_empty() {
            return;
        }
        // A map is whole after every line of its code.
        self.told.lock().unwrap_or_else(PoisonError::into_inner).extend(changed);
        self.news.notify_one();
    }

    /// All that was told since this was asked last; waits until there is something.
    pub(super) async fn next(&self) -> Reassigned {
        loop {
            let told = std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner));
            if !told.is_empty() {
                return told;
            }
            self.news.notified().await;
        }
    }
}
