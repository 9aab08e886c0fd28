//! The facade over a cloud in memory, on tokio's paused clock, with the journal in a real file.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use portolan_core::observation::{Held, Observation};
use portolan_core::plan::{Plan, Scope};
use portolan_core::resource::ResourceId;
use portolan_engine::journal::SqliteJournal;
use portolan_engine::{Audience, Engine, EngineError, EngineEvent, OutcomeKind, Work};
use portolan_provider_api::{Accepted, CallError, Calls, OpenOperation, Provider, WriteRequest};
use portolan_provider_fake::{FakeCloud, FakeImages, FakeShape, provider};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Remembers what it was told.
#[derive(Default)]
pub struct Listener(Mutex<Vec<EngineEvent>>);

#[async_trait]
impl Audience for Listener {
    fn event(&self, event: &EngineEvent) {
        self.0.lock().expect("nobody panicked").push(event.clone());
    }

    async fn approve(&self, _plan: &Plan, _reasons: &[String]) -> bool {
        true
    }
}

pub struct Bench {
    _folder: tempfile::TempDir,
    pub journal: Arc<SqliteJournal>,
    pub engine: Engine,
    pub cloud: FakeCloud,
    pub provider: Provider,
    pub listener: Arc<Listener>,
    _go_on: watch::Sender<bool>,
    pub images: FakeImages,
    pub stop: watch::Receiver<bool>,
}

impl Bench {
    pub fn new() -> Self {
        Self::in_folder(tempfile::tempdir().expect("a folder"))
    }

    /// With the journal that is there.
    pub fn in_folder(folder: tempfile::TempDir) -> Self {
        let journal = Arc::new(SqliteJournal::open(folder.path()).expect("a journal"));
        let began = Instant::now();
        let clock = Arc::new(move || u64::try_from(began.elapsed().as_millis()).expect("a short test"));
        let cloud = FakeCloud::new(clock);
        let images = FakeImages::default();
        let (go_on, stop) = watch::channel(false);
        Self {
            engine: Engine::new(journal.clone(), Arc::new(images.clone())),
            provider: provider(cloud.clone(), FakeShape::default()),
            listener: Arc::default(),
            _folder: folder,
            _go_on: go_on,
            journal,
            cloud,
            images,
            stop,
        }
    }

    pub async fn reconcile(&self, work: Work) -> Result<OutcomeKind, EngineError> {
        let outcome = self
            .engine
            .reconcile(&self.provider, work, self.listener.clone(), self.stop.clone());
        outcome.await.map(|outcome| outcome.kind)
    }

    /// From now on the provider takes its time.
    pub fn slow_down(&mut self, slow: Slow) {
        self.provider.calls = Arc::new(SlowCalls {
            cloud: self.cloud.clone(),
            slow: Mutex::new(slow),
        });
    }

    pub fn events(&self) -> Vec<EngineEvent> {
        self.listener.0.lock().expect("nobody panicked").clone()
    }
}

/// How long calls take before they reach the cloud.
#[derive(Clone, Debug, Default)]
pub struct Slow {
    /// The next looks, one each; those after them take no time.
    pub looks: Vec<Duration>,
    pub writes: Duration,
}

struct SlowCalls {
    cloud: FakeCloud,
    slow: Mutex<Slow>,
}

impl SlowCalls {
    fn next_look(&self) -> Duration {
        let mut slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        match slow.looks.is_empty() {
            true => Duration::ZERO,
            false => slow.looks.remove(0),
        }
    }

    async fn write(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        let takes = self.slow.lock().unwrap_or_else(PoisonError::into_inner).writes;
        sleep(takes).await;
        self.cloud.write(scope, request)
    }
}

#[async_trait]
impl Calls for SlowCalls {
    async fn realm(&self) -> Result<String, CallError> {
        self.cloud.realm()
    }

    async fn preflight(&self, _scope: &Scope, writes: &[WriteRequest]) -> Result<Vec<CallError>, CallError> {
        self.cloud.preflight(writes)
    }

    async fn observe(
        &self,
        scope: &Scope,
        wanted: &[ResourceId],
        open: &[OpenOperation],
    ) -> Result<Observation, CallError> {
        sleep(self.next_look()).await;
        self.cloud.observe(scope, wanted, open)
    }

    async fn create(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        self.write(scope, request).await
    }

    async fn update(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        self.write(scope, request).await
    }

    async fn delete(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        self.write(scope, request).await
    }

    async fn note(&self, scope: &Scope, held: Option<&Held>) -> Result<(), CallError> {
        self.cloud.note(scope, held)
    }
}
