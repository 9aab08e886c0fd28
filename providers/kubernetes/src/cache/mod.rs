//! A cluster whose objects are held here, for whoever looks at many apps again and again: one watch for each kind answers
//! all their looks. `store.rs` is what is held, `follow.rs` how it comes, and here is what a look and a write make of it.
//!
//! What a look shows is never older than what this process has written: the answer to each write goes into the store, and
//! where an answer was lost, or nobody has waited for it, the object is asked for before the next look. A look that what is
//! held cannot answer, because it is not listed yet or the watch has failed, waits or fails; it never shows less.
//! What changes goes to the API server as it always does, and what is to be changed is read there just before.

mod follow;
mod object;
mod store;

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use portolan_core::plan::Scope;
use portolan_provider_api::{CallError, ErrorClass};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

pub use follow::Tell;
pub use object::Object;
pub use store::Subject;

use crate::client::{Answer, Applied, Cluster, Created, KubeCluster, LogRequest};
use crate::error;
use crate::kinds::{Kind, POD, RENDERED};
use crate::names::label;
use follow::{Follower, Shelf, Standing};
use store::Stamp;

/// Which names are not ours, and what a KubeNamespace is, is asked no more often than this.
const REMEMBERED: Duration = Duration::from_secs(3);

/// Where watches may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// At the whole cluster: one watch for each kind.
    Cluster,
    /// At single KubeNamespaces: one for each kind in each of them.
    KubeNamespaces,
}

pub struct CachedCluster {
    inner: Arc<KubeCluster>,
    reach: Reach,
    tell: Tell,
    /// By KubeNamespace; with the reach of a cluster there is one.
    places: Mutex<HashMap<Option<String>, Arc<PlaceWatched>>>,
    doubts: Arc<Mutex<Vec<Doubt>>>,
    /// Who is not ours, by kind and KubeNamespace.
    strangers: Memo<(&'static str, String), Strangers>,
    kube_namespaces: Memo<String, Option<Value>>,
}

/// What is held of a place, and those who see to it.
struct PlaceWatched {
    shelf: Arc<Shelf>,
    standings: HashMap<&'static str, watch::Receiver<Standing>>,
    followers: Vec<AbortHandle>,
}

/// An object that may be another one than what is held: a write to it has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Doubt {
    kind: &'static Kind,
    kube_namespace: String,
    name: String,
}

/// A write under way. Dropped without an answer, it leaves a doubt.
struct Writing {
    doubt: Option<Doubt>,
    doubts: Arc<Mutex<Vec<Doubt>>>,
}

impl Writing {
    fn answered(mut self) {
        self.doubt = None;
    }

    /// What was refused has changed nothing; what may pass leaves its outcome open.
    fn failed(self, failure: CallError) -> CallError {
        if !matches!(failure.class, ErrorClass::Retry { .. }) {
            self.answered();
        }
        failure
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        guard(&self.doubts).extend(self.doubt.take());
    }
}

impl Drop for PlaceWatched {
    fn drop(&mut self) {
        self.followers.iter().for_each(AbortHandle::abort);
    }
}

impl CachedCluster {
    pub fn new(inner: Arc<KubeCluster>, reach: Reach, tell: Tell) -> Self {
        Self {
            inner,
            reach,
            tell,
            places: Mutex::default(),
            doubts: Arc::default(),
            strangers: Memo::default(),
            kube_namespaces: Memo::default(),
        }
    }

    /// Its watches begin when it is first looked at.
    fn place(&self, kube_namespace: &str) -> Arc<PlaceWatched> {
        let place = match self.reach {
            Reach::Cluster => None,
            Reach::KubeNamespaces => Some(kube_namespace.to_string()),
        };
        let mut places = guard(&self.places);
        let begin = || Arc::new(self.begin(place.clone()));
        places.entry(place.clone()).or_insert_with(begin).clone()
    }

    fn begin(&self, kube_namespace: Option<String>) -> PlaceWatched {
        let shelf = Arc::new(Shelf::new(self.tell.clone()));
        let steps = tokio::spawn(shelf.clone().tell_of_steps()).abort_handle();
        let (mut standings, mut followers) = (HashMap::new(), vec![steps]);
        for kind in RENDERED.iter().copied().chain([&POD]) {
            let (standing, seen) = watch::channel(Standing::Listing);
            standings.insert(kind.name, seen);
            let follower = Follower {
                cluster: self.inner.clone(),
                kind,
                kube_namespace: kube_namespace.clone(),
                shelf: shelf.clone(),
                standing,
            };
            followers.push(tokio::spawn(follower.run()).abort_handle());
        }
        PlaceWatched {
            shelf,
            standings,
            followers,
        }
    }

