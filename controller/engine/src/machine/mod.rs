//! The step machine.

mod time;

pub use time::Timestamp;
