//! The provider against the real supervisor: what a look may do, what brings a supervisor back, and what is told.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod app;
mod conformance;
mod looking;
mod operating;
mod retrying;
mod wire;
