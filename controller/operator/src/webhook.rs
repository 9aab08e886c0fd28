//! The admission webhook: says no to an App or Target with a fault before it is stored, in the words of the command line.
//!
//! It is a courtesy. Where it is not there, or does not answer, the same is told in the object's status, so that nobody has to be
//! kept from writing. It asks nobody anything and writes nothing, which is why every replica answers, whoever holds the Lease.

mod certificate;
mod review;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use certificate::Certificates;

/// The object, what it was before, and what an API server says around them: etcd takes 1.5 MiB of each.
const LARGEST: usize = 8 * 1024 * 1024;
/// An API server gives up after ten seconds if not told otherwise.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections at one time: an API server needs few, and what they hold is bounded by this.
const MOST_CONNECTIONS: usize = 64;
/// Between two looks at the certificate's files.
const LOOK: Duration = Duration::from_secs(5);

/// Where it listens, once it does.
pub struct Webhook {
    listener: TcpListener,
    certificates: Certificates,
}

impl Webhook {
    /// With `tls.crt` and `tls.key` of a folder, as a Secret of type `kubernetes.io/tls` is mounted.
    ///
    /// # Errors
    /// The address cannot be listened at, or the files are no certificate with its key.
    pub async fn bind(address: SocketAddr, folder: PathBuf) -> std::io::Result<Self> {
        Ok(Self {
            certificates: Certificates::read(folder)?,
            listener: TcpListener::bind(address).await?,
        })
    }

    /// With the port that was chosen where none was given.
    ///
    /// # Errors
    /// The system does not tell it.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` is true. A certificate that has changed is shown from the next connection on.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let Self {
            listener,
            mut certificates,
        } = self;
        let free = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let next = || async { (free.clone().acquire_owned().await, listener.accept().await) };
        let stopped = async move {
            _ = stop.wait_for(|stop| *stop).await;
        };
        tokio::pin!(stopped);
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = looks.tick() => certificates.look(),
                (place, accepted) = next() => match accepted {
                    Ok((stream, _)) => {
                        let acceptor = certificates.acceptor();
                        tokio::spawn(async move {
                            answer(stream, acceptor).await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        warn!(%error, "a connection to the webhook could not be taken");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                () = &mut stopped => return,
            }
        }
    }
}

/// One connection, with as many requests as the API server sends over it.
async fn answer(stream: TcpStream, acceptor: TlsAcceptor) {
    let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(stream)).await else {
        debug!("a connection to the webhook ended before it was secured");
        return;
    };
    let service = TowerToHyperService::new(router());
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        debug!(%error, "a connection to the webhook broke off");
    }
}

fn router() -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/validate", post(validate))
        .layer(DefaultBodyLimit::max(LARGEST))
}

async fn validate(Json(asked): Json<Value>) -> Json<Value> {
    Json(review::answer(&asked))
}
