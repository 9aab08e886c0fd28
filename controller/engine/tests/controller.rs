//! The continuous mode over a cloud in memory, on tokio's paused clock.

mod harness;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::manifests::{apply, failing, hello, with};
use portolan_core::manifest::Approval;
use portolan_engine::controller::{
    AppReport, Assignment, Assignments, Board, Controller, Listener, Settings, Standing,
};
use portolan_engine::journal::{AppKey, Journal, MemoryJournal, Order, Promoted};
use portolan_engine::machine::Timestamp;
use portolan_engine::{Engine, EngineError, EngineEvent, Outcome, Wish, Work};
use portolan_provider_api::Provider;
use portolan_provider_fake::kinds::SERVICE;
use portolan_provider_fake::{Called, FakeCloud, FakeImages, FakeShape, object, provider};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// The work of each turn, as it was told.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Arc<Work>>>>);

impl Listener for Heard {
    fn event(&self, _key: &AppKey, _event: &EngineEvent) {}

    fn ended(&self, _key: &AppKey, work: &Arc<Work>, _result: &Result<Outcome, EngineError>) {
        self.0.lock().expect("nobody panicked").push(work.clone());
    }
}

/// What outlives a controller: the cloud and the journal.
struct World {
    cloud: FakeCloud,
    journal: MemoryJournal,
    images: FakeImages,
    provider: Provider,
    approval: Approval,
}

fn assigned(provider: Provider, work: Arc<Work>) -> Assignment {
    Assignment {
        provider,
        work,
        suspended: false,
    }
}

/// A controller that runs.
struct Running {
    board: Arc<Board>,
    heard: Heard,
    assignments: watch::Sender<Assignments>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl World {
    fn new() -> Self {
        let began = Instant::now();
        let cloud = FakeCloud::new(Arc::new(move || {
            u64::try_from(began.elapsed().as_millis()).expect("a short test")
        }));
        Self {
            provider: provider(cloud.clone(), FakeShape::default()),
            cloud,
            journal: MemoryJournal::default(),
            images: FakeImages::default(),
            approval: Approval::default(),
        }
    }

    fn assignments(&self, manifests: &[Value]) -> Assignments {
        let assignment = |manifest: &Value| {
            let Work {
                app,
                mut target,
                folder,
                ..
            } = apply(manifest.clone());
            Arc::make_mut(&mut target).spec.approval = self.approval;
            let work = Arc::new(Work::keep(app, target, folder));
            let provider = self.provider.clone();
            (work.key(), assigned(provider, work))
        };
        Arc::new(manifests.iter().map(assignment).collect())
    }

    fn start(&self, manifests: &[Value]) -> Running {
        self.start_with(Settings::default(), manifests)
    }

    fn start_with(&self, settings: Settings, manifests: &[Value]) -> Running {
        let engine = Engine::new(Arc::new(self.journal.clone()), Arc::new(self.images.clone()));
        let heard = Heard::default();
        let controller = Controller::new(Arc::new(engine), settings, Arc::new(heard.clone()));
        let (assignments, assigned) = watch::channel(self.assignments(manifests));
        let (stop, stopped) = watch::channel(false);
        Running {
            board: controller.board(),
            heard,
            assignments,
            stop,
            task: tokio::spawn(async move { controller.run(assigned, stopped).await.expect("a journal") }),
        }
    }

    fn writes(&self) -> usize {
        self.cloud.writes().len()
    }

    fn give(&self, manifest: &Value, order: Order) {
        let key = apply(manifest.clone()).key();
        self.journal.give(&key, order).expect("a journal");
    }

    fn service(&self, manifest: &Value) -> portolan_core::resource::ResourceId {
        let work = apply(manifest.clone());
        let scope = portolan_core::resolve::scope_of(&work.resolve_input("fake-account"));
        object(&scope, SERVICE, "web")
    }

    fn image(&self, manifest: &Value) -> Option<Value> {
        let objects = self.cloud.objects();
        objects
            .get(&self.service(manifest))
            .map(|object| object.body["image"].clone())
    }
}

impl Running {
    fn report(&self) -> AppReport {
        self.board.apps().pop().expect("there is an app")
    }

