//! Rules of a service.

use portolan_core::fault::Fault;
use portolan_core::manifest::EcsCapacity;

use super::{Subject, tell};
use crate::requests::service::{CreateService, DeploymentStrategy, SchedulingStrategy};
use crate::requests::task::{Switch, Transport};

const MOST_TARGET_GROUPS: usize = 5;
/// A day, in minutes.
const LONGEST_BAKE: u64 = 1440;

/// The service, and where it is.
fn of<'a>(subject: &'a Subject<'_>) -> Option<(&'a CreateService, String)> {
    subject.service.map(|service| (service, subject.origin.to_string()))
}

pub fn no_daemon(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    let Some((service, origin)) = of(subject) else { return };
    if subject.is_fargate() && service.scheduling_strategy == SchedulingStrategy::Daemon {
        let message = "Fargate shows no machines, on each of which one task could run";
        tell(
            faults,
            "DaemonUnsupported",
            message,
            origin,
            "say how many replicas there are",
        );
    }
}

pub fn network_is_said(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    let Some((service, origin)) = of(subject) else { return };
    let subnets = service.network_configuration.as_ref();
    let subnets = subnets.map_or(0, |network| network.awsvpc_configuration.subnets.len());
    if subnets == 0 {
        let message = "nobody says in which subnets tasks have their addresses";
        tell(
            faults,
            "NetworkUnsupported",
            message,
            origin,
            "`ecs: {subnets: [...]}` in the Target",
        );
    }
}

pub fn public_addresses_are_fargates(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    let Some((service, origin)) = of(subject) else { return };
    let network = service.network_configuration.as_ref();
    let is_public = network.is_some_and(|one| one.awsvpc_configuration.assign_public_ip == Switch::Enabled);
    if is_public && !subject.is_fargate() {
        let message = "tasks have public addresses on Fargate alone";
        tell(
            faults,
            "NetworkUnsupported",
            message,
            origin,
            "`publicAddress: false` in the Target",
        );
    }
}

pub fn capacity_is_said_once(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    let Some((service, origin)) = of(subject) else { return };
    let providers = &service.capacity_provider_strategy;
    if service.launch_type.is_some() && !providers.is_empty() {
        let message = "a kind of launch and capacity providers cannot both be said";
        tell(
            faults,
            "CapacityUnsupported",
            message,
            origin.clone(),
            "keep one of them",
        );
    }
    if subject.target.capacity == EcsCapacity::ManagedInstances && providers.is_empty() {
        let message = "Managed Instances are reached by a capacity provider alone, and the Target names none";
        tell(
            faults,
            "CapacityUnsupported",
            message,
            origin.clone(),
            "`ecs: {capacityProviders: [{name: ...}]}` in the Target",
        );
    }
    if providers.iter().filter(|provider| provider.base > 0).count() > 1 {
        let message = "two capacity providers of the Target have a `base`";
        tell(
            faults,
            "CapacityUnsupported",
            message,
            origin.clone(),
            "one alone may have one",
        );
    }
    if !providers.is_empty() && providers.iter().all(|provider| provider.weight == 0) {
        let message = "no capacity provider of the Target has a weight";
        tell(
            faults,
            "CapacityUnsupported",
            message,
            origin,
            "one at least is given tasks",
        );
    }
}

pub fn providers_fit(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    let Some((service, origin)) = of(subject) else { return };
    for provider in &service.capacity_provider_strategy {
        let name = provider.capacity_provider.as_str();
        let is_fargates = matches!(name, "FARGATE" | "FARGATE_SPOT");
        if is_fargates != subject.is_fargate() {
            let message = format!("the capacity provider `{name}` is none of the Target's `capacity`");
            tell(
                faults,
                "CapacityUnsupported",
                message,
                origin.clone(),
                "those of Fargate are `FARGATE` and `FARGATE_SPOT`",
            );
        }
    }
}

