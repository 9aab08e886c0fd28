//! Connections from app to app: by TCP from a container to its own keeper, by a Unix socket from there to the keeper of the
//! app that serves, which treats them as it does those of its own network.
//!
//! Unlike others, these connections end with what they came by: who may no longer use a service loses it at once.

use std::fs;
use std::io;
use std::net::TcpListener as StdListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use super::backends::Backends;
use super::tcp;
use crate::peer;
use crate::sharing::Share;

/// A socket for another app. It is there until dropped.
pub struct Shared {
    socket: PathBuf,
    task: JoinHandle<()>,
}

impl Shared {
    pub fn start(share: &Share, backends: Backends, permits: Arc<Semaphore>) -> io::Result<Shared> {
        // One that lies there was left by a keeper that was killed.
        remove(&share.socket)?;
        let listener = peer::listen(&share.socket)?;
        Ok(Shared {
            socket: share.socket.clone(),
            task: tokio::spawn(lend(listener, backends, share.port, permits)),
        })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
        if let Err(error) = remove(&self.socket) {
            tracing::warn!(%error, "the socket for another app stays, and answers nobody");
        }
    }
}

/// A listening socket at an address of our own network, for a service of another app. Until dropped.
pub struct Used(JoinHandle<()>);

impl Used {
    pub fn start(socket: OwnedFd, leads_to: PathBuf, permits: Arc<Semaphore>) -> io::Result<Used> {
        let listener = StdListener::from(socket);
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        Ok(Used(tokio::spawn(borrow(listener, leads_to, permits))))
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn lend(listener: UnixListener, backends: Backends, port: u16, permits: Arc<Semaphore>) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = open.join_next() => continue,
        };
        let Ok((client, _)) = accepted else {
            tokio::time::sleep(TRY_AGAIN).await;
            continue;
        };
        if !peer::may_speak(&client) {
            continue;
        }
        let (backends, permit) = (backends.clone(), permits.clone().acquire_owned().await);
        open.spawn(async move {
            tcp::serve(client, backends, port).await;
            drop(permit);
        });
    }
}

async fn borrow(listener: TcpListener, leads_to: PathBuf, permits: Arc<Semaphore>) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = open.join_next() => continue,
        };
        let Ok((client, _)) = accepted else {
            tokio::time::sleep(TRY_AGAIN).await;
            continue;
        };
        let (leads_to, permit) = (leads_to.clone(), permits.clone().acquire_owned().await);
        open.spawn(async move {
            pass_on(client, &leads_to).await;
            drop(permit);
        });
    }
}

/// When descriptors are short, connections wait in the kernel.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// Without the other app, or without its permission, the connection is closed at once.
async fn pass_on(mut client: TcpStream, leads_to: &Path) {
    let Ok(mut server) = UnixStream::connect(leads_to).await else {
        return;
    };
    _ = client.set_nodelay(true);
    if let Err(error) = tcp::carry(&mut client, &mut server).await {
        tracing::trace!(%error, "a connection to another app broke");
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
