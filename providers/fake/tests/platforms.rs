//! What stands in a platform's table is what its accounts do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portolan_core::name::OwnerId;
use portolan_core::observation::{ObservedResource, ResourceState};
use portolan_core::plan::{Scope, Verb};
use portolan_core::resource::{Resource, ResourceId};
use portolan_provider_api::{Accepted, CallError, ErrorClass, Shape, WriteRequest};
use portolan_provider_fake::kinds::{BALANCER, Kind, NETWORK, SERVICE, VOLUME};
use portolan_provider_fake::platform::{CLOUD_RUN_LIKE, ECS_LIKE, Fact, PLATFORMS, Peculiarity, Platform};
use portolan_provider_fake::{FakeCloud, FakeShape, Fault};
use serde_json::{Value, json};

struct Bench {
    now: Arc<AtomicU64>,
    cloud: FakeCloud,
}

impl Bench {
    /// An account whose reads do not lag unless a test says so.
    fn of(platform: &Platform) -> Self {
        let now = Arc::new(AtomicU64::new(1_000_000));
        let clock = now.clone();
        let cloud = FakeCloud::of(platform, Arc::new(move || clock.load(Ordering::Relaxed)));
        cloud.set_lags(0, 0, None);
        Self { now, cloud }
    }

    fn pass(&self, millis: u64) {
        self.now.fetch_add(millis, Ordering::Relaxed);
    }

    fn create(&self, kind: Kind, body: Value) -> Result<Accepted, CallError> {
        self.cloud.write(&scope(), &request(Verb::Create, kind, body))
    }

    fn delete(&self, kind: Kind) {
        self.cloud
            .write(&scope(), &request(Verb::Delete, kind, Value::Null))
            .expect("it can go");
    }

    fn seen(&self, kind: Kind, wanted: &[ResourceId]) -> Option<ObservedResource> {
        let observation = self.cloud.observe(&scope(), wanted, &[]);
        observation.expect("it can be seen").resources.remove(&one(kind))
    }
}

fn scope() -> Scope {
    Scope {
        namespace: "default".into(),
        app: "shop".into(),
        target: "cloud".into(),
        owner: OwnerId::derive("default", "shop", "cloud", "fake-account"),
        source: "file".into(),
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
        generation: 1,
        idempotency_token: "token".into(),
        take_over: false,
        erase_data: false,
    }
}

fn update(revision: &str) -> WriteRequest {
    WriteRequest {
        revision: Some(revision.into()),
        ..request(Verb::Update, SERVICE, json!({ "v": revision }))
    }
}

#[test]
fn every_row_names_its_page() {
    for platform in PLATFORMS {
        for Fact { is, source } in platform.facts {
            let named = source.starts_with("https://") || source.starts_with("made up: ");
            assert!(named, "{}: {is:?}", platform.name);
        }
    }
}

#[test]
fn lists_and_descriptions_lag_apart() {
    let bench = Bench::of(&ECS_LIKE);
    bench.cloud.set_lags(60_000, 20_000, None);
    bench.create(SERVICE, json!({ "v": 1 })).expect("it is made");
    bench.pass(20_000);
    assert!(bench.seen(SERVICE, &[]).is_none(), "no list shows it");
    assert!(
        bench.seen(SERVICE, &[one(SERVICE)]).is_some(),
        "who asks by name is told"
    );
    bench.pass(40_000);
    assert!(bench.seen(SERVICE, &[]).is_some());
}

#[test]
fn reads_that_vary_are_late_by_no_more_than_the_lag() {
    let bench = Bench::of(&ECS_LIKE);
    bench.cloud.set_lags(5_000, 5_000, Some(7));
    bench.create(SERVICE, json!({ "v": 1 })).expect("it is made");
    bench.pass(2_000);
    let found: Vec<bool> = (0..50).map(|_| bench.seen(SERVICE, &[]).is_some()).collect();
    assert!(found.contains(&true) && found.contains(&false), "{found:?}");
    bench.pass(3_000);
    assert!((0..50).all(|_| bench.seen(SERVICE, &[]).is_some()));
}

