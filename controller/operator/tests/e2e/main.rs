//! The program against a real API server: with the role that it ships, by what the audit log says, and killed.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod apart;
mod chart;
mod clusters;
mod commands;
mod definitions;
mod faults;
mod fleet;
mod health;
mod killed;
mod large;
mod life;
mod looks;
mod proxy;
mod refusals;
mod role;
mod secrets;
mod shards;
mod turns;
mod versions;
mod walks;
mod watches;
mod webhook;
mod world;
mod wrong;
