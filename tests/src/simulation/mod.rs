//! The simulation: the engine's own step machine on clouds that are wrong in every way that is known, on a clock that is
//! moved by hand, from one seed.
//!
//! A [`Scenario`] says what shall happen, a [`World`] lets it happen and answers a [`Run`]. The same scenario gives the same
//! run, to the last step. Read `scenario.rs` first, then `world.rs`; `fault.rs` holds the 14 faults and where each is
//! possible, `invariants.rs` what must never happen.

mod accounts;
mod agenda;
mod aim;
mod calls;
mod catalogue;
mod cloud;
mod controllers;
mod ending;
pub mod exact;
pub mod exhaustive;
mod fake;
pub mod fault;
mod invariants;
mod lease;
pub mod local;
mod random;
mod report;
mod scenario;
mod secrets;
pub mod seeds;
mod shrink;
pub mod site;
mod stand;
pub mod ways;
mod world;

pub use aim::Aim;
pub use catalogue::Version;
pub use fault::Fault;
pub use invariants::Broken;
pub use report::Coverage;
pub use scenario::{Faults, Lag, Outside, Scenario, Start};
pub use shrink::shortest;
pub use site::Site;
pub use stand::Stands;
pub use world::{Run, World};

/// Runs the scenario.
pub fn run(scenario: &Scenario, stands: &Stands) -> Run {
    World::new(scenario, stands.of(scenario.platform)).run()
}

/// Runs the scenario at a provider that repeats the values of secrets, which must not go unnoticed.
pub fn run_with_secrets_told(scenario: &Scenario, stands: &Stands) -> Run {
    World::new(scenario, stands.of(scenario.platform))
        .with_secrets_told()
        .run()
}

/// So, with every line of what happens.
pub fn trace(scenario: &Scenario, stands: &Stands) -> Run {
    World::new(scenario, stands.of(scenario.platform)).traced().run()
}
