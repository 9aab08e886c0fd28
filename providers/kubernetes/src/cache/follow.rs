//! One kind, listed and then watched for as long as somebody holds its shelf: what has come goes into the store, and how far
//! it can be believed is told beside it.
//!
//! A watch ends by itself after a minute and goes on from where it was, so that a connection that died in silence is found out
//! by then. Where it has lost its place (410), or has failed, nobody believes the store until everything is listed anew: what
//! happened while nobody watched would come only after the first looks.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use portolan_provider_api::{CallError, ErrorClass};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::store::{Store, Subject};
use crate::client::{KubeCluster, WatchEnd, Watched};
use crate::error;
use crate::kinds::Kind;

/// How long one watch lasts, and how much longer its end may take to come.
const WATCH: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(10);

/// Between tries, where one has failed: the first and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(20)];
/// What has gone well for so long begins with the first pause again.
const STEADY: Duration = Duration::from_secs(5);
/// Until a permission that was lacking is asked for again.
const DENIED: Duration = Duration::from_secs(5 * 60);

/// Until a kind that nobody has installed is looked for again.
const ABSENT: Duration = Duration::from_secs(5 * 60);

/// Told whose objects have changed.
pub type Tell = Arc<dyn Fn(Subject) + Send + Sync>;

/// What only goes on is told of no sooner, once for all that has happened by then.
const STEPS: Duration = Duration::from_secs(2);

/// The objects of one KubeNamespace, or of all, and how far they can be believed.
pub struct Shelf {
    store: Mutex<Store>,
    tell: Tell,
    /// Whose objects go on, and are to be told of.
    going: Mutex<BTreeSet<Subject>>,
    goes_on: Notify,
}

/// How far the store can be believed about one kind.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It is being listed.
    Listing,
    Follows,
    Failed(CallError),
    /// Nobody may watch it here: it is listed for each look.
    Unwatched,
}

impl Shelf {
    pub fn new(tell: Tell) -> Self {
        Self {
            store: Mutex::default(),
            tell,
            going: Mutex::default(),
            goes_on: Notify::new(),
        }
    }

    pub fn store(&self) -> MutexGuard<'_, Store> {
        // A store is whole after every call.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, changed: impl IntoIterator<Item = Subject>) {
        for subject in changed {
            self.going().remove(&subject);
            (self.tell)(subject);
        }
    }

    /// Later, unless something else is told of it before.
    fn tell_steps(&self, changed: Option<Subject>) {
        if let Some(subject) = changed
            && self.going().insert(subject)
        {
            self.goes_on.notify_one();
        }
    }

    /// Tells of what goes on, for ever.
    pub async fn tell_of_steps(self: Arc<Self>) {
        loop {
            self.goes_on.notified().await;
            sleep(STEPS).await;
            let going = std::mem::take(&mut *self.going());
            going.into_iter().for_each(|subject| (self.tell)(subject));
        }
    }

    fn going(&self) -> MutexGuard<'_, BTreeSet<Subject>> {
        self.going.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One kind in one KubeNamespace, or in all.
pub struct Follower {
    pub cluster: Arc<KubeCluster>,
    pub kind: &'static Kind,
    pub kube_namespace: Option<String>,
    pub shelf: Arc<Shelf>,
    pub standing: watch::Sender<Standing>,
}

