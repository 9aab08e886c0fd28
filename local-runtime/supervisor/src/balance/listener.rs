//! One listening socket and the task that accepts on it.

use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::tcp::{Backends, serve};

/// Accepts until dropped; connections already open live on.
pub struct Listening {
    pub address: SocketAddrV4,
    task: JoinHandle<()>,
}

impl Listening {
    pub fn start(
        socket: std::net::TcpListener,
        address: SocketAddrV4,
        backends: Backends,
        target_port: u16,
    ) -> io::Result<Listening> {
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket)?;
        let task = tokio::spawn(accept(listener, backends, target_port));
        Ok(Listening { address, task })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, backends: Backends, target_port: u16) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => drop(tokio::spawn(serve(client, backends.clone(), target_port))),
            Err(error) => {
                // Out of descriptors, for instance: connections wait in the kernel until some are free.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
