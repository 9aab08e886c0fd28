//! How a service is reached from outside: target groups behind the load balancers of the Target, and what leads to them.
//!
//! A domain is a rule of a listener that is there; a public port that speaks `http` a listener of that number on the same load
//! balancer; one that speaks `tcp` a listener of the other one. A rollout that shares connections out has a second target group.

use std::collections::{BTreeMap, BTreeSet};

use portolan_core::desired::{DesiredPort, DesiredService};
use portolan_core::manifest::{Protocol, Tls};
use portolan_core::name::hash_of;
use portolan_core::resource::{Resource, ResourceId};

use super::{Part, Renderer, exists, rollout};
use crate::kinds::{LISTENER, LISTENER_RULE};
use crate::requests::around::{
    Action, ActionSort, BalancerProtocol, CreateListener, CreateRule, FixedResponseConfig, ForwardConfig,
    RuleCondition, TargetGroupTuple, Values,
};
use crate::requests::service::{AdvancedConfiguration, LoadBalancer};
use crate::requests::{Late, capital_tags};

/// Values that one rule may hold.
const HOSTS_OF_A_RULE: usize = 5;

/// A port that a load balancer leads to.
struct Balanced<'a> {
    port: &'a DesiredPort,
    /// The one that has the connections, and the one for a new revision beside it.
    groups: (ResourceId, Option<ResourceId>),
    leads: Vec<ResourceId>,
}

/// A target group's identifier at Amazon, known once it is there.
pub(super) fn arn_of(group: &ResourceId) -> Late<String> {
    Late::output(group.clone(), "targetGroupArn")
}

