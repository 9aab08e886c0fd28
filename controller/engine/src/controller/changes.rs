//! Apps of which something has changed at their targets, as whoever watches those tells it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::journal::AppKey;

/// Each app once, however often it is told of, until somebody takes it.
#[derive(Default)]
pub struct Changes {
    keys: Mutex<BTreeSet<AppKey>>,
    told: Notify,
}

impl Changes {
    pub fn tell(&self, key: AppKey) {
        // A set is whole after every line of its code.
        let is_new = self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        if is_new {
            self.told.notify_one();
        }
    }

    /// All that was told since this was asked last; waits until there is something.
    pub(super) async fn next(&self) -> BTreeSet<AppKey> {
        loop {
            let told = std::mem::take(&mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner));
            if !told.is_empty() {
                return told;
            }
            self.told.notified().await;
        }
    }
}
