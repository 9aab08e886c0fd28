//! The way to an API server: where it is found, how long it is waited for, and what it says besides its answers.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Error};
use portolan_provider_api::CallError;
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::error;

/// Until an answer is there in full: one whose end does not come is as none. It is more than an API server gives itself
/// for any request but a list of very many objects, which are asked for page by page.
const DEADLINE: Duration = Duration::from_secs(30);

/// Until there is a connection, with all that makes it safe.
const CONNECTED: Duration = Duration::from_secs(10);

/// No pause that a server asks for is longer, in seconds.
const LONGEST: u64 = 300;

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
    config.connect_timeout = Some(CONNECTED);
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

/// The same client, but that a refusal for load says when to come again, and nobody comes before that: an API server counts all
/// requests of a user together, and says when in a header alone, beside a line of plain text. What comes too soon is refused
/// here.
pub fn attentive(client: Client) -> Client {
    let kube_namespace = client.default_namespace().to_string();
    let not_before = Arc::<Mutex<Option<Instant>>>::default();
    let sender = tower::service_fn(move |request: Request<Body>| {
        let (client, not_before) = (client.clone(), not_before.clone());
        async move {
            let until = *not_before.lock().unwrap_or_else(PoisonError::into_inner);
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if let Some(left) = left.filter(|left| !left.is_zero()) {
                return Ok::<_, Error>(refused(StatusCode::TOO_MANY_REQUESTS, left.as_secs() + 1));
            }
            let answer = client.send(request).await?;
            let Some(seconds) = retry_after(&answer) else {
                return Ok(answer);
            };
            if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                let until = Instant::now() + Duration::from_secs(seconds);
                *not_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
            }
            match is_json(answer.headers()) {
                true => Ok(answer),
                false => Ok(refused(answer.status(), seconds)),
            }
        }
    });
    Client::new(sender, kube_namespace)
}

fn refused(code: StatusCode, seconds: u64) -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(),
        "reason": "TooManyRequests", "message": "too many requests, please try again later",
        "details": { "retryAfterSeconds": seconds },
    });
    let mut answer = Response::new(Body::from(status.to_string().into_bytes()));
    *answer.status_mut() = code;
    answer
}

/// Of a refusal for load: in seconds, as API servers say it.
fn retry_after(answer: &Response<Body>) -> Option<u64> {
    let is_for_load = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&answer.status());
    let said = answer.headers().get(RETRY_AFTER).filter(|_| is_for_load)?;
    // A proxy may say anything.
    said.to_str()
        .ok()?
        .parse()
        .ok()
        .map(|seconds: u64| seconds.min(LONGEST))
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
    async fn nobody_asks_before_the_time_that_somebody_was_told() {
        let asked = Arc::<Mutex<u32>>::default();
        let counted = asked.clone();
        let answer = move |_: Request<Body>| {
            let counted = counted.clone();
            async move {
                *counted.lock().expect("nobody panics") += 1;
                let answer = Response::builder().status(429).header(RETRY_AFTER, "7");
                Ok::<_, Error>(answer.body(Body::from(Vec::new())).expect("it is well formed"))
            }
        };
        let client = attentive(Client::new(tower::service_fn(answer), "default"));
        for (reason, pause, expected) in [("the first", 0, 1), ("too soon", 5, 1), ("in time", 3, 2)] {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            let request = Request::get("/api/v1/pods")
                .body(Vec::new())
                .expect("it is well formed");
            let refused = client.request::<serde_json::Value>(request).await;
            assert!(
                matches!(refused, Err(Error::Api(status)) if status.code == 429),
                "{reason}"
            );
            assert_eq!(*asked.lock().expect("nobody panics"), expected, "{reason}");
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
