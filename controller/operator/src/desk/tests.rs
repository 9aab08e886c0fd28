//! A desk over a cluster in memory: objects with versions, on which what is due is carried out, and an engine that does
//! nothing but hold what it was assigned.

use portolan_core::diagnostic::Diagnostic;
use portolan_core::manifest::Target;
use portolan_engine::controller::Assignment;
use portolan_engine::journal::{Order, Promoted};
use portolan_engine::{Wish, Work};
use portolan_provider_api::Provider;
use portolan_provider_fake::{FakeCloud, FakeShape, provider};
use serde_json::json;

use super::*;
use crate::object::{APPROVE, FINALIZER, ORPHAN, PROMOTE, RECONCILE_AT, SUSPEND, TARGETS};
use crate::told::Told as ToldOf;

const NOW: &str = "2026-01-01T00:00:00Z";

struct Ways(Provider);

impl Harbours for Ways {
    fn provider(&self, _target: &Target) -> Result<Provider, Box<Diagnostic>> {
        Ok(self.0.clone())
    }
}

struct World {
    desk: Desk,
    objects: BTreeMap<ObjectName, Value>,
    version: u64,
    assigned: BTreeMap<AppKey, Assignment>,
    /// By target.
    orders: Vec<(String, Order)>,
    /// Reasons of Events.
    news: Vec<String>,
    /// `record`, `status` and `assignments`, as they came.
    steps: Vec<&'static str>,
}

fn shop() -> ObjectName {
    ObjectName::App(AppName {
        namespace: "team".into(),
        name: "shop".into(),
    })
}

fn target(name: &str) -> ObjectName {
    ObjectName::Target(name.into())
}

fn desk() -> Desk {
    let provider = provider(FakeCloud::new(Arc::new(|| 0)), FakeShape::default());
    Desk::new(Arc::new(Ways(provider)))
}

fn object(value: &Value) -> Box<DynamicObject> {
    serde_json::from_value(value.clone()).unwrap()
}

impl World {
    /// With the Target `here`.
    fn new() -> Self {
        let mut world = Self {
            desk: desk(),
            objects: BTreeMap::new(),
            version: 0,
            assigned: BTreeMap::new(),
            orders: Vec::new(),
            news: Vec::new(),
            steps: Vec::new(),
        };
        world.make(target("here"), json!({ "provider": "kubernetes" }));
        world.restarted()
    }

    /// Another controller, which knows what the objects say.
    fn restarted(mut self) -> Self {
        self.desk = desk();
        self.assigned.clear();
        self.desk.see_app(Seen::Begin);
        self.desk.see_target(Seen::Begin);
        for (name, value) in &self.objects {
            see(&mut self.desk, name, Seen::Listed(object(value)));
        }
        self.desk.see_app(Seen::End);
        self.desk.see_target(Seen::End);
        self.settle();
        self
    }

    fn make(&mut self, name: ObjectName, spec: Value) {
        let mut metadata = match &name {
            ObjectName::App(app) => json!({ "namespace": app.namespace, "name": app.name }),
            ObjectName::Target(name) => json!({ "name": name }),
        };
        metadata["uid"] = json!(format!("uid-{}", self.version));
        metadata["generation"] = json!(0);
        self.objects
            .insert(name.clone(), json!({ "metadata": metadata, "spec": {} }));
        self.change(name, |object| object["spec"] = spec);
    }

