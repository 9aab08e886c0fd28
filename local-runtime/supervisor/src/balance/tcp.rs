//! The targets of one service, and one connection to one of them.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Target;

/// A replica on this machine accepts at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Per direction of a connection.
const BUFFER_BYTES: usize = 8 << 10;

/// The ready replicas of a service with their open connections.
#[derive(Clone, Default)]
pub struct Backends(Arc<Mutex<BTreeMap<u64, Backend>>>);

struct Backend {
    address: Ipv4Addr,
    open: usize,
    /// Connections given to it so far: breaks ties, so that equals take turns.
    given: u64,
}

impl Backends {
    pub fn set(&self, wanted: &BTreeMap<u64, Ipv4Addr>) {
        let mut backends = self.lock();
        backends.retain(|id, _| wanted.contains_key(id));
        let turn = backends.values().map(|b| b.given).min().unwrap_or(0);
        for (id, address) in wanted {
            backends.entry(*id).or_insert(Backend {
                address: *address,
                open: 0,
                given: turn,
            });
        }
    }

    /// The one with the fewest open connections that has not been tried.
    fn take(&self, tried: &[u64]) -> Option<Target> {
        let mut backends = self.lock();
        let untried = backends.iter_mut().filter(|(id, _)| !tried.contains(id));
        let (id, backend) = untried.min_by_key(|(_, b)| (b.open, b.given))?;
        backend.open += 1;
        backend.given += 1;
        Some((*id, backend.address))
    }

    fn give_back(&self, id: u64) {
        if let Some(backend) = self.lock().get_mut(&id) {
            backend.open = backend.open.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Backend>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries one connection to its end. Without a ready replica it is closed at once.
pub async fn serve(mut client: TcpStream, backends: Backends, port: u16) {
    let Some((id, mut server)) = connect(&backends, port).await else {
        return;
    };
    // Half-closed connections go on in the other direction; an error of one side ends both.
    let carried = carry(&mut client, &mut server).await;
    if let Err(error) = carried {
        tracing::trace!(%error, replica = id, "a connection broke");
    }
    backends.give_back(id);
}

async fn connect(backends: &Backends, port: u16) -> Option<(u64, TcpStream)> {
    let mut tried = vec![];
    while let Some((id, address)) = backends.take(&tried) {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect((address, port))).await {
            Ok(Ok(stream)) => return Some((id, stream)),
            _ => {
                backends.give_back(id);
                tried.push(id);
            }
        }
    }
    None
}

async fn carry(client: &mut TcpStream, server: &mut TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional_with_sizes(client, server, BUFFER_BYTES, BUFFER_BYTES)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_turns_and_avoid_the_busy() {
        let backends = Backends::default();
        let a = |n| Ipv4Addr::new(10, 0, 0, n);
        backends.set(&BTreeMap::from([(1, a(1)), (2, a(2))]));
        let first = backends.take(&[]).unwrap().0;
        let second = backends.take(&[]).unwrap().0;
        assert_ne!(first, second, "equals take turns");
        backends.give_back(second);
        assert_eq!(
            backends.take(&[]).unwrap().0,
            second,
            "the one with fewer open connections"
        );
        assert_eq!(backends.take(&[1, 2]), None, "each is tried once");
        backends.set(&BTreeMap::from([(3, a(3))]));
        assert_eq!(backends.take(&[]).unwrap().0, 3, "those that are gone get nothing new");
    }
}
