//! How a service is reached: inside the cluster, from outside, and what its app calls another app's.

use std::collections::BTreeMap;

use portolan_core::desired::{DesiredPort, DesiredService, DesiredUse};
use portolan_core::manifest::{Protocol, RolloutStrategy};
use serde_json::{Value, json};

use super::workload::is_walked;
use super::{Part, Renderer};
use crate::kinds::SERVICE;
use crate::names::annotation;

/// Almost every cluster's. What is named by an alias has to be named in full.
const CLUSTER_DOMAIN: &str = "cluster.local";

impl Renderer<'_> {
    pub(super) fn network(&mut self, service: &DesiredService) {
        let ports: Vec<&DesiredPort> = ports(service).collect();
        let public: Vec<&DesiredPort> = ports.iter().copied().filter(|port| port.public).collect();
        let name = self.names.of(&service.name);
        let selector = self.selector(service);
        self.kube_service(service, name, "ClusterIP", &selector, &ports);
        let name = self.names.public(&service.name);
        self.kube_service(service, name, "LoadBalancer", &selector, &public);
        if self.is_weighed(service) {
            for (name, deployment) in self.backends(service) {
                let selector = self.names.selector_of(&deployment);
                self.kube_service(service, name, "ClusterIP", &selector, &ports);
            }
        }
    }

    /// Of a canary all pods, so that it has the share of its replicas; of blue and green those of one revision.
    fn selector(&self, service: &DesiredService) -> BTreeMap<String, String> {
        match service.rollout.strategy {
            RolloutStrategy::Canary => self.selector_of_all(service),
            _ => self.names.selector(&service.name),
        }
    }

    /// The KubeServices between which a route weighs, of the old revision and of the new one, and the Deployment behind each.
    pub(super) fn backends(&self, service: &DesiredService) -> [(String, String); 2] {
        let name = &service.name;
        [
            (self.names.beside(name, "stable"), self.names.of(name)),
            (self.names.beside(name, "canary"), self.names.next(name)),
        ]
    }

    fn kube_service(
        &mut self,
        service: &DesiredService,
        name: String,
        sort: &str,
        selector: &BTreeMap<String, String>,
        ports: &[&DesiredPort],
    ) {
        if ports.is_empty() {
            return;
        }
        let body = json!({ "spec": {
            "type": sort,
            "selector": selector,
            "ports": ports.iter().map(|port| kube_port(port)).collect::<Vec<_>>(),
        }});
        let mut rendered = self.object(&SERVICE, name, Part::service(service), body);
        if is_walked(service) && service.rollout.strategy == RolloutStrategy::BlueGreen {
            rendered.body["metadata"]["annotations"] = json!({ annotation::STRATEGY: "blueGreen" });
        }
        self.add(rendered);
    }

    /// A use is called by the name that the app gives it, on every target.
    pub(super) fn used(&mut self, name: &str, used: &DesiredUse) {
        let origin = format!("/spec/uses/{name}");
        let part = Part {
            name,
            component: "use",
            origin: &origin,
        };
        let there = self.names.of_another(&used.of, &used.service);
        let kube_namespace = self.shape.kube_namespace(&used.of.namespace);
        let body = json!({ "spec": {
            "type": "ExternalName",
            "externalName": format!("{there}.{kube_namespace}.svc.{CLUSTER_DOMAIN}"),
            "ports": [{ "port": used.port, "targetPort": used.port, "protocol": "TCP" }],
        }});
        let alias = self.object(&SERVICE, name.to_string(), part, body);
        self.add(alias);
    }
}

/// Of a service and its sidecars.
pub(super) fn ports(service: &DesiredService) -> impl Iterator<Item = &DesiredPort> {
    let beside = service.sidecars.values().flat_map(|sidecar| &sidecar.ports);
    service.ports.iter().chain(beside)
}

fn kube_port(port: &DesiredPort) -> Value {
    let mut body = json!({
        "name": port.name,
        "port": port.port,
        "targetPort": port.port,
        "protocol": transport(port.protocol),
    });
    if port.protocol == Protocol::Http {
        body["appProtocol"] = json!("http");
    }
    body
}

pub(super) fn transport(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Udp => "UDP",
        Protocol::Http | Protocol::Tcp => "TCP",
    }
}
