//! How a new revision takes the place of the old one, in the words of ECS's own deployments.

use portolan_core::desired::{DesiredRollout, DesiredService, DesiredStep};
use portolan_core::manifest::RolloutStrategy;

use super::discovery::containers;
use super::{Renderer, minutes};
use crate::requests::service::{
    CanaryConfiguration, CircuitBreaker, DeploymentAlarms, DeploymentConfiguration, DeploymentStrategy, HookAction,
    HookSort, HookTimeout, LifecycleHook, LifecycleStage, LinearConfiguration, ThresholdConfiguration, ThresholdSort,
};

/// For as long as a hook waits at most: fourteen days.
const LONGEST_WAIT_MINUTES: u64 = 20_160;

/// Whether the new revision stands beside the old one for a while.
pub(super) fn is_walked(service: &DesiredService) -> bool {
    matches!(
        service.rollout.strategy,
        RolloutStrategy::Canary | RolloutStrategy::BlueGreen
    )
}

/// Whether a container of it writes to a volume, which two revisions at once may not.
pub(super) fn writes(service: &DesiredService) -> bool {
    let containers = containers(service);
    let mut mounts = containers.iter().flat_map(|container| &container.mounts);
    mounts.any(|mount| !mount.read_only)
}

/// Which is seldom free beside those that are in use.
fn has_gpu(service: &DesiredService) -> bool {
    containers(service).iter().any(|one| one.resources.gpu.is_some())
}

impl Renderer<'_> {
    pub(super) fn deployment(&mut self, service: &DesiredService) -> DeploymentConfiguration {
        self.check_rollout(service);
        self.remark_order(service);
        let (minimum_healthy_percent, maximum_percent) = bounds(service);
        let rollout = &service.rollout;
        let rolling = DeploymentConfiguration {
            strategy: DeploymentStrategy::Rolling,
            minimum_healthy_percent,
            maximum_percent,
            deployment_circuit_breaker: None,
            alarms: self.alarms(),
            bake_time_in_minutes: None,
            canary_configuration: None,
            linear_configuration: None,
            lifecycle_hooks: Vec::new(),
        };
        match rollout.strategy {
            RolloutStrategy::Rolling | RolloutStrategy::Recreate => DeploymentConfiguration {
                deployment_circuit_breaker: Some(self.circuit_breaker()),
                ..rolling
            },
            RolloutStrategy::BlueGreen => DeploymentConfiguration {
                strategy: DeploymentStrategy::BlueGreen,
                bake_time_in_minutes: Some(0),
                lifecycle_hooks: rollout.steps.first().map(look_before).into_iter().collect(),
                ..rolling
            },
            RolloutStrategy::Canary => shared(rollout, rolling),
        }
    }

    fn circuit_breaker(&self) -> CircuitBreaker {
        let threshold = self.target.failed_tasks.map(|value| ThresholdConfiguration {
            sort: ThresholdSort::Count,
            value,
        });
        CircuitBreaker {
            enable: true,
            rollback: true,
            threshold_configuration: threshold,
        }
    }

    fn alarms(&self) -> Option<DeploymentAlarms> {
        let alarm_names = self.target.alarms.clone();
        (!alarm_names.is_empty()).then_some(DeploymentAlarms {
            alarm_names,
            enable: true,
            rollback: true,
        })
    }

    /// Where a rolling update stops old tasks first, which nobody has asked for.
    fn remark_order(&mut self, service: &DesiredService) {
        let because = match service.rollout.strategy {
            RolloutStrategy::Rolling if writes(service) => {
                "it writes to a volume: all old tasks stop before a new one starts"
            }
            RolloutStrategy::Rolling if has_gpu(service) => {
                "a GPU is seldom free: one old task stops before a new one starts"
            }
            _ => return,
        };
        let pointer = format!("{}/rollout/strategy", service.origin);
        self.remark(pointer, because.to_string());
    }

    /// What ECS has no way to do.
    fn check_rollout(&mut self, service: &DesiredService) {
        if !is_walked(service) {
            return;
        }
        let steps = &service.rollout.steps;
        let is_canary = service.rollout.strategy == RolloutStrategy::Canary;
        let (message, hint) = if writes(service) {
            (
                "a new revision cannot stand beside the old one: both would write to the volume",
                "say `rolling`, which stops the old tasks first where a volume is written to",
            )
        } else if is_canary && steps.iter().any(|step| step.pause.is_none()) {
            (
                "ECS waits a time at each share of a canary, and for nobody's word",
                "give each step a `pause`, or say `blueGreen`, whose one step waits for a word",
            )
        } else if is_canary && steps.len() > 1 && equal_steps(steps).is_none() {
            (
                "ECS has one share of a canary, or steps of one size and one length",
                "one step, or such as `{weight: 25%, pause: 5m}`, `50%`, `75%`, with the same pause",
            )
        } else if !self.is_balanced(service) && !self.is_shifted_by_name(service) {
            (
                "nothing shifts connections: no load balancer leads to the service, and the Target has no namespace for names",
                "give it a domain or a public port, or the Target a `namespace`",
            )
        } else if !self.is_balanced(service) && self.is_named_by_a_job(service) {
            (
                "a job finds the service by DNS, where no connections are shifted",
                "say `rolling`, or let no job name it",
            )
        } else {
            return;
        };
        let pointer = format!("{}/rollout/strategy", service.origin);
        self.fault("RolloutUnsupported", message, pointer).hint(hint);
    }
}

