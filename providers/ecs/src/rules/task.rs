//! Rules of a task definition as a whole.

use std::collections::BTreeSet;

use portolan_core::fault::Fault;

use super::{Subject, tell};
use crate::fargate::{Size, is_size};
use crate::requests::task::{LogDriver, NetworkMode};

const MOST_CONTAINERS: usize = 10;
const MOST_BYTES: usize = 64 << 10;

pub fn size_is_fargates(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    if !subject.is_fargate() {
        return;
    }
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
    let size = number(&subject.task.cpu).zip(number(&subject.task.memory));
    if size.is_some_and(|(cpu, memory)| is_size(Size { cpu, memory })) || told_already(subject) {
        return;
    }
    let message = match size {
        Some((cpu, memory)) => format!("Fargate has no task of {cpu} units of processor time and {memory} MiB"),
        None => "a task on Fargate says how much processor time and memory it has".to_string(),
    };
    let hint = "leave the size to be rounded up to the next one";
    tell(faults, "SizeUnsupported", message, subject.field("resources"), hint);
}

/// What is too large for any size was told when the next one was looked for.
fn told_already(subject: &Subject<'_>) -> bool {
    let cpu: u64 = subject.containers().filter_map(|one| one.cpu).sum();
    let memory: u64 = subject.containers().filter_map(|one| one.memory).sum();
    crate::fargate::size_for(cpu, memory).is_none()
}

pub fn sums_fit(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<u64>().ok());
    let cpu: u64 = subject.containers().filter_map(|one| one.cpu).sum();
    let memory: u64 = subject.containers().filter_map(|one| one.memory).sum();
    let (has_cpu, has_memory) = (number(&subject.task.cpu), number(&subject.task.memory));
    if let Some(has) = has_cpu.filter(|has| *has < cpu) {
        let message =
            format!("the containers ask for {cpu} units of processor time together, and their task has {has}");
        tell(
            faults,
            "SizeUnsupported",
            message,
            subject.field("resources/cpu"),
            "ask for less",
        );
    }
    if let Some(has) = has_memory.filter(|has| *has < memory) {
        let message = format!("the containers ask for {memory} MiB together, and their task has {has}");
        tell(
            faults,
            "SizeUnsupported",
            message,
            subject.field("resources/memory"),
            "ask for less",
        );
    }
}

pub fn memory_is_said(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    if subject.is_fargate() || subject.task.memory.is_some() {
        return;
    }
    for container in subject.containers().filter(|one| one.memory.is_none()) {
        let message = format!(
            "`{}` does not say how much memory it has, which only Fargate could know",
            container.name
        );
        let pointer = subject.at(&container.name, "resources/memory");
        tell(
            faults,
            "SizeUnsupported",
            message,
            pointer,
            "add `resources: {memory: 256Mi}`",
        );
    }
}

pub fn one_is_essential(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    if !subject.containers().any(|one| one.essential) {
        let message = "no container of the task is essential: nothing would end it";
        tell(
            faults,
            "EssentialMissing",
            message,
            subject.origin.to_string(),
            "the service's own container is",
        );
    }
}

pub fn network_is_awsvpc(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    if subject.is_fargate() && subject.task.network_mode != NetworkMode::Awsvpc {
        let message = "a task on Fargate has an address of its own";
        tell(
            faults,
            "NetworkUnsupported",
            message,
            subject.origin.to_string(),
            "the network mode is `awsvpc`",
        );
    }
}

pub fn ports_differ(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    let (mut numbers, mut names) = (BTreeSet::new(), BTreeSet::new());
    for container in subject.containers() {
        for (at, port) in container.port_mappings.iter().enumerate() {
            let pointer = subject.at(&container.name, &format!("ports/{at}"));
            if !numbers.insert(port.container_port) {
                let message = format!("the port {} is mapped twice in one task", port.container_port);
                tell(
                    faults,
                    "NetworkUnsupported",
                    message,
                    pointer.clone(),
                    "one protocol for each number",
                );
            }
            if !names.insert(&port.name) {
                let message = format!("two ports of one task are called `{}`", port.name);
                tell(faults, "NetworkUnsupported", message, pointer, "rename one");
            }
        }
    }
}

pub fn names_differ(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    let mut names = BTreeSet::new();
    for container in subject.containers() {
        if !names.insert(&container.name) {
            let message = format!("two containers of one task are called `{}`", container.name);
            tell(
                faults,
                "ContainersUnsupported",
                message,
                subject.place(&container.name).to_string(),
                "rename one",
            );
        }
    }
}

pub fn containers_are_few(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    let count = subject.task.container_definitions.len();
    if count > MOST_CONTAINERS {
        let message = format!("{count} containers are more than the {MOST_CONTAINERS} that one task may have");
        let hint = "what writes files and routes logs counts too";
        tell(
            faults,
            "ContainersUnsupported",
            message,
            subject.origin.to_string(),
            hint,
        );
    }
}

pub fn definition_is_small(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    let size = serde_json::to_string(subject.task).map_or(0, |text| text.len());
    if size > MOST_BYTES {
        let message = format!(
            "the task definition has {} KiB, and may have 64",
            size.div_ceil(1 << 10)
        );
        let hint = "smaller `files`, or put them into the image";
        tell(
            faults,
            "ContainersUnsupported",
            message,
            subject.origin.to_string(),
            hint,
        );
    }
}

pub fn execution_role_is_there(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    if subject.task.execution_role_arn.is_some() {
        return;
    }
    for container in subject.containers() {
        let writes = container.log_configuration.as_ref();
        let writes = writes.is_some_and(|logs| logs.log_driver == LogDriver::Awslogs);
        let (message, field) = match (container.secrets.is_empty(), writes && subject.is_fargate()) {
            (false, _) => ("secrets are read by an execution role, and there is none", "secrets"),
            (true, true) => ("logs are written by an execution role, and there is none", "logs"),
            (true, false) => continue,
        };
        let hint = "leave `roles.execution` of the Target out, and one is derived";
        tell(faults, "RoleMissing", message, subject.at(&container.name, field), hint);
    }
}
