//! Where listening sockets come from: the app's bridge, the host, or a helper outside of our network namespace.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, sockopt};
use serde::{Deserialize, Serialize};

use crate::descriptors;
use crate::spec::Protocol;

/// Connections that wait to be accepted, per socket; the kernel caps it by net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Who makes the sockets for published ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostSockets {
    /// This process is in the host's network namespace.
    Own,
    /// It is in another one: a process that listens on this Unix socket makes them on request. See [`SocketRequest`].
    Helper(PathBuf),
}

/// One line of JSON to the helper. It answers with one [`SocketAnswer`], a line too; with `Ok` comes the socket, bound
/// and (TCP) listening, as SCM_RIGHTS. One request a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketRequest {
    pub protocol: Protocol,
    pub address: SocketAddrV4,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SocketAnswer {
    Ok,
    /// The errno of bind(2).
    Error(i32),
}

impl HostSockets {
    /// A socket that takes what comes to an address of the host.
    pub fn listen(&self, request: SocketRequest) -> io::Result<OwnedFd> {
        match self {
            HostSockets::Own => listen_here(request),
            HostSockets::Helper(path) => ask(path, &request),
        }
    }
}

/// Also what a helper does for a [`SocketRequest`].
pub fn listen_here(request: SocketRequest) -> io::Result<OwnedFd> {
    listen(request, None)
}

/// A socket at a service's address that takes what comes over this link alone: a container of another app, which the
/// kernel would let reach every address of the host, finds nobody here.
pub fn listen_on_link(request: SocketRequest, link: &str) -> io::Result<OwnedFd> {
    listen(request, Some(link))
}

fn listen(request: SocketRequest, link: Option<&str>) -> io::Result<OwnedFd> {
    let kind = match request.protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
    };
    let socket = socket::socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None)?;
    if let Some(link) = link {
        socket::setsockopt(&socket, sockopt::BindToDevice, &link.into())?;
    }
    if request.protocol == Protocol::Tcp {
        // A port whose last connections still wait for late packets is free nevertheless. Of UDP it would let two share it.
        socket::setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    }
    socket::bind(socket.as_raw_fd(), &SockaddrIn::from(request.address))?;
    if request.protocol == Protocol::Tcp {
        socket::listen(&socket, Backlog::new(BACKLOG)?)?;
    }
    Ok(socket)
}

/// Blocks for as long as the helper needs, which has nothing else to do.
fn ask(helper: &Path, request: &SocketRequest) -> io::Result<OwnedFd> {
    let stream = UnixStream::connect(helper)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    descriptors::send(&stream, request, None)?;
    let (answer, descriptor) = descriptors::receive(&stream)?;
    match (answer, descriptor) {
        (SocketAnswer::Ok, Some(socket)) => Ok(socket),
        (SocketAnswer::Error(errno), _) => Err(io::Error::from_raw_os_error(errno)),
        (SocketAnswer::Ok, None) => Err(io::Error::other("the helper sent no socket")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::loopback;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_helper_passes_sockets_and_its_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ports.sock");
        let helper = UnixListener::bind(&path).unwrap();
        let served = std::thread::spawn(move || {
            for _ in 0..2 {
                let (stream, _) = helper.accept().unwrap();
                let (request, _): (SocketRequest, _) = descriptors::receive(&stream).unwrap();
                match listen_here(request) {
                    Ok(socket) => descriptors::send(&stream, &SocketAnswer::Ok, Some(&socket)).unwrap(),
                    Err(error) => {
                        let errno = error.raw_os_error().unwrap();
                        descriptors::send(&stream, &SocketAnswer::Error(errno), None).unwrap();
                    }
                }
            }
        });
        let request = SocketRequest {
            protocol: Protocol::Tcp,
            address: loopback(),
        };
        let sockets = HostSockets::Helper(path);
        let socket: std::net::TcpListener = sockets.listen(request).unwrap().into();
        assert_eq!(socket.local_addr().unwrap(), request.address.into());
        let taken = sockets.listen(request).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        served.join().unwrap();
    }
}
