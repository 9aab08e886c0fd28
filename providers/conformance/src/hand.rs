//! One app by hand: the calls that an engine would make, each at the moment that a check chooses.

use std::time::Duration;

use portolan_core::observation::{Observation, ObservedResource, Ownership, ResourceState};
use portolan_core::plan::{FieldChange, Scope, Verb};
use portolan_core::resource::{Open, Resource, ResourceId, Resources, close_references, open_values};
use portolan_provider_api::{Accepted, CallError, ErrorClass, WriteRequest};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::account::Account;
use crate::bench::Bench;

pub struct Hand<'a, A> {
    bench: &'a Bench<A>,
    pub scope: Scope,
    pub resources: Resources,
}

/// The first look after a call comes soon, for platforms that answer at once.
const SOON: Duration = Duration::from_millis(5);
const LATER: Duration = Duration::from_secs(1);

impl<'a, A: Account> Hand<'a, A> {
    pub fn new(bench: &'a Bench<A>, scope: Scope, resources: Resources) -> Self {
        Self {
            bench,
            scope,
            resources,
        }
    }

    /// What others need before what needs them.
    pub fn in_order(&self) -> Vec<ResourceId> {
        let mut ordered = Vec::new();
        for id in self.resources.keys() {
            self.place(id, &mut ordered);
        }
        ordered
    }

    fn place(&self, id: &ResourceId, ordered: &mut Vec<ResourceId>) {
        if ordered.contains(id) {
            return;
        }
        let resource = &self.resources[id];
        resource.edges.iter().for_each(|edge| self.place(&edge.to, ordered));
        for (_, open) in open_values(&resource.body) {
            if let Open::Ref { resource, .. } = open {
                self.place(&resource, ordered);
            }
        }
        ordered.push(id.clone());
    }

    /// Those that the provider deletes: the others belong to nobody.
    pub fn in_order_of_deletes(&self) -> Vec<ResourceId> {
        let mut ids = self.in_order();
        ids.retain(|id| self.bench.provider.shape.is_pruned(id));
        ids.reverse();
        ids
    }

    /// Those that stand in the account, and in no store that is everybody's.
    pub fn placed(&self) -> Vec<ResourceId> {
        let mut ids = self.in_order();
        ids.retain(|id| A::place(&self.scope, id).is_some());
        ids
    }

    pub async fn bring_up(&self) {
        for id in self.in_order() {
            let request = self.request(Verb::Create, &id).await;
            self.sent(&request).await;
            self.settled(&id).await;
        }
    }

    /// A look that tells the whole.
    pub async fn look(&self) -> Observation {
        let wanted: Vec<ResourceId> = self.resources.keys().cloned().collect();
        let begun = Instant::now();
        loop {
            match self.bench.provider.calls.observe(&self.scope, &wanted, &[]).await {
                Ok(seen) if seen.complete => return seen,
                Err(error) if !passes(&error) => panic!("{}: a look fails: {error:?}", A::NAME),
                answer => assert!(
                    self.may_go_on(begun),
                    "{}: no look tells the whole: {answer:?}",
                    A::NAME
                ),
            }
            sleep(SOON).await;
        }
    }

    pub async fn seen(&self, id: &ResourceId) -> Option<ObservedResource> {
        self.look().await.resources.remove(id)
    }

    /// Looks until it is `wanted`; the failure says what it was waited for.
    pub async fn until<T>(
        &self,
        id: &ResourceId,
        what: &str,
        wanted: impl Fn(Option<&ObservedResource>) -> Option<T>,
    ) -> T {
        let (begun, mut pause) = (Instant::now(), SOON);
        loop {
            let seen = self.seen(id).await;
            if let Some(found) = wanted(seen.as_ref()) {
                return found;
            }
            let about = self.bench.about(id);
            assert!(self.may_go_on(begun), "{about}: it is not {what}, but {seen:#?}");
            sleep(pause).await;
            pause = (pause * 2).min(LATER);
        }
    }

    fn may_go_on(&self, begun: Instant) -> bool {
        begun.elapsed() < self.bench.patience()
    }

    /// Ours, as it was asked for, and as far as it comes.
    pub async fn settled(&self, id: &ResourceId) -> ObservedResource {
        let resource = &self.resources[id];
        let is_settled = |seen: &&ObservedResource| {
            let rests = matches!(seen.state, ResourceState::Ready | ResourceState::Completed);
            let ours = matches!(seen.ownership, Ownership::Ours { .. }) && !seen.retained;
            ours && rests && (resource.revision.is_none() || seen.revision == resource.revision)
        };
        self.until(id, "ours and settled", |seen| seen.filter(is_settled).cloned())
            .await
    }

