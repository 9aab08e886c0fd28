//! `examples/hello` on this kernel while its processes are killed at random moments, its journal is damaged, the disk is full,
//! the clock jumps, the machine starts again, and somebody takes its links, rules and cgroups away: each time it ends in the
//! desired state with nothing twice, or in a refusal that loses nothing, and at the end nothing is left over.

// A panic is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod clock;
mod disk;
mod hands;
mod hello;
mod journal;
mod kills;
mod reboot;
