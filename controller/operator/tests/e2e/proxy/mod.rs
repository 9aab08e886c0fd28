//! Between an operator and its API server, on loopback: hands requests on, and gets them wrong in the way that is armed.
//!
//! `faults.rs` is what can go wrong and when it does, `ledger.rs` what was asked and what came of it. Here is how one
//! request is answered. What is behind it is asked as the user whom the proxy was made for.

mod faults;
mod ledger;

use std::future::pending;
use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::StreamExt;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use portolan_cluster::one_a_page;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::sleep;
use tower::BoxError;

pub use faults::{ALL, Armed, Fault};
pub use ledger::{Call, Ledger};

/// What is said in `Retry-After`.
pub const AGAIN: Duration = Duration::from_secs(1);
/// Until a slow answer begins.
const SLOW: Duration = Duration::from_secs(2);
/// How much of a watch comes before it breaks off.
const PART: Duration = Duration::from_millis(700);

type Body = UnsyncBoxBody<Bytes, BoxError>;

pub struct Proxy {
    address: SocketAddr,
    ledger: Arc<Mutex<Ledger>>,
    /// Ends with it.
    _runtime: Runtime,
}

/// What it takes to answer a request.
#[derive(Clone)]
struct Counter {
    server: Client,
    ledger: Arc<Mutex<Ledger>>,
}

/// A request that has come in full.
struct Asked {
    call: Call,
    parts: http::request::Parts,
    body: Vec<u8>,
}

impl Proxy {
    /// In front of the server that the kubeconfig names.
    pub fn start(kubeconfig: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
        let ledger = Arc::<Mutex<Ledger>>::default();
        let address = runtime.block_on(async {
            let file = Kubeconfig::read_from(kubeconfig).unwrap();
            let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
            let mut config = config.unwrap();
            config.default_retry = false;
            let counter = Counter {
                server: Client::try_from(config).unwrap(),
                ledger: ledger.clone(),
            };
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(serve(listener, counter));
            address
        });
        Self {
            address,
            ledger,
            _runtime: runtime,
        }
    }

    /// Of a user who need not log in.
    pub fn kubeconfig(&self, kube_namespace: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{ "name": "proxy", "cluster": { "server": format!("http://{}", self.address) } }],
            "users": [{ "name": "proxy", "user": {} }],
            "contexts": [{
                "name": "proxy", "context": { "cluster": "proxy", "user": "proxy", "namespace": kube_namespace },
            }],
        })
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    /// From now on, and with a ledger that is empty.
    pub fn arm(&self, armed: Armed) {
        *self.ledger() = Ledger::new(armed);
    }
}

