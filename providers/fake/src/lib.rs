//! A cloud in memory: a platform that a test can see into, slow down and break.
//!
//! [`FakeCloud`] is the platform; its peculiarities stand in a table ([`kinds`]). [`FakeShape`] and the calls in
//! `provider.rs` are a provider for it like any other; [`FakeImages`] pins images without there being any. Time is given
//! from outside, and nothing happens but in answer to a call.
//!
//! The platform is a synchronous value, so that a test without an async runtime can drive it; the provider contract is
//! a thin wrap around it. Read `cloud.rs` first.

mod cloud;
mod faults;
mod images;
pub mod kinds;
mod provider;
mod read;
mod render;

pub use cloud::{Called, Clock, FakeCloud, Object};
pub use faults::{Fault, On};
pub use images::FakeImages;
pub use provider::provider;
pub use render::{FakeShape, object};
