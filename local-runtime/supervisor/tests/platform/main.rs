//! The real supervisor on the real kernel: containers, networks, probes, updates, and what is left at the end.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod app;
mod datagrams;
mod isolation;
mod jobs;
mod keeping;
mod kept_logs;
mod load;
mod machine;
mod operations;
mod outside;
mod outward;
mod program;
mod restarts;
mod rollouts;
mod services;
mod sharing;
mod updates;