    /// Asks for what is in doubt, before anybody looks at it.
    async fn settle_doubts(&self, kind: &'static Kind, kube_namespace: &str) -> Result<(), CallError> {
        let is_here = |doubt: &Doubt| doubt.kind == kind && doubt.kube_namespace == kube_namespace;
        let doubts: Vec<Doubt> = guard(&self.doubts)
            .iter()
            .filter(|doubt| is_here(doubt))
            .cloned()
            .collect();
        for doubt in doubts {
            self.get(kind, kube_namespace, &doubt.name).await?;
            guard(&self.doubts).retain(|other| *other != doubt);
        }
        Ok(())
    }

    /// Whether no stranger has the name.
    async fn is_free(&self, kind: &'static Kind, kube_namespace: &str, name: &str) -> Result<bool, CallError> {
        let ask = || async { Ok(self.inner.strangers(kind, kube_namespace).await?.map(Arc::new)) };
        let key = (kind.name, kube_namespace.to_string());
        let strangers = self.strangers.of(key, ask).await?;
        Ok(strangers.is_some_and(|names| !names.contains(name)))
    }

    fn writing(&self, kind: &'static Kind, kube_namespace: &str, name: &str) -> Writing {
        Writing {
            doubt: Some(Doubt {
                kind,
                kube_namespace: kube_namespace.to_string(),
                name: name.to_string(),
            }),
            doubts: self.doubts.clone(),
        }
    }

    /// What the API server shows to ourselves is known from then on. Nobody has to be told of it.
    fn take(&self, kind: &'static Kind, kube_namespace: &str, object: &Value) {
        if let Ok(object) = Object::deserialize(object) {
            self.place(kube_namespace).shelf.store().answered(kind, object);
        }
    }

    /// To be asked before a request: what its answer says to be gone is what was held by then.
    fn held(&self, kind: &'static Kind, kube_namespace: &str, name: &str) -> Option<Stamp> {
        self.place(kube_namespace)
            .shelf
            .store()
            .held(kind, kube_namespace, name)
    }

    fn drop_held(&self, kind: &'static Kind, kube_namespace: &str, name: &str, before: Option<&Stamp>) {
        if let Some(before) = before {
            let place = self.place(kube_namespace);
            place.shelf.store().is_gone(kind, kube_namespace, name, before);
        }
    }

    /// Makes a write that is bound to a version. A delete is answered by the object, too, as it was when it went: `is_left`
    /// says whether it is still there.
    async fn bound(
        &self,
        kind: &'static Kind,
        kube_namespace: &str,
        name: &str,
        write: impl Future<Output = Result<Answer, CallError>> + Send,
        is_left: fn(&Value) -> bool,
    ) -> Result<Answer, CallError> {
        let (writing, before) = (
            self.writing(kind, kube_namespace, name),
            self.held(kind, kube_namespace, name),
        );
        let answer = match write.await {
            Ok(answer) => answer,
            Err(failure) => return Err(writing.failed(failure)),
        };
        match &answer {
            Answer::Done(object) if is_left(object) => self.take(kind, kube_namespace, object),
            Answer::Done(_) | Answer::Gone => self.drop_held(kind, kube_namespace, name, before.as_ref()),
            Answer::Moved => {}
        }
        writing.answered();
        Ok(answer)
    }
}

#[async_trait]
impl Cluster for CachedCluster {
    async fn list(&self, kind: &'static Kind, kube_namespace: &str, selector: &str) -> Result<Vec<Value>, CallError> {
        let owner = selector
            .strip_prefix(label::OWNER)
            .and_then(|rest| rest.strip_prefix('='));
        let place = self.place(kube_namespace);
        let (Some(owner), Some(standing)) = (owner, place.standings.get(kind.name)) else {
            return self.inner.list(kind, kube_namespace, selector).await;
        };
        let mut standing = standing.clone();
        let known = standing.wait_for(|standing| !matches!(standing, Standing::Listing));
        let known = known.await.map_err(|_| error::lost("nobody watches any more"))?.clone();
        match known {
            Standing::Unwatched => return self.inner.list(kind, kube_namespace, selector).await,
            Standing::Failed(failure) => return Err(failure),
            Standing::Listing | Standing::Follows => {}
        }
        self.settle_doubts(kind, kube_namespace).await?;
        Ok(place.shelf.store().objects(kind, kube_namespace, owner))
    }

    async fn get(&self, kind: &'static Kind, kube_namespace: &str, name: &str) -> Result<Option<Value>, CallError> {
        let before = self.held(kind, kube_namespace, name);
        let found = self.inner.get(kind, kube_namespace, name).await?;
        match &found {
            Some(object) => self.take(kind, kube_namespace, object),
            None => self.drop_held(kind, kube_namespace, name, before.as_ref()),
        }
        Ok(found)
    }

