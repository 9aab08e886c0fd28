//! The conformance suite against a real API server, its controllers and its scheduler; the nodes are KWOK's. Once with plain
//! looks, and once with those of a cluster that is watched.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod account;
mod cluster;
mod rerun;
mod trouble;
mod wire;

mod plain {
    use crate::account::{Cluster, PLAIN};

    portolan_conformance::conformance!(Cluster<PLAIN>, flavor = "multi_thread", worker_threads = 2);
}

mod watched {
    use crate::account::{Cluster, WATCHED};

    portolan_conformance::conformance!(Cluster<WATCHED>, flavor = "multi_thread", worker_threads = 2);
}