impl Renderer<'_> {
    pub(super) fn is_balanced(&self, service: &DesiredService) -> bool {
        service.ports.iter().any(|port| is_reached(service, port))
    }

    /// What leads to it, and what of it has to be there before the service.
    pub(super) fn load_balancers(&mut self, service: &DesiredService) -> (Vec<LoadBalancer>, Vec<ResourceId>) {
        let reached = service.ports.iter().filter(|port| is_reached(service, port));
        let balanced: Vec<Balanced<'_>> = reached.map(|port| self.balanced(service, port)).collect();
        if !balanced.is_empty() {
            self.check_drain(service);
        }
        let role = match balanced.iter().any(|one| one.groups.1.is_some()) {
            true => Some(self.shifting_role(Part::service(service))),
            false => None,
        };
        let mut needed: Vec<ResourceId> = role.iter().filter_map(|role| role.resource.clone()).collect();
        let role_arn = role.and_then(|role| role.arn).unwrap_or_default();
        let mut list = Vec::new();
        for one in balanced {
            let (group, other) = &one.groups;
            let advanced = other.as_ref().zip(one.leads.first());
            list.push(LoadBalancer {
                target_group_arn: arn_of(group),
                container_name: service.name.clone(),
                container_port: one.port.port,
                advanced_configuration: advanced.map(|(other, lead)| AdvancedConfiguration {
                    alternate_target_group_arn: arn_of(other),
                    production_listener_rule: lead_of(lead),
                    role_arn: role_arn.clone(),
                }),
            });
            needed.extend(one.leads);
            needed.push(one.groups.0);
            needed.extend(one.groups.1);
        }
        (list, needed)
    }

    fn balanced<'a>(&mut self, service: &DesiredService, port: &'a DesiredPort) -> Balanced<'a> {
        let vpc = self.vpc(service, port);
        let mut group = |color: &str| self.target_group(service, port, &vpc, color);
        let groups = (group("blue"), rollout::is_walked(service).then(|| group("green")));
        let leads = self.leads(service, port, &groups);
        if leads.len() > 1 && groups.1.is_some() {
            let message =
                "a rollout shifts connections at one rule of a load balancer, and several lead to the service";
            let pointer = format!("{}/rollout/strategy", service.origin);
            self.fault("RolloutUnsupported", message, pointer)
                .hint("up to five domains with the same `tls`, or one public port");
        }
        Balanced { port, groups, leads }
    }

    /// Nothing where it is missing, which is told: what else is wrong is told too.
    fn vpc(&mut self, service: &DesiredService, port: &DesiredPort) -> String {
        if self.target.vpc.is_none() {
            let message = format!(
                "a load balancer leads to the port `{}`, and the Target does not say in which VPC",
                port.name
            );
            self.fault("LoadBalancerMissing", message, port_pointer(service, port))
                .hint("`ecs: {vpc: vpc-...}` in the Target");
        }
        self.target.vpc.clone().unwrap_or_default()
    }

    fn leads(
        &mut self,
        service: &DesiredService,
        port: &DesiredPort,
        groups: &(ResourceId, Option<ResourceId>),
    ) -> Vec<ResourceId> {
        let mut leads = Vec::new();
        if port.public && port.protocol == Protocol::Tcp {
            leads.extend(self.tcp_listener(service, port, groups));
        } else if port.public {
            leads.extend(self.http_listener(service, port, groups));
        }
        leads.extend(self.domains(service, port, groups));
        leads
    }

    fn tcp_listener(
        &mut self,
        service: &DesiredService,
        port: &DesiredPort,
        groups: &(ResourceId, Option<ResourceId>),
    ) -> Option<ResourceId> {
        let Some(balancer) = self.target.network_load_balancer.clone() else {
            let message = format!(
                "the port `{}` is public and speaks tcp, and the Target names no load balancer for it",
                port.name
            );
            self.fault("LoadBalancerMissing", message, port_pointer(service, port))
                .hint("`ecs: {networkLoadBalancer: arn:...}` in the Target");
            return None;
        };
        let listener = self.listener(service, port, balancer, BalancerProtocol::Tcp, vec![forward(groups)]);
        Some(self.leading(listener, groups))
    }

    /// A listener of that number answers 404, and its one rule leads everything to the service: a rule is what a rollout shifts.
    fn http_listener(
        &mut self,
        service: &DesiredService,
        port: &DesiredPort,
        groups: &(ResourceId, Option<ResourceId>),
    ) -> Option<ResourceId> {
        let Some(balancer) = self.target.application_load_balancer.clone() else {
            let message = format!(
                "the port `{}` is public and speaks http, and the Target names no load balancer for it",
                port.name
            );
            self.fault("LoadBalancerMissing", message, port_pointer(service, port))
                .hint("`ecs: {applicationLoadBalancer: {arn: arn:...}}` in the Target");
            return None;
        };
        let nothing = Action {
            sort: ActionSort::FixedResponse,
            forward_config: None,
            fixed_response_config: Some(FixedResponseConfig {
                status_code: "404".to_string(),
                content_type: "text/plain".to_string(),
                message_body: "nothing is here".to_string(),
            }),
        };
        let listener = self.listener(service, port, balancer.arn, BalancerProtocol::Http, vec![nothing]);
        let listener = self.add(listener);
        let everything = RuleCondition {
            field: "path-pattern".to_string(),
            host_header_config: None,
            path_pattern_config: Some(values(["/*".to_string()])),
        };
        let at = Late::output(listener.clone(), "listenerArn");
        let name = self.names.beside(&service.name, &format!("{}-all", port.port));
        let mut rule = self.rule(service, name, at, 1, everything, groups);
        rule.edges.push(exists(listener));
        Some(self.leading(rule, groups))
    }

    fn listener(
        &self,
        service: &DesiredService,
        port: &DesiredPort,
        load_balancer_arn: String,
        protocol: BalancerProtocol,
        default_actions: Vec<Action>,
    ) -> Resource {
        let part = Part::service(service);
        let claim = format!("listener/{load_balancer_arn}/{}", port.port);
        let request = CreateListener {
            load_balancer_arn,
            protocol,
            port: port.port,
            default_actions,
            tags: capital_tags(&self.names.tags(part.name, part.component)),
        };
        let name = self.names.beside(&service.name, &format!("{}-listener", port.port));
        let mut listener = self.resource(&LISTENER, name, part, &request);
        listener.claims.push(claim);
        listener
    }

    /// Up to five hosts in a rule, of those with one listener.
    fn domains(
        &mut self,
        service: &DesiredService,
        port: &DesiredPort,
        groups: &(ResourceId, Option<ResourceId>),
    ) -> Vec<ResourceId> {
        let mut hosts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (at, domain) in service
            .domains
            .iter()
            .enumerate()
            .filter(|(_, domain)| domain.port == port.port)
        {
            let pointer = format!("{}/domains/{at}", service.origin);
            if let Some(listener) = self.listener_of(domain.tls, pointer) {
                hosts.entry(listener).or_default().insert(domain.host.clone());
            }
        }
        let mut rules = Vec::new();
        for (listener, hosts) in hosts {
            let hosts: Vec<String> = hosts.into_iter().collect();
            for some in hosts.chunks(HOSTS_OF_A_RULE) {
                let condition = RuleCondition {
                    field: "host-header".to_string(),
                    host_header_config: Some(values(some.iter().cloned())),
                    path_pattern_config: None,
                };
                let priority = priority(some);
                let name = self
                    .names
                    .beside(&service.name, &format!("{listener} {}", some.join(" ")));
                let at = Late::Known(listener.clone());
                let mut rule = self.rule(service, name, at, priority, condition, groups);
                rule.claims.push(format!("priority/{listener}/{priority}"));
                rules.push(self.leading(rule, groups));
            }
        }
        rules
    }

    fn listener_of(&mut self, tls: Tls, pointer: String) -> Option<String> {
        let balancer = self.target.application_load_balancer.as_ref();
        let (listener, field) = match tls {
            Tls::Auto => (balancer.and_then(|one| one.https_listener.clone()), "httpsListener"),
            Tls::None => (balancer.and_then(|one| one.http_listener.clone()), "httpListener"),
        };
        if listener.is_none() {
            let message = "a domain leads to the service, and the Target names no listener for it";
            self.fault("LoadBalancerMissing", message, pointer).hint(&format!(
                "`ecs: {{applicationLoadBalancer: {{arn: ..., {field}: arn:...}}}}` in the Target"
            ));
        }
        listener
    }

    fn rule(
        &self,
        service: &DesiredService,
        name: String,
        listener_arn: Late<String>,
        priority: u32,
        condition: RuleCondition,
        groups: &(ResourceId, Option<ResourceId>),
    ) -> Resource {
        let part = Part::service(service);
        let request = CreateRule {
            listener_arn,
            priority,
            conditions: vec![condition],
            actions: vec![forward(groups)],
            tags: capital_tags(&self.names.tags(part.name, part.component)),
        };
        self.resource(&LISTENER_RULE, name, part, &request)
    }

    /// It leads to groups that are there.
    fn leading(&mut self, mut resource: Resource, groups: &(ResourceId, Option<ResourceId>)) -> ResourceId {
        let groups = [Some(&groups.0), groups.1.as_ref()];
        resource.edges.extend(groups.into_iter().flatten().cloned().map(exists));
        self.add(resource)
    }
}

