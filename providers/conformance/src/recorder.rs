//! What the engine asks of a provider, written down on the way.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use portolan_core::observation::{Held, Observation};
use portolan_core::plan::{Scope, Verb};
use portolan_core::resource::ResourceId;
use portolan_provider_api::{Accepted, CallError, Calls, OpenOperation, Provider, WriteRequest};

/// The provider's calls, each remembered with its answer.
pub struct Recorder {
    calls: Arc<dyn Calls>,
    writes: Mutex<Vec<Written>>,
    /// Long operations that looks were asked about, look by look.
    looks: Mutex<Vec<Vec<OpenOperation>>>,
}

/// A write and what came of it.
#[derive(Clone, Debug)]
pub struct Written {
    pub verb: Verb,
    pub id: ResourceId,
    pub answer: Result<Accepted, CallError>,
}

impl Recorder {
    /// The provider, as seen through a recorder.
    pub fn around(provider: Provider) -> (Provider, Arc<Self>) {
        let recorder = Arc::new(Self {
            calls: provider.calls,
            writes: Mutex::default(),
            looks: Mutex::default(),
        });
        let calls = recorder.clone();
        (Provider { calls, ..provider }, recorder)
    }

    pub fn writes(&self) -> Vec<Written> {
        guard(&self.writes).clone()
    }

    pub fn looks(&self) -> Vec<Vec<OpenOperation>> {
        guard(&self.looks).clone()
    }

    fn write_down(&self, request: &WriteRequest, answer: &Result<Accepted, CallError>) {
        guard(&self.writes).push(Written {
            verb: request.verb,
            id: request.id.clone(),
            answer: answer.clone(),
        });
    }
}

#[async_trait]
impl Calls for Recorder {
    async fn realm(&self) -> Result<String, CallError> {
        self.calls.realm().await
    }

    fn is_told_of_changes(&self) -> bool {
        self.calls.is_told_of_changes()
    }

    async fn preflight(&self, scope: &Scope, writes: &[WriteRequest]) -> Result<Vec<CallError>, CallError> {
        self.calls.preflight(scope, writes).await
    }

    async fn observe(
        &self,
        scope: &Scope,
        wanted: &[ResourceId],
        open: &[OpenOperation],
    ) -> Result<Observation, CallError> {
        guard(&self.looks).push(open.to_vec());
        self.calls.observe(scope, wanted, open).await
    }

    async fn create(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        let answer = self.calls.create(scope, request).await;
        self.write_down(request, &answer);
        answer
    }

    async fn update(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        let answer = self.calls.update(scope, request).await;
        self.write_down(request, &answer);
        answer
    }

    async fn delete(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        let answer = self.calls.delete(scope, request).await;
        self.write_down(request, &answer);
        answer
    }

    async fn note(&self, scope: &Scope, held: Option<&Held>) -> Result<(), CallError> {
        self.calls.note(scope, held).await
    }
}

fn guard<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
