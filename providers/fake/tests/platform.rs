//! The platform in memory does what a real one does: other crates' tests are worth what these are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portolan_core::facts::{ContainerPath, ImageSource};
use portolan_core::name::OwnerId;
use portolan_core::observation::{Observation, ObservedResource, Ownership, ResourceState};
use portolan_core::plan::{Scope, Verb};
use portolan_core::reference::ImageReference;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{Accepted, CallError, ErrorClass, Images, OpenOperation, PinRequest, WriteRequest};
use portolan_provider_fake::kinds::{JOB, Kind, NETWORK, SERVICE, VOLUME};
use portolan_provider_fake::{Called, FakeCloud, FakeImages, Fault, On};
use serde_json::{Value, json};

/// A cloud whose clock a test moves by hand.
struct Bench {
    now: Arc<AtomicU64>,
    cloud: FakeCloud,
}

impl Bench {
    fn new() -> Self {
        let now = Arc::new(AtomicU64::new(10_000));
        let clock = now.clone();
        Self {
            now,
            cloud: FakeCloud::new(Arc::new(move || clock.load(Ordering::Relaxed))),
        }
    }

    fn pass(&self, millis: u64) {
        self.now.fetch_add(millis, Ordering::Relaxed);
    }

    fn write(&self, request: &WriteRequest) -> Result<Accepted, CallError> {
        self.cloud.write(&scope("file"), request)
    }

    fn create(&self, kind: Kind, body: Value) {
        self.write(&create(kind, body)).expect("it is made");
    }

    fn look(&self) -> Observation {
        self.cloud.observe(&scope("file"), &[], &[]).expect("it can be seen")
    }

    fn seen(&self, kind: Kind) -> Option<ObservedResource> {
        self.look().resources.remove(&one(kind))
    }

    fn state(&self, kind: Kind) -> Option<ResourceState> {
        self.seen(kind).map(|seen| seen.state)
    }
}

fn scope(source: &str) -> Scope {
    Scope {
        namespace: "default".into(),
        app: "shop".into(),
        target: "local".into(),
        owner: OwnerId::derive("default", "shop", "local", "fake-account"),
        source: source.into(),
    }
}

fn somebody_elses() -> Scope {
    Scope {
        owner: OwnerId::from_tag("somebody"),
        ..scope("file")
    }
}

fn one(kind: Kind) -> ResourceId {
    ResourceId::new(kind.name, "one")
}

fn request(verb: Verb, kind: Kind, body: Value) -> WriteRequest {
    WriteRequest {
        verb,
        id: one(kind),
        body,
        revision: Some("r1".into()),
        etag: None,
        generation: 3,
        idempotency_token: "token".into(),
        take_over: false,
        erase_data: false,
    }
}

fn create(kind: Kind, body: Value) -> WriteRequest {
    request(Verb::Create, kind, body)
}

fn delete(kind: Kind) -> WriteRequest {
    request(Verb::Delete, kind, Value::Null)
}

fn is_progressing(state: Option<&ResourceState>) -> bool {
    matches!(state, Some(ResourceState::Progressing { .. }))
}

#[test]
fn each_kind_takes_its_time() {
    let cases = [
        (NETWORK, 0, ResourceState::Ready),
        (VOLUME, 300, ResourceState::Ready),
        (SERVICE, 500, ResourceState::Ready),
        (JOB, 400, ResourceState::Completed),
    ];
    for (kind, takes, end) in cases {
        let bench = Bench::new();
        bench.create(kind, json!({}));
        if takes > 0 {
            bench.pass(takes - 1);
            assert!(is_progressing(bench.state(kind).as_ref()), "{}", kind.name);
            bench.pass(1);
        }
        assert_eq!(bench.state(kind), Some(end), "{}", kind.name);
    }
}

#[test]
fn a_long_operation_answers_a_handle_and_a_look_tells_its_end() {
    let bench = Bench::new();
    let Ok(Accepted::Operation { handle }) = bench.write(&create(VOLUME, json!({}))) else {
        panic!("a volume takes its time")
    };
    let open = [OpenOperation {
        id: one(VOLUME),
        verb: Verb::Create,
        handle,
    }];
    let observed = bench.cloud.observe(&scope("file"), &[], &open).expect("it can be seen");
    assert!(is_progressing(
        observed.resources.get(&one(VOLUME)).map(|seen| &seen.state)
    ));
    assert!(matches!(&bench.cloud.calls()[1], Called::Observe { open: told, .. } if *told == open));
    bench.pass(300);
    assert_eq!(bench.state(VOLUME), Some(ResourceState::Ready));
}

