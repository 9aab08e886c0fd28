//! Clouds in memory: platforms that a test can see into, slow down and break.
//!
//! A platform is a table of what is peculiar to it ([`platform`], over the kinds of objects in [`kinds`]), each row with
//! the page that says so; no platform has code of its own. What real counterparts have answered is replayed against each
//! (`tests/transcripts/README.md`). [`FakeCloud`] is an account of one. [`FakeShape`] and the calls in
//! `provider.rs` are a provider for it like any other; [`FakeImages`] pins images without there being any. Time is given
//! from outside, and nothing happens but in answer to a call.
//!
//! The platform is a synchronous value, so that a test without an async runtime can drive it; the provider contract is
//! a thin wrap around it. Read `platform.rs` first, then `account.rs`.

mod account;
mod cloud;
mod faults;
mod images;
pub mod kinds;
mod object;
mod objects;
pub mod platform;
mod provider;
mod read;
mod render;
mod rules;
mod throttle;
mod vault;

pub use account::Tally;
pub use cloud::{Called, Clock, FakeCloud};
pub use faults::{Fault, On, answer_lost};
pub use images::FakeImages;
pub use object::{Object, Operation};
pub use provider::provider;
pub use render::{FakeShape, object};
pub use rules::{KindRules, Rules, Throttle};
pub use throttle::throttled;
