//! How far a change of a service has come: along the steps of a canary, to its end, or to its failure.

use serde::{Deserialize, Serialize};

use super::{Millis, Turn};
use crate::protocol::Failure;
use crate::spec::{RolloutSpec, ServiceSpec, Strategy};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rollout {
    /// `since`: when it last came further; `best`: how many replicas of the current template were ready at once.
    Progressing {
        since: Millis,
        best: usize,
        #[serde(default)]
        course: Course,
    },
    Done,
    /// Held until another spec or `retry`. If there is a stable template, it is what runs.
    Failed(Failure),
}

/// Where a new revision stands on its way past the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Course {
    /// It has the share of this step. Its pause counts from `reached`, when its replicas were ready.
    Step { number: usize, reached: Option<Millis> },
    /// Past the last step: the missing replicas are started; the share stays until they are ready.
    Filling,
    /// It takes every new connection, and old replicas go. Without steps, from the start.
    #[default]
    Taking,
}

impl Course {
    /// `replaces`: there is an old revision to stand beside.
    pub(super) fn begin(spec: &RolloutSpec, replaces: bool) -> Course {
        if !replaces || !is_side_by_side(spec.strategy) {
            return Course::Taking;
        }
        let (number, reached) = (0, None);
        Course::Step { number, reached }.within(spec)
    }

    /// As far as it gets now: a step is left when its pause is over, the rest when all replicas are ready.
    pub(super) fn advance(mut self, spec: &ServiceSpec, ready: usize, turn: &mut Turn) -> Course {
        loop {
            self = match self.within(&spec.rollout) {
                Course::Step { number, reached: None } if ready >= self.replicas(spec) => {
                    let reached = Some(turn.now.at);
                    Course::Step { number, reached }
                }
                Course::Step {
                    number,
                    reached: Some(at),
                } => match spec.rollout.steps[number].pause {
                    Some(pause) if turn.due(at + pause) => self.promoted(&spec.rollout),
                    _ => return self,
                },
                Course::Filling if ready >= spec.replicas as usize => Course::Taking,
                stays => return stays,
            }
        }
    }

    /// The next step, or what comes after the last one.
    pub(super) fn promoted(self, spec: &RolloutSpec) -> Course {
        match self {
            Course::Step { number, .. } => {
                let (number, reached) = (number + 1, None);
                Course::Step { number, reached }.within(spec)
            }
            other => other,
        }
    }

    /// Past all steps.
    pub(super) fn in_full(self) -> Course {
        match self {
            Course::Step { .. } => Course::Filling,
            other => other,
        }
    }

    /// The same where the steps have it: they may have become fewer since.
    fn within(self, spec: &RolloutSpec) -> Course {
        match self {
            _ if !is_side_by_side(spec.strategy) => Course::Taking,
            Course::Step { number, .. } if number >= spec.steps.len() => Course::Filling,
            other => other,
        }
    }

    /// How many new replicas are wanted beside the old ones.
    pub(super) fn replicas(self, spec: &ServiceSpec) -> usize {
        let all = spec.replicas as usize;
        match (spec.rollout.strategy, self) {
            (Strategy::Canary, Course::Step { number, .. }) => {
                let weight = usize::from(spec.rollout.steps[number].weight);
                (all * weight).div_ceil(100).max(1).min(all)
            }
            _ => all,
        }
    }

    /// The new revision's share of new connections, in percent.
    pub(super) fn weight(self, spec: &RolloutSpec) -> u8 {
        let step = match self {
            Course::Step { number, .. } => spec.steps.get(number),
            Course::Filling => spec.steps.last(),
            Course::Taking => return 100,
        };
        step.map_or(0, |step| step.weight)
    }

    /// Waits at a step for its pause or for somebody to promote it: a deadline does not count.
    pub(super) fn is_paused(self) -> bool {
        matches!(self, Course::Step { reached: Some(_), .. })
    }
}

fn is_side_by_side(strategy: Strategy) -> bool {
    matches!(strategy, Strategy::Canary | Strategy::BlueGreen)
}

#[cfg(test)]
mod tests;
