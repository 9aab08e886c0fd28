//! Time and chance from outside.

use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

use tokio::time::Instant;

use crate::machine::Timestamp;

/// The time of day when it was made, moved on by a clock that never jumps.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
    began_at: Timestamp,
}

impl Clock {
    pub fn start() -> Self {
        Self {
            began: Instant::now(),
            began_at: SystemTime::now().into(),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.began_at.plus(self.began.elapsed())
    }

    /// Never after `instant`: a right that ends then has ended.
    pub fn timestamp(&self, instant: Instant) -> Timestamp {
        self.began_at.plus(instant.saturating_duration_since(self.began))
    }

    /// Never before `at`: timers count in whole milliseconds, and `now` rounds down.
    pub fn instant(&self, at: Timestamp) -> Instant {
        self.began + at.since(self.began_at)
    }
}

/// Each hasher of the standard library is keyed afresh by the system's randomness.
pub fn random() -> u64 {
    RandomState::new().hash_one(0u8)
}
