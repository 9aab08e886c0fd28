//! The calls: each one change at the API server, and a look at what it changes before it. A rollout's step may be several
//! (`walk.rs`).

mod promote;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::future::{join, join_all};
use portolan_core::observation::{Held, Observation, ObservedResource, Ownership, ResourceState};
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{Accepted, CallError, Calls, OpenOperation, WriteRequest};
use serde_json::Value;

use crate::client::{Answer, Applied, Cluster, Created, LogRequest};
use crate::explain::{events, stored};
use crate::kinds::{DEPLOYMENT, EXTERNAL_SECRET, JOB, Kind, POD, RENDERED, SERVICE_ACCOUNT, STATEFUL_SET};
use crate::names::{Names, annotation, label, selector_of};
use crate::read::{self, Read, Seen};
use crate::render::KubernetesShape;
use crate::{error, preflight, rollout, write};
use walk::Rollout;

/// So many of a container's last lines make evidence.
const LAST_LINES: usize = 10;

pub struct KubernetesCalls {
    cluster: Arc<dyn Cluster>,
    shape: Arc<KubernetesShape>,
}

/// One object, as a call finds it.
struct Found {
    object: Value,
    seen: ObservedResource,
    /// Of a Deployment: what stands beside it.
    rollout: Option<Rollout>,
}

impl KubernetesCalls {
    pub fn new(cluster: Arc<dyn Cluster>, shape: Arc<KubernetesShape>) -> Self {
        Self { cluster, shape }
    }

    fn place<'a>(&'a self, scope: &'a Scope) -> &'a str {
        self.shape.kube_namespace(&scope.namespace)
    }

    async fn found(&self, scope: &Scope, kind: &'static Kind, name: &str) -> Result<Option<Found>, CallError> {
        let object = self.cluster.get(kind, self.place(scope), name).await?;
        match object.map(|object| found(scope, kind, object, &[])) {
            Some(found) if kind == &DEPLOYMENT => self.with_next(scope, found).await.map(Some),
            found => Ok(found),
        }
    }

    /// What runs may have failed in the very revision that is put again, which its pods tell.
    async fn has_failed(
        &self,
        scope: &Scope,
        kind: &'static Kind,
        found: Found,
        request: &WriteRequest,
    ) -> Result<(Found, bool), CallError> {
        if !kind.has_pods() || found.seen.revision != request.revision {
            return Ok((found, false));
        }
        if found.rollout.is_some() {
            let has_failed = found.seen.failure().is_some();
            return Ok((found, has_failed));
        }
        let mut pods = self.cluster.list(&POD, self.place(scope), &selector_of(scope)).await?;
        let mut objects = [(kind, found.object)];
        self.tell_by_events(scope, &mut objects, &mut pods).await;
        let [(_, object)] = objects;
        let found = self::found(scope, kind, object, &pods);
        let has_failed = found.seen.failure().is_some();
        Ok((found, has_failed))
    }

