//! How a piece of work ended, and what looking without touching answers.

use portolan_core::capability::Degraded;
use portolan_core::observation::{Failure, Observation};
use portolan_core::plan::{Plan, Problem, SavedPlan, Scope};
use portolan_core::resource::Resources;
use portolan_core::status::Status;

use crate::machine::PhaseName;

/// The end of a reconcile. What the engine could not even begin, or had to give up, is an [`crate::EngineError`].
#[derive(Clone, Debug)]
pub struct Outcome {
    pub kind: OutcomeKind,
    /// The plan that was carried out last, or was refused.
    pub plan: Option<Plan>,
    /// From the last observation; absent where there was none.
    pub status: Option<Status>,
    pub generation: u64,
    /// Whether anything was written at the target.
    pub changed: bool,
    /// Whether a change was told that came too late for its last look.
    pub is_overtaken: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum OutcomeKind {
    /// The target is as desired, and everything awaited is ready.
    Converged,
    /// Every step was taken; nobody waited for the last of them (`no_wait`).
    Applied,
    /// Everything is done but for what waits for its promotion: `portolan promote` goes on with it.
    Paused,
    /// The generation failed, now or earlier, and is not tried again until there is a new one or somebody says `retry`.
    Held(Failure),
    /// The generation failed and is held; the one before serves again.
    RolledBack { failure: Failure, to_generation: u64 },
    /// The plan may not be carried out: nothing was touched.
    Refused(Vec<Problem>),
    /// The plan wanted a yes and got a no.
    Declined,
    /// Stopped on request; the next run finishes it.
    Interrupted,
}

impl OutcomeKind {
    pub(crate) fn phase(&self) -> PhaseName {
        match self {
            Self::Converged | Self::Applied | Self::Paused => PhaseName::Converged,
            Self::Held(_) | Self::RolledBack { .. } => PhaseName::Held,
            Self::Refused(_) | Self::Declined => PhaseName::Refused,
            Self::Interrupted => PhaseName::Stopped,
        }
    }
}

/// The end of a job that was run again.
#[derive(Clone, Debug, PartialEq)]
pub struct JobEnd {
    pub state: JobState,
    /// Where the target tells one.
    pub exit_code: Option<i32>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum JobState {
    Completed,
    Failed(Failure),
    /// Nobody waits for its end any more: the job goes on.
    Interrupted,
}

/// What a manifest becomes at its target, whatever is there.
#[derive(Clone, Debug)]
pub struct Rendering {
    pub scope: Scope,
    /// Images that would have to be built or pulled are open in it.
    pub resources: Resources,
    /// What the target takes with less, or otherwise, than the manifest asks for.
    pub degraded: Vec<Degraded>,
}

/// What a reconcile would do.
#[derive(Clone, Debug)]
pub struct Preview {
    pub scope: Scope,
    pub plan: Plan,
    /// Images that would have to be built or pulled are open in it.
    pub desired: Resources,
    pub observed: Observation,
    pub standing: GenerationStanding,
}

impl Preview {
    /// The plan as it can be kept and carried out later.
    pub fn saved(self) -> SavedPlan {
        SavedPlan::of(self.plan, &self.observed, self.standing.begun)
    }
}

/// Where the generation of a plan stands in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationStanding {
    /// The generation that the plan would be carried out as.
    pub number: u64,
    /// Whether the journal knows it already.
    pub begun: bool,
    /// The last one that converged.
    pub converged: Option<u64>,
    /// Why it would not be tried again without `retry`.
    pub held: Option<Failure>,
}
