//! The platform on this machine for one app, as a cloud's scheduler is on its own: services, jobs, probes, names, ports.
//!
//! One small process per app, the program `portolan-supervisor`, holds the objects that a client puts over its socket
//! and keeps containers as they say. It owns what runs and what is written in its three folders; it knows no manifest,
//! no image reference and no plan. Containers are run by the program `portolan-runtime`.
//!
//! Read [`spec`] for the objects, [`protocol`] for what a client says about them, then `machine`: the pure step function
//! in which every decision is taken.

mod balance;
pub mod client;
mod clock;
pub mod error;
pub mod frames;
pub mod launch;
pub mod machine;
mod logs;
mod network;
pub mod protocol;
mod signal;
mod storage;
pub mod spec;
#[cfg(test)]
mod testing;

pub use client::Client;
pub use error::{ClientError, LaunchError};
pub use launch::{Launch, ensure_running};
