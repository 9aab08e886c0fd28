//! Links and addresses by rtnetlink(7), synchronously: one request, one acknowledgement.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// A socket in the network namespace of the thread that opened it.
pub struct Netlink {
    socket: Socket,
}

/// A veth pair as it is to be made: one end here on a bridge, the other in a namespace.
pub struct VethPair<'a> {
    pub outside: &'a str,
    pub inside: &'a str,
    pub inside_mac: [u8; 6],
    pub bridge: u32,
    pub namespace: BorrowedFd<'a>,
}

impl Netlink {
    pub fn open() -> io::Result<Netlink> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Netlink { socket })
    }

    /// The index of a link; `None` if there is none of that name.
    pub fn link_index(&mut self, name: &str) -> io::Result<Option<u32>> {
        match nix::net::if_::if_nametoindex(name) {
            Ok(index) => Ok(Some(index)),
            Err(nix::errno::Errno::ENODEV) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    /// The index of the bridge that a link is on; `None` if it is on none, or is not there.
    pub fn bridge_of(&mut self, name: &str) -> io::Result<Option<u32>> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.into()));
        self.send(RouteNetlinkMessage::GetLink(link), NLM_F_REQUEST)?;
        for answer in self.receive()? {
            match answer.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                    let bridge = |attribute: &LinkAttribute| match attribute {
                        LinkAttribute::Controller(index) => Some(*index),
                        _ => None,
                    };
                    return Ok(link.attributes.iter().find_map(bridge));
                }
                NetlinkPayload::Error(error) if error.to_io().raw_os_error() != Some(nix::libc::ENODEV) => {
                    return Err(error.to_io());
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Makes a bridge and brings it up. Errors: EEXIST.
    ///
    /// Without a hardware address of its own it would take the lowest of its ports', another one as ports come and go.
    pub fn add_bridge(&mut self, name: &str, mac: [u8; 6]) -> io::Result<()> {
        let mut link = up_link(vec![
            LinkAttribute::IfName(name.into()),
            LinkAttribute::Address(mac.into()),
        ]);
        link.attributes
            .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        self.change(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes both ends; the outer one is up and on the bridge.
    pub fn add_veth(&mut self, pair: &VethPair) -> io::Result<()> {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(pair.inside.into()),
            LinkAttribute::Address(pair.inside_mac.into()),
            LinkAttribute::NetNsFd(pair.namespace.as_raw_fd()),
        ];
        let link = up_link(vec![
            LinkAttribute::IfName(pair.outside.into()),
            LinkAttribute::Controller(pair.bridge),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ]);
        self.change(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
    }

    pub fn set_up(&mut self, index: u32) -> io::Result<()> {
        let mut link = up_link(vec![]);
        link.header.index = index;
        self.change(RouteNetlinkMessage::SetLink(link), 0)
    }

    /// Removes a link by name; one that is not there is success.
    pub fn remove_link(&mut self, name: &str) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.into()));
        match self.change(RouteNetlinkMessage::DelLink(link), 0) {
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(()),
            other => other,
        }
    }

    /// An address that is there already is success.
    pub fn add_address(&mut self, index: u32, address: Ipv4Addr, prefix_length: u8) -> io::Result<()> {
        let message = address_message(index, address, prefix_length);
        match self.change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// An address that is gone already is success.
    pub fn remove_address(&mut self, index: u32, address: Ipv4Addr, prefix_length: u8) -> io::Result<()> {
        match self.change(
            RouteNetlinkMessage::DelAddress(address_message(index, address, prefix_length)),
            0,
        ) {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(()),
            other => other,
        }
    }

    /// Everything without a route of its own goes to the gateway; a default route that is there already is success.
    pub fn add_default_route(&mut self, gateway: Ipv4Addr) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewRoute(default_route(gateway));
        match self.change(message, NLM_F_CREATE | NLM_F_EXCL) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// One that is gone already is success.
    pub fn remove_default_route(&mut self, gateway: Ipv4Addr) -> io::Result<()> {
        match self.change(RouteNetlinkMessage::DelRoute(default_route(gateway)), 0) {
            Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(()),
            other => other,
        }
    }

    /// Every IPv4 address of this namespace with its prefix length and link.
    pub fn addresses(&mut self) -> io::Result<Vec<(u32, Ipv4Addr, u8)>> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        let found = self.dump(RouteNetlinkMessage::GetAddress(message))?;
        let parse = |message| match message {
            RouteNetlinkMessage::NewAddress(m) => {
                let (index, prefix) = (m.header.index, m.header.prefix_len);
                let local = |a| {
                    if let AddressAttribute::Local(IpAddr::V4(v4)) = a {
                        Some((index, v4, prefix))
                    } else {
                        None
                    }
                };
                m.attributes.into_iter().find_map(local)
            }
            _ => None,
        };
        Ok(found.into_iter().filter_map(parse).collect())
    }

    fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        loop {
            for answer in self.receive()? {
                if let NetlinkPayload::Error(answer) = answer.payload {
                    return answer
                        .code
                        .map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(-code.get())));
                }
            }
        }
    }

    fn dump(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.send(message, NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut found = vec![];
        loop {
            for answer in self.receive()? {
                match answer.payload {
                    NetlinkPayload::InnerMessage(inner) => found.push(inner),
                    NetlinkPayload::Error(answer) if answer.code.is_some() => return Err(answer.to_io()),
                    _ => return Ok(found),
                }
            }
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.header.length as usize];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    fn receive(&mut self) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
        let (bytes, _) = self.socket.recv_from_full()?;
        let (mut messages, mut at) = (vec![], 0);
        while at < bytes.len() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes[at..])
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            at += (message.header.length as usize).max(16).next_multiple_of(4);
            messages.push(message);
        }
        Ok(messages)
    }
}

fn up_link(attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link.attributes = attributes;
    link
}

fn default_route(gateway: Ipv4Addr) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    route.header.table = RouteHeader::RT_TABLE_MAIN;
    route.header.protocol = RouteProtocol::Static;
    route.header.scope = RouteScope::Universe;
    route.header.kind = RouteType::Unicast;
    route.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(gateway))];
    route
}

fn address_message(index: u32, address: Ipv4Addr, prefix_length: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = prefix_length;
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(address.into()),
        AddressAttribute::Address(address.into()),
    ];
    message
}
