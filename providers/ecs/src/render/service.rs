//! The service of a cluster: how many tasks, where, how they are replaced and reached.

use portolan_core::desired::DesiredService;
use portolan_core::manifest::EcsCapacity;

use super::discovery::containers;
use super::task::Task;
use super::{Part, Renderer, exists, health};
use crate::kinds::{DISCOVERY_SERVICE, SERVICE};
use crate::names::tag;
use crate::requests::service::{
    AwsVpcConfiguration, CapacityProviderStrategyItem, ControllerSort, CreateService, DeploymentController, LaunchType,
    NetworkConfiguration, PropagateTags, SchedulingStrategy, ServiceRegistry,
};
use crate::requests::task::Switch;
use crate::requests::{Late, tags};
use crate::rules::{self, Subject};

/// Time for a task to be found healthy by a load balancer, where `startup` says none.
const USUAL_GRACE_SECONDS: u64 = 60;

impl Renderer<'_> {
    pub(super) fn service(&mut self, service: &DesiredService) {
        let part = Part::service(service);
        self.check_names(part, &containers(service));
        let task = Task::of_service(service);
        let defined = self.task_definition(&task);
        let (load_balancers, mut needed) = self.load_balancers(service);
        let dns_name = self.dns_name(service);
        needed.extend(dns_name.clone());
        let deployment_configuration = self.deployment(service);
        let (launch_type, capacity_provider_strategy) = self.capacity();
        let rebalances = self.target.zone_rebalancing && deployment_configuration.maximum_percent > 100;
        let grace = service
            .probes
            .startup
            .as_ref()
            .map_or(USUAL_GRACE_SECONDS, health::patience);
        let mut said = self.tags_of(part);
        said.insert(tag::STRATEGY.to_string(), Late::from(service.rollout.strategy.as_str()));
        said.insert(
            tag::DEADLINE.to_string(),
            Late::from(format!("{}s", super::seconds(service.rollout.deadline))),
        );
        let request = CreateService {
            cluster: self.target.cluster.clone(),
            service_name: self.names.of(&service.name),
            task_definition: defined.arn(),
            desired_count: service.replicas,
            launch_type,
            capacity_provider_strategy,
            scheduling_strategy: SchedulingStrategy::Replica,
            deployment_controller: DeploymentController {
                sort: ControllerSort::Ecs,
            },
            deployment_configuration,
            network_configuration: Some(self.network()),
            health_check_grace_period_seconds: (!load_balancers.is_empty()).then_some(grace),
            load_balancers,
            service_registries: dns_name
                .into_iter()
                .map(|id| ServiceRegistry {
                    registry_arn: Late::output(DISCOVERY_SERVICE.id(id.name), "arn"),
                })
                .collect(),
            service_connect_configuration: self.service_connect(service, self.to_cloud_watch(&task)),
            availability_zone_rebalancing: Switch::of(rebalances),
            enable_execute_command: self.target.execute_command,
            enable_ecs_managed_tags: true,
            propagate_tags: PropagateTags::Service,
            tags: tags(&said),
        };
        self.check(part, &defined, Some(&request));
        let mut resource = self.resource(&SERVICE, request.service_name.clone(), part, &request);
        resource.awaited = true;
        resource.revision = service.revision.clone();
        resource.edges = needed.into_iter().chain([defined.id]).map(exists).collect();
        resource.edges.extend(self.after(&service.after));
        self.add(resource);
        self.scaling(service);
    }

    /// Every rule of the cloud's, over what was rendered.
    pub(super) fn check(&mut self, part: Part<'_>, defined: &super::task::Defined, service: Option<&CreateService>) {
        let subject = Subject {
            target: self.target,
            origin: part.origin,
            places: &defined.places,
            task: &defined.request,
            service,
        };
        self.rendered.faults.extend(rules::faults(&subject));
    }

    /// A kind of launch, or providers that share the tasks out.
    pub(super) fn capacity(&self) -> (Option<LaunchType>, Vec<CapacityProviderStrategyItem>) {
        let providers = self.target.capacity_providers.iter();
        let items: Vec<CapacityProviderStrategyItem> = providers
            .map(|provider| CapacityProviderStrategyItem {
                capacity_provider: provider.name.clone(),
                weight: provider.weight,
                base: provider.base,
            })
            .collect();
        let launch_type = match self.target.capacity {
            _ if !items.is_empty() => None,
            EcsCapacity::Fargate => Some(LaunchType::Fargate),
            EcsCapacity::Ec2 => Some(LaunchType::Ec2),
            EcsCapacity::ManagedInstances => None,
        };
        (launch_type, items)
    }

    pub(super) fn network(&self) -> NetworkConfiguration {
        NetworkConfiguration {
            awsvpc_configuration: AwsVpcConfiguration {
                subnets: self.target.subnets.clone(),
                security_groups: self.target.security_groups.clone(),
                assign_public_ip: Switch::of(self.target.public_address),
            },
        }
    }
}
