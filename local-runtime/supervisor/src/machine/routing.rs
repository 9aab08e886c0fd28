//! Where connections go, and which names there are: read off the state after each step.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::State;
use crate::spec::Publish;

/// One service's ports and the pods that take its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub service: String,
    pub address: Ipv4Addr,
    pub ports: Vec<RoutePort>,
    /// Ready pods, by id.
    pub backends: BTreeMap<u64, Ipv4Addr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePort {
    pub name: String,
    pub port: u16,
    pub publish: Option<Publish>,
}

pub fn routes(state: &State) -> Vec<Route> {
    let route = |service: &super::Service| Route {
        service: service.spec.name.clone(),
        address: service.address,
        ports: service
            .spec
            .ports
            .iter()
            .map(|port| RoutePort {
                name: port.name.clone(),
                port: port.port,
                publish: port.publish,
            })
            .collect(),
        backends: service
            .pods
            .iter()
            .filter(|(_, p)| p.ready)
            .map(|(id, p)| (*id, p.address))
            .collect(),
    };
    state.services.values().filter(|s| !s.deleting).map(route).collect()
}

/// The names that containers resolve.
pub fn service_names(state: &State) -> BTreeMap<String, Ipv4Addr> {
    state
        .services
        .values()
        .filter(|s| !s.deleting)
        .map(|s| (s.spec.name.clone(), s.address))
        .collect()
}

/// What a pod's containers are called inside: unique in the app, and short enough for a host name (64 characters).
pub fn pod_hostname(workload: &str, pod: u64) -> String {
    format!("{}-{pod}", &workload[..workload.len().min(40)])
}
