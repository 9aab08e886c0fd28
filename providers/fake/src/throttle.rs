//! The platform's own limit on requests: a bucket of tokens that fills at a steady rate.

use std::time::Duration;

use portolan_provider_api::{CallError, ErrorClass};

use crate::rules::Throttle;

#[derive(Clone, Debug)]
pub struct Bucket {
    throttle: Throttle,
    /// Thousandths of a token.
    filling: u64,
    at: u64,
}

impl Bucket {
    pub fn new(throttle: Throttle) -> Self {
        Self {
            throttle,
            filling: u64::from(throttle.burst) * 1000,
            at: 0,
        }
    }

    /// Takes a token, or refuses.
    pub fn take(&mut self, now: u64) -> Result<(), CallError> {
        let full = u64::from(self.throttle.burst) * 1000;
        let gained = now.saturating_sub(self.at) * u64::from(self.throttle.per_second);
        self.filling = (self.filling + gained).min(full);
        self.at = now;
        match self.filling.checked_sub(1000) {
            Some(left) => {
                self.filling = left;
                Ok(())
            }
            None => Err(throttled(self.throttle.code, self.throttle.retry_after_ms)),
        }
    }
}

/// What a platform that wants to be left alone answers.
pub fn throttled(code: &str, retry_after_ms: Option<u64>) -> CallError {
    let after = retry_after_ms.map(Duration::from_millis);
    CallError::new(ErrorClass::Retry { after }, code, "rate exceeded")
}
