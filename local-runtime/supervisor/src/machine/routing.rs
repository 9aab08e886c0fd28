//! Where connections go, and which names there are: read off the state after each step.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::State;
use crate::spec::{Protocol, Publish};

/// One service's ports and the pods that take its connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub service: String,
    pub address: Ipv4Addr,
    pub ports: Vec<RoutePort>,
    /// One where all replicas are equal; two while an old and a new revision share the connections by weight.
    pub groups: Vec<Group>,
}

/// Ready pods that together get `weight` of the sum of all groups' weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub weight: u32,
    pub targets: BTreeMap<u64, Ipv4Addr>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutePort {
    pub name: String,
    pub port: u16,
    pub protocol: Protocol,
    pub publish: Option<Publish>,
}

pub fn routes(state: &State) -> Vec<Route> {
    let there = state.services.values().filter(|s| !s.deleting);
    there.map(route).collect()
}

fn route(service: &super::Service) -> Route {
    let ports = service.spec.ports.iter().map(|port| RoutePort {
        name: port.name.clone(),
        port: port.port,
        protocol: port.protocol,
        publish: port.publish,
    });
    Route {
        service: service.spec.name.clone(),
        address: service.address,
        ports: ports.collect(),
        groups: groups(service),
    }
}

/// The old revision first, so that both keep their place while the weights change.
fn groups(service: &super::Service) -> Vec<Group> {
    let group = |weight: u8, of: &dyn Fn(u64) -> bool| Group {
        weight: weight.into(),
        targets: targets(service, of),
    };
    match service.shares() {
        None => vec![group(1, &|_| true)],
        Some(shares) => vec![
            group(100 - shares.new_weight, &|template| template != service.current),
            group(shares.new_weight, &|template| template == service.current),
        ],
    }
}

fn targets(service: &super::Service, of: &dyn Fn(u64) -> bool) -> BTreeMap<u64, Ipv4Addr> {
    let ready = service.pods.iter().filter(|(_, p)| p.ready && of(p.template));
    ready.map(|(id, p)| (*id, p.address)).collect()
}

/// The names that containers resolve: the app's services, and those of others that it uses.
pub fn service_names(state: &State) -> BTreeMap<String, Ipv4Addr> {
    let used = state.network.iter().flat_map(|network| network.uses.clone());
    let own = state.services.values().filter(|s| !s.deleting);
    used.chain(own.map(|s| (s.spec.name.clone(), s.address))).collect()
}

/// What a pod's containers are called inside: unique in the app, and short enough for a host name (64 characters).
pub fn pod_hostname(workload: &str, pod: u64) -> String {
    format!("{}-{pod}", &workload[..workload.len().min(40)])
}
