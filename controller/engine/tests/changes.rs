//! A controller over a target that tells what changes there, on tokio's paused clock.

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use harness::manifests::{apply, hello, with};
use portolan_core::observation::{Held, Observation};
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use portolan_engine::controller::{Assignment, Board, Changes, Controller, Listener, Settings, Standing};
use portolan_engine::journal::{AppKey, MemoryJournal};
use portolan_engine::{Engine, EngineError, EngineEvent, Outcome, Work};
use portolan_provider_api::{Accepted, CallError, Calls, OpenOperation, Provider, WriteRequest};
use portolan_provider_fake::kinds::SERVICE;
use portolan_provider_fake::{Called, FakeCloud, FakeImages, FakeShape, object, provider};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

const HOUR: Duration = Duration::from_secs(60 * 60);
const SOON: Duration = Duration::from_secs(1);

/// The cloud in memory, as if somebody watched it.
struct Watched {
    inner: Arc<dyn Calls>,
    changes: Arc<Changes>,
    /// Of so many looks something changes right behind them.
    overtaken: Arc<AtomicUsize>,
}

#[async_trait]
impl Calls for Watched {
    async fn realm(&self) -> Result<String, CallError> {
        self.inner.realm().await
    }

    fn is_told_of_changes(&self) -> bool {
        true
    }

    async fn preflight(&self, scope: &Scope, writes: &[WriteRequest]) -> Result<Vec<CallError>, CallError> {
        self.inner.preflight(scope, writes).await
    }

    async fn observe(
        &self,
        scope: &Scope,
        wanted: &[ResourceId],
        open: &[OpenOperation],
    ) -> Result<Observation, CallError> {
        let seen = self.inner.observe(scope, wanted, open).await;
        let count_down = |left: usize| left.checked_sub(1);
        if self
            .overtaken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count_down)
            .is_ok()
        {
            self.changes.tell(AppKey {
                namespace: scope.namespace.clone(),
                app: scope.app.clone(),
                target: scope.target.clone(),
            });
            // The controller's loop hears of it before the look is judged.
            sleep(Duration::from_millis(1)).await;
        }
        seen
    }

    async fn create(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        self.inner.create(scope, request).await
    }

    async fn update(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        self.inner.update(scope, request).await
    }

    async fn delete(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        self.inner.delete(scope, request).await
    }

    async fn note(&self, scope: &Scope, held: Option<&Held>) -> Result<(), CallError> {
        self.inner.note(scope, held).await
    }
}

struct Silent;

impl Listener for Silent {
    fn event(&self, _key: &AppKey, _event: &EngineEvent) {}

    fn ended(&self, _key: &AppKey, _work: &Arc<Work>, _result: &Result<Outcome, EngineError>) {}
}

struct World {
    cloud: FakeCloud,
    changes: Arc<Changes>,
    overtaken: Arc<AtomicUsize>,
    board: Arc<Board>,
    _stop: watch::Sender<bool>,
}