#[test]
fn a_draining_service_is_in_no_list_and_keeps_its_name() {
    let bench = Bench::of(&ECS_LIKE);
    bench.create(SERVICE, json!({})).expect("it is made");
    bench.delete(SERVICE);
    assert!(bench.seen(SERVICE, &[]).is_none());
    let draining = bench.seen(SERVICE, &[one(SERVICE)]).expect("by name it is found");
    assert_eq!(draining.state, ResourceState::Deleting);
    let again = WriteRequest {
        idempotency_token: "another".into(),
        ..request(Verb::Create, SERVICE, json!({}))
    };
    let refused = bench.cloud.write(&scope(), &again).expect_err("the name is taken");
    assert_eq!(refused.class(), ErrorClass::Conflict);
    bench.pass(30_000);
    bench.cloud.write(&scope(), &again).expect("the name is free");
}

#[test]
fn names_fit_or_are_refused() {
    let bench = Bench::of(&ECS_LIKE);
    let named = |name: &str| WriteRequest {
        id: ResourceId::new(BALANCER.name, name),
        ..request(Verb::Create, BALANCER, json!({}))
    };
    let cases = [
        ("shop-web", true, "a label"),
        (&"x".repeat(32), true, "as long as may be"),
        (&"x".repeat(33), false, "too long"),
        ("shop-", false, "it ends with a hyphen"),
        ("Shop", false, "a capital"),
        ("9lives", false, "it begins with a digit"),
    ];
    for (name, taken, reason) in cases {
        let answer = bench.cloud.write(&scope(), &named(name));
        assert_eq!(answer.is_ok(), taken, "{reason}");
    }
    let long = Scope {
        app: "an-app-with-a-name-that-goes-on-and-on".into(),
        ..scope()
    };
    let derived = FakeShape::of(&ECS_LIKE).object(&long, BALANCER, "and-so-does-its-service");
    bench
        .cloud
        .write(&scope(), &named(&derived.name))
        .expect("what the provider derives is taken");
}

#[test]
fn a_quota_refuses_one_more() {
    const TWO: Platform = Platform {
        name: "two",
        facts: &[Fact {
            is: Peculiarity::Quota {
                kind: NETWORK.name,
                most: 2,
            },
            source: "made up: a test",
        }],
    };
    let bench = Bench::of(&TWO);
    let answers = ["a", "b", "c"].map(|name| {
        let request = WriteRequest {
            id: ResourceId::new(NETWORK.name, name),
            ..request(Verb::Create, NETWORK, json!({}))
        };
        bench.cloud.write(&scope(), &request).map_err(|error| error.class())
    });
    assert_eq!(
        answers,
        [Ok(Accepted::done()), Ok(Accepted::done()), Err(ErrorClass::Quota)]
    );
}

#[test]
fn a_bucket_of_tokens_throttles() {
    let cases = [
        (&ECS_LIKE, 100, None),
        (&CLOUD_RUN_LIKE, 60, Some(Duration::from_secs(5))),
    ];
    for (platform, burst, after) in cases {
        let bench = Bench::of(platform);
        let look = || bench.cloud.observe(&scope(), &[], &[]);
        assert!((0..burst).all(|_| look().is_ok()), "{}", platform.name);
        let refused = look().expect_err("the bucket is empty");
        assert_eq!(refused.class(), ErrorClass::Retry { after }, "{}", platform.name);
        bench.pass(50);
        assert!(look().is_ok(), "{}: a token has come back", platform.name);
        assert!(look().is_err(), "{}: and no more than one", platform.name);
    }
}

#[test]
fn writes_take_from_a_bucket_of_their_own() {
    let bench = Bench::of(&ECS_LIKE);
    let write = || {
        bench
            .cloud
            .write(&scope(), &request(Verb::Delete, SERVICE, Value::Null))
    };
    assert!((0..50).all(|_| write().is_ok()));
    assert_eq!(
        write().map_err(|error| error.class()),
        Err(ErrorClass::Retry { after: None })
    );
    assert!(bench.cloud.observe(&scope(), &[], &[]).is_ok(), "reads go on");
    bench.pass(200);
    assert!(write().is_ok(), "a token has come back");
    assert!(write().is_err(), "and no more than one");
}

