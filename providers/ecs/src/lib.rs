//! Amazon's Elastic Container Service as a target.
//!
//! The platform is a set of APIs: ECS itself, and beside it those of logs, roles, load balancers, names, schedules, scaling and file
//! systems. Here the manifest becomes their requests, as they would be sent; and every rule that the cloud would refuse one by, as far
//! as it can be known without asking, is told before anything is sent, all of them at once and with the manifest's line.
//!
//! **Nothing is sent yet.** Every call answers `ApplyUnsupported`: this is the pure half of the provider.
//!
//! It refuses to know the network, credentials, and what is in a secret: a container's variable is taken from Secrets Manager, or the
//! Parameter Store, by ECS alone. Read `render.rs` first, then `rules.rs`.

mod capabilities;
mod cron;
mod document;
mod error;
mod fargate;
mod kinds;
mod names;
mod provider;
mod render;
pub mod requests;
pub mod rules;

use std::sync::Arc;

use portolan_core::manifest::EcsTarget;
use portolan_provider_api::{Provider, Shape};

pub use document::update;
pub use kinds::Kind;
pub use render::{EcsShape, Rendered};

/// The pure half alone.
pub fn shape(target: EcsTarget) -> Arc<dyn Shape> {
    Arc::new(EcsShape { target })
}

/// The provider for one Target with `provider: ecs`. Its calls say that they are not built in.
pub fn ecs(target: EcsTarget) -> Provider {
    Provider {
        calls: Arc::new(provider::EcsCalls),
        shape: shape(target),
        logs: None,
        stats: None,
        exec: None,
        port_forward: None,
        run_job: None,
        promote: None,
    }
}
