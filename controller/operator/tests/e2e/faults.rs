//! Everything that an operator asks goes wrong in every way, and in the end all is as if nothing had.
//!
//! The life of one App of every kind is led behind a proxy: once as a recording, and then with faults. What is compared is
//! all that bears a label of ours, field by field; how often each object was made and taken away; and what is not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::proxy::{ALL, Armed, Call, Fault, Proxy};
use crate::role::{KINDS, lives, prepare};
use crate::world::{Running, World, patiently, until};

/// What one life came to.
pub struct Life {
    calls: BTreeSet<Call>,
    met: BTreeSet<(Call, Fault)>,
    made: BTreeMap<String, usize>,
    taken: BTreeMap<String, usize>,
    at_rest: BTreeMap<String, Value>,
}

pub struct Stage {
    pub world: World,
    pub proxy: Proxy,
}

impl Stage {
    pub fn open(test: &str) -> Option<Self> {
        let world = World::start(test)?;
        let proxy = world.proxy();
        prepare(&world, "team");
        for (name, labels) in [
            ("nobodys", json!({})),
            (
                "anothers",
                json!({ "portolan.dev/owner": "0123456789abcdef", "portolan.dev/app": "other" }),
            ),
        ] {
            world.apply(&json!({
                "apiVersion": "v1", "kind": "ConfigMap", "data": { "of": name },
                "metadata": { "name": name, "namespace": "team", "labels": labels },
            }));
        }
        Some(Self { world, proxy })
    }

    /// With a controller that is killed half way, and one that goes on from where it was.
    fn life(&self, name: &str, armed: Armed) -> Life {
        self.lived(name, armed, || {
            let first = self.starts(name);
            let mut second = None;
            let mut at_rest = BTreeMap::new();
            lives(&self.world, "team", || {
                first.kill();
                self.proxy.ledger().forget_refusals();
                second = Some(self.starts(name));
                self.world.is_settled("team", "all");
                at_rest = self.ours();
            });
            self.is_left();
            assert_eq!(second.unwrap().stop(), Some(0), "{name}");
            at_rest
        })
    }

    /// What is led answers what it is at rest.
    pub fn lived(&self, name: &str, armed: Armed, lead: impl FnOnce() -> BTreeMap<String, Value>) -> Life {
        let began = Instant::now();
        self.proxy.arm(armed);
        let foreign = self.foreign();
        let at_rest = lead();
        self.is_left();
        assert_eq!(self.foreign(), foreign, "{name}: what is not ours is left alone");
        self.forget_data();
        let ledger = self.proxy.ledger();
        assert!(
            ledger.hasty.is_empty(),
            "{name}: came again too soon: {:#?}",
            ledger.hasty
        );
        println!("{name}: {} faults in {:?}", ledger.met.len(), began.elapsed());
        Life {
            calls: ledger.calls(),
            met: ledger.met.clone(),
            made: ledger.made.clone(),
            taken: ledger.taken.clone(),
            at_rest,
        }
    }

    fn is_left(&self) {
        until("nothing of ours is left", || {
            self.ours().keys().all(|key| key.starts_with("PersistentVolumeClaim"))
        });
    }

    fn starts(&self, home: &str) -> Running {
        let running = self.world.operator_behind(&self.proxy, home);
        until("it has its turn to write", || {
            running.log().contains("this side writes now")
        });
        running
    }

    fn forget_data(&self) {
        let claims = ["delete", "-n", "team", "persistentvolumeclaims", "--all"];
        self.world.plane.kubectl(&claims).unwrap();
        let freed = [
            "patch",
            "persistentvolume",
            "volume",
            "--type=merge",
            "-p",
            r#"{"spec":{"claimRef":null}}"#,
        ];
        self.world.plane.kubectl(&freed).unwrap();
    }

    /// Everything that bears an App's label, as far as it is the same in every life.
    pub fn ours(&self) -> BTreeMap<String, Value> {
        let found = self.world.get(&[
            "-n",
            "team",
            KINDS,
            "-l",
            "portolan.dev/app=all,portolan.dev/owner!=0123456789abcdef",
        ]);
        let found = found.map(|found| found["items"].as_array().cloned().unwrap_or_default());
        found
            .unwrap_or_default()
            .iter()
            .map(|one| (key(one), settled(one)))
            .collect()
    }