/// Defaults, order and case of the platform are no difference; what the user changes is one.
#[test]
fn what_the_platform_adds_is_no_difference() {
    let cases = [
        (
            &ECS_LIKE,
            SERVICE,
            json!({ "publishes": [80, 443], "uses": ["Network/a", "Network/b"] }),
        ),
        (&ECS_LIKE, BALANCER, json!({ "protocol": "http" })),
        (&CLOUD_RUN_LIKE, SERVICE, json!({ "image": "x" })),
    ];
    for (platform, kind, body) in cases {
        let bench = Bench::of(platform);
        let shape = FakeShape::of(platform);
        bench.create(kind, body.clone()).expect("it is made");
        for turn in 0..4 {
            bench.pass(turn);
            let seen = bench.seen(kind, &[]).expect("it is there");
            assert_eq!(shape.diff(&wanted(kind, body.clone()), &seen), [], "{}", platform.name);
            let mut other = body.clone();
            other["image"] = json!("another");
            assert!(!shape.diff(&wanted(kind, other), &seen).is_empty(), "{}", platform.name);
        }
    }
}

fn wanted(kind: Kind, mut body: Value) -> Resource {
    if let Some(uses) = body.get_mut("publishes").and_then(Value::as_array_mut) {
        uses.sort_by_cached_key(ToString::to_string);
    }
    Resource {
        id: one(kind),
        body,
        edges: Vec::new(),
        origin: String::new(),
        holds_data: false,
        create_is_idempotent: true,
        awaited: true,
        claims: Vec::new(),
        revision: None,
    }
}

#[test]
fn outputs_come_late() {
    let bench = Bench::of(&ECS_LIKE);
    bench.create(BALANCER, json!({})).expect("it is made");
    let outputs = || bench.seen(BALANCER, &[]).map(|seen| seen.outputs.len());
    assert_eq!(outputs(), Some(0));
    bench.pass(2_000);
    assert_eq!(outputs(), Some(1));
}

#[test]
fn one_operation_at_a_time() {
    let bench = Bench::of(&CLOUD_RUN_LIKE);
    let begun = bench.create(SERVICE, json!({})).expect("it is taken");
    assert!(matches!(begun, Accepted::Operation { .. }));
    let refused = bench.cloud.write(&scope(), &update("r2")).expect_err("one goes on");
    assert_eq!(refused.class(), ErrorClass::Conflict);
    bench.pass(4_000);
    bench.cloud.write(&scope(), &update("r2")).expect("it has ended");
}

#[test]
fn who_writes_in_between_is_not_overwritten() {
    let bench = Bench::of(&CLOUD_RUN_LIKE);
    bench.create(SERVICE, json!({})).expect("it is taken");
    bench.pass(4_000);
    let seen = || bench.seen(SERVICE, &[]).expect("it is there");
    let made_from = |etag: Option<String>| WriteRequest { etag, ..update("r2") };
    let first = seen().etag;
    assert!(first.is_some(), "a look tells it");
    bench.pass(60_000);
    assert_eq!(seen().etag, first, "it stays while nobody writes");

    let by_hand = bench.cloud.objects().remove(&one(SERVICE)).expect("it is there");
    bench.cloud.put_by_hand(one(SERVICE), by_hand);
    for request in [
        made_from(first.clone()),
        WriteRequest {
            etag: first,
            ..request(Verb::Delete, SERVICE, Value::Null)
        },
    ] {
        let refused = bench.cloud.write(&scope(), &request).expect_err("another etag");
        let told = (refused.class(), refused.code.as_str());
        assert_eq!(told, (ErrorClass::Conflict, "Aborted"), "{:?}", request.verb);
    }
    let meanwhile = made_from(seen().etag);
    let refused = bench
        .cloud
        .write_with(&scope(), &meanwhile, Some(&Fault::OtherWriter))
        .expect_err("somebody was faster");
    assert_eq!(refused.code, "Aborted");
    assert_eq!(seen().revision.as_deref(), Some("r1"));

    let anew = made_from(seen().etag);
    bench
        .cloud
        .write(&scope(), &anew)
        .expect("it is made from what is there");
    assert_eq!(seen().revision.as_deref(), Some("r2"));
    assert_eq!(bench.cloud.violations(), [""; 0]);
    bench
        .cloud
        .write(&scope(), &anew)
        .expect_err("its own first try is a write too");
}

