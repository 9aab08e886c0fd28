//! Datagrams of one UDP socket, carried to replicas: those of one client address to one replica, for as long as it asks.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::backends::{Backends, Opened};

/// A client that has sent and got nothing for so long is forgotten.
const IDLE: Duration = Duration::from_secs(60);
/// Of one socket; beyond that, new clients are not answered until others are forgotten.
const MOST_FLOWS: usize = 1024;
/// No datagram of IPv4 is longer.
const LONGEST: usize = 64 << 10;

/// What the datagrams of one front are carried with.
pub struct Front {
    pub socket: UdpSocket,
    pub backends: Backends,
    pub target_port: Arc<AtomicU16>,
    pub permits: Arc<Semaphore>,
}

type Flows = Arc<Mutex<HashMap<SocketAddr, Flow>>>;

/// One client's replica, until it is idle or the replica leaves the routes.
struct Flow {
    replica: u64,
    socket: Arc<UdpSocket>,
    last: Arc<Mutex<Instant>>,
    answers: JoinHandle<()>,
    _opened: Opened,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

/// Never returns.
pub async fn carry(front: Front) {
    let (front, flows) = (Arc::new(front), Flows::default());
    let mut routes = front.backends.changes();
    let mut datagram = vec![0; LONGEST];
    loop {
        tokio::select! {
            received = front.socket.recv_from(&mut datagram) => match received {
                Ok((length, client)) => pass(&front, &flows, client, &datagram[..length]).await,
                // An answer that a client did not want is told as an error of the next call.
                Err(error) => tracing::trace!(%error, "a datagram was not received"),
            },
            // What replicas got that are gone now goes to others at once: nothing ends by itself here.
            _ = routes.changed() => lock(&flows).retain(|_, flow| front.backends.has(flow.replica)),
        }
    }
}

/// One that cannot be passed on is lost, as datagrams may be.
async fn pass(front: &Arc<Front>, flows: &Flows, client: SocketAddr, datagram: &[u8]) {
    let known = lock(flows).get(&client).map(|flow| {
        *lock(&flow.last) = Instant::now();
        flow.socket.clone()
    });
    let socket = match known {
        Some(socket) => Ok(socket),
        None => begin(front, flows, client).await,
    };
    let sent = match socket {
        Ok(socket) => socket.send(datagram).await,
        Err(error) => Err(error),
    };
    if let Err(error) = sent {
        tracing::trace!(%error, %client, "a datagram is lost");
        lock(flows).remove(&client);
    }
}

async fn begin(front: &Arc<Front>, flows: &Flows, client: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    if lock(flows).len() >= MOST_FLOWS {
        return Err(io::Error::other("too many clients"));
    }
    let permit = front.permits.clone().try_acquire_owned().map_err(io::Error::other)?;
    let chosen = front.backends.take(&[]);
    let ((replica, address), opened) = chosen.ok_or_else(|| io::Error::other("no replica is ready"))?;
    let socket = Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?);
    socket
        .connect((address, front.target_port.load(Ordering::Relaxed)))
        .await?;
    let last = Arc::new(Mutex::new(Instant::now()));
    let answers = answer(front.clone(), flows.clone(), client, socket.clone(), last.clone());
    let flow = Flow {
        replica,
        socket: socket.clone(),
        last,
        answers: tokio::spawn(answers),
        _opened: opened,
        _permit: permit,
    };
    lock(flows).insert(client, flow);
    Ok(socket)
}

/// Carries a replica's datagrams back until the flow is idle or broken.
async fn answer(
    front: Arc<Front>,
    flows: Flows,
    client: SocketAddr,
    socket: Arc<UdpSocket>,
    last: Arc<Mutex<Instant>>,
) {
    loop {
        let end = *lock(&last) + IDLE;
        match timeout_at(end, socket.readable()).await {
            Ok(Ok(())) if pass_back(&front, client, &socket).await.is_ok() => *lock(&last) = Instant::now(),
            // Asked meanwhile.
            Err(_) if *lock(&last) + IDLE > end => {}
            _ => break,
        }
    }
    lock(&flows).remove(&client);
}

/// The room for a datagram is there only while there is one: a flow that waits is small.
async fn pass_back(front: &Front, client: SocketAddr, socket: &UdpSocket) -> io::Result<()> {
    let mut datagram = Vec::with_capacity(LONGEST);
    match socket.try_recv_buf(&mut datagram) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        received => received?,
    };
    front.socket.send_to(&datagram, client).await.map(drop)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
