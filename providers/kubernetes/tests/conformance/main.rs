//! The conformance suite against a real API server, its controllers and its scheduler; the nodes are KWOK's.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod account;
mod cluster;
mod trouble;
mod wire;

portolan_conformance::conformance!(account::Cluster, flavor = "multi_thread", worker_threads = 2);
