//! The app's network: a bridge, one namespace per pod, one address on the bridge per service.
//!
//! Everything is made by netlink; no program is called. A pod's namespace is held open by a descriptor of this process and
//! by the containers in it, never by a mount: when both are gone the kernel removes it, and the veth pair with it. So a
//! killed supervisor leaves nothing that only another supervisor could find.
//!
//! Pods get an address of the app's /24 and, where there is a way out, a default route over the bridge. `firewall` says
//! what may cross the bridge's border: nothing from or to another app, and from outside answers alone.

mod firewall;
mod hosts;
mod names;
mod namespace;
mod netlink;
mod nftables;
mod outward;
mod pods;
mod resolv;
mod subnet;
mod wire;

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::machine::Subnet;
use crate::spec::Egress;
use netlink::{Netlink, VethPair};
use pods::Pods;

pub use hosts::hosts_file;
pub use names::bridge_name;

/// The inner end of a pod's veth pair.
const INSIDE: &str = "eth0";

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("cannot {operation} {subject}")]
    Netlink {
        operation: &'static str,
        subject: String,
        source: io::Error,
    },
    #[error("cannot make a network namespace")]
    Namespace { source: io::Error },
    #[error("this machine has no default route")]
    NoDefaultRoute,
    #[error("no /24 of 10.0.0.0/8 is free on this machine")]
    NoSubnet,
    #[error("the bridge {0} is missing")]
    BridgeMissing(String),
}

/// A namespace with a loopback device and nothing else, for an app that may not make its bridge in this one.
pub fn apart() -> Result<OwnedFd, NetworkError> {
    namespace::create(|_| Ok(()), set_up_loopback)
}

/// The kernel side of one app's network. The instance is the app's name, and what tells it from others of that name.
#[derive(Clone)]
pub struct Network {
    instance: String,
    bridge: String,
    pods: Arc<Pods>,
    service_addresses: Arc<Mutex<BTreeSet<Ipv4Addr>>>,
    outward: Arc<Way>,
}

/// The way out, as it is or as soon as it is known.
#[derive(Default)]
struct Way {
    outward: Mutex<Outward>,
    settled: Condvar,
    /// Links of the machine that forward for its sake.
    forwarding: Mutex<BTreeSet<String>>,
}

/// Whether containers have a way out, and over what.
#[derive(Clone, Debug, Default)]
enum Outward {
    #[default]
    NotWanted,
    /// The rules are being written.
    Opening,
    Open(Subnet),
    /// Wanted, and not to be had here.
    Closed(String),
}

/// What was missing of an app's network, and is there again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    pub bridge: bool,
    pub rules: bool,
    /// Pods that had lost their link.
    pub pods: u32,
}

impl Network {
    pub fn of(instance: &str) -> Network {
        Network {
            instance: instance.into(),
            bridge: bridge_name(instance),
            pods: Arc::default(),
            service_addresses: Arc::default(),
            outward: Arc::default(),
        }
    }

    pub fn bridge(&self) -> &str {
        &self.bridge
    }