    pub async fn gone(&self, id: &ResourceId) {
        let gone = |seen: Option<&ObservedResource>| seen.is_none_or(|seen| seen.retained).then_some(());
        self.until(id, "gone", gone).await;
    }

    /// The write, once all that it needs is there.
    pub async fn request(&self, verb: Verb, id: &ResourceId) -> WriteRequest {
        let resource = &self.resources[id];
        if verb != Verb::Delete {
            for edge in &resource.edges {
                let revision = self.resources.get(&edge.to).and_then(|to| to.revision.clone());
                let meets = |seen: Option<&ObservedResource>| {
                    seen.is_some_and(|seen| !seen.retained && seen.meets(edge.condition, revision.as_deref()))
                        .then_some(())
                };
                self.until(&edge.to, "as far as others need it", meets).await;
            }
        }
        WriteRequest {
            verb,
            id: id.clone(),
            body: match verb {
                Verb::Delete => Value::Null,
                Verb::Create | Verb::Update => self.closed(resource).await.body,
            },
            revision: resource.revision.clone(),
            etag: None,
            generation: 1,
            idempotency_token: format!("{verb:?}-{id}"),
            take_over: false,
            erase_data: false,
        }
    }

    /// With every reference closed by what is observed.
    pub async fn closed(&self, resource: &Resource) -> Resource {
        let (begun, mut pause) = (Instant::now(), SOON);
        loop {
            let seen = self.look().await;
            let output = |id: &ResourceId, output: &str| seen.resources.get(id)?.outputs.get(output).cloned();
            let body = close_references(&resource.body, &output);
            let open = open_values(&body);
            if open.is_empty() {
                return Resource {
                    body,
                    ..resource.clone()
                };
            }
            let about = self.bench.about(&resource.id);
            assert!(
                self.may_go_on(begun),
                "{about}: nothing that is observed answers {open:?}"
            );
            sleep(pause).await;
            pause = (pause * 2).min(LATER);
        }
    }

    /// One call, as it is answered.
    pub async fn call(&self, request: &WriteRequest) -> Result<Accepted, CallError> {
        let calls = &self.bench.provider.calls;
        match request.verb {
            Verb::Create => calls.create(&self.scope, request).await,
            Verb::Update => calls.update(&self.scope, request).await,
            Verb::Delete => calls.delete(&self.scope, request).await,
        }
    }

    /// So, asked again for as long as the platform asks for a pause.
    pub async fn answered(&self, request: &WriteRequest) -> Result<Accepted, CallError> {
        loop {
            match self.call(request).await {
                Err(error) if passes(&error) => sleep(after(&error)).await,
                answer => return answer,
            }
        }
    }

    /// One that succeeds: only what passes is tried again.
    pub async fn sent(&self, request: &WriteRequest) -> Accepted {
        let begun = Instant::now();
        loop {
            match self.call(request).await {
                Ok(accepted) => return accepted,
                Err(error) => {
                    let about = self.bench.about(&request.id);
                    let goes_on = passes(&error) && self.may_go_on(begun);
                    assert!(goes_on, "{about}: {:?} is refused: {error:?}", request.verb);
                    sleep(after(&error)).await;
                }
            }
        }
    }

    /// One that succeeds once whatever else is under way has ended.
    pub async fn sent_at_last(&self, request: &WriteRequest) {
        let begun = Instant::now();
        while let Err(error) = self.call(request).await {
            let about = self.bench.about(&request.id);
            let goes_on = passes(&error) || error.class == ErrorClass::Conflict;
            assert!(
                goes_on && self.may_go_on(begun),
                "{about}: {:?} is refused: {error:?}",
                request.verb
            );
            sleep(after(&error)).await;
        }
    }

    /// What an update to the resource would change now.
    pub async fn changes(&self, resource: &Resource) -> Vec<FieldChange> {
        let seen = self.seen(&resource.id).await;
        let seen = seen.unwrap_or_else(|| panic!("{}: it is not observed", self.bench.about(&resource.id)));
        self.bench.provider.shape.diff(&self.closed(resource).await, &seen)
    }
}

pub fn passes(error: &CallError) -> bool {
    matches!(error.class, ErrorClass::Retry { .. })
}

pub fn after(error: &CallError) -> Duration {
    match error.class {
        ErrorClass::Retry { after: Some(after) } => after,
        _ => Duration::from_millis(50),
    }
}