async fn serve(listener: TcpListener, counter: Counter) {
    while let Ok((stream, _)) = listener.accept().await {
        let counter = counter.clone();
        let service = service_fn(move |request| counter.clone().answer(request));
        // A connection that is cut off is one that ends so.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

impl Counter {
    /// An error cuts the connection.
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes().to_vec();
        let call = Call::of(&parts.method, &parts.uri);
        let (fault, pages) = {
            let mut ledger = self.ledger.lock().unwrap();
            (ledger.asked(&call, &parts.uri, &body), ledger.has_pages())
        };
        if pages {
            parts.uri = one_a_page(&parts.uri.to_string()).parse()?;
        }
        let asked = Asked { call, parts, body };
        match fault {
            None => self.handed_on(asked).await,
            Some(fault) => self.gone_wrong(fault, asked).await,
        }
    }

    async fn gone_wrong(&self, fault: Fault, asked: Asked) -> Result<Response<Body>, BoxError> {
        let is_watch = asked.call.verb == "watch";
        match fault {
            Fault::Throttled => Ok(refused()),
            Fault::Failed => Ok(status(500, "InternalError", "it was not done")),
            Fault::FailedThoughDone => {
                drop(self.handed_on(asked).await?.into_body().collect().await?);
                Ok(status(500, "InternalError", "nobody knows whether it was done"))
            }
            Fault::Expired if is_watch => Ok(expired_watch()),
            Fault::Expired => Ok(status(410, "Expired", "the provided continue parameter is too old")),
            Fault::CutBefore => Err(cut()),
            Fault::CutAfter => {
                drop(self.handed_on(asked).await?.into_body().collect().await?);
                Err(cut())
            }
            Fault::CutAmid if is_watch => {
                let events = self.handed_on(asked).await?;
                Ok(events.map(|events| coming(events, Box::pin(sleep(PART)), Some(cut()))))
            }
            Fault::CutAmid => self.half(asked, Some(cut())).await,
            Fault::Stale => {
                let uri = asked.parts.uri.to_string();
                let older = self.ledger.lock().unwrap().older(&uri);
                match older {
                    Some(older) => Ok(listed(older)),
                    None => self.handed_on(asked).await,
                }
            }
            Fault::Slow => {
                sleep(SLOW).await;
                self.handed_on(asked).await
            }
            Fault::Stalled if is_watch => {
                let events = self.handed_on(asked).await?;
                Ok(events.map(|events| coming(events, Box::pin(sleep(PART)), None)))
            }
            Fault::Stalled => self.half(asked, None).await,
        }
    }

    /// What the server says, and what it has made or taken away.
    async fn handed_on(&self, asked: Asked) -> Result<Response<Body>, BoxError> {
        let uri = asked.parts.uri.to_string();
        let mut parts = asked.parts;
        // What is about the connection ends with it.
        for name in [
            "host",
            "connection",
            "content-length",
            "transfer-encoding",
            "accept-encoding",
        ] {
            parts.headers.remove(name);
        }
        parts.uri = uri.parse()?;
        let request = Request::from_parts(parts, kube::client::Body::from(asked.body.clone()));
        let answer = self.server.send(request).await?;
        self.ledger
            .lock()
            .unwrap()
            .answered(&asked.call, &uri, &asked.body, answer.status());
        if asked.call.verb != "list" {
            return Ok(answer.map(|body| body.map_err(BoxError::from).boxed_unsync()));
        }
        let (parts, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes().to_vec();
        self.ledger.lock().unwrap().remember(uri, &body);
        Ok(Response::from_parts(parts, whole(body)))
    }

    /// The first half of its body; then this, or nothing more.
    async fn half(&self, asked: Asked, then: Option<BoxError>) -> Result<Response<Body>, BoxError> {
        let (mut parts, body) = self.handed_on(asked).await?.into_parts();
        parts.headers.remove("content-length");
        let mut body = body.collect().await?.to_bytes().to_vec();
        body.truncate(body.len() / 2);
        Ok(Response::from_parts(
            parts,
            coming(whole(body), Box::pin(pending()), then),
        ))
    }
}

type Until = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// A body until that moment, or its end; then this, or nothing more.
fn coming(body: Body, until: Until, then: Option<BoxError>) -> Body {
    let frames = body.into_data_stream().take_until(until);
    let end = futures_util::stream::once(async move {
        match then {
            Some(failure) => Err(failure),
            None => pending().await,
        }
    });
    StreamBody::new(frames.chain(end).map(|part| part.map(Frame::data))).boxed_unsync()
}

fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(BoxError::from).boxed_unsync()
}

fn cut() -> BoxError {
    Error::from(ErrorKind::ConnectionReset).into()
}

/// As fair queuing refuses: a line of text, and when to come again in a header.
fn refused() -> Response<Body> {
    let answer = Response::builder().status(StatusCode::TOO_MANY_REQUESTS);
    let answer = answer
        .header("Retry-After", AGAIN.as_secs())
        .header("Content-Type", "text/plain");
    answer
        .body(whole("Too many requests, please try again later."))
        .unwrap()
}

fn status(code: u16, reason: &str, message: &str) -> Response<Body> {
    let answer = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
    });
    Response::builder()
        .status(code)
        .header("Content-Type", "application/json")
        .body(whole(answer.to_string()))
        .unwrap()
}

fn expired_watch() -> Response<Body> {
    let event = json!({ "type": "ERROR", "object": {
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired",
        "message": "too old resource version",
    } });
    listed(format!("{event}\n").into_bytes())
}

fn listed(body: Vec<u8>) -> Response<Body> {
    let answer = Response::builder().header("Content-Type", "application/json");
    answer.body(whole(body)).unwrap()
}
