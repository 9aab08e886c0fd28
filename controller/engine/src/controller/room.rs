//! How many apps have their turn: those at work, and those that only watch what they have begun, of which there may be many
//! more, for they ask for nothing while nothing happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::machine::PhaseName;

#[derive(Default)]
pub struct Room {
    watching: AtomicUsize,
    made: Notify,
}

impl Room {
    pub fn watching(&self) -> usize {
        self.watching.load(Ordering::Relaxed)
    }

    /// Ends once somebody has begun to watch.
    pub async fn made(&self) {
        self.made.notified().await;
    }
}

/// One turn's place. It is given back with it.
pub struct Seat {
    room: Arc<Room>,
    watches: AtomicBool,
}

impl Seat {
    pub fn in_room(room: &Arc<Room>) -> Self {
        Self {
            room: room.clone(),
            watches: AtomicBool::new(false),
        }
    }

    pub fn phase(&self, phase: PhaseName) {
        let watches = phase == PhaseName::Watching;
        match (self.watches.swap(watches, Ordering::Relaxed), watches) {
            (false, true) => {
                self.room.watching.fetch_add(1, Ordering::Relaxed);
                self.room.made.notify_one();
            }
            (true, false) => drop(self.room.watching.fetch_sub(1, Ordering::Relaxed)),
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
