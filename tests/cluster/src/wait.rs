//! Waits that test a value, with a bound.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Asks until the answer is there. The last `Err` of `ask` is not told: it is what one waits out of.
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
        std::thread::sleep(Duration::from_millis(20));
    }
}