    fn foreign(&self) -> Vec<Value> {
        let names = ["-n", "team", "configmap", "nobodys", "anothers", "kube-root-ca.crt"];
        let found = self.world.get(&names).unwrap();
        found["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["metadata"].clone())
            .collect()
    }
}

fn key(object: &Value) -> String {
    format!(
        "{}/{}",
        object["kind"].as_str().unwrap(),
        object["metadata"]["name"].as_str().unwrap()
    )
}

/// Without what an API server and its controllers give an object: each life is of other objects.
fn settled(object: &Value) -> Value {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|field, _| {
        matches!(
            field.as_str(),
            "labels" | "annotations" | "finalizers" | "ownerReferences"
        )
    });
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    forget_given(&mut object);
    object
}

fn forget_given(value: &mut Value) {
    let given = |key: &str| key.ends_with("controller-uid") || GIVEN.contains(&key);
    match value {
        Value::Object(fields) => {
            let kept = std::mem::take(fields).into_iter().filter(|(field, _)| !given(field));
            *fields = kept.collect::<Map<_, _>>();
            fields.values_mut().for_each(forget_given);
        }
        Value::Array(all) => all.iter_mut().for_each(forget_given),
        _ => {}
    }
}

const GIVEN: &[&str] = &["clusterIP", "clusterIPs", "nodePort", "healthCheckNodePort", "uid"];

/// Each fault has befallen some calls. Which of those that the recording has seen it has not is told: no life has to make
/// what is asked for where an answer leaves something open.
pub fn befall_something(record: &Life, lives: &[(Fault, Life)]) {
    for (fault, life) in lives {
        assert!(!life.met.is_empty(), "{fault:?} has befallen nothing");
        let all = record.calls.iter().filter(|call| fault.can_befall(call));
        let missed: Vec<&Call> = all
            .filter(|call| !life.met.contains(&((*call).clone(), *fault)))
            .collect();
        println!("{fault:?}: {} calls, not {missed:?}", life.met.len());
    }
}

pub fn is_as(record: &Life, life: &Life, name: &str) {
    assert_eq!(
        record.at_rest.keys().collect::<Vec<_>>(),
        life.at_rest.keys().collect::<Vec<_>>(),
        "{name}"
    );
    for (key, object) in &record.at_rest {
        assert_eq!(object, &life.at_rest[key], "{name}: {key}");
    }
    assert_eq!(record.made, life.made, "{name}: nothing is made twice");
    assert_eq!(
        record.taken, life.taken,
        "{name}: nothing is taken away that stays, or twice"
    );
}

/// One for each call. What never ends takes half a minute each time.
pub fn of_all_sorts() -> Armed {
    Armed {
        faults: ALL.iter().copied().filter(|fault| *fault != Fault::Stalled).collect(),
        each: 1,
        first: 1,
    }
}

/// A life for each fault at the first time of each call, and at the second.
pub fn each_by_itself() -> Vec<(String, Fault, Armed)> {
    let all = ALL.iter().flat_map(|fault| [1, 2].map(|first| (*fault, first)));
    all.map(|(fault, first)| {
        let armed = Armed {
            faults: vec![fault],
            each: 1,
            first,
        };
        (format!("{fault:?}-{first}").to_lowercase(), fault, armed)
    })
    .collect()
}

#[test]
fn faults_of_all_sorts_change_nothing_in_the_end() {
    let test = "faults_of_all_sorts_change_nothing_in_the_end";
    let Some(stage) = Stage::open(test) else { return };
    let record = stage.life("record", Armed::default());
    is_as(&record, &stage.life("mixed", of_all_sorts()), "mixed");
}

#[test]
#[ignore = "half an hour"]
fn each_fault_at_each_call_changes_nothing_in_the_end() {
    let test = "each_fault_at_each_call_changes_nothing_in_the_end";
    let Some(stage) = Stage::open(test) else { return };
    let record = stage.life("record", Armed::default());
    let mut all = Vec::new();
    for (name, fault, armed) in each_by_itself() {
        // Where a call never ends it has failed after half a minute, and many of them follow one another.
        let times = if fault == Fault::Stalled { 5 } else { 1 };
        let life = patiently(times, || stage.life(&name, armed));
        is_as(&record, &life, &name);
        all.push((fault, life));
    }
    befall_something(&record, &all);
}
