//! The platform on this machine for one app, as a cloud's scheduler is on its own: services, jobs, probes, names, ports.
//!
//! One small process per app, the program `portolan-supervisor`, holds the objects that a client puts over its socket
//! and keeps containers as they say; a second one, its keeper, holds the listening sockets and carries the connections. It
//! owns what runs and what is written in its three folders; it knows no manifest, no image reference and no plan.
//! Containers are run by the program `portolan-runtime`.
//!
//! Read [`spec`] for the objects, [`protocol`] for what a client says about them, then `machine`: the pure step function
//! in which every decision is taken, [`driver`] for the loop around it, and [`keeper`].

pub mod balance;
mod cgroups;
pub mod client;
mod clock;
pub mod data;
pub mod delegation;
pub mod descriptors;
pub mod driver;
pub mod error;
pub mod frames;
mod hash;
pub mod keeper;
pub mod launch;
mod limits;
mod lock;
mod logs;
pub mod machine;
pub mod network;
pub mod outside;
mod peer;
mod process;
pub mod protocol;
pub mod secrets;
pub mod sharing;
mod signal;
pub mod spec;
mod storage;
#[cfg(test)]
mod testing;

pub use client::Client;
pub use error::{ClientError, LaunchError};
pub use launch::{Launch, ensure_running};
