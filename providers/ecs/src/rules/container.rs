//! Rules of single containers, and of their order.

use portolan_core::fault::Fault;

use super::{Subject, tell};
use crate::render::health::{INTERVAL, RETRIES, START_PERIOD, TIMEOUT};
use crate::requests::task::{Condition, ContainerDefinition, LogDriver};

const LEAST_MEMORY: u64 = 6;
const LONGEST_STOP: u64 = 120;

pub fn memory_is_enough(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    for container in subject.containers() {
        if let Some(memory) = container.memory.filter(|memory| *memory < LEAST_MEMORY) {
            let message = format!("{memory} MiB are less than the {LEAST_MEMORY} that a container has at least");
            let pointer = subject.at(&container.name, "resources/memory");
            tell(faults, "SizeUnsupported", message, pointer, "ask for `6Mi` or more");
        }
    }
}

pub fn host_ports_are_the_same(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    for container in subject.containers() {
        for (at, port) in container.port_mappings.iter().enumerate() {
            if port.host_port.is_some_and(|host| host != port.container_port) {
                let message = format!(
                    "the port {} has another number outside of the task",
                    port.container_port
                );
                let pointer = subject.at(&container.name, &format!("ports/{at}"));
                tell(
                    faults,
                    "NetworkUnsupported",
                    message,
                    pointer,
                    "leave the other number out",
                );
            }
        }
    }
}

pub fn dependencies_exist(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    for container in subject.containers() {
        for one in &container.depends_on {
            if subject.task.container(&one.container_name).is_none() {
                let message = format!(
                    "`{}` waits for `{}`, which is no container of the task",
                    container.name, one.container_name
                );
                tell(
                    faults,
                    "ContainersUnsupported",
                    message,
                    subject.place(&container.name).to_string(),
                    "name one that is",
                );
            }
        }
    }
}

pub fn dependencies_end(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    for container in subject.containers() {
        let mut seen = Vec::new();
        if reaches(subject, container, &container.name, &mut seen) {
            let message = format!("`{}` would wait for itself", container.name);
            tell(
                faults,
                "ContainersUnsupported",
                message,
                subject.place(&container.name).to_string(),
                "let one of them wait for nothing",
            );
        }
    }
}

fn reaches<'a>(subject: &'a Subject<'_>, from: &'a ContainerDefinition, to: &str, seen: &mut Vec<&'a str>) -> bool {
    from.depends_on.iter().any(|one| {
        let name = one.container_name.as_str();
        if name == to {
            return true;
        }
        if seen.contains(&name) {
            return false;
        }
        seen.push(name);
        let next = subject.task.container(name);
        next.is_some_and(|next| reaches(subject, next, to, seen))
    })
}

pub fn waits_for_ends(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    each_wait(subject, |container, one, condition| {
        let ends = matches!(condition, Condition::Complete | Condition::Success);
        if ends && one.essential {
            let message = format!(
                "`{}` waits for the end of `{}`, with which the task would end",
                container.name, one.name
            );
            tell(
                faults,
                "ContainersUnsupported",
                message,
                subject.place(&container.name).to_string(),
                "it is not essential, then",
            );
        }
    });
}

pub fn waits_for_health(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    each_wait(subject, |container, one, condition| {
        if condition == Condition::Healthy && one.health_check.is_none() {
            let message = format!(
                "`{}` waits until `{}` is healthy, of which nobody asks",
                container.name, one.name
            );
            tell(
                faults,
                "ContainersUnsupported",
                message,
                subject.place(&one.name).to_string(),
                "give it a probe `live`",
            );
        }
    });
}

fn each_wait(subject: &Subject<'_>, mut told: impl FnMut(&ContainerDefinition, &ContainerDefinition, Condition)) {
    for container in subject.containers() {
        for wait in &container.depends_on {
            if let Some(one) = subject.task.container(&wait.container_name) {
                told(container, one, wait.condition);
            }
        }
    }
}

