//! Waits that test a value, with a bound.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// A question may be a whole program, which must not take the time of those that it waits for.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Asks until the answer is there, less often the longer it takes; an error of `ask` ends it.
pub(crate) fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if start.elapsed() > limit {
            return Err(Error::Late {
                what: what.to_string(),
                limit,
            });
        }
        let pause = start.elapsed() / 8;
        std::thread::sleep(pause.clamp(Duration::from_millis(10), LONGEST_PAUSE));
    }
}