pub fn load_balancers_fit(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    let Some((service, origin)) = of(subject) else { return };
    for balancer in &service.load_balancers {
        let container = subject.task.container(&balancer.container_name);
        let mut ports = container.into_iter().flat_map(|one| &one.port_mappings);
        if !ports.any(|port| port.container_port == balancer.container_port) {
            let message = format!(
                "a load balancer leads to the port {} of `{}`, which has none such",
                balancer.container_port, balancer.container_name
            );
            tell(
                faults,
                "LoadBalancerUnsupported",
                message,
                origin.clone(),
                "name a port that it has",
            );
        }
    }
}

pub fn target_groups_are_few(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    let Some((service, _)) = of(subject) else { return };
    let count = service.load_balancers.len();
    if count > MOST_TARGET_GROUPS {
        let message = format!("load balancers lead to {count} ports, and to {MOST_TARGET_GROUPS} at most");
        tell(
            faults,
            "LoadBalancerUnsupported",
            message,
            subject.field("ports"),
            "fewer that are public",
        );
    }
}

pub fn names_lead_to_ports(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    let Some((service, _)) = of(subject) else { return };
    let connect = service.service_connect_configuration.as_ref();
    for one in connect.into_iter().flat_map(|connect| &connect.services) {
        let mut ports = subject.containers().flat_map(|container| &container.port_mappings);
        let port = ports.find(|port| port.name == one.port_name);
        if port.is_none_or(|port| port.protocol == Transport::Udp) {
            let message = format!(
                "a name leads to the port `{}`, which is none that carries connections",
                one.port_name
            );
            tell(
                faults,
                "NetworkUnsupported",
                message,
                subject.field("ports"),
                "name a port that speaks `http` or `tcp`",
            );
        }
    }
}

pub fn shares_are_within_bounds(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    let Some((service, _)) = of(subject) else { return };
    let deployment = &service.deployment_configuration;
    let mut told = |message: String| {
        let hint = "3% or more in equal steps, and a day at most for each";
        tell(
            faults,
            "RolloutUnsupported",
            message,
            subject.field("rollout/steps"),
            hint,
        );
    };
    if let Some(linear) = &deployment.linear_configuration {
        if !(3.0..=100.0).contains(&linear.step_percent) {
            told(format!(
                "ECS takes equal steps of 3% or more, and not of {}%",
                linear.step_percent
            ));
        }
        if linear.step_bake_time_in_minutes > LONGEST_BAKE {
            told(format!(
                "ECS rests at a step for a day at most, and not for {} minutes",
                linear.step_bake_time_in_minutes
            ));
        }
    }
    if let Some(canary) = &deployment.canary_configuration {
        if !(0.1..=100.0).contains(&canary.canary_percent) {
            told(format!("{}% is no share of a canary", canary.canary_percent));
        }
        if canary.canary_bake_time_in_minutes > LONGEST_BAKE {
            told(format!(
                "ECS rests at a share for a day at most, and not for {} minutes",
                canary.canary_bake_time_in_minutes
            ));
        }
    }
}

pub fn breaker_is_rolling(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    let Some((service, _)) = of(subject) else { return };
    let deployment = &service.deployment_configuration;
    if deployment.deployment_circuit_breaker.is_some() && deployment.strategy != DeploymentStrategy::Rolling {
        let message = "a circuit breaker counts failures of rolling updates alone";
        tell(
            faults,
            "RolloutUnsupported",
            message,
            subject.field("rollout/strategy"),
            "say `rolling`",
        );
    }
}

pub fn zones_have_room(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    let Some((service, origin)) = of(subject) else { return };
    let is_on = service.availability_zone_rebalancing == Switch::Enabled;
    if is_on && service.deployment_configuration.maximum_percent <= 100 {
        let message = "tasks are moved to other zones only where there may be one more of them for a while";
        tell(
            faults,
            "RolloutUnsupported",
            message,
            origin,
            "`zoneRebalancing: false` in the Target",
        );
    }
}

pub fn deployments_move(subject: &Subject<'_>, faults: &mut Vec<Fault>) {
    let Some((service, origin)) = of(subject) else { return };
    let deployment = &service.deployment_configuration;
    if deployment.minimum_healthy_percent >= 100 && deployment.maximum_percent <= 100 {
        let message = "no task may stop before a new one has started, and none may start before";
        tell(
            faults,
            "RolloutUnsupported",
            message,
            origin,
            "let there be one more, or one fewer",
        );
    }
}
