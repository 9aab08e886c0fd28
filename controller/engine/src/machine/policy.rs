//! How patient the machine is: every interval, bound and deadline in one place.

use std::time::Duration;

use portolan_core::mutant::Mutant;

/// Settings of a machine. The defaults suit a platform that answers at once and one that takes minutes alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The first look after something was done comes this soon, and each later one after a longer while.
    pub poll_first: Duration,
    pub poll_longest: Duration,
    /// No look comes sooner than this where somebody tells of whatever changes in what was seen.
    pub poll_told: Duration,
    /// Where changes are told, what comes within this time is looked at together.
    pub changes_gather: Duration,
    /// Retries wait at most this long the first time and twice as long each next time, up to `retry_longest`.
    pub retry_first: Duration,
    pub retry_longest: Duration,
    /// Tries of one read or one write, the first included; of a write but those that the platform has put off to a time of its
    /// own.
    pub tries: u32,
    /// A read that has not answered by then has failed.
    pub read_deadline: Duration,
    /// So for a write; unpacking a large image is one.
    pub call_deadline: Duration,
    /// All tries of one write together. Two that nobody answers at all use it up, on purpose: half an hour of silence is a
    /// target that is not there, and whoever deployed wants to know. What was taken meanwhile is found by the next run.
    pub operation_deadline: Duration,
    /// Calls under way at the same time, for one app.
    pub calls_at_once: usize,
    /// Images built or looked up at the same time, for one app.
    pub pins_at_once: usize,
    /// How often a plan is made anew because the world has moved.
    pub replans: u32,
    /// Patience with what names no deadline of its own.
    pub patience: Duration,
    /// On top of a deadline that the platform keeps too: its own account of what went wrong is the better one.
    pub grace: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            poll_first: Duration::from_millis(2),
            poll_longest: Duration::from_secs(2),
            poll_told: Duration::from_secs(30),
            changes_gather: Duration::from_millis(300),
            retry_first: Duration::from_millis(200),
            retry_longest: Duration::from_secs(30),
            tries: 8,
            read_deadline: Duration::from_secs(60),
            call_deadline: Duration::from_secs(15 * 60),
            operation_deadline: Duration::from_secs(30 * 60),
            calls_at_once: 8,
            pins_at_once: 4,
            replans: 5,
            patience: Duration::from_secs(10 * 60),
            grace: Duration::from_secs(30),
        }
    }
}

impl Policy {
    /// Where changes are told nobody has to look for them: a look besides is for what time alone changes, or another asks for.
    pub fn where_changes_are_told(self) -> Self {
        Self {
            poll_first: Duration::from_secs(2),
            poll_longest: Duration::from_secs(10),
            ..self
        }
    }

    /// The pause before the next look.
    pub fn next_interval(&self, interval: Duration) -> Duration {
        (interval * 3 / 2).min(self.poll_longest)
    }

    /// The pause before the next try, after `failures` in a row: what the platform named, to the tick, or anything up to a
    /// bound that doubles, so that those who failed together do not come back together.
    pub fn pause(&self, failures: u32, after: Option<Duration>, random: u64) -> Duration {
        if let Some(after) = after.filter(|_| !Mutant::RetryAfterIsIgnored.is_on()) {
            return after;
        }
        let bound = self.retry_first.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let bound = u64::try_from(bound.min(self.retry_longest).as_millis()).unwrap_or(u64::MAX);
        // At least half of the bound: a pause of nothing is no pause.
        Duration::from_millis(bound / 2 + random % (bound / 2 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_obey_the_platform() {
        let policy = Policy::default();
        let cases = [
            (1, None, 0, 100, "half of the first bound"),
            (1, None, 100, 200, "all of it"),
            (2, None, 0, 200, "twice as long"),
            (40, None, 0, 15_000, "the longest, however many failures"),
            (3, Some(Duration::from_secs(7)), 5, 7_000, "as the platform said"),
        ];
        for (failures, after, random, expected, reason) in cases {
            assert_eq!(policy.pause(failures, after, random).as_millis(), expected, "{reason}");
        }
    }
}
