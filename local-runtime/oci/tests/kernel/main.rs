//! Real containers on a real kernel: what the process inside sees, what comes back, and what the host keeps.
//!
//! One program, so that [`unified`] can run parts of it again on a kernel that has the unified hierarchy of cgroups.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod bundle;
mod canary;
mod cgroup;
mod cycles;
mod escapes;
mod exec;
mod files;
mod life;
mod limits;
mod namespaces;
mod podman;
mod process;
mod terminal;
mod unified;