/// How few of the replicas may be healthy, and how many there may be, in percent.
fn bounds(service: &DesiredService) -> (u32, u32) {
    let replicas = service.replicas.max(1);
    match service.rollout.strategy {
        RolloutStrategy::Recreate => (0, 100),
        _ if writes(service) => (0, 100),
        RolloutStrategy::Rolling if has_gpu(service) => (100 * (replicas - 1) / replicas, 100),
        _ => (100, 200),
    }
}

/// A canary of one share, or of shares that grow by the same amount until it has all.
fn shared(rollout: &DesiredRollout, rolling: DeploymentConfiguration) -> DeploymentConfiguration {
    let pause = rollout.steps.first().and_then(|step| step.pause).unwrap_or_default();
    let first = rollout.steps.first().map_or(0, |step| step.weight_percent);
    match equal_steps(&rollout.steps) {
        Some(percent) if rollout.steps.len() > 1 => DeploymentConfiguration {
            strategy: DeploymentStrategy::Linear,
            bake_time_in_minutes: Some(0),
            linear_configuration: Some(LinearConfiguration {
                step_percent: f64::from(percent),
                step_bake_time_in_minutes: minutes(pause),
            }),
            ..rolling
        },
        _ => DeploymentConfiguration {
            strategy: DeploymentStrategy::Canary,
            bake_time_in_minutes: Some(0),
            canary_configuration: Some(CanaryConfiguration {
                canary_percent: f64::from(first),
                canary_bake_time_in_minutes: minutes(pause),
            }),
            ..rolling
        },
    }
}

/// The amount by which each step is larger than the one before, if it is the same for all, and for what is left after the last.
fn equal_steps(steps: &[DesiredStep]) -> Option<u8> {
    let first = steps.first()?;
    let amount = first.weight_percent;
    let is_next = |(at, step): (usize, &DesiredStep)| {
        usize::from(step.weight_percent) == usize::from(amount) * (at + 1) && step.pause == first.pause
    };
    let left = 100 - usize::from(steps.last()?.weight_percent);
    let ends = left <= usize::from(amount);
    (steps.iter().enumerate().all(is_next) && ends).then_some(amount)
}

/// A new revision that nobody reaches yet, to be looked at: until somebody says so, or for a time.
fn look_before(step: &DesiredStep) -> LifecycleHook {
    let timeout_configuration = match step.pause {
        None => HookTimeout {
            timeout_in_minutes: LONGEST_WAIT_MINUTES,
            action: HookAction::Rollback,
        },
        Some(pause) => HookTimeout {
            timeout_in_minutes: minutes(pause).clamp(1, LONGEST_WAIT_MINUTES),
            action: HookAction::Continue,
        },
    };
    LifecycleHook {
        target_type: HookSort::Pause,
        lifecycle_stages: vec![LifecycleStage::PostScaleUp],
        timeout_configuration,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn steps(weights: &[u8]) -> Vec<DesiredStep> {
        let step = |weight: &u8| DesiredStep {
            weight_percent: *weight,
            pause: Some(Duration::from_secs(60)),
        };
        weights.iter().map(step).collect()
    }

    #[test]
    fn steps_of_one_size_are_linear() {
        for (reason, weights, expected) in [
            ("quarters", &[25, 50, 75][..], Some(25)),
            ("thirds, and a little more at the end", &[30, 60, 90], Some(30)),
            ("one", &[50], Some(50)),
            ("one that leaves more than itself", &[10], None),
            ("they grow", &[10, 50], None),
            ("the last is far from all", &[10, 20], None),
            ("none", &[], None),
        ] {
            assert_eq!(equal_steps(&steps(weights)), expected, "{reason}");
        }
    }
}