    /// A name that was free a moment ago is taken for free: whoever has it meanwhile is met by the create.
    async fn get_of_others(
        &self,
        kind: &'static Kind,
        kube_namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, CallError> {
        let is_held = self.held(kind, kube_namespace, name).is_some();
        if !is_held && self.is_free(kind, kube_namespace, name).await? {
            return Ok(None);
        }
        self.get(kind, kube_namespace, name).await
    }

    async fn exists(&self, kind: &'static Kind, kube_namespace: &str, name: &str) -> Result<bool, CallError> {
        self.inner.exists(kind, kube_namespace, name).await
    }

    async fn create(&self, kind: &'static Kind, kube_namespace: &str, object: &Value) -> Result<Created, CallError> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let writing = self.writing(kind, kube_namespace, name);
        match self.inner.create(kind, kube_namespace, object).await {
            Ok(Created::Made(made)) => {
                self.take(kind, kube_namespace, &made);
                writing.answered();
                Ok(Created::Made(made))
            }
            Ok(created) => Ok(created),
            Err(failure) => Err(writing.failed(failure)),
        }
    }

    async fn apply(
        &self,
        kind: &'static Kind,
        kube_namespace: &str,
        object: &Value,
        force: bool,
    ) -> Result<Applied, CallError> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let writing = self.writing(kind, kube_namespace, name);
        match self.inner.apply(kind, kube_namespace, object, force).await {
            Ok(Applied::Done(done)) => {
                self.take(kind, kube_namespace, &done);
                writing.answered();
                Ok(Applied::Done(done))
            }
            Ok(applied) => Ok(applied),
            Err(failure) => Err(writing.failed(failure)),
        }
    }

    async fn adopt(
        &self,
        kind: &'static Kind,
        kube_namespace: &str,
        name: &str,
        patch: Value,
    ) -> Result<Answer, CallError> {
        let write = self.inner.adopt(kind, kube_namespace, name, patch);
        self.bound(kind, kube_namespace, name, write, |_| true).await
    }

    async fn annotate(
        &self,
        kind: &'static Kind,
        kube_namespace: &str,
        name: &str,
        patch: Value,
    ) -> Result<Answer, CallError> {
        let write = self.inner.annotate(kind, kube_namespace, name, patch);
        self.bound(kind, kube_namespace, name, write, |_| true).await
    }

    async fn delete(&self, kind: &'static Kind, kube_namespace: &str, live: &Value) -> Result<Answer, CallError> {
        let name = live["metadata"]["name"].as_str().unwrap_or_default();
        let write = self.inner.delete(kind, kube_namespace, live);
        let is_left = |object: &Value| object["metadata"]["deletionTimestamp"].is_string();
        self.bound(kind, kube_namespace, name, write, is_left).await
    }

    async fn kube_namespace(&self, name: &str) -> Result<Option<Value>, CallError> {
        let ask = || self.inner.kube_namespace(name);
        self.kube_namespaces.of(name.to_string(), ask).await
    }

    async fn events(&self, kube_namespace: &str, selector: &str) -> Result<Vec<Value>, CallError> {
        self.inner.events(kube_namespace, selector).await
    }

    async fn last_lines(&self, kube_namespace: &str, log: &LogRequest<'_>) -> Result<Option<String>, CallError> {
        self.inner.last_lines(kube_namespace, log).await
    }

    fn looked_at(&self, scope: &Scope, kube_namespace: &str) {
        self.place(kube_namespace).shelf.store().looked_at(scope);
    }

    fn is_watched(&self) -> bool {
        true
    }

    fn tells_of_all(&self, kube_namespace: &str) -> bool {
        let place = self.place(kube_namespace);
        let follows = |standing: &watch::Receiver<Standing>| matches!(*standing.borrow(), Standing::Follows);
        place.standings.values().all(follows)
    }
}

/// Names of objects that bear no owner's label; `None` where there are too many to be asked for together.
type Strangers = Option<Arc<BTreeSet<String>>>;

/// What was answered a moment ago, and is answered to whoever asks meanwhile.
struct Memo<K, V>(Mutex<HashMap<K, Cell<V>>>);

/// One answer. Whoever asks holds it.
type Cell<V> = Arc<tokio::sync::Mutex<Option<Known<V>>>>;

struct Known<V> {
    asked: Instant,
    answered: Instant,
    answer: Result<V, CallError>,
}

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq, V: Clone> Memo<K, V> {
    /// Those who come while somebody asks wait for his answer, and have it, also where it is none: one after the other they would
    /// each wait as long.
    async fn of<F>(&self, key: K, ask: impl FnOnce() -> F) -> Result<V, CallError>
    where
        F: Future<Output = Result<V, CallError>>,
    {
        let came = Instant::now();
        let cell = guard(&self.0).entry(key).or_default().clone();
        let mut cell = cell.lock().await;
        let holds = |known: &&Known<V>| match known.answer {
            Ok(_) => known.asked.elapsed() < REMEMBERED,
            Err(_) => known.answered >= came,
        };
        if let Some(known) = cell.as_ref().filter(holds) {
            return known.answer.clone();
        }
        let asked = Instant::now();
        let answer = ask().await;
        *cell = Some(Known {
            asked,
            answered: Instant::now(),
            answer: answer.clone(),
        });
        answer
    }
}

fn guard<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
