//! The pure half: names, rendering and the difference between what is wanted and what is there.

use std::collections::BTreeMap;

use portolan_core::manifest::Target;
use portolan_core::resource::{Resource, Resources};
use proptest::strategy::{Just, Strategy};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use proptest::{prop_assert, prop_assert_eq, prop_oneof};
use serde_json::{Value, json};

use super::excused;
use crate::account::Account;
use crate::apps::{named, parsed, with};
use crate::bench::{Bench, pinned};
use crate::fields;

const CASES: u32 = 512;

/// Names of the platform are a function of namespace, app, Target and name: two apps share none, and the platform takes
/// each.
pub async fn names_are_a_function_injective_and_taken<A: Account>(bench: &mut Bench<A>) {
    let mut runner = TestRunner::new_with_rng(
        Config {
            cases: CASES,
            failure_persistence: None,
            ..Config::default()
        },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let places = std::cell::RefCell::new(Places::default());
    let result = runner.run(&an_app(), |names| {
        let (resources, scope) = names.rendered(bench);
        let (again, _) = names.rendered(bench);
        prop_assert!(
            resources.keys().eq(again.keys()),
            "{}: {names:?} has other names each time",
            A::NAME
        );
        for (id, resource) in &resources {
            prop_assert!(
                A::takes_name(id),
                "{}: {} `{}` is a name that the platform refuses",
                A::NAME,
                id.kind,
                id.name
            );
            let Some(place) = A::place(&scope, id) else { continue };
            places.borrow_mut().put::<A>(place, &names, resource)?;
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{}: names: {failure}", A::NAME));
    if let Err(reason) = A::tells_targets_apart() {
        let shared = places.into_inner().between_targets;
        assert!(shared > 0, "{}: two Targets share no place: {reason}", A::NAME);
        excused::<A>("two Targets of one app in one account", reason);
    }
}

/// Where things stand, and what stands there.
#[derive(Default)]
struct Places {
    held: BTreeMap<String, [String; 2]>,
    between_targets: usize,
}

impl Places {
    fn put<A: Account>(&mut self, place: String, names: &Names, resource: &Resource) -> Result<(), TestCaseError> {
        let it = names.identity(resource);
        let Some(holder) = self.held.get(&place) else {
            self.held.insert(place, it);
            return Ok(());
        };
        prop_assert_eq!(&holder[0], &it[0], "{}: two things stand at {}", A::NAME, place);
        if holder[1] != it[1] {
            self.between_targets += 1;
            prop_assert!(
                A::tells_targets_apart().is_err(),
                "{}: two Targets share {}",
                A::NAME,
                place
            );
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct Names {
    namespace: String,
    app: String,
    target: String,
    service: String,
    job: String,
    volume: String,
}

/// Of full length, and so short and alike that a separator inside a name makes the difference.
fn label() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ab](-{0,2}[ab]){0,2}",
        2 => "[a-z]([-a-z0-9]{0,61}[a-z0-9])?",
        1 => "[a-z][a-z0-9]{61}[ab]",
        1 => Just("a".repeat(63)),
        1 => "a{61}[ab]{2}",
    ]
}

fn an_app() -> impl Strategy<Value = Names> {
    let parts = (label(), label(), label(), label(), label(), label());
    parts.prop_map(|(namespace, app, target, service, job, volume)| Names {
        namespace,
        app,
        target,
        // Services and jobs of an app share no name.
        job: if job == service { "j".into() } else { job },
        service,
        volume,
    })
}

impl Names {
    fn rendered<A: Account>(&self, bench: &Bench<A>) -> (Resources, portolan_core::plan::Scope) {
        let volumes = json!([{"name": self.volume, "path": "/data"}]);
        let service = with(bench.account.server(8080), "/volumes", volumes);
        let service = with(
            service,
            "/ports",
            json!([{"name": "http", "port": 8080, "public": true}]),
        );
        let spec = json!({ "services": { &self.service: service }, "jobs": { &self.job: bench.account.task() } });
        let app = parsed(&named(&self.namespace, &self.app, spec));
        let mut target: Target = bench.account.target();
        target.metadata.name.clone_from(&self.target);
        let work = portolan_engine::Work::apply(app, target, "/nowhere");
        let input = work.resolve_input("an-account");
        let scope = portolan_core::resolve::scope_of(&input);
        (bench.rendered_from(&input, pinned(&input)), scope)
    }

    /// What it is, and in which Target.
    fn identity(&self, resource: &Resource) -> [String; 2] {
        let volume = if resource.holds_data { self.volume.as_str() } else { "" };
        // A volume is the app's, whoever mounts it.
        let origin = if resource.holds_data {
            ""
        } else {
            resource.origin.as_str()
        };
        let Self {
            namespace, app, target, ..
        } = self;
        let kind = &resource.id.kind;
        [format!("{namespace} {app} {kind} {origin} {volume}"), target.clone()]
    }
}

/// The same desired state is rendered to the same bytes, by whichever process.
pub async fn the_same_is_rendered_for_the_same<A: Account>(bench: &mut Bench<A>) {
    for manifest in [bench.shop(), fields::full(bench)] {
        let work = bench.work(&manifest);
        let first = text(&bench.rendered(&work).await);
        bench.begin_anew();
        for _ in 0..3 {
            let again = text(&bench.rendered(&work).await);
            assert_eq!(first, again, "{}: the same is rendered otherwise", A::NAME);
        }
    }
}

fn text(resources: &Resources) -> String {
    serde_json::to_string(resources).expect("resources hold only string keys")
}

/// What the platform fills in, turns round or spells otherwise is no difference; what a user then sets in its place is one.
pub async fn what_the_platform_fills_in_is_no_difference<A: Account>(bench: &mut Bench<A>) {
    let hand = bench.hand(&bench.work(&bench.shop())).await;
    hand.bring_up().await;
    let mut filled_in = Vec::new();
    for (id, resource) in &hand.resources {
        let wanted = hand.closed(resource).await;
        for _ in 0..5 {
            let changes = hand.changes(&wanted).await;
            assert!(
                changes.is_empty(),
                "{}: nobody has changed {changes:#?}",
                bench.about(id)
            );
        }
        let Some(seen) = hand.seen(id).await else { continue };
        for field in added(&wanted.body, &seen.body) {
            let mut other = wanted.clone();
            other.body[&field] = json!("another");
            let told = bench.provider.shape.diff(&other, &seen);
            let is_told = told.iter().any(|change| change.field == field);
            assert!(
                is_told,
                "{}: a change of {field} is not told: {told:#?}",
                bench.about(id)
            );
            filled_in.push((id.clone(), field));
        }
    }
    match A::fills_in_defaults() {
        Ok(()) => assert!(!filled_in.is_empty(), "{}: the platform has filled in nothing", A::NAME),
        Err(reason) => {
            assert!(
                filled_in.is_empty(),
                "{}: the platform has filled in {filled_in:?}: {reason}",
                A::NAME
            );
            excused::<A>("a default of the platform", reason);
        }
    }
}

/// Fields at the top of a body that are observed, and not rendered.
fn added(rendered: &Value, observed: &Value) -> Vec<String> {
    let fields = observed.as_object().into_iter().flatten();
    let added = fields.filter(|(field, value)| !value.is_null() && rendered.get(field).is_none_or(Value::is_null));
    added.map(|(field, _)| field.clone()).collect()
}
