//! One listening socket and the task that takes what comes to it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::backends::Backends;
use super::{tcp, udp};
use crate::spec::Protocol;

/// Accepts until dropped; connections already open live on.
pub struct Listening {
    target_port: Arc<AtomicU16>,
    task: JoinHandle<()>,
}

impl Listening {
    /// The socket is bound, and if it is one of TCP, it listens.
    pub fn start(
        socket: OwnedFd,
        protocol: Protocol,
        backends: Backends,
        port: u16,
        permits: Arc<Semaphore>,
    ) -> io::Result<Listening> {
        let target_port = Arc::new(AtomicU16::new(port));
        let task = match protocol {
            Protocol::Tcp => {
                let listener = TcpListener::from_std(nonblocking(socket)?.into())?;
                tokio::spawn(accept(listener, backends, target_port.clone(), permits))
            }
            Protocol::Udp => tokio::spawn(udp::carry(udp::Front {
                socket: UdpSocket::from_std(nonblocking(socket)?.into())?,
                backends,
                target_port: target_port.clone(),
                permits,
            })),
        };
        Ok(Listening { target_port, task })
    }

    /// New connections go to this port of a replica.
    pub fn aim(&self, target_port: u16) {
        self.target_port.store(target_port, Ordering::Relaxed);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn nonblocking(socket: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// Holds at most one connection that there is no permit for: the others of a flood wait in the kernel's queue, and leave
/// descriptors to everything else.
async fn accept(listener: TcpListener, backends: Backends, target_port: Arc<AtomicU16>, permits: Arc<Semaphore>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                _ = client.set_nodelay(true);
                let permit = permits.clone().acquire_owned().await;
                let permit = permit.expect("nobody closes the semaphore");
                let (backends, port) = (backends.clone(), target_port.load(Ordering::Relaxed));
                tokio::spawn(async move {
                    tcp::serve(client, backends, port).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors all the same: connections wait in the kernel until some are free.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
