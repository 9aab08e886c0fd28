//! How often an account may be asked: a token bucket that all its apps share. Pure; time comes in.

use std::time::Duration;

use portolan_core::mutant::Mutant;

use crate::machine::Timestamp;

/// Tokens come back at a steady rate, up to a burst. Whoever finds none is told when there will be one, and has it then.
#[derive(Clone, Debug)]
pub struct Budget {
    per_second: u32,
    burst: u32,
    /// When the bucket would be full again: one token's time later for each token taken.
    full_at: Timestamp,
    /// Fractions of a millisecond of `full_at`, in units of `1 / per_second`.
    fraction: u64,
    /// The platform has said not before then.
    paused_until: Timestamp,
}

impl Budget {
    /// A bucket of two seconds' worth, full.
    pub fn new(per_second: u32) -> Self {
        let per_second = per_second.max(1);
        Self {
            per_second,
            burst: per_second.saturating_mul(2),
            full_at: Timestamp::default(),
            fraction: 0,
            paused_until: Timestamp::default(),
        }
    }

    /// Takes a token, and answers how long to wait before it may be spent.
    pub fn take(&mut self, now: Timestamp) -> Duration {
        if self.full_at < now {
            self.full_at = now;
            self.fraction = 0;
        }
        self.fraction += if Mutant::BudgetsHaveNoEnd.is_on() { 0 } else { 1000 };
        let rate = u64::from(self.per_second);
        self.full_at = Timestamp(self.full_at.0 + self.fraction / rate);
        self.fraction %= rate;
        let debt = self.full_at.since(now);
        let covered = Duration::from_millis(u64::from(self.burst) * 1000 / rate);
        debt.saturating_sub(covered).max(self.paused_until.since(now))
    }

    /// How long a token that is held must wait still.
    pub fn pause(&self, now: Timestamp) -> Duration {
        let paused_until = Some(self.paused_until).filter(|_| !Mutant::TokensOutlastPauses.is_on());
        paused_until.unwrap_or_default().since(now)
    }

    /// Nobody spends a token before then.
    pub fn pause_until(&mut self, at: Timestamp) {
        if !Mutant::RetryAfterIsIgnored.is_on() {
            self.paused_until = self.paused_until.max(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut budget = Budget::new(20);
        let waits: Vec<u128> = (0..43).map(|_| budget.take(Timestamp(1000)).as_millis()).collect();
        assert!(waits[..40].iter().all(|wait| *wait == 0), "two seconds' worth at once");
        assert_eq!(waits[40..], [50, 100, 150], "then one every 50 ms");
        assert_eq!(budget.take(Timestamp(60_000)).as_millis(), 0, "it fills up again");
    }

    #[test]
    fn no_more_than_the_rate_over_a_minute() {
        for per_second in [1, 3, 7, 20, 999] {
            let mut budget = Budget::new(per_second);
            let mut now = Timestamp(5);
            let mut spent = 0u64;
            while now.0 < 60_005 {
                let wait = budget.take(now);
                now = now.plus(wait);
                spent += u64::from(now.0 < 60_005);
            }
            let allowed = u64::from(per_second) * 62;
            assert!(
                spent <= allowed && spent + 1 >= allowed * 95 / 100,
                "{per_second}/s: {spent} of {allowed}"
            );
        }
    }

    #[test]
    fn a_pause_holds_for_all() {
        let mut budget = Budget::new(20);
        budget.pause_until(Timestamp(3000));
        assert_eq!(budget.take(Timestamp(1000)).as_millis(), 2000);
        assert_eq!(budget.take(Timestamp(3000)).as_millis(), 0);
    }
}
