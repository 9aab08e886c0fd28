//! What goes over the wire between a client and the API server, and answers that are lost on the way.
//!
//! Every object comes as a page of its own, so that all that is read is read over pages.

use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, Uri};
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tower::BoxError;

/// Between every client that it was put into and the server.
#[derive(Clone, Default)]
pub struct Wire(Arc<Mutex<Heard>>);

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
        self.0.lock().unwrap().requests.clone()
    }

    pub fn lose_next(&self, loss: Loss) {
        self.0.lock().unwrap().next = Some(loss);
    }

    /// Writes it down, and tells what becomes of its answer.
    fn hear(&self, method: &Method, uri: &str, body: &[u8]) -> Option<Loss> {
        let mut heard = self.0.lock().unwrap();
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

async fn sent(client: Client, wire: Wire, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let (mut parts, body) = request.into_parts();
    parts.uri = one_a_page(&parts.uri)?;
    let body = body.collect_bytes().await?;
    let loss = wire.hear(&parts.method, &parts.uri.to_string(), &body);
    if let Some(Loss::Page) = loss {
        return Ok(expired());
    }
    let answer = client.send(Request::from_parts(parts, Body::from(body))).await?;
    match loss {
        Some(_) => Err(Error::from(ErrorKind::ConnectionReset).into()),
        None => Ok(answer),
    }
}

fn one_a_page(uri: &Uri) -> Result<Uri, BoxError> {
    let uri = uri.to_string();
    match uri.split_once("limit=") {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
            Ok(format!("{before}limit=1{rest}").parse()?)
        }
        None => Ok(uri.parse()?),
    }
}

fn expired() -> Response<Body> {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired",
        "message": "The provided continue parameter is too old",
    });
    let answer = Response::builder().status(410);
    answer
        .body(status.to_string().into_bytes().into())
        .expect("it is well formed")
}