impl World {
    fn start(settings: Settings, manifests: &[Value]) -> Self {
        let began = Instant::now();
        let cloud = FakeCloud::new(Arc::new(move || {
            u64::try_from(began.elapsed().as_millis()).expect("a short test")
        }));
        let plain = provider(cloud.clone(), FakeShape::default());
        let (changes, overtaken) = (Arc::<Changes>::default(), Arc::<AtomicUsize>::default());
        let provider = Provider {
            calls: Arc::new(Watched {
                inner: plain.calls,
                changes: changes.clone(),
                overtaken: overtaken.clone(),
            }),
            ..plain
        };
        let assignment = |manifest: &Value| {
            let Work {
                app, target, folder, ..
            } = apply(manifest.clone());
            let work = Arc::new(Work::keep(app, target, folder));
            let provider = provider.clone();
            (
                work.key(),
                Assignment {
                    provider,
                    work,
                    suspended: false,
                },
            )
        };
        let (assign, assigned) = watch::channel(Arc::new(manifests.iter().map(assignment).collect()));
        let engine = Engine::new(Arc::new(MemoryJournal::default()), Arc::new(FakeImages::default()));
        let controller = Controller::new(Arc::new(engine), settings, Arc::new(Silent)).told_of(changes.clone());
        let board = controller.board();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            let _assign = assign;
            controller.run(assigned, stopped).await.expect("a journal");
        });
        Self {
            cloud,
            changes,
            overtaken,
            board,
            _stop: stop,
        }
    }

    /// Waits for the end of the turn of the one app, which has begun by then.
    async fn converge(&self) {
        sleep(SOON / 2).await;
        while self.standing("hello") != Standing::Converged {
            sleep(SOON / 10).await;
        }
    }

    fn looks(&self) -> usize {
        let calls = self.cloud.calls();
        calls
            .iter()
            .filter(|call| matches!(call, Called::Observe { .. }))
            .count()
    }

    fn standing(&self, app: &str) -> Standing {
        let apps = self.board.apps();
        apps.iter().find(|one| one.app == app).expect("it is kept").standing
    }
}

fn service(manifest: &Value) -> ResourceId {
    let work = apply(manifest.clone());
    let scope = portolan_core::resolve::scope_of(&work.resolve_input("fake-account"));
    object(&scope, SERVICE, "web")
}

#[tokio::test(start_paused = true)]
async fn what_rests_is_looked_at_once_a_change_is_told_and_seldom_besides() {
    let world = World::start(Settings::default(), &[hello()]);
    sleep(HOUR).await;
    let before = world.looks();
    sleep(HOUR).await;
    let quiet = world.looks() - before;
    assert!((5..=6).contains(&quiet), "{quiet} looks in an hour");
    let service = service(&hello());
    world.cloud.remove_by_hand(&service);
    let key = apply(hello()).key();
    for _ in 0..50 {
        world.changes.tell(key.clone());
    }
    let before = world.looks();
    sleep(SOON).await;
    assert!(world.cloud.objects().contains_key(&service), "it is back");
    assert!(
        world.looks() - before < 10,
        "what changes together is looked at together"
    );
}

#[tokio::test(start_paused = true)]
async fn what_has_just_been_written_is_looked_at_again_only_where_something_changes_and_not_at_once() {
    let world = World::start(Settings::default(), &[hello()]);
    world.converge().await;
    let before = world.looks();
    sleep(Duration::from_secs(5 * 60)).await;
    assert_eq!(world.looks(), before, "nobody has to find out whether it stays so");

    world.cloud.remove_by_hand(&service(&hello()));
    world.changes.tell(apply(hello()).key());
    world.converge().await;
    let before = world.looks();
    world.changes.tell(apply(hello()).key());
    sleep(SOON).await;
    assert_eq!(world.looks(), before, "it may be what was just written");
    sleep(Duration::from_secs(15)).await;
    assert!(world.looks() > before);
}

#[tokio::test(start_paused = true)]
async fn a_change_behind_the_last_look_of_a_turn_is_looked_at_in_the_next() {
    let world = World::start(Settings::default(), &[hello()]);
    sleep(Duration::from_secs(5 * 60)).await;
    for overtaken in [1, 3] {
        let before = world.looks();
        world.overtaken.store(overtaken, Ordering::Relaxed);
        world.changes.tell(apply(hello()).key());
        sleep(Duration::from_secs(5)).await;
        assert_eq!(
            world.looks() - before,
            overtaken + 1,
            "{overtaken} looks were overtaken"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_only_watches_keeps_nobody_waiting() {
    let settings = Settings {
        at_once: 1,
        ..Settings::default()
    };
    let stuck = with(hello(), "/spec/services/web/env", json!({ "FAKE_NEVER_READY": "yes" }));
    let other = with(hello(), "/metadata/name", json!("other"));
    let world = World::start(settings, &[stuck, other]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.standing("hello"), Standing::Reconciling);
    assert_eq!(world.standing("other"), Standing::Converged);
}
