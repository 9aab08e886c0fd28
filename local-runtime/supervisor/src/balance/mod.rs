//! Connections from a service's address, and from the ports published on the host, to its ready replicas.
//!
//! First form: a proxy in the keeper's process, one task per connection. Everything else only says which routes there
//! are; another form can stand beside this one behind the same few calls.

mod backends;
mod holder;
mod listener;
mod shared;
mod sockets;
mod tcp;
mod udp;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::machine::{PortFailure, Route};
use crate::protocol::{Class, ErrorBody};
use crate::sharing::{Share, Use};
use crate::spec::{PortSpec, Protocol};
use backends::{Backends, Open};
use listener::Listening;
use shared::{Shared, Used};
pub use sockets::{HostSockets, SocketAnswer, SocketRequest, listen_here};

/// Everything that is to be listened on, and where it leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The link over which services' own addresses are reached; none takes them from everywhere.
    pub bridge: Option<String>,
    pub routes: Vec<Route>,
    pub shares: Vec<Share>,
    pub uses: Vec<Use>,
}

/// Every listening socket of the app.
pub struct Balance {
    host: HostSockets,
    table: Table,
    /// The bridge's number when the table came.
    bridge: Option<u32>,
    open: Open,
    services: HashMap<String, Backends>,
    listening: BTreeMap<Front, Listening>,
    shared: BTreeMap<Share, Shared>,
    used: BTreeMap<Use, Used>,
    /// Bound by `reserve`, not yet in a route.
    reserved: BTreeMap<Front, OwnedFd>,
    /// Not tried again before `try_again`.
    failed: BTreeMap<Front, PortFailure>,
    /// One permit per open connection, of all services together.
    connections: Arc<Semaphore>,
}

/// Which service a socket stands for, and where. Not the port's name: a port that is renamed keeps its socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Front {
    service: String,
    protocol: Protocol,
    address: SocketAddrV4,
}

impl Front {
    fn request(&self) -> SocketRequest {
        SocketRequest {
            protocol: self.protocol,
            address: self.address,
        }
    }
}

/// Where a front's connections go: a port of each replica, with its name for messages.
#[derive(Clone, Debug)]
struct Aim {
    name: String,
    port: u16,
    /// For a service's own address.
    link: Option<String>,
}

impl Balance {
    /// At `max_connections` open ones accepting pauses; further ones wait in the kernel.
    pub fn new(host: HostSockets, max_connections: usize) -> Balance {
        Balance {
            host,
            table: Table::default(),
            bridge: None,
            open: Open::default(),
            services: HashMap::new(),
            listening: BTreeMap::new(),
            shared: BTreeMap::new(),
            used: BTreeMap::new(),
            reserved: BTreeMap::new(),
            failed: BTreeMap::new(),
            connections: Arc::new(Semaphore::new(max_connections)),
        }
    }