    /// Makes the bridge with the subnet given, or with the first free one that the app's name leads to.
    ///
    /// A bridge of this name can only be ours, left by a supervisor that was killed: its address is kept or replaced.
    pub fn create(&self, wanted: Option<Subnet>) -> Result<Subnet, NetworkError> {
        let mut netlink = Netlink::open().map_err(|e| failed("open", "a netlink socket", e))?;
        let index = match netlink
            .link_index(&self.bridge)
            .map_err(|e| failed("find", &self.bridge, e))?
        {
            Some(index) => index,
            None => self.add_bridge(&mut netlink)?,
        };
        let addresses = netlink.addresses().map_err(|e| failed("list", "addresses", e))?;
        let (ours, others): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|(link, ..)| *link == index);
        let taken: Vec<(Ipv4Addr, u8)> = others
            .into_iter()
            .map(|(_, address, prefix)| (address, prefix))
            .collect();
        let subnet = wanted
            .or_else(|| subnet::choose(&self.instance, &taken))
            .ok_or(NetworkError::NoSubnet)?;
        for (_, address, prefix) in ours.into_iter().filter(|(_, a, _)| *a != subnet.gateway()) {
            netlink
                .remove_address(index, address, prefix)
                .map_err(|e| failed("remove", &address.to_string(), e))?;
        }
        let gateway = subnet.gateway();
        netlink
            .add_address(index, gateway, Subnet::PREFIX_LENGTH)
            .map_err(|e| failed("add", &gateway.to_string(), e))?;
        Ok(subnet)
    }

    fn add_bridge(&self, netlink: &mut Netlink) -> Result<u32, NetworkError> {
        netlink
            .add_bridge(&self.bridge, names::bridge_mac(&self.instance))
            .map_err(|e| failed("make", &self.bridge, e))?;
        self.bridge_index(netlink)
    }

    fn bridge_index(&self, netlink: &mut Netlink) -> Result<u32, NetworkError> {
        let found = netlink
            .link_index(&self.bridge)
            .map_err(|e| failed("find", &self.bridge, e))?;
        found.ok_or_else(|| NetworkError::BridgeMissing(self.bridge.clone()))
    }

    /// Opens or closes the way out, for the pods there are and for those to come. That it cannot be had is no failure:
    /// [`Network::closed_because`] tells.
    ///
    /// The kernel takes its time over rules. Where there is no pod yet nobody needs them yet, and this returns at once:
    /// a pod is ready only when they are in place.
    pub fn set_egress(&self, subnet: Subnet, egress: Egress) {
        // One after the other.
        self.outward();
        *lock(&self.outward.outward) = Outward::Opening;
        if !self.pods.is_empty() {
            return self.write_rules(subnet, egress);
        }
        let this = self.clone();
        std::thread::spawn(move || this.write_rules(subnet, egress));
    }

    fn write_rules(&self, subnet: Subnet, egress: Egress) {
        let mut forwarding = lock(&self.outward.forwarding);
        let set = outward::set(&self.instance, &self.bridge, subnet, egress, &mut forwarding);
        drop(forwarding);
        let outward = match (set, egress) {
            (Err(error), _) => Outward::Closed(crate::error::chain(&error)),
            (Ok(()), Egress::None) => Outward::NotWanted,
            (Ok(()), Egress::Nat) => Outward::Open(subnet),
        };
        if let Outward::Closed(reason) = &outward {
            tracing::warn!(reason, "containers have no way out of their network");
        }
        let open = matches!(outward, Outward::Open(_));
        *lock(&self.outward.outward) = outward;
        self.outward.settled.notify_all();
        for namespace in self.pods.linked_namespaces() {
            if let Err(error) = namespace::within(&namespace, || set_default_route(subnet, open)) {
                tracing::warn!(error = crate::error::chain(&error), "a replica keeps its default route");
            }
        }
    }

    /// Waits until it is known.
    fn outward(&self) -> Outward {
        let opening = |outward: &mut Outward| matches!(outward, Outward::Opening);
        let settled = self.outward.settled.wait_while(lock(&self.outward.outward), opening);
        settled.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why containers have no way out although they should, if that is known.
    pub fn closed_because(&self) -> Option<String> {
        match &*lock(&self.outward.outward) {
            Outward::Closed(reason) => Some(reason.clone()),
            _ => None,
        }
    }

    /// What a container's `/etc/resolv.conf` says.
    pub fn resolv_conf(&self) -> String {
        match self.outward() {
            Outward::Open(_) => resolv::resolv_conf(),
            _ => resolv::closed(),
        }
    }

    pub fn remove(&self) -> Result<(), NetworkError> {
        lock(&self.service_addresses).clear();
        // Lest rules are written after they were removed.
        self.outward();
        let mut netlink = Netlink::open().map_err(|e| failed("open", "a netlink socket", e))?;
        let bridge = netlink.remove_link(&self.bridge);
        outward::remove(&self.instance, &lock(&self.outward.forwarding))?;
        bridge.map_err(|e| failed("remove", &self.bridge, e))
    }

    /// Makes the bridge answer for exactly these services' addresses.
    pub fn set_service_addresses(&self, wanted: BTreeSet<Ipv4Addr>) -> Result<(), NetworkError> {
        let mut current = lock(&self.service_addresses);
        if *current == wanted {
            return Ok(());
        }
        let mut netlink = Netlink::open().map_err(|e| failed("open", "a netlink socket", e))?;
        let index = self.bridge_index(&mut netlink)?;
        for address in wanted.difference(&current) {
            netlink
                .add_address(index, *address, 32)
                .map_err(|e| failed("add", &address.to_string(), e))?;
        }
        for address in current.difference(&wanted) {
            netlink
                .remove_address(index, *address, 32)
                .map_err(|e| failed("remove", &address.to_string(), e))?;
        }
        *current = wanted;
        Ok(())
    }

    /// A new namespace with the address on its `eth0`. Blocks for some milliseconds: not for the event loop. What can do
    /// without the link is `begun` as soon as the namespace is there; [`Network::linked`] tells when it is whole.
    pub fn add_pod(&self, pod: u64, address: Ipv4Addr, begun: impl FnOnce()) -> Result<(), NetworkError> {
        let outside = |namespace: &OwnedFd| {
            self.pods.insert(
                pod,
                namespace
                    .try_clone()
                    .map_err(|source| NetworkError::Namespace { source })?,
            );
            begun();
            self.link(pod, address, namespace)
        };
        let linked = namespace::create(outside, || self.set_up_inside(address)).map(drop);
        let told = linked.as_ref().copied().map_err(|error| crate::error::chain(error));
        self.pods.link_has_come(pod, told);
        linked
    }

    /// Waits until the pod has its link, or it is known why it has none.
    pub fn linked(&self, pod: u64) -> Result<(), String> {
        self.pods.linked(pod)
    }

    /// A pair of links from the bridge into the pod's namespace, in the place of one that may be there.
    fn link(&self, pod: u64, address: Ipv4Addr, namespace: &OwnedFd) -> Result<(), NetworkError> {
        let mut outside = Netlink::open().map_err(|e| failed("open", "a netlink socket", e))?;
        let bridge = self.bridge_index(&mut outside)?;
        let name = names::veth_name(&self.instance, pod);
        outside.remove_link(&name).map_err(|e| failed("remove", &name, e))?;
        let pair = VethPair {
            outside: &name,
            inside: INSIDE,
            inside_mac: names::pod_mac(address),
            bridge,
            namespace: namespace.as_fd(),
        };
        outside.add_veth(&pair).map_err(|e| failed("make", &name, e))
    }

    /// In the namespace of the calling thread.
    fn set_up_inside(&self, address: Ipv4Addr) -> Result<(), NetworkError> {
        set_up_inside(address)?;
        match self.outward() {
            Outward::Open(subnet) => set_default_route(subnet, true),
            _ => Ok(()),
        }
    }

    /// Puts back what somebody has taken away by hand: the bridge, the rules, the links of these pods. Where nothing is
    /// missing this is one question for each. What was there again is told.
    pub fn mend(
        &self,
        subnet: Subnet,
        egress: Egress,
        pods: impl IntoIterator<Item = (u64, Ipv4Addr)>,
    ) -> Result<Mended, NetworkError> {
        let mut netlink = Netlink::open().map_err(|e| failed("open", "a netlink socket", e))?;
        let found = netlink
            .link_index(&self.bridge)
            .map_err(|e| failed("find", &self.bridge, e))?;
        let mut mended = Mended::default();
        if found.is_none() {
            self.create(Some(subnet))?;
            let addresses = std::mem::take(&mut *lock(&self.service_addresses));
            self.set_service_addresses(addresses)?;
            mended.bridge = true;
        }
        if mended.bridge || self.lacks_rules()? {
            self.set_egress(subnet, egress);
            mended.rules = true;
        }
        let bridge = self.bridge_index(&mut netlink)?;
        for (pod, address) in pods {
            let Some(namespace) = self.pods.to_be_mended(pod) else {
                continue;
            };
            let name = names::veth_name(&self.instance, pod);
            let on = netlink.bridge_of(&name).map_err(|e| failed("find", &name, e))?;
            if on != Some(bridge) || self.pods.linked(pod).is_err() {
                self.link(pod, address, &namespace)?;
                namespace::within(&namespace, || self.set_up_inside(address))?;
                self.pods.link_has_come(pod, Ok(()));
                mended.pods += 1;
            }
        }
        Ok(mended)
    }

    /// Rules that could not be written are not missed, nor are those that are just being written.
    fn lacks_rules(&self) -> Result<bool, NetworkError> {
        match &*lock(&self.outward.outward) {
            Outward::Opening | Outward::Closed(_) => Ok(false),
            Outward::NotWanted | Outward::Open(_) => Ok(!outward::is_set(&self.instance)?),
        }
    }

    /// Takes up the namespace of a process that is in it: a pod of the supervisor before us.
    pub fn adopt_pod(&self, pod: u64, pid: u32) -> io::Result<()> {
        let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
        self.pods.insert(pod, namespace.into());
        self.pods.link_has_come(pod, Ok(()));
        Ok(())
    }

    pub fn pod_namespace(&self, pod: u64) -> Option<Arc<OwnedFd>> {
        self.pods.namespace(pod)
    }

    /// Removing the veth pair by name does not wait for the kernel's own removal of the namespace.
    pub fn remove_pod(&self, pod: u64) -> Result<(), NetworkError> {
        let name = names::veth_name(&self.instance, pod);
        // Lest one is made after it was removed.
        _ = self.pods.linked(pod);
        self.pods.remove(pod);
        let mut netlink = Netlink::open().map_err(|e| failed("open", "a netlink socket", e))?;
        netlink.remove_link(&name).map_err(|e| failed("remove", &name, e))
    }
}

