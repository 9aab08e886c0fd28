//! The right to write, where several machines could: held until a moment on this process's own clock, which never jumps.
//!
//! Who gets it is decided elsewhere, at the target or beside it; whoever renews it there says so here. The moment must be
//! counted from before the renewal was asked for, so that this side stops first.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// Clones are the same lease.
#[derive(Clone, Debug, Default)]
pub struct Lease(Arc<Mutex<Option<Instant>>>);

impl Lease {
    /// Held until `until`, unless it is renewed.
    pub fn until(until: Instant) -> Self {
        let lease = Self::default();
        lease.renew(until);
        lease
    }

    pub fn renew(&self, until: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// `None` where nobody else could write.
    pub fn ends(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_lost(&self) -> bool {
        self.ends().is_some_and(|until| Instant::now() >= until)
    }
}
