//! Who may reach a service: its own app, the apps that it allows, and everybody on what is public.

use portolan_core::desired::{DesiredPort, DesiredService, OtherApp};
use serde_json::{Value, json};

use super::network::{ports, transport};
use super::{Part, Renderer};
use crate::kinds::NETWORK_POLICY;

/// The label by which Kubernetes itself names each KubeNamespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

impl Renderer<'_> {
    pub(super) fn policy(&mut self, service: &DesiredService) {
        if ports(service).next().is_none() {
            return;
        }
        let own = json!({ "from": [{ "podSelector": { "matchLabels": self.names.selector_of_app() } }] });
        let others = service.allow.iter().map(|other| json!({ "from": [self.peer(other)] }));
        let open: Vec<Value> = ports(service)
            .filter(|port| is_open(service, port))
            .map(port_of)
            .collect();
        let everybody = (!open.is_empty()).then(|| json!({ "ports": open }));
        let ingress: Vec<Value> = [own].into_iter().chain(others).chain(everybody).collect();
        let body = json!({ "spec": {
            "podSelector": { "matchLabels": self.selector_of_all(service) },
            "policyTypes": ["Ingress"],
            "ingress": ingress,
        }});
        let policy = self.object(
            &NETWORK_POLICY,
            self.names.of(&service.name),
            Part::service(service),
            body,
        );
        self.add(policy);
    }

    fn peer(&self, other: &OtherApp) -> Value {
        let kube_namespace = self.shape.kube_namespace(&other.namespace);
        json!({
            "namespaceSelector": { "matchLabels": { NAMESPACE_NAME: kube_namespace } },
            "podSelector": { "matchLabels": self.names.selector_of_another(other) },
        })
    }
}

/// What a load balancer or the pods behind a domain send to it comes from anywhere.
fn is_open(service: &DesiredService, port: &DesiredPort) -> bool {
    port.public || service.domains.iter().any(|domain| domain.port == port.port)
}

fn port_of(port: &DesiredPort) -> Value {
    json!({ "port": port.port, "protocol": transport(port.protocol) })
}
