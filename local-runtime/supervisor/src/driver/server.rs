//! The socket: who may connect, and how many are connected.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::commands::Command;
use super::containers::Containers;
use super::{DriverError, Settings, connection};
use crate::logs::Written;
use crate::peer;
use crate::protocol::socket_path;
use crate::storage;

/// Accepts until dropped.
pub(super) struct Server {
    task: JoinHandle<()>,
    presence: watch::Receiver<Presence>,
    path: std::path::PathBuf,
}

#[derive(Clone, Copy, Debug, Default)]
struct Presence {
    connected: usize,
    ever: bool,
}

/// What each connection is served with.
#[derive(Clone)]
pub(super) struct Shared {
    pub settings: Arc<Settings>,
    pub commands: mpsc::Sender<Command>,
    pub log_written: Written,
    pub containers: Containers,
}

impl Server {
    pub fn start(
        settings: &Settings,
        log_written: Written,
        containers: Containers,
    ) -> Result<(Server, mpsc::Receiver<Command>), DriverError> {
        let path = socket_path(&settings.paths.run);
        // The lock is ours, so a socket that lies there belongs to nobody.
        storage::remove_file(&path)?;
        let listener = peer::listen(&path).map_err(|source| DriverError::Listen {
            path: path.clone(),
            source,
        })?;
        let (commands, incoming) = mpsc::channel(16);
        let shared = Shared {
            settings: Arc::new(settings.clone()),
            commands,
            log_written,
            containers,
        };
        let (present, presence) = watch::channel(Presence::default());
        let task = tokio::spawn(accept(listener, shared, present));
        Ok((Server { task, presence, path }, incoming))
    }

    /// Returns once nobody has been connected for a while: for `last` after the last one, for `first` if none ever came.
    pub async fn idle(&self, first: Duration, last: Duration) {
        let mut presence = self.presence.clone();
        loop {
            let Presence { connected, ever } = *presence.borrow_and_update();
            let patience = if ever { last } else { first };
            tokio::select! {
                changed = presence.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(patience), if connected == 0 => return,
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        let _ = fs::remove_file(&self.path);
    }
}

async fn accept(listener: UnixListener, shared: Shared, present: watch::Sender<Presence>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if peer::may_speak(&stream) => {
                present.send_modify(|p| (p.connected, p.ever) = (p.connected + 1, true));
                let (shared, present) = (shared.clone(), present.clone());
                tokio::spawn(async move {
                    if let Err(error) = connection::serve(stream, shared).await {
                        tracing::debug!(%error, "a client's connection broke");
                    }
                    present.send_modify(|p| p.connected -= 1);
                });
            }
            Ok(_) => tracing::warn!("a connection of another user is refused"),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
