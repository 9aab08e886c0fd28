//! The provider contract: a pure [`Shape`] and a few [`Calls`].
//!
//! A provider is the pair of both, plus the day-two traits in [`operations`] where the platform has them. The framework
//! owns everything else: order, waiting, retries, budgets, the journal. Read [`shape`] first, then [`calls`].
//!
//! What the contract promises is checked by `portolan-conformance`, against every provider.
//!
//! This crate knows no provider and no engine; it depends on core's types alone.

pub mod calls;
pub mod error;
pub mod hints;
pub mod images;
pub mod operations;
pub mod shape;

use std::sync::Arc;

pub use calls::{Accepted, Calls, Handle, OpenOperation, WriteRequest};
pub use error::{CallError, ErrorClass};
pub use images::{ImageError, Images, PinRequest};
pub use operations::{Exec, Logs, PortForward, Promote, RunJob, Stats};
pub use shape::Shape;

/// What the command line hands to the engine for one target.
#[derive(Clone)]
pub struct Provider {
    pub shape: Arc<dyn Shape>,
    pub calls: Arc<dyn Calls>,
    /// Where the platform keeps logs that it shows.
    pub logs: Option<Arc<dyn Logs>>,
    /// Where the platform tells what containers use.
    pub stats: Option<Arc<dyn Stats>>,
    /// Where the platform lets a command run inside a container.
    pub exec: Option<Arc<dyn Exec>>,
    /// Where a port can be reached that nothing publishes.
    pub port_forward: Option<Arc<dyn PortForward>>,
    /// Where a job that has run can be run again.
    pub run_job: Option<Arc<dyn RunJob>>,
    /// Where a rollout can wait for its promotion.
    pub promote: Option<Arc<dyn Promote>>,
}