    /// The work of the last turn that has ended.
    fn last_told(&self) -> Arc<Work> {
        let heard = self.heard.0.lock().expect("nobody panicked");
        heard.last().expect("there was a turn").clone()
    }

    fn bring(&self, world: &World, manifests: &[Value]) {
        self.assignments.send_replace(world.assignments(manifests));
    }

    async fn hand_over(self) {
        self.stop.send_replace(true);
        self.task.await.expect("it ends well");
    }
}

fn version(n: u32) -> Value {
    with(
        hello(),
        "/spec/services/web/image",
        json!(format!("registry.example/web:{n}")),
    )
}

fn named(n: usize) -> Value {
    with(hello(), "/metadata/name", json!(format!("app-{n}")))
}

#[tokio::test(start_paused = true)]
async fn a_converged_fleet_is_looked_at_within_the_budget_and_never_written_to() {
    let world = World::new();
    let fleet: Vec<Value> = (0..1_000).map(named).collect();
    let mut settings = Settings::default();
    settings.pace.longest = HOUR;
    let running = world.start_with(settings, &fleet);
    sleep(HOUR).await;
    assert!(running.board.is_ready() && running.board.is_alive());
    assert!(
        running
            .board
            .apps()
            .iter()
            .all(|app| app.standing == Standing::Converged)
    );
    let (writes, first) = (world.writes(), running.board.counts());
    let calls = world.cloud.calls().len();
    sleep(24 * HOUR).await;
    assert_eq!(world.writes(), writes, "no state-changing call");
    let counts = running.board.counts();
    assert_eq!((counts.changes, counts.errors), (first.changes, 0));
    let looks = counts.reconciles - first.reconciles;
    assert!((20_000..=60_000).contains(&looks), "{looks} looks");
    let reads = world.cloud.calls().len() - calls;
    let allowed = 20 * 24 * 60 * 60;
    assert!(reads * 2 <= allowed, "{reads} reads of {allowed} that the budget has");
    let each = reads as f64 / looks as f64;
    assert!(
        (1.9..2.1).contains(&each),
        "whose account it is, and what is there: {each} reads a look"
    );
    running.hand_over().await;
}

#[tokio::test(start_paused = true)]
async fn drift_is_mended_and_what_is_quiet_is_looked_at_ever_less_often() {
    let world = World::new();
    let running = world.start(&[hello()]);
    sleep(HOUR).await;
    let looks = |world: &World| {
        let calls = world.cloud.calls();
        calls
            .iter()
            .filter(|call| matches!(call, Called::Observe { .. }))
            .count()
    };
    let before = looks(&world);
    sleep(HOUR).await;
    let quiet = looks(&world) - before;
    assert!((5..=6).contains(&quiet), "{quiet} looks in an hour");

    let service = world.service(&hello());
    world.cloud.remove_by_hand(&service);
    let before = looks(&world);
    sleep(MINUTE * 20).await;
    assert!(world.cloud.objects().contains_key(&service), "it is back");
    assert!(looks(&world) - before > quiet, "and watched for a while");
    running.hand_over().await;
}

#[tokio::test(start_paused = true)]
async fn a_field_that_others_may_change_is_left_until_the_manifest_says_otherwise() {
    let world = World::new();
    let observing = |replicas: u32| {
        let manifest = with(hello(), "/spec/services/web/drift", json!({ "observe": ["replicas"] }));
        with(manifest, "/spec/services/web/scale", json!({ "min": replicas }))
    };
    let running = world.start(&[observing(1)]);
    sleep(MINUTE).await;
    let service = world.service(&hello());
    let replicas = || world.cloud.objects()[&service].body["replicas"].clone();
    let change = |field: &str, value: Value| {
        let mut object = world.cloud.objects()[&service].clone();
        object.body[field] = value;
        world.cloud.put_by_hand(service.clone(), object);
    };
    change("replicas", json!(7));
    change("publishes", json!([1]));
    sleep(HOUR).await;
    let body = world.cloud.objects()[&service].body.clone();
    assert_eq!(body["publishes"], json!([]), "another field is put back");
    change("replicas", json!(7));
    let writes = world.writes();
    sleep(3 * HOUR).await;
    assert_eq!((replicas(), world.writes()), (json!(7), writes), "it is left");
    assert_eq!(running.report().standing, Standing::Converged);
    running.bring(&world, &[observing(3)]);
    sleep(MINUTE).await;
    assert_eq!(replicas(), json!(3), "the manifest says otherwise");
    running.hand_over().await;
}

#[tokio::test(start_paused = true)]
async fn another_manifest_comes_at_once_also_in_the_middle_of_a_rollout() {
    let world = World::new();
    let running = world.start(&[version(1)]);
    sleep(MINUTE).await;
    let first = world.image(&hello());
    running.bring(&world, &[version(2)]);
    sleep(Duration::from_millis(120)).await;
    assert_ne!(world.image(&hello()), first, "the rollout has begun");
    assert_ne!(running.report().standing, Standing::Converged);
    running.bring(&world, &[version(1)]);
    sleep(MINUTE).await;
    assert_eq!(world.image(&hello()), first);
    let report = running.report();
    assert_eq!((report.standing, report.generation), (Standing::Converged, 3));

    running.bring(&world, &[]);
    sleep(HOUR).await;
    assert_eq!(world.image(&hello()), first, "a manifest that is gone deletes nothing");
    assert_eq!(running.board.apps(), []);
    running.hand_over().await;
}

#[tokio::test(start_paused = true)]
async fn a_suspended_app_is_left_alone_until_it_is_resumed() {
    let world = World::new();
    let running = world.start(&[hello()]);
    sleep(MINUTE).await;
    world.give(&hello(), Order::Suspend);
    sleep(MINUTE).await;
    assert_eq!(running.report().standing, Standing::Suspended);
    let service = world.service(&hello());
    world.cloud.remove_by_hand(&service);
    sleep(2 * HOUR).await;
    assert!(!world.cloud.objects().contains_key(&service));
    running.hand_over().await;

    let running = world.start(&[hello()]);
    sleep(HOUR).await;
    assert!(
        !world.cloud.objects().contains_key(&service),
        "a restart is no resumption"
    );
    assert!(running.board.is_ready(), "nobody waits for it");
    world.give(&hello(), Order::Resume);
    sleep(Duration::from_secs(5)).await;
    assert!(world.cloud.objects().contains_key(&service));
    assert_eq!(running.report().standing, Standing::Converged);
    running.hand_over().await;
}

#[tokio::test(start_paused = true)]
async fn who_assigns_an_app_suspends_it_too_and_remembers_that_himself() {
    let world = World::new();
    let running = world.start(&[hello()]);
    sleep(MINUTE).await;
    let suspended = |suspended: bool| {
        let all = world.assignments(&[hello()]);
        let with = |(key, assignment): (&AppKey, &Assignment)| {
            let assignment = assignment.clone();
            (
                key.clone(),
                Assignment {
                    suspended,
                    ..assignment
                },
            )
        };
        Arc::new(all.iter().map(with).collect())
    };
    running.assignments.send_replace(suspended(true));
    sleep(MINUTE).await;
    assert_eq!(running.report().standing, Standing::Suspended);
    let service = world.service(&hello());
    world.cloud.remove_by_hand(&service);
    sleep(2 * HOUR).await;
    assert!(!world.cloud.objects().contains_key(&service));
    running.assignments.send_replace(suspended(false));
    sleep(Duration::from_secs(5)).await;
    assert!(world.cloud.objects().contains_key(&service));
    running.hand_over().await;
}

/// Whoever assigns knows his own work by its place, and would take what is told of another for nothing.
#[tokio::test(start_paused = true)]
async fn the_same_work_in_another_place_gets_no_turn_and_is_what_is_told_of() {
    let world = World::new();
    let running = world.start(&[hello()]);
    let work = |assignments: &Assignments| assignments.values().next().expect("there is one").work.clone();
    let second = world.assignments(&[hello()]);
    sleep(Duration::from_millis(120)).await;
    assert_eq!(running.report().last, None, "it is at work");
    running.assignments.send_replace(second.clone());
    sleep(MINUTE).await;
    let told = |assigned: &Assignments| Arc::ptr_eq(&running.last_told(), &work(assigned));
    assert!(told(&second), "also of a turn that had begun before");

    let (third, next) = (world.assignments(&[hello()]), running.report().next);
    running.assignments.send_replace(third.clone());
    sleep(Duration::from_millis(1)).await;
    assert_eq!(running.report().next, next, "it is no reason to look");
    sleep(HOUR).await;
    assert!(told(&third));
    running.hand_over().await;
}

/// A tag is pinned once a generation; somebody may want it looked up again.
#[tokio::test(start_paused = true)]
async fn tags_are_looked_up_again_when_somebody_says_so_and_never_by_a_resync() {
    let world = World::new();
    let running = world.start(&[hello()]);
    sleep(MINUTE).await;
    let first = world.image(&hello());
    world.images.change_source("services/web", "the tag has moved");
    sleep(2 * HOUR).await;
    running.hand_over().await;
    let running = world.start(&[hello()]);
    sleep(HOUR).await;
    assert_eq!(world.image(&hello()), first, "neither by a resync nor by a restart");
    world.give(&hello(), Order::Reconcile(Timestamp(1)));
    sleep(MINUTE).await;
    assert_ne!(world.image(&hello()), first);
    running.hand_over().await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_rolled_back_stays_so_until_there_is_another_manifest() {
    let world = World::new();
    let running = world.start(&[version(1)]);
    sleep(MINUTE).await;
    let first = world.image(&hello());
    running.bring(&world, &[version(2)]);
    sleep(MINUTE).await;
    let engine = Engine::new(Arc::new(world.journal.clone()), Arc::new(world.images.clone()));
    let back = Work {
        wish: Wish::Rollback { to: None },
        ..apply(version(2))
    };
    let (_go_on, stop) = watch::channel(false);
    let audience = Arc::new(harness::bench::Listener::default());
    engine
        .reconcile(&world.provider, back, audience, stop)
        .await
        .expect("it is brought back");
    sleep(2 * HOUR).await;
    assert_eq!(world.image(&hello()), first);
    running.bring(&world, &[version(3)]);
    sleep(MINUTE).await;
    assert_ne!(world.image(&hello()), first);
    running.hand_over().await;
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_deletes_much_waits_until_it_is_approved() {
    let world = World::new();
    let service = hello()["spec"]["services"]["web"].clone();
    let many: BTreeMap<String, Value> = (0..20).map(|n| (format!("web-{n}"), service.clone())).collect();
    let many = with(hello(), "/spec/services", json!(many));
    let running = world.start(std::slice::from_ref(&many));
    sleep(MINUTE).await;
    let before = world.cloud.objects().len();
    running.bring(&world, &[hello()]);
    sleep(HOUR).await;
    assert_eq!(world.cloud.objects().len(), before, "nobody has said yes");
    let report = running.report();
    assert_eq!(report.standing, Standing::AwaitingApproval);
    assert!(report.message.expect("a reason").contains("20 resources"));
    world.give(&hello(), Order::Approve { plan: "another".into() });
    sleep(MINUTE).await;
    assert_eq!(world.cloud.objects().len(), before, "that was about another plan");
    let plan = report.plan.expect("its digest");
    world.give(&hello(), Order::Approve { plan });
    sleep(MINUTE).await;
    assert_eq!(running.report().standing, Standing::Converged);
    assert_eq!(world.cloud.objects().len(), before - 19);
    running.hand_over().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_ended_by_its_own_word_and_by_no_other() {
    let world = World::new();
    let pausing = |n| with(version(n), "/spec/services/web/env", json!({ "FAKE_PAUSES": "yes" }));
    let promoting = |pause: &str| {
        let promoted = Promoted {
            pause: pause.into(),
            full: false,
        };
        world.give(&hello(), Order::Promote(promoted));
    };
    let running = world.start(&[pausing(1)]);
    sleep(MINUTE).await;
    let pause = || running.report().status.expect("it was looked at").pause();
    let first = pause().expect("it waits");
    promoting("another");
    sleep(HOUR).await;
    assert_eq!(
        (running.report().standing, pause()),
        (Standing::Paused, Some(first.clone()))
    );
    promoting(&first);
    sleep(MINUTE).await;
    assert_eq!((running.report().standing, pause()), (Standing::Converged, None));

    running.bring(&world, &[pausing(2)]);
    sleep(HOUR).await;
    let second = pause().expect("the next one waits");
    assert_ne!(first, second);
    assert_eq!(
        running.report().standing,
        Standing::Paused,
        "that word was of the one before"
    );
    let promotions = world
        .cloud
        .calls()
        .into_iter()
        .filter(|call| matches!(call, Called::Promote(_)));
    assert_eq!(promotions.count(), 1);
    running.hand_over().await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_wants_a_yes_to_every_change_gets_it() {
    let world = World {
        approval: Approval::Always,
        ..World::new()
    };
    let running = world.start(&[hello()]);
    for change in [hello(), version(2)] {
        let before = world.writes();
        running.bring(&world, &[change]);
        sleep(HOUR).await;
        assert_eq!(world.writes(), before, "nobody has said yes");
        let report = running.report();
        assert_eq!(report.standing, Standing::AwaitingApproval);
        let plan = report.plan.expect("its digest");
        world.give(&hello(), Order::Approve { plan });
        sleep(MINUTE).await;
        assert_eq!(running.report().standing, Standing::Converged);
    }
    running.hand_over().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_generation_is_held_and_its_cause_is_shown() {
    let world = World::new();
    let running = world.start(&[hello()]);
    sleep(MINUTE).await;
    running.bring(&world, &[failing(hello(), "services/web")]);
    sleep(MINUTE).await;
    let report = running.report();
    assert_eq!(report.standing, Standing::Held);
    assert!(report.message.expect("a cause").starts_with("Crashed: "));
    let writes = world.writes();
    sleep(24 * HOUR).await;
    assert_eq!(world.writes(), writes, "it is not tried again");
    running.hand_over().await;
}

/// Killed at any moment, another controller goes on; handed over, it has nothing to find out.
#[tokio::test(start_paused = true)]
async fn another_controller_goes_on_where_one_was_stopped_or_killed() {
    for millis in (0..1_500).step_by(37) {
        for kill in [false, true] {
            let world = World::new();
            let fleet: Vec<Value> = (0..5).map(named).collect();
            let running = world.start(&fleet);
            sleep(Duration::from_millis(millis)).await;
            match kill {
                false => running.hand_over().await,
                true => {
                    running.task.abort();
                    _ = running.task.await;
                }
            }
            let running = world.start(&fleet);
            sleep(MINUTE).await;
            let standing: Vec<Standing> = running.board.apps().iter().map(|app| app.standing).collect();
            assert_eq!(
                standing,
                [Standing::Converged; 5],
                "stopped after {millis} ms, killed: {kill}"
            );
            assert_eq!(
                world.cloud.violations(),
                [""; 0],
                "stopped after {millis} ms, killed: {kill}"
            );
            assert_eq!(world.cloud.objects().len(), 10, "no duplicate, no orphan");
            running.hand_over().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_assigned_to_go_goes_whatever_it_was_doing() {
    let world = World::new();
    let running = world.start(&[hello()]);
    sleep(MINUTE).await;
    assert_eq!(running.report().standing, Standing::Converged);
    let going = |(key, assignment): (&AppKey, &Assignment)| {
        let mut work = Work::clone(&assignment.work);
        work.wish = Wish::Delete { erase_data: false };
        let (provider, work) = (assignment.provider.clone(), Arc::new(work));
        (key.clone(), assigned(provider, work))
    };
    let all = world.assignments(&[hello()]);
    running
        .assignments
        .send_replace(Arc::new(all.iter().map(going).collect()));
    sleep(MINUTE).await;
    assert!(world.cloud.objects().is_empty(), "{:?}", world.cloud.objects().keys());
    let writes = world.writes();
    sleep(HOUR).await;
    assert_eq!(world.writes(), writes, "what is gone is not deleted again");
    running.hand_over().await;
}