#[test]
fn reads_show_what_was_so_a_while_ago() {
    let bench = Bench::new();
    bench.cloud.set_lag(700);
    bench.create(SERVICE, json!({ "image": 1 }));
    assert_eq!(bench.seen(SERVICE), None, "not there yet");
    bench.pass(700);
    bench
        .write(&request(Verb::Update, SERVICE, json!({ "image": 2 })))
        .expect("it is changed");
    let image = || bench.seen(SERVICE).map(|seen| seen.body["image"].clone());
    assert_eq!(image(), Some(json!(1)), "there, and not changed yet");
    bench.pass(700);
    assert_eq!(image(), Some(json!(2)));
    bench.write(&delete(SERVICE)).expect("it is deleted");
    bench.pass(699);
    assert_ne!(
        bench.state(SERVICE),
        Some(ResourceState::Deleting),
        "not known to be on its way out"
    );
    bench.pass(300);
    assert_eq!(bench.seen(SERVICE), None);
}

#[test]
fn a_fault_is_met_once_by_the_call_it_waits_for() {
    let refused = CallError::new(ErrorClass::Quota, "Made", "it was made to fail");
    let bench = Bench::new();
    bench
        .cloud
        .fail_next(On::Write(one(SERVICE)), Fault::Refuse(refused.clone()));
    bench.create(NETWORK, json!({}));
    assert_eq!(bench.write(&create(SERVICE, json!({}))), Err(refused), "this one");
    assert_eq!(bench.seen(SERVICE), None, "and nothing is done");
    bench.create(SERVICE, json!({}));
    assert_eq!(bench.cloud.violations(), [""; 0]);
}

#[test]
fn a_lost_answer_is_one_to_something_that_was_done() {
    let bench = Bench::new();
    bench.cloud.fail_next(On::Write(one(SERVICE)), Fault::LoseAnswer);
    let answer = bench.write(&create(SERVICE, json!({})));
    assert!(
        matches!(
            answer,
            Err(CallError {
                class: ErrorClass::Retry { .. },
                ..
            })
        ),
        "{answer:?}"
    );
    assert!(bench.seen(SERVICE).is_some());
    bench.create(SERVICE, json!({}));
    assert_eq!(bench.cloud.violations(), [""; 0], "the same token makes no second one");
    let other = WriteRequest {
        idempotency_token: "another".into(),
        ..create(SERVICE, json!({}))
    };
    bench.write(&other).expect("the platform lets it pass");
    assert_eq!(bench.cloud.violations().len(), 1, "another token does");
}

#[test]
fn half_a_read_says_so() {
    let bench = Bench::new();
    bench.create(NETWORK, json!({}));
    bench.create(SERVICE, json!({}));
    bench.cloud.fail_next(On::Observe, Fault::Partial);
    let half = bench.look();
    assert_eq!((half.resources.len(), half.complete), (1, false));
    let whole = bench.look();
    assert_eq!((whole.resources.len(), whole.complete), (2, true));
}

#[test]
fn whose_an_object_is_stands_in_its_tags() {
    let bench = Bench::new();
    bench.create(SERVICE, json!({}));
    let wanted = [one(SERVICE)];
    let told = |scope: &Scope, wanted: &[ResourceId]| {
        let observed = bench.cloud.observe(scope, wanted, &[]).expect("it can be seen");
        observed.resources.get(&one(SERVICE)).map(|seen| seen.ownership.clone())
    };
    let other_source = Ownership::OtherSource { source: "file".into() };
    assert_eq!(told(&scope("file"), &[]), Some(Ownership::Ours { generation: 3 }));
    assert_eq!(
        told(&scope("git"), &[]),
        Some(other_source),
        "the same owner, another source"
    );
    assert_eq!(told(&somebody_elses(), &[]), None, "others do not see it");
    assert_eq!(
        told(&somebody_elses(), &wanted),
        Some(Ownership::Foreign),
        "unless they want its name"
    );
}