/// What is deleted and made anew is another object, however much it looks the same.
#[test]
fn no_etag_comes_again() {
    let bench = Bench::of(&CLOUD_RUN_LIKE);
    let made = || {
        bench.create(SERVICE, json!({})).expect("it is taken");
        bench.pass(4_000);
        bench.seen(SERVICE, &[]).expect("it is there").etag
    };
    let first = made();
    bench.delete(SERVICE);
    bench.pass(4_000);
    assert_ne!(made(), first);
}

#[test]
fn an_operation_that_fails_late_leaves_what_served() {
    let bench = Bench::of(&CLOUD_RUN_LIKE);
    let late = Fault::FailLate { ms: 3_000 };
    let create = request(Verb::Create, SERVICE, json!({}));
    bench
        .cloud
        .write_with(&scope(), &create, Some(&late))
        .expect("it is taken");
    assert!(bench.seen(SERVICE, &[]).is_some());
    bench.pass(3_000);
    assert!(bench.seen(SERVICE, &[]).is_none(), "what was never made is gone");

    bench.create(SERVICE, json!({})).expect("it is taken");
    bench.pass(4_000);
    bench
        .cloud
        .write_with(&scope(), &update("r2"), Some(&late))
        .expect("it is taken");
    bench.pass(3_000);
    let seen = bench.seen(SERVICE, &[]).expect("it is there");
    assert!(matches!(seen.state, ResourceState::Failed { .. }), "{:?}", seen.state);
    assert_eq!(bench.cloud.serves(&one(SERVICE)).as_deref(), Some("r1"));
}

#[test]
fn an_operation_may_outlive_its_time_out_and_its_handle() {
    let bench = Bench::of(&CLOUD_RUN_LIKE);
    let create = request(Verb::Create, SERVICE, json!({}));
    let fault = Fault::TimeOut { ms: 9_000 };
    let refused = bench
        .cloud
        .write_with(&scope(), &create, Some(&fault))
        .expect_err("time is out");
    assert_eq!(refused.class(), ErrorClass::Retry { after: None });
    bench.pass(12_999);
    let state = |kind| bench.seen(kind, &[]).map(|seen| seen.state);
    assert!(matches!(state(SERVICE), Some(ResourceState::Progressing { .. })));
    bench.pass(1);
    assert_eq!(state(SERVICE), Some(ResourceState::Ready));

    let create = request(Verb::Create, VOLUME, json!({}));
    bench
        .cloud
        .write_with(&scope(), &create, Some(&Fault::HandleLost))
        .expect("it is taken");
    bench.pass(1_500);
    assert_eq!(state(VOLUME), Some(ResourceState::Ready));
}

/// The lie of a stale read is an old truth.
#[test]
fn a_stale_read_shows_what_was() {
    let bench = Bench::of(&CLOUD_RUN_LIKE);
    bench.cloud.remember(10_000);
    bench.create(SERVICE, json!({})).expect("it is taken");
    bench.pass(5_000);
    let look = |fault| {
        bench
            .cloud
            .observe_with(&scope(), &[], &[], Some(&fault))
            .expect("it answers")
    };
    assert!(look(Fault::Stale { ms: 6_000 }).resources.is_empty());
    assert!(look(Fault::NotFound { ms: 6_000 }).resources.is_empty());
    assert_eq!(look(Fault::Stale { ms: 4_000 }).resources.len(), 1);
    assert!(!look(Fault::Empty).complete, "an empty list says that it is not all");
}
