//! Connections from a service's address, and from the ports published on the host, to its ready replicas.
//!
//! First form: a proxy in this process, one task per connection. The rest of the supervisor only says which routes there
//! are; another form can stand beside this one behind the same three calls.

mod listener;
mod tcp;
mod who;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

use crate::machine::Route;
use crate::protocol::{Class, ErrorBody};
use crate::spec::ServiceSpec;
use listener::Listening;
use tcp::Backends;

/// Every listening socket of the app.
#[derive(Default)]
pub struct Balance {
    routes: Vec<Route>,
    services: HashMap<String, Backends>,
    listening: BTreeMap<Front, Listening>,
    /// Bound by `reserve`, not yet in a route.
    reserved: BTreeMap<Front, TcpListener>,
}

/// Which port of which service a socket stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Front {
    service: String,
    port: String,
    side: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    App,
    Host,
}

impl Balance {
    /// Binds the host's ports that a service is about to publish, so that a port taken is found before anything is changed.
    /// Answers the numbers by port name.
    ///
    /// `known`: the numbers it has now, kept where a spec leaves the choice to the kernel.
    pub fn reserve(
        &mut self,
        spec: &ServiceSpec,
        known: &BTreeMap<String, u16>,
    ) -> Result<BTreeMap<String, u16>, ErrorBody> {
        let mut numbers = BTreeMap::new();
        for port in &spec.ports {
            let Some(publish) = port.publish else { continue };
            let front = Front {
                service: spec.name.clone(),
                port: port.name.clone(),
                side: Side::Host,
            };
            let wanted = match publish.port {
                0 => known.get(&port.name).copied().unwrap_or(0),
                number => number,
            };
            let number = self.reserve_one(front, SocketAddrV4::new(publish.address, wanted))?;
            numbers.insert(port.name.clone(), number);
        }
        Ok(numbers)
    }

    fn reserve_one(&mut self, front: Front, wanted: SocketAddrV4) -> Result<u16, ErrorBody> {
        let held = self.listening.get(&front).map(|l| l.address);
        if let Some(held) = held
            && held.ip() == wanted.ip()
            && (wanted.port() == 0 || wanted.port() == held.port())
        {
            return Ok(held.port());
        }
        let listener = TcpListener::bind(wanted).map_err(|error| port_error(&front, wanted, &error))?;
        let number = listener
            .local_addr()
            .map_err(|error| port_error(&front, wanted, &error))?
            .port();
        self.reserved.insert(front, listener);
        Ok(number)
    }

    /// Gives up what `reserve` bound and no route has taken.
    pub fn release_reserved(&mut self) {
        self.reserved.clear();
    }

    /// Makes the sockets and their targets as these routes say. New connections follow at once, open ones are left alone.
    pub fn set_routes(&mut self, routes: Vec<Route>) -> Vec<(String, io::Error)> {
        if routes == self.routes && self.reserved.is_empty() {
            return vec![];
        }
        let wanted = fronts(&routes);
        self.listening
            .retain(|front, listening| wanted.get(front).is_some_and(|a| *a == listening.address));
        self.services
            .retain(|name, _| routes.iter().any(|r| r.service == *name));
        for route in &routes {
            self.services
                .entry(route.service.clone())
                .or_default()
                .set(&route.backends);
        }
        let mut failures = vec![];
        for (front, address) in wanted {
            if !self.listening.contains_key(&front)
                && let Err(error) = self.listen(&front, address, &routes)
            {
                failures.push((
                    format!("{} of service `{}` at {address}", front.port, front.service),
                    error,
                ));
            }
        }
        self.reserved.clear();
        // Routes that could not be set up are tried again by the next step.
        self.routes = if failures.is_empty() { routes } else { vec![] };
        failures
    }

    fn listen(&mut self, front: &Front, address: SocketAddrV4, routes: &[Route]) -> io::Result<()> {
        let socket = match self.reserved.remove(front) {
            Some(socket) => socket,
            None => TcpListener::bind(address)?,
        };
        let target = target_port(routes, front);
        let backends = self.services[&front.service].clone();
        self.listening
            .insert(front.clone(), Listening::start(socket, address, backends, target)?);
        Ok(())
    }
}

fn fronts(routes: &[Route]) -> BTreeMap<Front, SocketAddrV4> {
    let mut fronts = BTreeMap::new();
    for route in routes {
        for port in &route.ports {
            let front = |side| Front {
                service: route.service.clone(),
                port: port.name.clone(),
                side,
            };
            fronts.insert(front(Side::App), SocketAddrV4::new(route.address, port.port));
            if let Some(publish) = port.publish {
                fronts.insert(front(Side::Host), SocketAddrV4::new(publish.address, publish.port));
            }
        }
    }
    fronts
}

fn target_port(routes: &[Route], front: &Front) -> u16 {
    let ports = routes
        .iter()
        .filter(|r| r.service == front.service)
        .flat_map(|r| &r.ports);
    ports
        .filter(|p| p.name == front.port)
        .map(|p| p.port)
        .next()
        .expect("a front is made from a route")
}

fn port_error(front: &Front, wanted: SocketAddrV4, error: &io::Error) -> ErrorBody {
    let subject = format!("port `{}` of service `{}`", front.port, front.service);
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let by = who::listens(wanted).map(|who| format!(" by {who}")).unwrap_or_default();
            ErrorBody {
                code: "PortInUse".into(),
                class: Class::Conflict,
                message: format!("{subject} cannot be published: {wanted} is already in use{by}"),
                hint: Some(format!(
                    "stop what listens there, or publish another port than {}",
                    wanted.port()
                )),
            }
        }
        io::ErrorKind::PermissionDenied => {
            let message = format!("{subject} cannot be published: {wanted} needs a privilege that this user lacks");
            ErrorBody {
                code: "PortDenied".into(),
                class: Class::Denied,
                message,
                hint: Some("publish a port above 1023".into()),
            }
        }
        _ => {
            let message = format!("{subject} cannot be published at {wanted}: {error}");
            ErrorBody {
                code: "PortUnusable".into(),
                class: Class::Invalid,
                message,
                hint: None,
            }
        }
    }
}

/// A replica's address as a target.
type Target = (u64, Ipv4Addr);
