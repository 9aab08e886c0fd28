//! Time as the machine knows it: a number that comes in with every input.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    pub fn plus(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// How long after `earlier` this is; nothing if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// How long before `now` this is: `3m ago`, as kubectl counts.
    pub fn age(self, now: Self) -> String {
        let seconds = now.since(self).as_secs();
        let (count, unit) = match seconds {
            0..120 => (seconds, "s"),
            120..7_200 => (seconds / 60, "m"),
            7_200..172_800 => (seconds / 3_600, "h"),
            _ => (seconds / 86_400, "d"),
        };
        format!("{count}{unit} ago")
    }
}

/// What is before 1970 counts as its beginning.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self::default().plus(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}
