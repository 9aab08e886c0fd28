//! How the parts of an app find each other: services by Service Connect, whose proxy stands in their tasks; jobs, whose tasks have
//! none, by the names that Cloud Map gives in DNS. A service has one name either way.

use std::collections::BTreeSet;

use portolan_core::desired::{DesiredContainer, DesiredService, EnvPart};
use portolan_core::manifest::Protocol;
use portolan_core::resource::ResourceId;

use super::{Part, Renderer, rollout};
use crate::kinds::DISCOVERY_SERVICE;
use crate::requests::around::{CreateDiscoveryService, DnsConfig, DnsRecord, RecordSort, RoutingPolicy};
use crate::requests::capital_tags;
use crate::requests::service::{ClientAlias, ServiceConnectConfiguration, ServiceConnectService};
use crate::requests::task::LogConfiguration;

/// Seconds for which a job may hold an address.
const TTL: u32 = 10;

impl Renderer<'_> {
    /// Under which a service answers inside the VPC.
    pub(super) fn host(&self, service: &str) -> String {
        let name = self.names.of(service);
        match &self.target.namespace {
            Some(namespace) => format!("{name}.{}", namespace.name),
            None => name,
        }
    }

    /// Who names a service cannot find it without a namespace.
    pub(super) fn check_names(&mut self, part: Part<'_>, containers: &[&DesiredContainer]) {
        let named = named_by(containers);
        if let (Some(service), None) = (named.first(), &self.target.namespace) {
            let message = format!(
                "`{}` names the service `{service}`, and the Target has no namespace for names",
                part.name
            );
            self.fault("DiscoveryMissing", message, part.origin)
                .hint("`ecs: {namespace: {id: ns-..., name: ...}}` in the Target, a namespace of Cloud Map with DNS");
        }
    }

    /// As a server, where a service of the app names it or its rollout shifts connections; as a client, where it names one.
    pub(super) fn service_connect(
        &self,
        service: &DesiredService,
        logs: LogConfiguration,
    ) -> Option<ServiceConnectConfiguration> {
        let namespace = self.target.namespace.as_ref()?;
        let serves = self.is_named_by_a_service(service) || self.is_shifted_by_name(service);
        let calls = !named_by(&containers(service)).is_empty();
        (serves || calls).then(|| ServiceConnectConfiguration {
            enabled: true,
            namespace: namespace.name.clone(),
            services: match serves {
                true => self.endpoints(service),
                false => Vec::new(),
            },
            log_configuration: Some(logs),
        })
    }

    fn endpoints(&self, service: &DesiredService) -> Vec<ServiceConnectService> {
        let carried = service.ports.iter().filter(|port| port.protocol != Protocol::Udp);
        let endpoint = |port: &portolan_core::desired::DesiredPort| ServiceConnectService {
            port_name: port.name.clone(),
            discovery_name: self.names.beside(&service.name, &port.name),
            client_aliases: vec![ClientAlias {
                port: port.port,
                dns_name: self.host(&service.name),
            }],
        };
        carried.map(endpoint).collect()
    }

    fn is_named_by_a_service(&self, service: &DesiredService) -> bool {
        let mut others = self.desired.services.values();
        others.any(|other| named_by(&containers(other)).contains(service.name.as_str()))
    }

    /// Whether it is Service Connect that gives a new revision its share.
    pub(super) fn is_shifted_by_name(&self, service: &DesiredService) -> bool {
        let carried = service.ports.iter().any(|port| port.protocol != Protocol::Udp);
        rollout::is_walked(service) && !self.is_balanced(service) && carried && self.target.namespace.is_some()
    }

    pub(super) fn is_named_by_a_job(&self, service: &DesiredService) -> bool {
        let mut jobs = self.desired.jobs.values();
        jobs.any(|job| named_by(&[&job.container]).contains(service.name.as_str()))
    }

    /// The entry in DNS, for jobs alone.
    pub(super) fn dns_name(&mut self, service: &DesiredService) -> Option<ResourceId> {
        let namespace = self.target.namespace.as_ref()?;
        if !self.is_named_by_a_job(service) {
            return None;
        }
        let part = Part::service(service);
        let name = self.names.of(&service.name);
        let request = CreateDiscoveryService {
            name: name.clone(),
            namespace_id: namespace.id.clone(),
            dns_config: DnsConfig {
                routing_policy: RoutingPolicy::Multivalue,
                dns_records: vec![DnsRecord {
                    sort: RecordSort::A,
                    ttl: TTL,
                }],
            },
            tags: capital_tags(&self.names.tags(part.name, part.component)),
        };
        let resource = self.resource(&DISCOVERY_SERVICE, name, part, &request);
        Some(self.add(resource))
    }
}

pub(super) fn containers(service: &DesiredService) -> Vec<&DesiredContainer> {
    let sidecars = service.sidecars.values().map(|sidecar| &sidecar.container);
    let init = service.init.iter().map(|(_, container)| container);
    [&service.container].into_iter().chain(sidecars).chain(init).collect()
}

/// The services that variables speak of.
fn named_by<'a>(containers: &[&'a DesiredContainer]) -> BTreeSet<&'a str> {
    let values = containers.iter().flat_map(|container| container.env.values());
    let parts = values.flat_map(|value| &value.0);
    let service = |part: &'a EnvPart| match part {
        EnvPart::Service { service, .. } => Some(service.as_str()),
        EnvPart::Text(_) | EnvPart::Secret(_) => None,
    };
    parts.filter_map(service).collect()
}
