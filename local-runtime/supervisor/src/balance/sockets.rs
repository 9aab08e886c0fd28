//! Where listening sockets come from: the app's bridge, the host, or a helper outside of our network namespace.

use std::io;
use std::net::{SocketAddrV4, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, sockopt};
use serde::{Deserialize, Serialize};

use crate::descriptors;

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
/// and listening, as SCM_RIGHTS. One request a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketRequest {
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
    /// A socket that listens at an address of the host.
    pub fn listen(&self, address: SocketAddrV4) -> io::Result<TcpListener> {
        match self {
            HostSockets::Own => listen_here(address),
            HostSockets::Helper(path) => ask(path, &SocketRequest { address }),
        }
    }
}

/// Also what a helper does for a [`SocketRequest`].
pub fn listen_here(address: SocketAddrV4) -> io::Result<TcpListener> {
    listen(address, None)
}

/// A socket at a service's address that takes what comes over this link alone: a container of another app, which the
/// kernel would let reach every address of the host, finds nobody here.
pub fn listen_on_link(address: SocketAddrV4, link: &str) -> io::Result<TcpListener> {
    listen(address, Some(link))
}

fn listen(address: SocketAddrV4, link: Option<&str>) -> io::Result<TcpListener> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    // A port whose last connections still wait for late packets is free nevertheless.
    socket::setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if let Some(link) = link {
        socket::setsockopt(&socket, sockopt::BindToDevice, &link.into())?;
    }
    socket::bind(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    socket::listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(socket.into())
}

/// Blocks for as long as the helper needs, which has nothing else to do.
fn ask(helper: &Path, request: &SocketRequest) -> io::Result<TcpListener> {
    let stream = UnixStream::connect(helper)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    descriptors::send(&stream, request, None)?;
    let (answer, descriptor) = descriptors::receive(&stream)?;
    match (answer, descriptor) {
        (SocketAnswer::Ok, Some(socket)) => Ok(socket.into()),
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
                match listen_here(request.address) {
                    Ok(socket) => descriptors::send(&stream, &SocketAnswer::Ok, Some(&socket.into())).unwrap(),
                    Err(error) => {
                        let errno = error.raw_os_error().unwrap();
                        descriptors::send(&stream, &SocketAnswer::Error(errno), None).unwrap();
                    }
                }
            }
        });
        let (sockets, address) = (HostSockets::Helper(path), loopback());
        let socket = sockets.listen(address).unwrap();
        assert_eq!(socket.local_addr().unwrap(), address.into());
        let taken = sockets.listen(address).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        served.join().unwrap();
    }
}
