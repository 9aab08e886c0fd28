//! The two clocks: one that only goes forward, and the one of the wall.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::machine::{Millis, Now};

pub fn now() -> Now {
    let at = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every Linux since 2.6.39 has this clock");
    Now {
        at: Millis(Duration::from(at).as_millis() as u64),
        unix_ms: unix_ms(),
    }
}

pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64)
}