/// At a rule of an Application Load Balancer, or at a listener of a Network Load Balancer.
fn lead_of(lead: &ResourceId) -> Late<String> {
    let output = match lead.kind == LISTENER.name {
        true => "listenerArn",
        false => "ruleArn",
    };
    Late::output(lead.clone(), output)
}

fn forward(groups: &(ResourceId, Option<ResourceId>)) -> Action {
    let group = |group: &ResourceId, weight| TargetGroupTuple {
        target_group_arn: arn_of(group),
        weight,
    };
    let other = groups.1.as_ref().map(|other| group(other, 0));
    Action {
        sort: ActionSort::Forward,
        forward_config: Some(ForwardConfig {
            target_groups: [group(&groups.0, 100)].into_iter().chain(other).collect(),
        }),
        fixed_response_config: None,
    }
}

fn values(values: impl IntoIterator<Item = String>) -> Values {
    Values {
        values: values.into_iter().collect(),
    }
}

/// Rules are tried in the order of their numbers: whole names before those that stand for many.
fn priority(hosts: &[String]) -> u32 {
    let hash = hash_of(&["priority", &hosts.join(" ")]);
    let number = u32::from_str_radix(&hash[..6], 16).unwrap_or_default() % 24_000;
    match hosts.iter().any(|host| host.starts_with('*')) {
        true => 25_001 + number,
        false => 1 + number,
    }
}

fn is_reached(service: &DesiredService, port: &DesiredPort) -> bool {
    let has_domain = service.domains.iter().any(|domain| domain.port == port.port);
    (port.public || has_domain) && port.protocol != Protocol::Udp
}

fn port_pointer(service: &DesiredService, port: &DesiredPort) -> String {
    let at = service.ports.iter().position(|one| one.port == port.port);
    format!("{}/ports/{}", service.origin, at.unwrap_or_default())
}
