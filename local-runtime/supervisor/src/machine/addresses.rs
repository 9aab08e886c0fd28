//! Which address of the app's network is whose.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::State;

/// A /24: `.1` is the bridge, `.2` to `.63` are the services', `.64` to `.254` the pods'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subnet(pub Ipv4Addr);

impl Subnet {
    pub const PREFIX_LENGTH: u8 = 24;
    pub(super) const SERVICES: std::ops::RangeInclusive<u8> = 2..=63;
    pub(super) const PODS: std::ops::RangeInclusive<u8> = 64..=254;

    pub fn gateway(self) -> Ipv4Addr {
        self.host(1)
    }

    fn host(self, number: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.0.octets();
        Ipv4Addr::new(a, b, c, number)
    }

    pub(super) fn free(self, range: std::ops::RangeInclusive<u8>, used: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        range.map(|n| self.host(n)).find(|address| !used.contains(address))
    }
}

/// What new pods are made of during one step: ids, and addresses that no pod holds.
pub(super) struct Addresses {
    subnet: Option<Subnet>,
    used: BTreeSet<Ipv4Addr>,
    pub(super) last_pod: u64,
}

impl Addresses {
    pub(super) fn of(state: &State) -> Addresses {
        let services = state.services.values().flat_map(|s| s.pods.values());
        let used = services
            .chain(state.jobs.values().flat_map(|j| j.pods.values()))
            .map(|p| p.address)
            .collect();
        Addresses {
            subnet: state.network.as_ref().map(|n| n.subnet),
            used,
            last_pod: state.last_pod,
        }
    }

    /// `None` when the subnet is full: pods wait until others have gone.
    pub(super) fn take(&mut self) -> Option<(u64, Ipv4Addr)> {
        let address = self.subnet?.free(Subnet::PODS, &self.used)?;
        self.used.insert(address);
        self.last_pod += 1;
        Some((self.last_pod, address))
    }
}
