//! The engine: brings one app on one target from what is there to what is desired.
//!
//! Its heart is [`machine`], a pure function from a state and an input to a state and effects; [`journal`] is what it
//! remembers between runs; the driver carries its effects out on tokio and decides nothing. [`Engine`] is the
//! facade over them; [`controller`] goes on with it.
//!
//! The engine knows no provider and prints nothing. Read [`machine`] first.

pub mod budget;
pub mod controller;
mod driver;
mod engine;
mod error;
mod event;
pub mod journal;
mod lease;
mod looking;
pub mod machine;
mod outcome;
mod promotion;
mod rerun;
mod work;

pub use engine::{Audience, Engine};
pub use error::{EngineError, ImageFault};
pub use event::{Because, EngineEvent, StepName};
pub use lease::Lease;
pub use outcome::{GenerationStanding, JobEnd, JobState, Outcome, OutcomeKind, Preview, Rendering};
pub use promotion::PromoteHow;
pub use work::{Wish, Work};
