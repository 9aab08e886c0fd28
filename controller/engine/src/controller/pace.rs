//! When an app has its next turn. Pure; chance comes in.

use std::time::Duration;

/// The less happens, the longer the pause: what has just changed is looked at soon again, what has not moved for long
/// seldom, and what fails ever less often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From a change to the next look.
    pub shortest: Duration,
    /// Between two looks at what does not move.
    pub longest: Duration,
    /// From the first failure to the next try; each further one doubles it, up to `longest`.
    pub retry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            shortest: Duration::from_secs(10),
            longest: Duration::from_secs(10 * 60),
            retry: Duration::from_secs(1),
        }
    }
}

/// How the last turn went, as far as it matters for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    /// Something was written, or is on its way.
    Moving,
    /// Nothing was to be done.
    Quiet,
    /// It failed, for so many turns in a row.
    Failed(u32),
    /// It was not its turn: another process worked on the app.
    Busy,
    /// It was stopped for something newer.
    Superseded,
}

/// Requests of a turn in which nothing is to be done: whose account it is, and what is there.
const REQUESTS: u32 = 2;

/// Of a target's budget that looking may take, in percent.
const SHARE: u32 = 40;

impl Pace {
    /// The pause that follows `before`. Never shorter than `floor` where nobody waits for anything.
    pub fn after(&self, went: Went, before: Duration, floor: Duration, random: u64) -> Duration {
        let pause = match went {
            Went::Moving => return spread(self.shortest, random),
            Went::Superseded => return Duration::ZERO,
            Went::Busy => return spread(self.retry, random),
            Went::Quiet => (before * 3 / 2).clamp(self.shortest, self.longest),
            Went::Failed(times) => {
                let doubled = self.retry.saturating_mul(1 << times.saturating_sub(1).min(16));
                doubled.min(self.longest)
            }
        };
        spread(pause.max(floor), random)
    }

    /// How long `apps` must take for one round, so that looking leaves most of a budget to those who change something.
    pub fn floor(&self, apps: usize, requests_per_second: u32) -> Duration {
        let requests = u64::try_from(apps)
            .unwrap_or(u64::MAX)
            .saturating_mul(u64::from(REQUESTS));
        let millis = requests.saturating_mul(1000 * 100) / (u64::from(requests_per_second.max(1)) * u64::from(SHARE));
        Duration::from_millis(millis)
    }
}

/// Up to a tenth longer, so that those who began together do not come back together.
fn spread(pause: Duration, random: u64) -> Duration {
    let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    pause + Duration::from_millis(random % (millis / 10 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_apps_are_looked_at_ever_less_often() {
        let pace = Pace::default();
        let mut pause = pace.after(Went::Moving, Duration::ZERO, Duration::ZERO, 0);
        assert_eq!(pause, pace.shortest);
        let mut looks = 0;
        while pause < pace.longest {
            let next = pace.after(Went::Quiet, pause, Duration::ZERO, 0);
            assert!(next > pause);
            pause = next;
            looks += 1;
        }
        assert_eq!((pause, looks), (pace.longest, 11));
    }

    #[test]
    fn each_way_has_its_pause() {
        let pace = Pace::default();
        let minute = Duration::from_secs(60);
        let none = Duration::ZERO;
        let cases = [
            (Went::Quiet, minute, none, 0, 90_000, "half as long again"),
            (Went::Quiet, minute, none, u64::MAX, 90_000 + u64::MAX % 9_001, "spread"),
            (
                Went::Quiet,
                minute,
                minute * 5,
                0,
                300_000,
                "not before the budget allows",
            ),
            (Went::Moving, minute, minute * 5, 0, 10_000, "somebody waits"),
            (Went::Failed(1), minute, none, 0, 1_000, "soon"),
            (Went::Failed(4), minute, none, 0, 8_000, "later"),
            (Went::Failed(60), minute, none, 0, 600_000, "as seldom as any"),
            (Went::Busy, minute, none, 0, 1_000, "the other one will end"),
            (Went::Superseded, minute, minute, 7, 0, "at once"),
        ];
        for (went, before, floor, random, expected, reason) in cases {
            let pause = pace.after(went, before, floor, random);
            assert_eq!(pause.as_millis(), u128::from(expected), "{reason}");
        }
    }

    #[test]
    fn all_apps_of_a_target_together_take_less_than_half_of_its_budget() {
        let pace = Pace::default();
        for (apps, per_second) in [(1, 1), (1_000, 20), (100_000, 20), (3, 1_000)] {
            let round = pace.floor(apps, per_second).as_secs_f64();
            let rate = apps as f64 * f64::from(REQUESTS) / round.max(f64::MIN_POSITIVE);
            assert!(
                rate <= f64::from(per_second) / 2.0,
                "{apps} apps: {rate}/s of {per_second}/s"
            );
        }
    }
}