pub fn checks_are_within_bounds(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    for container in subject.containers() {
        let Some(check) = &container.health_check else { continue };
        let mut told = |what: &str, of: String| {
            let message = format!("the check of `{}` has {what}, and ECS takes {of}", container.name);
            let pointer = subject.at(&container.name, "health");
            tell(
                faults,
                "HealthUnsupported",
                message,
                pointer,
                "keep it within those bounds; `overrides` can, for this target alone",
            );
        };
        if !INTERVAL.contains(&check.interval) {
            told(
                &format!("an interval of {} s", check.interval),
                "5 to 300 s".to_string(),
            );
        }
        if !TIMEOUT.contains(&check.timeout) {
            told(&format!("a timeout of {} s", check.timeout), "2 to 60 s".to_string());
        }
        if !RETRIES.contains(&check.retries) {
            told(
                &format!("a threshold of {}", check.retries),
                "1 to 10 failures".to_string(),
            );
        }
        if let Some(patience) = check.start_period.filter(|patience| !START_PERIOD.contains(patience)) {
            told(&format!("{patience} s to start in"), "300 s at most".to_string());
        }
    }
}

pub fn ends_in_time(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    for container in subject.containers().filter(|_| subject.is_fargate()) {
        if let Some(stop) = container.stop_timeout.filter(|stop| *stop > LONGEST_STOP) {
            let message = format!("Fargate gives a container {LONGEST_STOP} s to end in, and not {stop}");
            let pointer = subject.at(&container.name, "stop/gracePeriod");
            tell(faults, "StopUnsupported", message, pointer, "`gracePeriod: 2m` or less");
        }
    }
}

pub fn gpus_are_elsewhere(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    for container in subject.containers().filter(|_| subject.is_fargate()) {
        if !container.resource_requirements.is_empty() {
            let message = "Fargate has no GPUs";
            let pointer = subject.at(&container.name, "resources/gpu");
            tell(
                faults,
                "GpuUnsupported",
                message,
                pointer,
                "`capacity: ec2` or `managedInstances` in the Target",
            );
        }
    }
}

pub fn log_drivers_are_fargates(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    for container in subject.containers().filter(|_| subject.is_fargate()) {
        let driver = container.log_configuration.as_ref().map(|logs| logs.log_driver);
        let is_taken = |driver| matches!(driver, LogDriver::Awslogs | LogDriver::Awsfirelens | LogDriver::Splunk);
        if !driver.is_none_or(is_taken) {
            let message = format!("what `{}` writes goes where Fargate does not let it", container.name);
            tell(
                faults,
                "LogDriverUnsupported",
                message,
                subject.at(&container.name, "logs"),
                "`awslogs`, `awsfirelens` or `splunk`",
            );
        }
    }
}

pub fn log_groups_are_said(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    for container in subject.containers() {
        let Some(logs) = container.log_configuration.as_ref() else {
            continue;
        };
        let says = |key: &str| logs.options.contains_key(key);
        if logs.log_driver == LogDriver::Awslogs && !(says("awslogs-group") && says("awslogs-region")) {
            let message = format!(
                "what `{}` writes goes to CloudWatch without a group or a region",
                container.name
            );
            tell(
                faults,
                "LogDriverUnsupported",
                message,
                subject.at(&container.name, "logs"),
                "name both",
            );
        }
    }
}

pub fn mounts_exist(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    for container in subject.containers() {
        for (at, mount) in container.mount_points.iter().enumerate() {
            let mut volumes = subject.task.volumes.iter();
            if !volumes.any(|volume| volume.name == mount.source_volume) {
                let message = format!(
                    "`{}` mounts `{}`, which is no volume of the task",
                    container.name, mount.source_volume
                );
                tell(
                    faults,
                    "VolumeUnsupported",
                    message,
                    subject.at(&container.name, &format!("volumes/{at}")),
                    "name one that is",
                );
            }
        }
    }
}

pub fn restarts_are_within_bounds(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    for container in subject.containers() {
        let period = container
            .restart_policy
            .as_ref()
            .map(|policy| policy.restart_attempt_period);
        if !period.is_none_or(|period| (60..=1800).contains(&period)) {
            let message = format!(
                "`{}` would be started again sooner or later than ECS does",
                container.name
            );
            tell(
                faults,
                "ContainersUnsupported",
                message,
                subject.place(&container.name).to_string(),
                "60 to 1800 s",
            );
        }
    }
}
