//! How many apps have their turn: those at work, and those that only watch what they have begun, of which there may be many
//! more, for they ask for nothing while nothing happens.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::machine::PhaseName;

#[derive(Default)]
pub struct Room {
    /// By target.
    watching: Mutex<BTreeMap<String, usize>>,
    made: Notify,
}

impl Room {
    pub fn watching(&self) -> usize {
        self.counts().values().sum()
    }

    pub fn watching_at(&self, target: &str) -> usize {
        self.counts().get(target).copied().unwrap_or_default()
    }

    /// Ends once somebody has begun to watch.
    pub async fn made(&self) {
        self.made.notified().await;
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        // A map is whole after every line of its code.
        self.watching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One turn's place. It is given back with it.
pub struct Seat {
    room: Arc<Room>,
    target: String,
    watches: AtomicBool,
}

impl Seat {
    pub fn in_room(room: &Arc<Room>, target: &str) -> Self {
        Self {
            room: room.clone(),
            target: target.to_string(),
            watches: AtomicBool::new(false),
        }
    }

    pub fn phase(&self, phase: PhaseName) {
        let watches = phase == PhaseName::Watching;
        match (self.watches.swap(watches, Ordering::Relaxed), watches) {
            (false, true) => {
                *self.room.counts().entry(self.target.clone()).or_default() += 1;
                self.room.made.notify_one();
            }
            (true, false) => {
                if let Some(count) = self.room.counts().get_mut(&self.target) {
                    *count = count.saturating_sub(1);
                }
            }
            _ => {}
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // An end is no phase in which anybody watches.
        self.phase(PhaseName::Stopped);
    }
}