impl Follower {
    /// For ever.
    pub async fn run(self) {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let failure = match self.list().await {
                Ok(version) => self.watch(version).await,
                Err(failure) if self.kind.is_installed() && failure.code == error::NOT_FOUND => {
                    self.nobody_has_any().await;
                    None
                }
                Err(failure) => Some(failure),
            };
            if began.elapsed() > STEADY {
                failures = 0;
            }
            match failure {
                Some(failure) => self.failed(failure, &mut failures).await,
                None => drop(self.standing.send_replace(Standing::Listing)),
            }
        }
    }

    /// Nobody has installed such a kind. Whatever is known of it later was written by ourselves, until it is looked for again.
    async fn nobody_has_any(&self) {
        let went = {
            let mut store = self.shelf.store();
            let went = store.end_listing(self.kind, u64::MAX);
            store.reached(self.kind, 0);
            went
        };
        self.shelf.tell(went);
        self.standing.send_replace(Standing::Follows);
        sleep(ABSENT).await;
    }

    /// Answers the version that it is as of.
    async fn list(&self) -> Result<String, CallError> {
        let (kind, place) = (self.kind, self.kube_namespace.as_deref());
        self.shelf.store().begin_listing(kind);
        let mut next = None;
        loop {
            let page = self.cluster.page(kind, place, next.as_deref()).await?;
            for object in page.items.into_iter().flatten() {
                let changed = self.shelf.store().take(kind, object);
                self.shelf.tell(changed);
            }
            next = page.metadata.next.filter(|next| !next.is_empty());
            if next.is_none() {
                let version = page.metadata.version;
                let went = self
                    .shelf
                    .store()
                    .end_listing(kind, version.parse().unwrap_or(u64::MAX));
                self.shelf.tell(went);
                return Ok(version);
            }
        }
    }

    /// Until it has lost its place, or has failed: answers the failure then.
    async fn watch(&self, mut version: String) -> Option<CallError> {
        loop {
            let began = Instant::now();
            match self.follow(&mut version).await {
                Ok(()) if began.elapsed() > PAUSES[0] => {}
                Ok(()) => sleep(PAUSES[0]).await,
                Err(WatchEnd::Expired) => return None,
                Err(WatchEnd::Failed(failure)) => return Some(failure),
            }
        }
    }

    /// One watch, from `version` on.
    async fn follow(&self, version: &mut String) -> Result<(), WatchEnd> {
        let (kind, place) = (self.kind, self.kube_namespace.as_deref());
        let until = Instant::now() + WATCH + GRACE;
        let silent = |_| WatchEnd::Failed(error::lost("a watch is silent"));
        let events = timeout_at(until, self.cluster.watch(kind, place, version, WATCH)).await;
        let mut events = pin!(events.map_err(silent)??);
        self.standing.send_replace(Standing::Follows);
        while let Some(event) = timeout_at(until, events.next()).await.map_err(silent)? {
            let changed = match event? {
                Watched::Seen(object) => {
                    version.clone_from(&object.metadata.resource_version);
                    let goes_on = object.goes_on(kind);
                    let changed = {
                        let mut store = self.shelf.store();
                        store.reached(kind, object.version());
                        store.take(kind, object)
                    };
                    match goes_on {
                        true => {
                            self.shelf.tell_steps(changed);
                            None
                        }
                        false => changed,
                    }
                }
                Watched::Deleted(object) => {
                    version.clone_from(&object.metadata.resource_version);
                    let mut store = self.shelf.store();
                    store.reached(kind, object.version());
                    store.deleted(kind, &object)
                }
                Watched::Reached(reached) => {
                    *version = reached;
                    None
                }
            };
            self.shelf.tell(changed);
        }
        Ok(())
    }

    async fn failed(&self, failure: CallError, failures: &mut u32) {
        let kind = self.kind.name;
        let pause = match failure.class {
            ErrorClass::Denied => {
                tracing::warn!(kind, %failure, "it may not be watched, and is listed for each look");
                self.standing.send_replace(Standing::Unwatched);
                DENIED
            }
            class => {
                tracing::warn!(kind, %failure, "it cannot be watched; it is tried again");
                self.standing.send_replace(Standing::Failed(failure));
                let pause = PAUSES[0].saturating_mul(1 << (*failures).min(16)).min(PAUSES[1]);
                match class {
                    ErrorClass::Retry { after: Some(after) } => pause.max(after),
                    _ => pause,
                }
            }
        };
        *failures += 1;
        sleep(pause).await;
    }
}
