//! Kubernetes objects as the source of intent: Apps and Targets are watched, kept by the engine's own controller, and told
//! in their status.
//!
//! The flow of one App: [`watching`] hands its object over, [`intent`] reads it as a file would be read, [`desk`] holds all
//! objects and decides what is kept, what is deleted and what is to be written, the engine's controller carries it out,
//! [`told`] makes conditions of how a turn went, [`status`] puts them together, and [`writing`] writes them where they differ.
//! Who may do so is settled by [`election`] first, for each [`shard`] by itself: [`replica`] is one process among several, which
//! takes and lets go what [`balance`] says, [`leases`] and [`view`] are what it sees of the others, [`serving`] is one shard that
//! it holds, and [`memory`] what stays from one process to the next.
//!
//! It refuses to know providers: whoever starts it says how a Target is reached ([`Harbours`]). Nothing here writes to what
//! an app becomes; the engine does. Read `desk.rs` first. Beside all this [`webhook`] may say no to an object before it is stored.

#[cfg(test)]
mod answering;
mod app;
mod balance;
mod cluster;
mod desk;
mod election;
mod error;
mod hearing;
mod history;
mod intent;
mod leases;
mod memory;
mod object;
mod operator;
mod replica;
mod serving;
mod shard;
mod slot;
mod status;
mod told;
mod view;
mod watching;
mod webhook;
mod writing;

pub use cluster::Cluster;
pub use error::OperatorError;
pub use operator::{Harbours, Operator, Settings};
pub use shard::Shards;
pub use webhook::Webhook;
