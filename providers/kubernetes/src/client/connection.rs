//! The way to an API server: where it is found, how long it is waited for, and what it says besides its answers.

use std::path::PathBuf;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Error};
use portolan_provider_api::CallError;
use serde_json::json;
use tokio::time::timeout;
use tower::ServiceExt;

use crate::error;

/// Until an answer is there in full: one whose end does not come is as none. It is more than an API server gives itself
/// for any request but a list of very many objects, which are asked for page by page.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where a cluster is found.
#[derive(Clone, Debug, Default)]
pub struct Address {
    /// The kubeconfig's current one if none is named.
    pub context: Option<String>,
    /// A file; else `KUBECONFIG`, the user's own, or the account of the pod that this runs in.
    pub kubeconfig: Option<PathBuf>,
}

pub async fn connect(address: &Address) -> Result<Client, CallError> {
    let config = config(address).await?;
    let client = Client::try_from(config).map_err(|failure| error::kubeconfig(&failure))?;
    Ok(attentive(client))
}

pub async fn config(address: &Address) -> Result<Config, CallError> {
    let mut config = found_at(address).await?;
    // Tries are the engine's, by the error's class.
    config.default_retry = false;
    Ok(config)
}

async fn found_at(address: &Address) -> Result<Config, CallError> {
    let options = KubeConfigOptions {
        context: address.context.clone(),
        ..KubeConfigOptions::default()
    };
    match &address.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|failure| error::kubeconfig(&failure))?;
            let config = Config::from_custom_kubeconfig(file, &options).await;
            config.map_err(|failure| error::kubeconfig(&failure))
        }
        None if address.context.is_some() => {
            let config = Config::from_kubeconfig(&options).await;
            config.map_err(|failure| error::kubeconfig(&failure))
        }
        None => Config::infer().await.map_err(|failure| error::kubeconfig(&failure)),
    }
}

/// The answer in full, or that there was none in time.
pub async fn within<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let answer = timeout(DEADLINE, call).await;
    answer.unwrap_or_else(|passed| Err(Error::Service(passed.into())))
}

/// The same client, but that a refusal for load says when to come again: an API server says so in a header alone, beside a
/// line of plain text, and what is made of an answer knows no headers.
pub fn attentive(client: Client) -> Client {
    let kube_namespace = client.default_namespace().to_string();
    let sender = tower::service_fn(move |request: Request<Body>| {
        let client = client.clone();
        async move { client.send(request).await }
    });
    Client::new(sender.map_response(with_retry_after), kube_namespace)
}

fn with_retry_after(answer: Response<Body>) -> Response<Body> {
    let is_for_load = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&answer.status());
    let seconds = retry_after(answer.headers()).filter(|_| is_for_load && !is_json(answer.headers()));
    let Some(seconds) = seconds else { return answer };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": answer.status().as_u16(),
        "reason": "TooManyRequests", "message": "too many requests, please try again later",
        "details": { "retryAfterSeconds": seconds },
    });
    answer.map(|_| status.to_string().into_bytes().into())
}

/// In seconds, as API servers say it.
fn retry_after(headers: &HeaderMap) -> Option<u32> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

fn is_json(headers: &HeaderMap) -> bool {
    let sort = headers.get(CONTENT_TYPE).and_then(|sort| sort.to_str().ok());
    sort.is_some_and(|sort| sort.contains("json"))
}

#[cfg(test)]
mod tests {
    use portolan_provider_api::ErrorClass;

    use super::*;

    fn answering(code: u16, sort: &'static str, body: &'static str) -> Client {
        let answer = move |_: Request<Body>| async move {
            let answer = Response::builder().status(code).header(CONTENT_TYPE, sort);
            let answer = answer
                .header(RETRY_AFTER, "7")
                .body(Body::from(body.as_bytes().to_vec()));
            Ok::<_, Error>(answer.expect("it is well formed"))
        };
        attentive(Client::new(tower::service_fn(answer), "default"))
    }

    #[tokio::test]
    async fn whoever_is_refused_for_load_is_told_when_to_come_again() {
        let status =
            r#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":429,"details":{"retryAfterSeconds":3}}"#;
        for (reason, code, sort, body, expected) in [
            (
                "fair queuing answers with a line of text",
                429,
                "text/plain",
                "Too many requests",
                Some(7),
            ),
            ("a status has its own", 429, "application/json", status, Some(3)),
            (
                "a server that is going down",
                503,
                "text/plain",
                "apiserver is shutting down",
                Some(7),
            ),
            ("no refusal for load", 500, "text/plain", "a panic", None),
        ] {
            let request = Request::get("/api/v1/pods")
                .body(Vec::new())
                .expect("it is well formed");
            let answer = answering(code, sort, body).request::<serde_json::Value>(request).await;
            let failure = error::client(answer.expect_err(reason));
            let after = expected.map(Duration::from_secs);
            assert_eq!(failure.class, ErrorClass::Retry { after }, "{reason}: {failure}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_whose_end_does_not_come_is_none() {
        let began = tokio::time::Instant::now();
        let answer = within::<()>(std::future::pending()).await;
        let failure = error::client(answer.expect_err("nobody answers"));
        assert_eq!(
            (failure.code.as_str(), began.elapsed()),
            ("ClusterUnreachable", DEADLINE)
        );
    }
}