    /// Nothing is listened on: there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.listening.is_empty()
    }

    /// Binds the host's ports that a service is about to publish, so that a port taken is found before anything is changed.
    /// What the service itself holds already is not bound again. On an error nothing new is held.
    pub fn reserve(&mut self, service: &str, ports: &[PortSpec]) -> Result<(), ErrorBody> {
        for port in ports {
            let Some(publish) = port.publish else { continue };
            let front = Front {
                service: service.into(),
                protocol: port.protocol,
                address: SocketAddrV4::new(publish.address, publish.port),
            };
            if self.listening.contains_key(&front) {
                continue;
            }
            match self.host.listen(front.request()) {
                Ok(socket) => drop(self.reserved.insert(front, socket)),
                Err(error) => {
                    self.reserved.clear();
                    return Err(port_error(&front, &port.name, &error));
                }
            }
        }
        Ok(())
    }

    /// Gives up what `reserve` bound and no route has taken.
    pub fn release_reserved(&mut self) {
        self.reserved.clear();
    }

    /// Makes the sockets and their targets as the table says. New connections follow at once, open ones are left alone.
    /// What cannot be listened on is told by `failures`.
    pub fn set(&mut self, table: Table) {
        let wanted = fronts(&table);
        self.leave_another_bridge(table.bridge.as_deref(), &wanted);
        self.listening.retain(|front, _| wanted.contains_key(front));
        self.failed
            .retain(|front, _| wanted.contains_key(front) && !self.reserved.contains_key(front));
        self.set_backends(&table.routes);
        self.listen(&wanted);
        self.reserved.clear();
        self.table = table;
        self.follow_shares();
    }

    /// Sockets are bound to a link by its number: those of a bridge that was removed hear nothing of the next of its name.
    fn leave_another_bridge(&mut self, bridge: Option<&str>, wanted: &BTreeMap<Front, Aim>) {
        let number = bridge.and_then(|name| nix::net::if_::if_nametoindex(name).ok());
        if number == self.bridge {
            return;
        }
        self.bridge = number;
        let is_inside = |front: &Front| wanted.get(front).is_none_or(|aim| aim.link.is_some());
        self.listening.retain(|front, _| !is_inside(front));
        self.used.clear();
    }

    /// Tries what has failed once more.
    pub fn try_again(&mut self) {
        self.failed.clear();
        self.listen(&fronts(&self.table));
        self.follow_shares();
    }

    /// The first failure of each service that has one.
    pub fn failures(&self) -> BTreeMap<String, PortFailure> {
        let mut failures = BTreeMap::new();
        for (front, failure) in &self.failed {
            failures.entry(front.service.clone()).or_insert_with(|| failure.clone());
        }
        failures
    }

    /// Open connections of replicas that are in no route any more.
    pub fn draining(&self) -> BTreeMap<u64, u32> {
        self.open.draining()
    }

    /// Returns when one of those has lost its last connection.
    pub fn drained(&self) -> impl Future<Output = ()> + use<> {
        let open = self.open.clone();
        async move { open.drained().await }
    }

    fn set_backends(&mut self, routes: &[Route]) {
        self.services
            .retain(|name, _| routes.iter().any(|r| r.service == *name));
        for route in routes {
            let fresh = || Backends::new(self.open.clone());
            let backends = self.services.entry(route.service.clone()).or_insert_with(fresh);
            backends.set(&route.groups);
        }
        let groups = routes.iter().flat_map(|route| &route.groups);
        let routed = groups.flat_map(|group| group.targets.keys().copied());
        self.open.set_routed(routed.collect());
    }

    /// What cannot be listened on is tried again with the next table.
    fn follow_shares(&mut self) {
        let Table {
            bridge, shares, uses, ..
        } = &self.table;
        self.shared.retain(|share, _| shares.contains(share));
        self.used.retain(|one, _| uses.contains(one));
        for share in shares
            .iter()
            .filter(|share| !self.shared.contains_key(share))
            .cloned()
            .collect::<Vec<_>>()
        {
            let Some(backends) = self.services.get(&share.service) else {
                continue;
            };
            match Shared::start(&share, backends.clone(), self.connections.clone()) {
                Ok(started) => drop(self.shared.insert(share, started)),
                Err(error) => tracing::warn!(%error, service = share.service, "cannot listen for another app"),
            }
        }
        for one in uses
            .iter()
            .filter(|one| !self.used.contains_key(one))
            .cloned()
            .collect::<Vec<_>>()
        {
            match self.use_service(&one, bridge.as_deref()) {
                Ok(started) => drop(self.used.insert(one, started)),
                Err(error) => {
                    tracing::warn!(%error, address = %one.address, "cannot listen for a service of another app")
                }
            }
        }
    }

    fn use_service(&self, one: &Use, bridge: Option<&str>) -> io::Result<Used> {
        let request = SocketRequest {
            protocol: Protocol::Tcp,
            address: one.address,
        };
        let socket = match bridge {
            Some(link) => sockets::listen_on_link(request, link)?,
            None => listen_here(request)?,
        };
        Used::start(socket, one.socket.clone(), self.connections.clone())
    }

    fn listen(&mut self, wanted: &BTreeMap<Front, Aim>) {
        for (front, aim) in wanted {
            if let Some(listening) = self.listening.get(front) {
                listening.aim(aim.port);
            } else if !self.failed.contains_key(front)
                && let Err(error) = self.open(front, aim)
            {
                let ErrorBody { code, message, .. } = port_error(front, &aim.name, &error);
                self.failed.insert(front.clone(), PortFailure { reason: code, message });
            }
        }
    }

    fn open(&mut self, front: &Front, aim: &Aim) -> io::Result<()> {
        let socket = match (self.reserved.remove(front), &aim.link) {
            (Some(socket), _) => socket,
            (None, Some(link)) => sockets::listen_on_link(front.request(), link)?,
            (None, None) => self.host.listen(front.request())?,
        };
        let backends = self.services[&front.service].clone();
        let listening = Listening::start(socket, front.protocol, backends, aim.port, self.connections.clone())?;
        self.listening.insert(front.clone(), listening);
        Ok(())
    }
}

fn fronts(table: &Table) -> BTreeMap<Front, Aim> {
    let mut fronts = BTreeMap::new();
    for route in &table.routes {
        for port in &route.ports {
            let inside = SocketAddrV4::new(route.address, port.port);
            let outside = port.publish.map(|p| (SocketAddrV4::new(p.address, p.port), None));
            for (address, link) in std::iter::once((inside, table.bridge.clone())).chain(outside) {
                let front = Front {
                    service: route.service.clone(),
                    protocol: port.protocol,
                    address,
                };
                let (name, port) = (port.name.clone(), port.port);
                fronts.insert(front, Aim { name, port, link });
            }
        }
    }
    fronts
}

fn port_error(front: &Front, port: &str, error: &io::Error) -> ErrorBody {
    let (service, at) = (&front.service, front.address);
    let subject = format!("port `{port}` of service `{service}` cannot be published");
    let (code, class, message, hint) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            "PortInUse",
            Class::Conflict,
            format!("{subject}: {at} is already in use{}", by(front)),
            Some(format!(
                "stop what listens there, or publish another port than {}",
                at.port()
            )),
        ),
        io::ErrorKind::PermissionDenied => (
            "PortDenied",
            Class::Denied,
            format!("{subject}: {at} needs a privilege that this user lacks"),
            Some("publish a port above 1023".into()),
        ),
        _ => (
            "PortUnusable",
            Class::Invalid,
            format!("{subject} at {at}: {error}"),
            None,
        ),
    };
    ErrorBody {
        code: code.into(),
        class,
        message,
        hint,
    }
}

fn by(front: &Front) -> String {
    holder::of(front.protocol, front.address)
        .map(|holder| format!(" by {holder}"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