    /// Changed, and seen by the watch.
    fn change(&mut self, name: ObjectName, change: impl FnOnce(&mut Value)) {
        self.version += 1;
        let value = self.objects.get_mut(&name).unwrap();
        let spec = value["spec"].clone();
        change(value);
        if value["spec"] != spec {
            value["metadata"]["generation"] = json!(self.version);
        }
        value["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let seen = Seen::Changed(object(value));
        see(&mut self.desk, &name, seen);
    }

    fn annotate(&mut self, annotation: &str, value: &str) {
        self.change(shop(), |object| {
            object["metadata"]["annotations"][annotation] = json!(value)
        });
        self.settle();
    }

    /// As `kubectl delete` has it where there is a finalizer.
    fn delete_shop(&mut self) {
        self.change(shop(), |object| object["metadata"]["deletionTimestamp"] = json!(NOW));
        self.settle();
    }

    fn remove(&mut self, name: &ObjectName) {
        let value = self.objects.remove(name).unwrap();
        see(&mut self.desk, name, Seen::Gone(object(&value)));
        self.settle();
    }

    /// Until nothing is due.
    fn settle(&mut self) {
        loop {
            let due = self.look();
            if due.is_empty() {
                return;
            }
            for change in due {
                let written = self.carry_out(change);
                self.desk.written(written);
            }
        }
    }

    /// What is due but for writes is done; they are answered.
    fn look(&mut self) -> Vec<Change> {
        let due = self.desk.due(NOW, Timestamp(0));
        if !due.reassigned.is_empty() {
            for (key, assignment) in due.reassigned {
                match assignment {
                    Some(assignment) => drop(self.assigned.insert(key, assignment)),
                    None => drop(self.assigned.remove(&key)),
                }
            }
            self.steps.push("assignments");
        }
        self.news.extend(due.news.into_iter().map(|told| told.news.reason));
        for (name, asked) in due.orders {
            let keys = asked.keys.iter();
            self.orders
                .extend(keys.map(|key| (key.target.clone(), asked.order.clone())));
            self.desk.obeyed(&name, asked.annotation, asked.said);
        }
        due.writes
    }

    /// The answer, before the watch has told of it.
    fn carry_out(&mut self, change: Change) -> Written {
        self.version += 1;
        let value = self.objects.get_mut(&change.name).unwrap();
        match &change.write {
            Write::Record(patch) => {
                let patch = &patch["metadata"];
                value["metadata"]["finalizers"] = patch["finalizers"].clone();
                let mut annotations = value["metadata"]["annotations"]
                    .as_object()
                    .cloned()
                    .unwrap_or_default();
                match &patch["annotations"][TARGETS] {
                    Value::Null => drop(annotations.remove(TARGETS)),
                    said => drop(annotations.insert(TARGETS.into(), said.clone())),
                }
                value["metadata"]["annotations"] = Value::Object(annotations);
                self.steps.push("record");
            }
            Write::Status(status) => {
                value["status"] = status.clone();
                if change.name == shop() {
                    self.steps.push("status");
                }
            }
        }
        value["metadata"]["resourceVersion"] = json!(self.version.to_string());
        Written {
            name: change.name,
            uid: value["metadata"]["uid"].as_str().unwrap().to_string(),
            object: Some(object(value)),
        }
    }

    fn work(&self, target: &str) -> Option<Arc<Work>> {
        let mut all = self.assigned.iter().filter(|(key, _)| key.target == target);
        all.next().map(|(_, assignment)| assignment.work.clone())
    }

    /// A turn has come to its end.
    fn end(&mut self, target: &str, told: ToldOf) {
        let work = self.work(target).unwrap();
        let (key, told) = (work.key(), Box::new(told));
        self.desk.hear(Heard::Ended { key, work, told });
        self.settle();
    }

    fn is_held(&self) -> bool {
        let finalizers = self.objects[&shop()]["metadata"]["finalizers"].as_array();
        finalizers.is_some_and(|all| all.contains(&json!(FINALIZER)))
    }

    fn status(&self) -> &Value {
        &self.objects[&shop()]["status"]
    }
}

fn see(desk: &mut Desk, name: &ObjectName, seen: Seen) {
    match name {
        ObjectName::App(_) => desk.see_app(seen),
        ObjectName::Target(_) => desk.see_target(seen),
    }
}

fn spec(targets: &[&str]) -> Value {
    json!({ "targets": targets, "services": { "web": { "image": "registry.example/web:1" } } })
}

fn gone() -> ToldOf {
    ToldOf {
        is_gone: true,
        ..ToldOf::usable()
    }
}

#[test]
fn nothing_is_assigned_before_the_object_says_so_and_a_new_controller_writes_nothing() {
    let mut world = World::new();
    world.make(shop(), spec(&["here"]));
    world.settle();
    assert_eq!(world.steps, ["record", "assignments"]);
    world.end("here", ToldOf::usable());
    assert_eq!(world.steps[2..], ["status"]);
    world.make(target("there"), json!({ "provider": "kubernetes" }));
    world.change(shop(), |object| object["spec"] = spec(&["here", "there"]));
    for change in world.look() {
        assert!(world.work("there").is_none(), "nor on a target that is added");
        let written = world.carry_out(change);
        world.desk.written(written);
    }
    world.settle();
    assert!(world.work("there").is_some());
    world.steps.clear();
    let world = world.restarted();
    assert_eq!(world.steps, ["assignments"]);
}

#[test]
fn a_suspended_app_that_is_deleted_stays_until_it_is_resumed_also_over_a_restart() {
    let mut world = World::new();
    world.make(shop(), spec(&["here"]));
    world.settle();
    world.end("here", ToldOf::usable());
    world.annotate(SUSPEND, "true");
    assert!(world.assigned.values().all(|one| one.suspended));
    world.delete_shop();
    let mut world = world.restarted();
    assert!(world.is_held() && world.assigned.values().all(|one| one.suspended));
    world.annotate(SUSPEND, "false");
    assert!(world.is_held());
    let mut assigned = world.assigned.values();
    assert!(assigned.all(|one| !one.suspended && one.work.is_delete()));
    world.annotate(SUSPEND, "true");
    world.end("here", gone());
    assert!(world.is_held(), "also where nothing is left");
    world.annotate(SUSPEND, "false");
    assert!(!world.is_held());
}

#[test]
fn what_may_be_on_a_target_that_has_gone_holds_the_app() {
    let mut world = World::new();
    world.make(shop(), spec(&["here", "nowhere"]));
    world.settle();
    assert!(world.work("here").is_some(), "and nobody has told anything yet");
    world.remove(&target("here"));
    world.delete_shop();
    assert!(world.is_held());
    let mut world = world.restarted();
    assert!(world.is_held(), "also over a restart");
    let told = world.status()["targets"].as_object().unwrap().keys();
    assert!(told.eq(["here"]), "where nothing was there is nothing to hold it for");
    world.annotate(ORPHAN, "true");
    assert!(!world.is_held());
}

#[test]
fn an_object_from_a_backup_is_held_though_its_status_is_lost() {
    let mut world = World::new();
    world.make(shop(), spec(&["here"]));
    world.settle();
    world.remove(&target("here"));
    world.change(shop(), |object| drop(object.as_object_mut().unwrap().remove("status")));
    let mut world = world.restarted();
    world.delete_shop();
    assert!(world.is_held());
}

#[test]
fn an_answer_brings_no_object_back_and_none_that_is_older() {
    let mut world = World::new();
    world.make(shop(), spec(&["here"]));
    world.settle();
    let first = world.objects[&shop()].clone();
    world.change(shop(), |object| object["spec"] = spec(&["here", "nowhere"]));
    let late = |value: &Value, name: ObjectName| Written {
        name,
        uid: value["metadata"]["uid"].as_str().unwrap().to_string(),
        object: Some(object(value)),
    };
    world.desk.written(late(&first, shop()));
    world.settle();
    let stalled = &world.status()["conditions"][2];
    assert_eq!(stalled["reason"], "UnknownTarget", "the newer manifest holds");

    let before = world.objects[&target("here")].clone();
    let elsewhere = json!({ "provider": "kubernetes", "kubernetes": { "context": "elsewhere" } });
    world.change(target("here"), |object| object["spec"] = elsewhere);
    world.desk.written(late(&before, target("here")));
    world.settle();
    let work = world.work("here").unwrap();
    assert!(work.target.spec.kubernetes.is_some(), "the newer Target holds");

    let last = world.objects[&shop()].clone();
    world.remove(&shop());
    world.desk.written(late(&last, shop()));
    world.settle();
    assert!(world.assigned.is_empty(), "what has gone stays so");
    world.make(shop(), spec(&["here"]));
    world.desk.written(late(&last, shop()));
    let ObjectName::App(name) = shop() else { return };
    assert_ne!(world.desk.app(&name).unwrap().head.uid, last["metadata"]["uid"]);
    let target_before = world.objects[&target("here")].clone();
    world.remove(&target("here"));
    world.desk.written(late(&target_before, target("here")));
    assert!(world.desk.targets.is_empty());
}

#[test]
fn what_is_said_by_an_annotation_is_done_once_somebody_can_hear_it() {
    let mut world = World::new();
    world.make(shop(), spec(&["here"]));
    for (annotation, value) in [(SUSPEND, "true"), (RECONCILE_AT, "noon"), (APPROVE, "a-plan")] {
        world.annotate(annotation, value);
    }
    assert_eq!(world.orders, [], "nobody looks at it");
    assert!(world.status()["lastHandledReconcileAt"].is_null());
    world.annotate(SUSPEND, "false");
    let plan = "a-plan".to_string();
    let here = |order| ("here".to_string(), order);
    let expected = [here(Order::Reconcile(Timestamp(0))), here(Order::Approve { plan })];
    assert_eq!(world.orders, expected);
    world.end("here", ToldOf::usable());
    assert_eq!(world.status()["lastHandledReconcileAt"], "noon");
    assert_eq!(world.orders, expected, "once");

    world.annotate(APPROVE, "another");
    assert_eq!(world.orders.len(), 3);
    world.orders.clear();
    let world = world.restarted();
    let plan = "another".to_string();
    assert_eq!(
        world.orders,
        [here(Order::Approve { plan })],
        "a journal may have been lost"
    );
}

#[test]
fn a_promotion_is_for_those_that_are_in_the_very_pause_that_it_names() {
    let paused = |pause: &str| ToldOf {
        promotion: Some(pause.into()),
        ..ToldOf::waiting()
    };
    let mut world = World::new();
    world.make(target("there"), json!({ "provider": "kubernetes" }));
    world.make(shop(), spec(&["here", "there"]));
    world.settle();
    world.annotate(PROMOTE, "another");
    world.end("here", paused("one"));
    assert_eq!(world.news, [""; 0], "it may yet be one of the other target's");
    world.end("there", ToldOf::usable());
    assert_eq!(
        (&*world.orders, &*world.news),
        (&[][..], &["NotPaused".to_string()][..])
    );
    assert_eq!(world.status()["lastHandledPromote"], "another");
    assert_eq!(world.status()["targets"]["here"]["promotion"], "one");

    world.annotate(PROMOTE, "one/full");
    let promoted = Promoted {
        pause: "one".into(),
        full: true,
    };
    let expected = ("here".to_string(), Order::Promote(promoted));
    assert_eq!(world.orders, std::slice::from_ref(&expected));
    assert_eq!(
        world.status()["lastHandledPromote"],
        "another",
        "nobody has carried it out yet"
    );
    let mut world = world.restarted();
    world.end("here", paused("one"));
    assert_eq!(
        world.orders,
        [expected.clone(), expected],
        "a journal may have been lost"
    );
    world.end("here", ToldOf::usable());
    world.end("there", ToldOf::usable());
    assert_eq!(world.status()["lastHandledPromote"], "one/full");

    let mut world = world.restarted();
    world.end("here", paused("two"));
    world.end("there", ToldOf::usable());
    assert_eq!(
        (world.orders.len(), world.news.len()),
        (2, 1),
        "it was of an earlier pause"
    );
}

#[test]
fn what_has_not_changed_is_neither_put_together_nor_told_again() {
    let mut world = World::new();
    world.make(target("there"), json!({ "provider": "kubernetes" }));
    world.make(shop(), spec(&["here", "there"]));
    world.settle();
    let (here, there) = (world.work("here").unwrap(), world.work("there").unwrap());
    world.change(shop(), |object| {
        object["spec"]["overrides"] = json!({ "there": { "services": { "web": { "scale": { "min": 2 } } } } });
    });
    world.settle();
    assert!(Arc::ptr_eq(&here, &world.work("here").unwrap()));
    assert!(!Arc::ptr_eq(&there, &world.work("there").unwrap()));
    assert_eq!(there.wish, Wish::Keep);
    world.steps.clear();
    world.end("here", ToldOf::waiting());
    assert!(!world.steps.contains(&"assignments"));
    assert!(world.desk.touched.is_empty() && world.desk.touched_targets.is_empty());
}
