//! What a build tells while it runs. Steps are numbered within their stage; output comes line by line.

use crate::progress::{Progress, Silent};

/// Receives a build's events, and the progress of what it pulls. Calls come from several stages at once.
pub trait BuildProgress: Progress {
    fn event(&self, event: BuildEvent<'_>);
}

/// A step, for people: `build 2/5  RUN make`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepName {
    /// The stage's name, or its number.
    pub stage: String,
    /// From one.
    pub number: usize,
    pub of: usize,
    /// Line of the Dockerfile.
    pub line: u32,
    /// The instruction as it was written.
    pub instruction: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent<'a> {
    /// The step needs work.
    Started(&'a StepName),
    /// The step's layer was there already.
    Cached(&'a StepName),
    Finished(&'a StepName),
    /// A line that the step's command printed.
    Output(&'a StepName, &'a str),
    /// Something that is no fault, and probably not meant.
    Warning(&'a str),
}

impl BuildProgress for Silent {
    fn event(&self, _event: BuildEvent<'_>) {}
}
