//! The few calls in use, over kube's client: each one request, and none sent twice.
//!
//! Objects are JSON here. What they mean is read and written elsewhere; this file knows paths, parameters and pages.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::{AsyncBufRead, Stream, StreamExt};
use http::Request;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{
    AttachParams, AttachedProcess, DeleteParams, GetParams, ListParams, Patch, PatchParams, Portforwarder,
    Preconditions, PropagationPolicy, WatchEvent, WatchParams,
};
use kube::core::params::ValidationDirective;
use kube::core::request::Error as RequestError;
use kube::{Api, Client, Error};
use portolan_core::plan::Scope;
use portolan_provider_api::CallError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::cache::Object;
use crate::error;
use crate::kinds::{EVENT, Kind, Leaves};
use crate::names::{MANAGER, NOTES, label};
use connection::{attentive, within};

pub use connection::{Address, config};

mod connection;

/// As many objects as one page of a list holds: about a megabyte.
const PAGE: u32 = 500;

/// What a cluster is asked.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// All that a selector chooses, from the first page to the last, or a failure.
    async fn list(&self, kind: &'static Kind, kube_namespace: &str, selector: &str) -> Result<Vec<Value>, CallError>;

    /// What stands there now.
    async fn get(&self, kind: &'static Kind, kube_namespace: &str, name: &str) -> Result<Option<Value>, CallError>;

    /// What stands under a name of ours that no list of ours shows.
    async fn get_of_others(
        &self,
        kind: &'static Kind,
        kube_namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, CallError> {
        self.get(kind, kube_namespace, name).await
    }

    /// Whether it is there; nothing in it is read.
    async fn exists(&self, kind: &'static Kind, kube_namespace: &str, name: &str) -> Result<bool, CallError>;

    /// A POST. What is there already stays as it is, and is told.
    async fn create(&self, kind: &'static Kind, kube_namespace: &str, object: &Value) -> Result<Created, CallError>;

    /// Server-side apply, over the version that the object names.
    async fn apply(
        &self,
        kind: &'static Kind,
        kube_namespace: &str,
        object: &Value,
        force: bool,
    ) -> Result<Applied, CallError>;

    /// A JSON patch, for what apply cannot say.
    async fn adopt(
        &self,
        kind: &'static Kind,
        kube_namespace: &str,
        name: &str,
        patch: Value,
    ) -> Result<Answer, CallError>;

    /// A merge patch of annotations.
    async fn annotate(
        &self,
        kind: &'static Kind,
        kube_namespace: &str,
        name: &str,
        patch: Value,
    ) -> Result<Answer, CallError>;

    /// Of that very object in that very version.
    async fn delete(&self, kind: &'static Kind, kube_namespace: &str, live: &Value) -> Result<Answer, CallError>;

    /// What is told of a namespace: its identity.
    async fn kube_namespace(&self, name: &str) -> Result<Option<Value>, CallError>;

    /// Events that a field selector chooses.
    async fn events(&self, kube_namespace: &str, selector: &str) -> Result<Vec<Value>, CallError>;

    /// The last lines of a container; `None` where its pod has gone.
    async fn last_lines(&self, kube_namespace: &str, log: &LogRequest<'_>) -> Result<Option<String>, CallError>;

    /// Somebody looks at the objects of that owner.
    fn looked_at(&self, _scope: &Scope, _kube_namespace: &str) {}

    /// Whether lists are answered from what a watch has brought.
    fn is_watched(&self) -> bool {
        false
    }

    /// Whether watches tell of every kind there just now.
    fn tells_of_all(&self, _kube_namespace: &str) -> bool {
        false
    }
}

pub enum Created {
    Made(Value),
    IsThere,
}

pub enum Applied {
    Done(Value),
    /// Who holds which field.
    Held(Vec<String>),
    /// It is not in that version any more.
    Moved,
}

/// What became of a write that was bound to a version.
pub enum Answer {
    Done(Value),
    Moved,
    Gone,
}

/// A page of a list.
#[derive(Deserialize)]
pub struct Page {
    pub metadata: PageMetadata,
    /// A list that was given no item may say `null`.
    pub items: Option<Vec<Object>>,
}

#[derive(Deserialize)]
pub struct PageMetadata {
    #[serde(rename = "resourceVersion")]
    pub version: String,
    /// Where the next one begins.
    #[serde(default, rename = "continue")]
    pub next: Option<String>,
}

/// What a watch tells.
pub enum Watched {
    Seen(Object),
    Deleted(Object),
    /// Nothing has happened up to that version.
    Reached(String),
}

/// Why a watch cannot go on.
pub enum WatchEnd {
    /// What happened after its version is forgotten: everything has to be listed anew.
    Expired,
    Failed(CallError),
}

pub struct LogRequest<'a> {
    pub pod: &'a str,
    pub container: &'a str,
    pub previous: bool,
    pub lines: usize,
    pub timestamps: bool,
    /// Of that second or later: an API server hands on no fraction of it.
    pub since: Option<SystemTime>,
}

/// A cluster that is connected to when it is first asked.
pub struct KubeCluster {
    address: Address,
    client: OnceCell<Client>,
}

impl KubeCluster {
    pub fn at(address: Address) -> Self {
        Self {
            address,
            client: OnceCell::new(),
        }
    }

    pub fn of(client: Client) -> Self {
        Self {
            address: Address::default(),
            client: OnceCell::new_with(Some(attentive(client))),
        }
    }

    pub async fn client(&self) -> Result<&Client, CallError> {
        self.client.get_or_try_init(|| connection::connect(&self.address)).await
    }

    /// A container's lines as they come, from those that the request asks for on; `None` where its pod has gone.
    pub async fn follow(
        &self,
        kube_namespace: &str,
        log: &LogRequest<'_>,
    ) -> Result<Option<impl AsyncBufRead + use<>>, CallError> {
        let request = plain(format!("{}&follow=true", log_path(kube_namespace, log)));
        let request = request.map_err(|failure| error::client(Error::BuildRequest(failure)))?;
        let lines = found(self.client().await?.request_stream(request).await)?;
        Ok(lines.map(Box::pin))
    }

    /// A command in a container, with its streams.
    pub async fn exec(
        &self,
        kube_namespace: &str,
        pod: &str,
        argv: &[String],
        streams: &AttachParams,
    ) -> Result<AttachedProcess, CallError> {
        let pods: Api<Pod> = Api::namespaced(self.client().await?.clone(), kube_namespace);
        pods.exec(pod, argv, streams).await.map_err(error::client)
    }

    /// A connection to a port of a pod.
    pub async fn port_forward(&self, kube_namespace: &str, pod: &str, port: u16) -> Result<Portforwarder, CallError> {
        let pods: Api<Pod> = Api::namespaced(self.client().await?.clone(), kube_namespace);
        pods.portforward(pod, &[port]).await.map_err(error::client)
    }

    /// From the first page to the last.
    async fn pages(&self, kind: &Kind, kube_namespace: &str, mut params: ListParams) -> Result<Vec<Value>, CallError> {
        let mut all = Vec::new();
        loop {
            let answer = self.ask(api(kind, kube_namespace).list(&params)).await?;
            let mut page: Value = match answer {
                // Nobody has installed such a kind, so nobody has one.
                Err(failure) if kind.is_installed() && is(&failure, 404) => return Ok(all),
                answer => answer.map_err(error::client)?,
            };
            match page["items"].take() {
                Value::Array(items) => all.extend(items),
                _ => return Err(error::bug(format!("a list of {} has no items", kind.name))),
            }
            match page["metadata"]["continue"].as_str() {
                Some(next) if !next.is_empty() => params = params.continue_token(next),
                _ => return Ok(all),
            }
        }
    }

    /// A page of all objects that bear an owner's label, in one KubeNamespace or in all.
    pub async fn page(&self, kind: &Kind, kube_namespace: Option<&str>, next: Option<&str>) -> Result<Page, CallError> {
        let mut params = ListParams::default().labels(label::OWNER).limit(PAGE);
        params.continue_token = next.map(String::from);
        let request = kube::core::Request::new(kind.path_in(kube_namespace)).list(&params);
        self.ask(request).await?.map_err(error::client)
    }

    /// The names of all objects that bear none, unless they are more than a page.
    pub async fn strangers(&self, kind: &Kind, kube_namespace: &str) -> Result<Option<BTreeSet<String>>, CallError> {
        let params = ListParams::default().labels(&format!("!{}", label::OWNER)).limit(PAGE);
        let request = api(kind, kube_namespace).list_metadata(&params);
        let page: Page = match self.ask(request).await? {
            Err(failure) if kind.is_installed() && is(&failure, 404) => return Ok(Some(BTreeSet::new())),
            answer => answer.map_err(error::client)?,
        };
        let is_whole = page.metadata.next.is_none_or(|next| next.is_empty());
        let names = page.items.iter().flatten().map(|one| one.name().to_string());
        Ok(is_whole.then(|| names.collect()))
    }

    /// What happens to them after that version, for as long as that.
    pub async fn watch(
        &self,
        kind: &Kind,
        kube_namespace: Option<&str>,
        version: &str,
        lasts: Duration,
    ) -> Result<impl Stream<Item = Result<Watched, WatchEnd>> + use<>, WatchEnd> {
        let params = WatchParams {
            label_selector: Some(label::OWNER.into()),
            timeout: Some(u32::try_from(lasts.as_secs()).unwrap_or(u32::MAX)),
            ..WatchParams::default()
        };
        let request = kube::core::Request::new(kind.path_in(kube_namespace)).watch(&params, version);
        let request = request.map_err(|failure| ended(Error::BuildRequest(failure)))?;
        let client = self.client().await.map_err(WatchEnd::Failed)?;
        let events = client.request_events::<Object>(request).await.map_err(ended)?;
        Ok(events.map(|event| watched(event.map_err(ended)?)))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: Result<Request<Vec<u8>>, RequestError>,
    ) -> Result<Result<T, Error>, CallError> {
        let request = request.map_err(|failure| error::client(Error::BuildRequest(failure)))?;
        Ok(within(self.client().await?.request(request)).await)
    }

    async fn written(&self, request: Result<Request<Vec<u8>>, RequestError>) -> Result<Answer, CallError> {
        match self.ask(request).await? {
            Ok(object) => Ok(Answer::Done(object)),
            Err(failure) if is(&failure, 404) => Ok(Answer::Gone),
            Err(failure) if is(&failure, 409) => Ok(Answer::Moved),
            Err(failure) => Err(error::client(failure)),
        }
    }
}

fn watched(event: WatchEvent<Object>) -> Result<Watched, WatchEnd> {
    match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => Ok(Watched::Seen(object)),
        WatchEvent::Deleted(object) => Ok(Watched::Deleted(object)),
        WatchEvent::Bookmark(bookmark) => Ok(Watched::Reached(bookmark.metadata.resource_version)),
        WatchEvent::Error(status) => Err(ended(Error::Api(status))),
    }
}

fn ended(failure: Error) -> WatchEnd {
    match is(&failure, 410) {
        true => WatchEnd::Expired,
        false => WatchEnd::Failed(error::client(failure)),
    }
}

fn is(failure: &Error, code: u16) -> bool {
    matches!(failure, Error::Api(status) if status.code == code)
}

fn api(kind: &Kind, kube_namespace: &str) -> kube::core::Request {
    kube::core::Request::new(kind.path(kube_namespace))
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn plain(path: String) -> Result<Request<Vec<u8>>, RequestError> {
    Request::get(path).body(Vec::new()).map_err(RequestError::BuildRequest)
}

#[async_trait]
impl Cluster for KubeCluster {
    async fn list(&self, kind: &'static Kind, kube_namespace: &str, selector: &str) -> Result<Vec<Value>, CallError> {
        let params = ListParams::default().labels(selector).limit(PAGE);
        self.pages(kind, kube_namespace, params).await
    }

    async fn events(&self, kube_namespace: &str, selector: &str) -> Result<Vec<Value>, CallError> {
        let params = ListParams::default().fields(selector).limit(PAGE);
        self.pages(&EVENT, kube_namespace, params).await
    }

    async fn get(&self, kind: &'static Kind, kube_namespace: &str, name: &str) -> Result<Option<Value>, CallError> {
        found(
            self.ask(api(kind, kube_namespace).get(name, &GetParams::default()))
                .await?,
        )
    }

    async fn exists(&self, kind: &'static Kind, kube_namespace: &str, name: &str) -> Result<bool, CallError> {
        let request = api(kind, kube_namespace).get_metadata(name, &GetParams::default());
        Ok(found::<Value>(self.ask(request).await?)?.is_some())
    }

    async fn create(&self, kind: &'static Kind, kube_namespace: &str, object: &Value) -> Result<Created, CallError> {
        let path = kind.path(kube_namespace);
        let request = Request::post(format!("{path}?fieldManager={MANAGER}&fieldValidation=Strict"))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(object.to_string().into_bytes())
            .map_err(RequestError::BuildRequest);
        match self.ask(request).await? {
            Ok(made) => Ok(Created::Made(made)),
            Err(failure) if is(&failure, 409) => Ok(Created::IsThere),
            Err(failure) if kind.is_installed() && is(&failure, 404) => Err(error::kind_missing(kind)),
            Err(failure) => Err(error::client(failure)),
        }
    }

    async fn apply(
        &self,
        kind: &'static Kind,
        kube_namespace: &str,
        object: &Value,
        force: bool,
    ) -> Result<Applied, CallError> {
        let params = PatchParams {
            force,
            field_manager: Some(MANAGER.into()),
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::default()
        };
        let request = api(kind, kube_namespace).patch(name_of(object), &params, &Patch::Apply(object));
        match self.ask(request).await? {
            Ok(done) => Ok(Applied::Done(done)),
            Err(Error::Api(status)) if status.code == 409 => Ok(match error::managers(&status) {
                managers if managers.is_empty() => Applied::Moved,
                managers => Applied::Held(managers),
            }),
            Err(failure) => Err(error::client(failure)),
        }
    }

    async fn adopt(
        &self,
        kind: &'static Kind,
        kube_namespace: &str,
        name: &str,
        patch: Value,
    ) -> Result<Answer, CallError> {
        let request = Request::patch(format!("{}/{name}?fieldManager={MANAGER}", kind.path(kube_namespace)))
            .header(http::header::CONTENT_TYPE, "application/json-patch+json")
            .body(patch.to_string().into_bytes());
        self.written(request.map_err(RequestError::BuildRequest)).await
    }

    async fn annotate(
        &self,
        kind: &'static Kind,
        kube_namespace: &str,
        name: &str,
        patch: Value,
    ) -> Result<Answer, CallError> {
        let params = PatchParams {
            field_manager: Some(NOTES.into()),
            ..PatchParams::default()
        };
        self.written(api(kind, kube_namespace).patch(name, &params, &Patch::Merge(&patch)))
            .await
    }

    async fn delete(&self, kind: &'static Kind, kube_namespace: &str, live: &Value) -> Result<Answer, CallError> {
        let text = |field: &str| live["metadata"][field].as_str().map(String::from);
        let params = DeleteParams {
            propagation_policy: Some(match kind.leaves {
                Leaves::Before => PropagationPolicy::Background,
                Leaves::After => PropagationPolicy::Foreground,
            }),
            preconditions: Some(Preconditions {
                uid: text("uid"),
                resource_version: text("resourceVersion"),
            }),
            ..DeleteParams::default()
        };
        self.written(api(kind, kube_namespace).delete(name_of(live), &params))
            .await
    }

    async fn kube_namespace(&self, name: &str) -> Result<Option<Value>, CallError> {
        found(self.ask(plain(format!("/api/v1/namespaces/{name}"))).await?)
    }

    async fn last_lines(&self, kube_namespace: &str, log: &LogRequest<'_>) -> Result<Option<String>, CallError> {
        let request = plain(log_path(kube_namespace, log))
            .map_err(Error::BuildRequest)
            .map_err(error::client)?;
        found(within(self.client().await?.request_text(request)).await)
    }
}

fn log_path(kube_namespace: &str, log: &LogRequest<'_>) -> String {
    let LogRequest {
        pod,
        container,
        previous,
        lines,
        timestamps,
        since,
    } = log;
    let since = since.map_or(String::new(), |time| format!("&sinceTime={}", whole_second(time)));
    format!(
        "/api/v1/namespaces/{kube_namespace}/pods/{pod}/log\
         ?container={container}&previous={previous}&tailLines={lines}&timestamps={timestamps}{since}"
    )
}

/// `2026-01-02T03:04:05Z`
pub fn whole_second(time: SystemTime) -> Timestamp {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

fn found<T>(answer: Result<T, Error>) -> Result<Option<T>, CallError> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(failure) if is(&failure, 404) => Ok(None),
        Err(failure) => Err(error::client(failure)),
    }
}

#[cfg(test)]
mod tests;
