//! Domains: an Ingress, or an HTTPRoute where the Target names a Gateway.

use portolan_core::desired::{DesiredDomain, DesiredService};
use portolan_core::manifest::{GatewayReference, Tls};
use serde_json::{Value, json};

use super::{Part, Renderer, exists};
use crate::kinds::{HTTP_ROUTE, INGRESS, SERVICE};
use crate::names::annotation;

impl Renderer<'_> {
    pub(super) fn outside(&mut self, service: &DesiredService) {
        if service.domains.is_empty() {
            return;
        }
        let shape = self.shape;
        let (kind, body) = match &shape.choices.gateway {
            Some(gateway) => (&HTTP_ROUTE, self.route(service, gateway)),
            None => (&INGRESS, self.ingress(service)),
        };
        let name = self.names.of(&service.name);
        let mut rendered = self.object(kind, name.clone(), Part::service(service), body);
        if let (None, Some(issuer)) = (&shape.choices.gateway, &shape.choices.cluster_issuer) {
            rendered.body["metadata"]["annotations"] = json!({ annotation::ISSUER: issuer });
        }
        if self.is_weighed(service) {
            rendered.body["metadata"]["annotations"] = json!({ annotation::STRATEGY: "canary" });
            let backends = self.backends(service).map(|(backend, _)| exists(SERVICE.id(backend)));
            rendered.edges.extend(backends);
        }
        rendered.edges.push(exists(SERVICE.id(name)));
        self.add(rendered);
    }

    fn ingress(&self, service: &DesiredService) -> Value {
        let rules: Vec<Value> = service
            .domains
            .iter()
            .map(|domain| self.rule(service, domain))
            .collect();
        let mut body = json!({ "spec": { "rules": rules } });
        if let Some(class) = &self.shape.choices.ingress_class {
            body["spec"]["ingressClassName"] = json!(class);
        }
        let secret = self.names.beside(&service.name, "tls");
        let secured = service.domains.iter().filter(|domain| domain.tls == Tls::Auto);
        let hosts: Vec<&str> = secured.map(|domain| domain.host.as_str()).collect();
        if !hosts.is_empty() {
            body["spec"]["tls"] = json!([{ "hosts": hosts, "secretName": secret }]);
        }
        body
    }

    fn rule(&self, service: &DesiredService, domain: &DesiredDomain) -> Value {
        let backend = json!({ "name": self.names.of(&service.name), "port": { "number": domain.port } });
        let path = json!({ "path": "/", "pathType": "Prefix", "backend": { "service": backend } });
        json!({ "host": domain.host, "http": { "paths": [path] } })
    }

    /// Which of them is reached by https is said by the Gateway's listeners.
    fn route(&self, service: &DesiredService, gateway: &GatewayReference) -> Value {
        let mut parent = json!({ "group": HTTP_ROUTE.group(), "kind": "Gateway", "name": gateway.name });
        if let Some(namespace) = &gateway.namespace {
            parent["namespace"] = json!(namespace);
        }
        let hosts: Vec<&str> = service.domains.iter().map(|domain| domain.host.as_str()).collect();
        let port = service.domains.first().map(|domain| domain.port);
        let backend = |name: String, weight: u8| json!({ "group": "", "kind": "Service", "name": name, "port": port, "weight": weight });
        let backends = match self.is_weighed(service) {
            true => {
                let [(old, _), (new, _)] = self.backends(service);
                vec![backend(old, 100), backend(new, 0)]
            }
            false => vec![backend(self.names.of(&service.name), 1)],
        };
        json!({ "spec": {
            "parentRefs": [parent],
            "hostnames": hosts,
            "rules": [{
                "matches": [{ "path": { "type": "PathPrefix", "value": "/" } }],
                "backendRefs": backends,
            }],
        }})
    }
}