    /// Asked only for what waits without a word, so that a look at what has converged costs no request more. They are no
    /// reason to fail.
    async fn tell_by_events(&self, scope: &Scope, objects: &mut [(&'static Kind, Value)], pods: &mut [Value]) {
        let place = self.place(scope);
        if pods.iter().any(events::is_silent)
            && let Ok(told) = self.cluster.events(place, events::OF_PULLS).await
        {
            pods.iter_mut().for_each(|pod| events::tell_pulls(pod, &told));
        }
        for (_, object) in objects
            .iter_mut()
            .filter(|(kind, object)| events::lacks_pods(kind, object))
        {
            if let Ok(told) = self.cluster.events(place, &events::about(object)).await {
                events::tell_refusal(object, &told);
            }
        }
    }

    /// What stands there is ours: as it was, unless it waits for its pods to go or was kept for its data.
    async fn is_there(
        &self,
        scope: &Scope,
        kind: &'static Kind,
        request: &WriteRequest,
    ) -> Result<Accepted, CallError> {
        let Some(found) = self.found(scope, kind, &request.id.name).await? else {
            return Err(error::moved(&request.id));
        };
        if found.seen.state == ResourceState::Deleting {
            return Err(error::still_going(&request.id));
        }
        may_be_written(&found.seen, request)?;
        match &found.seen.ownership {
            Ownership::Ours { .. } if found.seen.retained => self.take_up(scope, kind, request, found).await,
            Ownership::Ours { .. } => Ok(Accepted::done()),
            _ => self.apply(scope, kind, request, found.object, None).await,
        }
    }

    /// What was kept for its data becomes a part of the app again.
    async fn take_up(
        &self,
        scope: &Scope,
        kind: &'static Kind,
        request: &WriteRequest,
        found: Found,
    ) -> Result<Accepted, CallError> {
        let patch = write::annotated(&found.object, annotation::RETAINED, None);
        let place = self.place(scope);
        match self.cluster.annotate(kind, place, &request.id.name, patch).await? {
            Answer::Done(_) => Ok(Accepted::done()),
            Answer::Moved | Answer::Gone => Err(error::moved(&request.id)),
        }
    }

    /// Over what was found, and over nothing else; with a token to retry by, with fresh pods.
    async fn apply(
        &self,
        scope: &Scope,
        kind: &'static Kind,
        request: &WriteRequest,
        live: Value,
        retry: Option<&str>,
    ) -> Result<Accepted, CallError> {
        let place = self.place(scope);
        let live = self.adopted(scope, kind, &request.id, live).await?;
        let object = write::applied_over(&live, write::object_of(scope, place, request)?, retry);
        let object = self.stays_led(scope, kind, &live, object).await?;
        match self.cluster.apply(kind, place, &object, request.take_over).await? {
            Applied::Done(_) => Ok(Accepted::done()),
            Applied::Held(managers) => Err(error::held_by_others(&request.id, managers)),
            Applied::Moved => Err(error::moved(&request.id)),
        }
    }

    /// As apply knows it.
    async fn adopted(
        &self,
        scope: &Scope,
        kind: &'static Kind,
        id: &ResourceId,
        live: Value,
    ) -> Result<Value, CallError> {
        let Some(patch) = write::adoption(&live) else {
            return Ok(live);
        };
        let name = read::text(&live, "/metadata/name").unwrap_or_default();
        match self.cluster.adopt(kind, self.place(scope), name, patch).await? {
            Answer::Done(adopted) => Ok(adopted),
            Answer::Moved | Answer::Gone => Err(error::moved(id)),
        }
    }

    /// A job that has failed is no record of anything: it goes, and another one runs.
    async fn run_again(&self, scope: &Scope, request: &WriteRequest, live: &Value) -> Result<Accepted, CallError> {
        match self.cluster.delete(&JOB, self.place(scope), live).await? {
            // Its pods have ended, so it is gone in a moment, and the next try creates it.
            Answer::Done(_) | Answer::Gone => Err(error::still_going(&request.id)),
            Answer::Moved => Err(error::moved(&request.id)),
        }
    }

    async fn keep(
        &self,
        scope: &Scope,
        kind: &'static Kind,
        request: &WriteRequest,
        found: &Found,
    ) -> Result<Accepted, CallError> {
        if found.seen.retained {
            return Ok(Accepted::done());
        }
        let patch = write::annotated(&found.object, annotation::RETAINED, Some("true".into()));
        let place = self.place(scope);
        match self.cluster.annotate(kind, place, &request.id.name, patch).await? {
            Answer::Done(_) | Answer::Gone => Ok(Accepted::done()),
            Answer::Moved => Err(error::moved(&request.id)),
        }
    }

    /// All that bears the owner's label, and what stands under the wanted names besides.
    async fn objects(&self, scope: &Scope, wanted: &[ResourceId]) -> Result<Vec<(&'static Kind, Value)>, CallError> {
        let (place, selector) = (self.place(scope), selector_of(scope));
        let selector = selector.as_str();
        let lists = RENDERED.iter().map(|kind| async move {
            let objects = self.cluster.list(kind, place, selector).await?;
            Ok::<_, CallError>(objects.into_iter().map(|object| (*kind, object)).collect::<Vec<_>>())
        });
        let lists = error::all(join_all(lists).await)?;
        let mut objects: Vec<_> = lists.into_iter().flatten().collect();
        let known: BTreeSet<ResourceId> = objects.iter().map(|(kind, object)| id_of(kind, object)).collect();
        let others = wanted.iter().filter(|id| !known.contains(id));
        let others = others.filter_map(|id| Some((Kind::of(id)?, id)));
        let others = others.map(|(kind, id)| async move {
            let object = self.cluster.get_of_others(kind, place, &id.name).await?;
            Ok::<_, CallError>(object.map(|object| (kind, object)))
        });
        objects.extend(error::all(join_all(others).await)?.into_iter().flatten());
        Ok(objects)
    }

    /// With the container's last lines, where they say more. They are no reason to fail.
    async fn told(&self, scope: &Scope, read: Read) -> ObservedResource {
        let Read { mut resource, log } = read;
        let (ResourceState::Failed { failure }, Some(log)) = (&mut resource.state, log) else {
            return resource;
        };
        let request = LogRequest {
            pod: &log.pod,
            container: &log.container,
            previous: log.previous,
            lines: LAST_LINES,
            timestamps: false,
            since: None,
        };
        if let Ok(Some(lines)) = self.cluster.last_lines(self.place(scope), &request).await {
            failure.evidence.extend(lines.lines().map(String::from));
        }
        resource
    }
}

fn found(scope: &Scope, kind: &'static Kind, object: Value, pods: &[Value]) -> Found {
    let now = SystemTime::now();
    let seen = Seen { scope, pods, now }.read(kind, &object).resource;
    Found {
        object,
        seen,
        rollout: None,
    }
}

/// Each object, and both Deployments of a rollout as one.
fn read_all(seen: &Seen<'_>, objects: &[(&'static Kind, Value)]) -> Vec<Read> {
    let of_kind = |kind: &'static Kind| {
        objects
            .iter()
            .filter(move |(one, _)| *one == kind)
            .map(|(_, object)| object)
    };
    let stands = |name: &str| of_kind(&DEPLOYMENT).any(|own| rollout::name(own) == name && !read::is_deleting(own));
    let nexts = of_kind(&DEPLOYMENT).filter_map(|next| Some((rollout::beside(next)?, next)));
    let nexts: BTreeMap<&str, &Value> = nexts
        .filter(|(own, next)| stands(own) && walk::is_beside(seen.scope, own, next))
        .collect();
    let read = |(kind, object): &(&'static Kind, Value)| {
        let name = rollout::name(object);
        match nexts.get(name) {
            _ if nexts.values().any(|next| std::ptr::eq(*next, object)) => None,
            Some(next) if *kind == &DEPLOYMENT => {
                let led = objects.iter().map(|(kind, object)| (*kind, object));
                let led = led.filter(|(_, object)| object["metadata"]["labels"][label::INSTANCE] == name);
                Some(walk::joined(seen, object, next, led).0)
            }
            _ => {
                let mut read = seen.read(kind, object);
                let own = object["metadata"]["labels"][label::INSTANCE]
                    .as_str()
                    .unwrap_or_default();
                if rollout::is_led(kind, object) && nexts.contains_key(own) {
                    // Where a rollout leads it is where it shall be.
                    rollout::home(kind, own).lead(&mut read.resource.body);
                }
                Some(read)
            }
        }
    };
    objects.iter().filter_map(read).collect()
}

