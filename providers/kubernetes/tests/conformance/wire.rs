//! What goes over the wire between a client and the API server, and answers that are lost on the way.
//!
//! Every object comes as a page of its own, so that all that is read is read over pages.

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use portolan_cluster::one_a_page;
use serde_json::Value;
use tokio::sync::watch;
use tower::BoxError;

/// Between every client that it was put into and the server.
#[derive(Clone, Default)]
pub struct Wire {
    heard: Arc<Mutex<Heard>>,
    /// Dropped and made anew where all watches are to end.
    watches: Arc<Mutex<watch::Sender<()>>>,
}

/// An answer as it comes, and a watch's until it is cut off.
struct Coming {
    body: Body,
    cut: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl http_body::Body for Coming {
    type Data = <Body as http_body::Body>::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, BoxError>>> {
        let cut = self.cut.as_mut().map(|cut| cut.as_mut().poll(context));
        if cut.is_some_and(|cut| cut.is_ready()) {
            self.cut = None;
            return Poll::Ready(Some(Err(Error::from(ErrorKind::ConnectionReset).into())));
        }
        Pin::new(&mut self.body).poll_frame(context).map_err(Into::into)
    }
}

#[derive(Default)]
struct Heard {
    requests: Vec<String>,
    next: Option<Loss>,
}

/// What shall not come back.
#[derive(Clone, Debug)]
pub enum Loss {
    Look,
    /// Of the object of that name.
    Write(String),
    /// A list has expired when its next page is asked for.
    Page,
}

impl Wire {
    pub fn requests(&self) -> Vec<String> {
        self.heard.lock().unwrap().requests.clone()
    }

    pub fn lose_next(&self, loss: Loss) {
        self.heard.lock().unwrap().next = Some(loss);
    }

    /// Ends all watches, and waits until whoever watched has seen it.
    pub async fn cut(&self) {
        let open = std::mem::take(&mut *self.watches.lock().unwrap());
        open.send_replace(());
        open.closed().await;
    }

    fn end_of_watches(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut end = self.watches.lock().unwrap().subscribe();
        Box::pin(async move { drop(end.changed().await) })
    }

    /// Writes it down, and tells what becomes of its answer.
    fn hear(&self, method: &Method, uri: &str, body: &[u8]) -> Option<Loss> {
        let mut heard = self.heard.lock().unwrap();
        heard
            .requests
            .push(format!("{method} {uri} {}", String::from_utf8_lossy(body)));
        let is_list = method == Method::GET && uri.contains("labelSelector=");
        let is_lost = match heard.next.as_ref()? {
            Loss::Look => is_list,
            Loss::Page => is_list && uri.contains("continue="),
            Loss::Write(name) => method != Method::GET && is_about(uri, body, name),
        };
        match is_lost {
            true => heard.next.take(),
            false => None,
        }
    }
}

fn is_about(uri: &str, body: &[u8], name: &str) -> bool {
    let path = uri.split('?').next().unwrap_or_default();
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    path.ends_with(&format!("/{name}")) || body["metadata"]["name"] == name
}

/// A client of its own, whose requests another one sends.
pub fn tapped(client: Client, wire: &Wire) -> Client {
    let kube_namespace = client.default_namespace().to_string();
    let wire = wire.clone();
    let service = tower::service_fn(move |request| sent(client.clone(), wire.clone(), request));
    Client::new(service, kube_namespace)
}

async fn sent(client: Client, wire: Wire, request: Request<Body>) -> Result<Response<Coming>, BoxError> {
    let (mut parts, body) = request.into_parts();
    parts.uri = one_a_page(&parts.uri.to_string()).parse()?;
    let body = body.collect_bytes().await?;
    let is_watch = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
    let loss = wire.hear(&parts.method, &parts.uri.to_string(), &body);
    if let Some(Loss::Page) = loss {
        return Ok(expired());
    }
    let answer = client.send(Request::from_parts(parts, Body::from(body))).await?;
    match loss {
        Some(_) => Err(Error::from(ErrorKind::ConnectionReset).into()),
        None => Ok(answer.map(|body| Coming {
            body,
            cut: is_watch.then(|| wire.end_of_watches()),
        })),
    }
}

fn expired() -> Response<Coming> {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired",
        "message": "The provided continue parameter is too old",
    });
    let body = Coming {
        body: status.to_string().into_bytes().into(),
        cut: None,
    };
    let answer = Response::builder().status(410);
    answer.body(body).expect("it is well formed")
}
