//! Where what containers write goes: a log group of CloudWatch for each workload, or a router of FireLens in each task.

use std::time::Duration;

use portolan_core::resource::ResourceId;

use super::task::Task;
use super::{Renderer, exists, seconds};
use crate::kinds::{LOG_GROUP, LOG_RETENTION};
use crate::requests::around::{CreateLogGroup, PutRetentionPolicy};
use crate::requests::task::{ContainerDefinition, FirelensConfiguration, FirelensSort, LogConfiguration, LogDriver};

/// No name of a manifest has an underscore.
const ROUTER: &str = "portolan_logs";

/// The only spans of time that CloudWatch has, in days.
const RETENTIONS: &[u32] = &[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

/// How long a workload wants its lines kept, where it says so.
#[derive(Clone, Copy)]
pub(super) struct Kept(Option<Duration>);

impl Kept {
    pub fn of(max_age: Option<Duration>) -> Self {
        Self(max_age)
    }
}

/// The shortest span that is as long; `None` keeps them for ever.
fn retention(days: u64) -> Option<u32> {
    RETENTIONS.iter().copied().find(|span| u64::from(*span) >= days)
}

impl Renderer<'_> {
    pub(super) fn log_group(&mut self, task: &Task<'_>) -> Option<ResourceId> {
        let group = self.names.log_group(task.part.name);
        let request = CreateLogGroup {
            log_group_name: group.clone(),
            tags: self.names.tags(task.part.name, task.part.component),
        };
        let name = self.names.of(task.part.name);
        let mut resource = self.resource(&LOG_GROUP, name.clone(), task.part, &request);
        resource.create_is_idempotent = true;
        let id = self.add(resource);
        let said = task.logs.0.map(|age| seconds(age).div_ceil(24 * 3600));
        let days = said.unwrap_or(u64::from(self.target.logs.retention_days));
        if let Some(retention_in_days) = retention(days) {
            let request = PutRetentionPolicy {
                log_group_name: group,
                retention_in_days,
            };
            let mut policy = self.resource(&LOG_RETENTION, name, task.part, &request);
            policy.edges.push(exists(id.clone()));
            self.add(policy);
        }
        Some(id)
    }

    /// Of a container: by the router, where the Target has one.
    pub(super) fn log_configuration(&self, task: &Task<'_>, container: &str) -> LogConfiguration {
        match &self.target.logs.fire_lens {
            Some(router) if container != ROUTER => LogConfiguration {
                log_driver: LogDriver::Awsfirelens,
                options: router.options.clone(),
            },
            _ => self.to_cloud_watch(task),
        }
    }

    pub(super) fn to_cloud_watch(&self, task: &Task<'_>) -> LogConfiguration {
        let options = [
            ("awslogs-group", self.names.log_group(task.part.name)),
            ("awslogs-region", self.target.region.clone()),
            ("awslogs-stream-prefix", task.part.name.to_string()),
        ];
        LogConfiguration {
            log_driver: LogDriver::Awslogs,
            options: options.map(|(key, value)| (key.to_string(), value)).into(),
        }
    }

    /// The router itself writes to CloudWatch: it would not route its own failure.
    pub(super) fn with_log_router(&self, task: &Task<'_>, containers: &mut Vec<ContainerDefinition>) {
        let Some(router) = &self.target.logs.fire_lens else {
            return;
        };
        containers.push(ContainerDefinition {
            essential: true,
            firelens_configuration: Some(FirelensConfiguration {
                sort: FirelensSort::Fluentbit,
            }),
            ..self.own_container(task, ROUTER, router.image.clone(), ROUTER_MEMORY)
        });
    }
}

/// MiB, where a container has to say how much it takes.
const ROUTER_MEMORY: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_for_a_span_that_cloudwatch_has() {
        for (reason, days, expected) in [
            ("it has it", 30, Some(30)),
            ("the next one", 8, Some(14)),
            ("longer than any", 4000, None),
        ] {
            assert_eq!(retention(days), expected, "{reason}");
        }
    }
}