#[test]
fn a_foreign_object_is_taken_over_only_when_told_so() {
    let bench = Bench::new();
    bench.create(NETWORK, json!({}));
    let foreign = request(Verb::Update, NETWORK, json!({ "theirs": true }));
    let answer = bench.cloud.write(&somebody_elses(), &foreign);
    assert!(
        matches!(
            answer,
            Err(CallError {
                class: ErrorClass::Conflict,
                ..
            })
        ),
        "{answer:?}"
    );
    assert_eq!(
        bench.cloud.violations().len(),
        1,
        "and that it was tried is a fault of whoever did"
    );
    let taken_over = WriteRequest {
        take_over: true,
        ..foreign
    };
    bench
        .cloud
        .write(&somebody_elses(), &taken_over)
        .expect("it is taken over");
    assert_eq!(bench.seen(NETWORK), None, "it is theirs now");
}

#[test]
fn a_delete_takes_a_while_and_keeps_data_unless_told_otherwise() {
    let bench = Bench::new();
    bench.create(SERVICE, json!({}));
    bench.create(VOLUME, json!({}));
    bench.write(&delete(SERVICE)).expect("it is deleted");
    assert_eq!(bench.state(SERVICE), Some(ResourceState::Deleting));
    let again = WriteRequest {
        idempotency_token: "another".into(),
        ..create(SERVICE, json!({}))
    };
    let again = bench.write(&again);
    assert!(
        matches!(
            again,
            Err(CallError {
                class: ErrorClass::Conflict,
                ..
            })
        ),
        "its name is taken: {again:?}"
    );
    bench.pass(200);
    assert_eq!(bench.seen(SERVICE), None);
    bench.write(&delete(VOLUME)).expect("it is deleted");
    assert!(bench.seen(VOLUME).is_some_and(|seen| seen.retained));
    let erase = WriteRequest {
        erase_data: true,
        ..delete(VOLUME)
    };
    bench.write(&erase).expect("it is erased");
    bench.pass(100);
    assert_eq!(bench.seen(VOLUME), None);
}

#[test]
fn what_is_in_use_is_not_deleted() {
    let bench = Bench::new();
    bench.create(NETWORK, json!({}));
    bench.create(SERVICE, json!({ "uses": [one(NETWORK).to_string()] }));
    let answer = bench.write(&delete(NETWORK));
    assert!(
        matches!(
            answer,
            Err(CallError {
                class: ErrorClass::Conflict,
                ..
            })
        ),
        "{answer:?}"
    );
}

#[test]
fn a_job_runs_once_for_each_revision_and_again_when_told() {
    let bench = Bench::new();
    let newer = WriteRequest {
        revision: Some("r2".into()),
        ..request(Verb::Update, JOB, json!({}))
    };
    bench.create(JOB, json!({}));
    bench
        .write(&request(Verb::Update, JOB, json!({})))
        .expect("it is there");
    assert_eq!(bench.cloud.runs(&one(JOB)), 1, "the same revision");
    bench.write(&newer).expect("it is changed");
    assert_eq!(bench.cloud.runs(&one(JOB)), 2, "another revision");
    bench.pass(400);
    assert_eq!(
        bench.seen(JOB).map(|seen| seen.outputs["exitCode"].clone()),
        Some(json!(0))
    );
    bench.cloud.run_again(&one(JOB)).expect("it is begun");
    assert_eq!(bench.cloud.runs(&one(JOB)), 3);
    assert!(is_progressing(bench.state(JOB).as_ref()));
}

#[test]
fn what_shall_fail_fails_once_it_has_started() {
    let bench = Bench::new();
    bench.create(SERVICE, json!({ "env": { "FAKE_FAILS": "yes" } }));
    assert!(is_progressing(bench.state(SERVICE).as_ref()));
    bench.pass(500);
    assert!(matches!(bench.state(SERVICE), Some(ResourceState::Failed { .. })));
    let bench = Bench::new();
    bench.create(SERVICE, json!({ "env": { "FAKE_NEVER_READY": "yes" } }));
    bench.pass(24 * 60 * 60 * 1000);
    assert!(is_progressing(bench.state(SERVICE).as_ref()));
}

#[tokio::test]
async fn an_image_can_lack_until_it_is_pinned() {
    let images = FakeImages::default();
    let request = PinRequest {
        container: ContainerPath::service("web"),
        source: ImageSource::Reference(ImageReference::parse("registry.example/web:1").expect("a reference")),
    };
    images.lack("services/web");
    assert_eq!(images.pinned_already(&request).await, Ok(None));
    let pinned = images.pin(&request).await.expect("it is pinned");
    assert_eq!(images.pinned_already(&request).await, Ok(Some(pinned.clone())));
    images.change_source("services/web", "something else");
    let changed = images.pin(&request).await.expect("it is pinned");
    assert_ne!(changed.digest, pinned.digest);
}