/// What Events say of it, or the time, is found out by whoever looks, and told by no watch; nor is anything of a stranger.
fn is_asked_for((kind, object): &(&'static Kind, Value)) -> bool {
    let is_strange = object["metadata"]["labels"][label::OWNER].is_null();
    is_strange || *kind == &STATEFUL_SET || events::lacks_pods(kind, object) || rollout::beside(object).is_some()
}

fn id_of(kind: &Kind, object: &Value) -> ResourceId {
    kind.id(object["metadata"]["name"].as_str().unwrap_or_default())
}

/// Whose it is, and whether it is as it was when the write was made.
fn may_be_written(seen: &ObservedResource, request: &WriteRequest) -> Result<(), CallError> {
    let ours = matches!(seen.ownership, Ownership::Ours { .. });
    if !ours && !request.take_over {
        return Err(error::not_ours(&request.id));
    }
    match &request.etag {
        Some(etag) if seen.etag.as_ref() != Some(etag) => Err(error::written_since(&request.id)),
        _ => Ok(()),
    }
}

#[async_trait]
impl Calls for KubernetesCalls {
    /// The cluster, by the one object that every cluster has and none has twice.
    async fn realm(&self) -> Result<String, CallError> {
        let system = self.cluster.kube_namespace("kube-system").await?;
        let uid = system.as_ref().and_then(|one| read::text(one, "/metadata/uid"));
        uid.map(String::from)
            .ok_or_else(|| error::bug("the cluster has no kube-system".into()))
    }

    fn is_told_of_changes(&self) -> bool {
        self.cluster.is_watched()
    }

    async fn preflight(&self, scope: &Scope, writes: &[WriteRequest]) -> Result<Vec<CallError>, CallError> {
        preflight::faults(&*self.cluster, self.place(scope), writes).await
    }

    async fn observe(
        &self,
        scope: &Scope,
        wanted: &[ResourceId],
        _open: &[OpenOperation],
    ) -> Result<Observation, CallError> {
        self.cluster.looked_at(scope, self.place(scope));
        let selector = selector_of(scope);
        let pods = self.cluster.list(&POD, self.place(scope), &selector);
        let (mut objects, mut pods) = match join(self.objects(scope, wanted), pods).await {
            (Ok(objects), Ok(pods)) => (objects, pods),
            (Err(one), Err(other)) => return Err(error::worse(one, other)),
            (Err(failure), _) | (_, Err(failure)) => return Err(failure),
        };
        let is_told = self.cluster.tells_of_all(self.place(scope))
            && !objects.iter().any(is_asked_for)
            && !pods.iter().any(events::is_silent);
        self.tell_by_events(scope, &mut objects, &mut pods).await;
        let external_secrets = objects.iter().filter(|(kind, _)| *kind == &EXTERNAL_SECRET);
        let external_secrets: Vec<&Value> = external_secrets.map(|(_, object)| object).collect();
        pods.iter_mut().for_each(|pod| stored::tell(pod, &external_secrets));
        let seen = Seen {
            scope,
            pods: &pods,
            now: SystemTime::now(),
        };
        let mut observation = Observation {
            complete: true,
            is_told,
            ..Observation::default()
        };
        let account = SERVICE_ACCOUNT.id(Names(scope).app());
        let read = read_all(&seen, &objects).into_iter();
        let read = read.map(|read| self.told(scope, read));
        for resource in join_all(read).await {
            observation.resources.insert(resource.id.clone(), resource);
        }
        let account = objects.iter().find(|(kind, object)| id_of(kind, object) == account);
        observation.held = account.and_then(|(_, account)| read::held(scope, account));
        Ok(observation)
    }

    async fn create(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        let kind = write::kind_of(&request.id)?;
        let object = write::object_of(scope, self.place(scope), request)?;
        let object = self.led_from_the_first(scope, kind, object).await?;
        match self.cluster.create(kind, self.place(scope), &object).await? {
            Created::Made(_) => Ok(Accepted::done()),
            Created::IsThere => self.is_there(scope, kind, request).await,
        }
    }

    async fn update(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        let kind = write::kind_of(&request.id)?;
        let Some(found) = self.found(scope, kind, &request.id.name).await? else {
            return Err(error::gone_since(&request.id));
        };
        may_be_written(&found.seen, request)?;
        if found.seen.state == ResourceState::Deleting {
            return Err(error::still_going(&request.id));
        }
        match self.has_failed(scope, kind, found, request).await? {
            (found, has_failed) if kind == &DEPLOYMENT => {
                let retry = has_failed.then_some(request.idempotency_token.as_str());
                self.walk(scope, request, found, retry).await
            }
            (found, false) => self.apply(scope, kind, request, found.object, None).await,
            (found, true) if kind == &JOB => self.run_again(scope, request, &found.object).await,
            (found, true) => {
                let retry = Some(request.idempotency_token.as_str());
                self.apply(scope, kind, request, found.object, retry).await
            }
        }
    }

    async fn delete(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        let kind = write::kind_of(&request.id)?;
        let Some(found) = self.found(scope, kind, &request.id.name).await? else {
            return Ok(Accepted::done());
        };
        if found.seen.state == ResourceState::Deleting {
            return Ok(Accepted::done());
        }
        may_be_written(&found.seen, request)?;
        if found.seen.holds_data && !request.erase_data {
            return self.keep(scope, kind, request, &found).await;
        }
        if let Some(rollout) = &found.rollout {
            self.delete_next(scope, &request.id, &rollout.next).await?;
        }
        match self.cluster.delete(kind, self.place(scope), &found.object).await? {
            Answer::Done(_) | Answer::Gone => Ok(Accepted::done()),
            Answer::Moved => Err(error::moved(&request.id)),
        }
    }

    async fn note(&self, scope: &Scope, held: Option<&Held>) -> Result<(), CallError> {
        let name = Names(scope).app();
        let Some(found) = self.found(scope, &SERVICE_ACCOUNT, &name).await? else {
            return Ok(());
        };
        let ours = matches!(found.seen.ownership, Ownership::Ours { .. });
        let text = held.map(|held| serde_json::to_string(held).expect("a note holds only string keys"));
        if !ours || read::note(&found.object, annotation::HELD) == text.as_deref() {
            return Ok(());
        }
        let patch = write::annotated(&found.object, annotation::HELD, text);
        let place = self.place(scope);
        match self.cluster.annotate(&SERVICE_ACCOUNT, place, &name, patch).await? {
            Answer::Done(_) | Answer::Gone => Ok(()),
            Answer::Moved => Err(error::moved(&found.seen.id)),
        }
    }
}
