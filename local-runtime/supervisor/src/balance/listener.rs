//! One listening socket and the task that accepts on it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::backends::Backends;
use super::tcp::serve;

/// Accepts until dropped; connections already open live on.
pub struct Listening {
    target_port: Arc<AtomicU16>,
    task: JoinHandle<()>,
}

impl Listening {
    pub fn start(
        socket: std::net::TcpListener,
        backends: Backends,
        target_port: u16,
        connections: Arc<Semaphore>,
    ) -> io::Result<Listening> {
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket)?;
        let target_port = Arc::new(AtomicU16::new(target_port));
        let task = tokio::spawn(accept(listener, backends, target_port.clone(), connections));
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

/// Holds at most one connection that there is no permit for: the others of a flood wait in the kernel's queue, and leave
/// descriptors to everything else.
async fn accept(listener: TcpListener, backends: Backends, target_port: Arc<AtomicU16>, connections: Arc<Semaphore>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let permit = connections.clone().acquire_owned().await;
                let permit = permit.expect("nobody closes the semaphore");
                let (backends, port) = (backends.clone(), target_port.load(Ordering::Relaxed));
                tokio::spawn(async move {
                    serve(client, backends, port).await;
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