fn set_up_loopback() -> Result<(), NetworkError> {
    let mut netlink = Netlink::open().map_err(|e| failed("open", "a netlink socket", e))?;
    let index = netlink.link_index("lo").map_err(|e| failed("find", "lo", e))?;
    let index = index.ok_or_else(|| NetworkError::BridgeMissing("lo".into()))?;
    netlink.set_up(index).map_err(|e| failed("start", "lo", e))
}

fn set_up_inside(address: Ipv4Addr) -> Result<(), NetworkError> {
    let mut netlink = Netlink::open().map_err(|e| failed("open", "a netlink socket", e))?;
    for name in ["lo", INSIDE] {
        let index = netlink.link_index(name).map_err(|e| failed("find", name, e))?;
        let index = index.ok_or_else(|| NetworkError::BridgeMissing(name.into()))?;
        if name == INSIDE {
            netlink
                .add_address(index, address, Subnet::PREFIX_LENGTH)
                .map_err(|e| failed("add", &address.to_string(), e))?;
        }
        netlink.set_up(index).map_err(|e| failed("start", name, e))?;
    }
    Ok(())
}

/// In the namespace of the calling thread.
fn set_default_route(subnet: Subnet, there: bool) -> Result<(), NetworkError> {
    let mut netlink = Netlink::open().map_err(|e| failed("open", "a netlink socket", e))?;
    let set = match there {
        true => netlink.add_default_route(subnet.gateway()),
        false => netlink.remove_default_route(subnet.gateway()),
    };
    set.map_err(|e| failed("set", "the default route", e))
}

fn failed(operation: &'static str, subject: &str, source: io::Error) -> NetworkError {
    NetworkError::Netlink {
        operation,
        subject: subject.into(),
        source,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
