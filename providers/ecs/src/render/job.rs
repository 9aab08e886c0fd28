//! What runs to its end: a task that is run once for each revision, or a schedule that runs one.

use portolan_core::desired::{DesiredJob, DesiredSchedule};
use portolan_core::resource::Resource;

use super::container::Running;
use super::logs::Kept;
use super::task::{Defined, Task};
use super::{Part, Renderer, exists, seconds};
use crate::cron::{self, Unsayable};
use crate::kinds::{SCHEDULE, SCHEDULE_GROUP, TASK};
use crate::names::tag;
use crate::requests::around::{
    CapitalVpc, CreateSchedule, CreateScheduleGroup, EcsParameters, FlexibleTimeWindow, ScheduleNetwork,
    ScheduleTarget, WindowMode,
};
use crate::requests::service::{PropagateTags, RunTask};
use crate::requests::{Late, capital_tags, tags};

/// Where a schedule names no time zone.
const UTC: &str = "UTC";

impl Renderer<'_> {
    pub(super) fn job(&mut self, job: &DesiredJob) {
        let part = Part::job(job);
        self.check_names(part, &[&job.container]);
        let task = Task {
            part,
            main: Running::plain(&job.name, &job.container, job.origin.clone()),
            sidecars: Vec::new(),
            init: Vec::new(),
            logs: Kept::of(job.logs.max_age),
        };
        let defined = self.task_definition(&task);
        self.check(part, &defined, None);
        let mut resource = match &job.schedule {
            Some(schedule) => self.schedule(part, schedule, &defined),
            None => self.run(job, part, &defined),
        };
        resource.awaited = true;
        resource.revision = job.revision.clone();
        resource.edges.push(exists(defined.id));
        resource.edges.extend(self.after(&job.after));
        self.add(resource);
    }

    fn run(&mut self, job: &DesiredJob, part: Part<'_>, defined: &Defined) -> Resource {
        let (launch_type, capacity_provider_strategy) = self.capacity();
        let mut said = self.tags_of(part);
        said.insert(tag::RETRIES.to_string(), Late::from(job.retries.to_string()));
        said.insert(
            tag::TIMEOUT.to_string(),
            Late::from(format!("{}s", seconds(job.timeout))),
        );
        let request = RunTask {
            cluster: self.target.cluster.clone(),
            task_definition: defined.arn(),
            count: 1,
            started_by: format!("portolan/{}", self.desired.scope.owner),
            launch_type,
            capacity_provider_strategy,
            network_configuration: self.network(),
            enable_execute_command: self.target.execute_command,
            enable_ecs_managed_tags: true,
            tags: tags(&said),
        };
        self.resource(&TASK, self.names.of(&job.name), part, &request)
    }

    fn schedule(&mut self, part: Part<'_>, schedule: &DesiredSchedule, defined: &Defined) -> Resource {
        let group = self.schedule_group();
        let role = self.scheduler_role(part, defined);
        let (launch_type, capacity_provider_strategy) = self.capacity();
        let network = self.network().awsvpc_configuration;
        let name = self.names.of(part.name);
        let request = CreateSchedule {
            name: name.clone(),
            group_name: group.id.name.clone(),
            description: format!("{} of {}", part.name, self.desired.scope.app),
            schedule_expression: self.expression(part, schedule),
            schedule_expression_timezone: schedule.time_zone.clone().unwrap_or_else(|| UTC.to_string()),
            flexible_time_window: FlexibleTimeWindow { mode: WindowMode::Off },
            target: ScheduleTarget {
                arn: self.arns.cluster(),
                role_arn: role.arn.unwrap_or_default(),
                ecs_parameters: EcsParameters {
                    task_definition_arn: defined.arn(),
                    task_count: 1,
                    launch_type,
                    capacity_provider_strategy,
                    network_configuration: ScheduleNetwork {
                        awsvpc_configuration: CapitalVpc {
                            subnets: network.subnets,
                            security_groups: network.security_groups,
                            assign_public_ip: network.assign_public_ip,
                        },
                    },
                    enable_execute_command: self.target.execute_command,
                    enable_ecs_managed_tags: true,
                    propagate_tags: PropagateTags::TaskDefinition,
                },
            },
        };
        let mut resource = self.resource(&SCHEDULE, name, part, &request);
        let needed = role.resource.into_iter().chain([self.add(group)]);
        resource.edges = needed.map(exists).collect();
        resource
    }

    /// The app's: it is the group that has tags.
    fn schedule_group(&self) -> Resource {
        let part = Part {
            name: &self.desired.scope.app,
            component: "app",
            origin: "/spec",
            revision: None,
        };
        let name = self.names.app();
        let request = CreateScheduleGroup {
            name: name.clone(),
            tags: capital_tags(&self.names.tags(part.name, part.component)),
        };
        self.resource(&SCHEDULE_GROUP, name, part, &request)
    }

    fn expression(&mut self, part: Part<'_>, schedule: &DesiredSchedule) -> String {
        match cron::expression(&schedule.cron) {
            Ok(expression) => expression,
            Err(why) => {
                let message = match why {
                    Unsayable::TwoDays => {
                        "EventBridge Scheduler takes a day of the month or a day of the week, and not either"
                    }
                    Unsayable::Malformed => "it is no schedule that EventBridge Scheduler could take",
                };
                self.fault("ScheduleUnsupported", message, format!("{}/schedule", part.origin))
                    .hint("two jobs, of which each names one of the two");
                String::new()
            }
        }
    }
}
