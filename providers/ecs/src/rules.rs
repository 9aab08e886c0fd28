//! What the cloud refuses, as far as it can be known without asking it: one table of rules over rendered requests.
//!
//! Amazon tells one fault at a time, some of them only after a task has been tried. Here all are told at once, each at the field of
//! the manifest that it comes from. Every rule names the page that says so; a test holds each to an oracle of Amazon's own.

mod container;
mod service;
mod task;

use std::collections::BTreeMap;

use portolan_core::fault::Fault;
use portolan_core::manifest::{EcsCapacity, EcsTarget};

use crate::requests::service::CreateService;
use crate::requests::task::{ContainerDefinition, RegisterTaskDefinition};

/// A workload as it was rendered, and where the manifest has it.
pub struct Subject<'a> {
    pub target: &'a EcsTarget,
    /// Of the workload.
    pub origin: &'a str,
    /// Of its containers, by their names.
    pub places: &'a BTreeMap<String, String>,
    pub task: &'a RegisterTaskDefinition,
    /// Absent for a job.
    pub service: Option<&'a CreateService>,
}

/// One rule.
pub struct Rule {
    /// What has to be so.
    pub says: &'static str,
    /// Where Amazon says it.
    pub page: &'static str,
    broken: fn(&Subject<'_>, &mut Vec<Fault>),
}

impl Rule {
    /// How a subject breaks it.
    pub fn faults(&self, subject: &Subject<'_>) -> Vec<Fault> {
        let mut faults = Vec::new();
        (self.broken)(subject, &mut faults);
        faults
    }
}

/// All of them, over one workload.
pub fn faults(subject: &Subject<'_>) -> Vec<Fault> {
    RULES.iter().flat_map(|rule| rule.faults(subject)).collect()
}

impl Subject<'_> {
    fn is_fargate(&self) -> bool {
        self.target.capacity == EcsCapacity::Fargate
    }

    fn containers(&self) -> impl Iterator<Item = &ContainerDefinition> {
        self.task.container_definitions.iter()
    }

    /// Of a container; that of the workload for one that is ours.
    fn place(&self, container: &str) -> &str {
        self.places.get(container).map_or(self.origin, String::as_str)
    }

    /// A field of a container.
    fn at(&self, container: &str, field: &str) -> String {
        format!("{}/{field}", self.place(container))
    }

    /// A field of the workload.
    fn field(&self, field: &str) -> String {
        format!("{}/{field}", self.origin)
    }
}

/// The only way to make a fault here.
fn tell(faults: &mut Vec<Fault>, code: &'static str, message: impl Into<String>, pointer: String, hint: &str) {
    faults.push(Fault::new(code, message, pointer).with_hint(hint));
}

const DEFINITION: &str = "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html";
const FARGATE: &str = "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html";
const CREATE: &str = "https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html";
const QUOTAS: &str = "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html";

const fn rule(says: &'static str, page: &'static str, broken: fn(&Subject<'_>, &mut Vec<Fault>)) -> Rule {
    Rule { says, page, broken }
}

/// Every rule.
pub static RULES: &[Rule] = &[
    rule(
        "a task on Fargate has one of Fargate's sizes",
        FARGATE,
        task::size_is_fargates,
    ),
    rule(
        "containers ask for no more than their task has",
        DEFINITION,
        task::sums_fit,
    ),
    rule(
        "outside of Fargate somebody says how much memory there is",
        DEFINITION,
        task::memory_is_said,
    ),
    rule("a container has 6 MiB or more", DEFINITION, container::memory_is_enough),
    rule(
        "one container at least is essential",
        DEFINITION,
        task::one_is_essential,
    ),
    rule(
        "tasks on Fargate have addresses of their own",
        FARGATE,
        task::network_is_awsvpc,
    ),
    rule(
        "a port of the host is the container's",
        DEFINITION,
        container::host_ports_are_the_same,
    ),
    rule("a port is mapped once in a task", DEFINITION, task::ports_differ),
    rule("names of containers differ", DEFINITION, task::names_differ),
    rule("a task has ten containers at most", QUOTAS, task::containers_are_few),
    rule(
        "a task definition has 64 KiB at most",
        QUOTAS,
        task::definition_is_small,
    ),
    rule(
        "what a container waits for is there",
        DEFINITION,
        container::dependencies_exist,
    ),
    rule(
        "containers wait for each other in no circle",
        DEFINITION,
        container::dependencies_end,
    ),
    rule(
        "what is waited for to its end is not essential",
        DEFINITION,
        container::waits_for_ends,
    ),
    rule(
        "what is waited for to be healthy has a check",
        DEFINITION,
        container::waits_for_health,
    ),
    rule(
        "a check is within its bounds",
        DEFINITION,
        container::checks_are_within_bounds,
    ),
    rule(
        "a container ends within two minutes on Fargate",
        DEFINITION,
        container::ends_in_time,
    ),
    rule("no GPU is on Fargate", FARGATE, container::gpus_are_elsewhere),
    rule(
        "logs go where Fargate lets them",
        FARGATE,
        container::log_drivers_are_fargates,
    ),
    rule(
        "logs of CloudWatch have a group and a region",
        DEFINITION,
        container::log_groups_are_said,
    ),
    rule(
        "secrets and logs of CloudWatch need a role",
        DEFINITION,
        task::execution_role_is_there,
    ),
    rule(
        "what is mounted is a volume of the task",
        DEFINITION,
        container::mounts_exist,
    ),
    rule(
        "a container is started again after a minute or more",
        DEFINITION,
        container::restarts_are_within_bounds,
    ),
    rule(
        "nothing runs once on each machine on Fargate",
        CREATE,
        service::no_daemon,
    ),
    rule(
        "a service with addresses of its own says where",
        CREATE,
        service::network_is_said,
    ),
    rule(
        "public addresses are Fargate's",
        CREATE,
        service::public_addresses_are_fargates,
    ),
    rule("capacity is said in one way", CREATE, service::capacity_is_said_once),
    rule(
        "providers are of the capacity that is said",
        CREATE,
        service::providers_fit,
    ),
    rule(
        "a load balancer leads to a port of the task",
        CREATE,
        service::load_balancers_fit,
    ),
    rule(
        "five target groups lead to a service at most",
        CREATE,
        service::target_groups_are_few,
    ),
    rule("names lead to ports of the task", CREATE, service::names_lead_to_ports),
    rule(
        "a share grows within its bounds",
        CREATE,
        service::shares_are_within_bounds,
    ),
    rule(
        "a circuit breaker belongs to a rolling update",
        CREATE,
        service::breaker_is_rolling,
    ),
    rule(
        "zones are balanced where there is room for one more",
        CREATE,
        service::zones_have_room,
    ),
    rule("a deployment can go on", CREATE, service::deployments_move),
];
