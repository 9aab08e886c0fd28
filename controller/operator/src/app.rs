//! One App: its object, what the engine is to do about it on each target, and what there is to write. Pure.
//!
//! Nothing is assigned before the object bears the finalizer and, beside it, the target's name: so nothing can be applied whose
//! App goes without a delete, and whoever comes next knows where to look, also where the Target has gone meanwhile. The
//! finalizer goes only once every target has told that nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::api::DynamicObject;
use portolan_engine::Work;
use portolan_engine::controller::{Assignment, Reassigned};
use portolan_engine::journal::{AppKey, Order};
use portolan_engine::machine::Timestamp;
use serde_json::{Map, Value};

use crate::intent::{self, Intent, Refusal};
use crate::object::{APPROVE, AppName, Head, ORPHAN, RECONCILE_AT, SUSPEND};
use crate::slot::{Harbour, Place, Slot, Wanted, Way};
use crate::status::{self, Parts, Scaled};
use crate::told::Told;

mod promoting;

pub use promoting::Outdated;

/// Where a status says which words were obeyed last.
const LAST_RECONCILE: &str = "lastHandledReconcileAt";
const LAST_PROMOTE: &str = "lastHandledPromote";

pub struct KeptApp {
    pub name: AppName,
    pub head: Head,
    /// Whether something is being written to the object.
    pub is_busy: bool,
    intent: Result<Intent, Vec<Refusal>>,
    slots: Slots,
    /// What the engine was last given, and whether to leave it alone.
    assigned: (Vec<Arc<Work>>, bool),
    /// Annotations that were obeyed: what each said last.
    obeyed: BTreeMap<&'static str, String>,
}

/// By target. A map keeps room for several, and most have one.
type Slots = BTreeMap<String, Box<Slot>>;

/// Something that somebody says by an annotation, and whom it is for.
pub struct Asked {
    pub annotation: &'static str,
    pub said: String,
    pub order: Order,
    pub keys: Vec<AppKey>,
}

/// A change of the object that is due.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Whether it may be let go, and where something of it may be: a merge patch.
    Record(Value),
    Status(Value),
}

impl KeptApp {
    pub fn new(mut object: DynamicObject) -> Self {
        let name = AppName::of(&object);
        let head = Head::of(&mut object);
        Self {
            intent: intent::app(&name, &object.data["spec"]),
            name,
            head,
            is_busy: false,
            slots: BTreeMap::new(),
            assigned: (Vec::new(), false),
            obeyed: BTreeMap::new(),
        }
    }

    /// The object as it is now; answers whether that is news.
    pub fn see(&mut self, mut object: DynamicObject) -> bool {
        let head = Head::of(&mut object);
        if head.is_older_than(&self.head) {
            return false;
        }
        if head.uid != self.head.uid {
            self.is_busy = false;
            self.slots.clear();
            self.obeyed.clear();
        }
        if (&head.uid, head.generation) != (&self.head.uid, self.head.generation) {
            self.intent = intent::app(&self.name, &object.data["spec"]);
        }
        self.head = head;
        true
    }

    /// Whether anything of it is there, or is to be.
    pub fn goes_to(&self, target: &str) -> bool {
        let intent = self.intent.as_ref();
        self.slots.contains_key(target)
            || self.is_told_of(target)
            || intent.is_ok_and(|intent| intent.contains_key(target))
    }

    /// What is to be done, with the Targets that there are; answers what of it the engine has to be told.
    pub fn settle(&mut self, harbours: &BTreeMap<String, Harbour>) -> Reassigned {
        // What cannot be read goes on as it was last without faults.
        if self.intent.is_ok() || self.head.deleting {
            let old = std::mem::take(&mut self.slots);
            self.slots = self.slots_from(old, harbours);
        }
        let works: Vec<Arc<Work>> = self.ways().map(|way| way.work.clone()).collect();
        let now = (works, self.is_suspended());
        if are_same(&self.assigned.0, &now.0) && self.assigned.1 == now.1 {
            return Reassigned::new();
        }
        let mut changed: Reassigned = self.let_go().collect();
        self.assigned = now;
        changed.extend(self.assignments().map(|(key, assignment)| (key, Some(assignment))));
        changed
    }

    /// All that the engine was given, taken back.
    pub fn let_go(&self) -> impl Iterator<Item = (AppKey, Option<Assignment>)> {
        self.assigned.0.iter().map(|work| (work.key(), None))
    }

    fn slots_from(&self, mut old: Slots, harbours: &BTreeMap<String, Harbour>) -> Slots {
        let mut slots = BTreeMap::new();
        for (target, wanted) in self.wanted(&old) {
            let is_kept = matches!(wanted, Wanted::Kept(_));
            let place = Place {
                app: &self.name,
                is_deleted: self.head.deleting,
                target: &target,
                harbour: harbours.get(&target),
            };
            let slot = place.slot(wanted, old.remove(&target).map(|slot| *slot));
            // Where nothing can have been applied nothing is to go.
            if is_kept || slot.way.is_some() || self.may_be_at(&target) {
                slots.insert(target, Box::new(slot));
            }
        }
        slots
    }

    fn assignments(&self) -> impl Iterator<Item = (AppKey, Assignment)> {
        let suspended = self.is_suspended();
        self.ways().map(move |way| {
            let assignment = Assignment {
                provider: way.provider.clone(),
                work: way.work.clone(),
                suspended,
            };
            (way.work.key(), assignment)
        })
    }

    /// Those that may be gone by: what is to be there is on record first.
    fn ways(&self) -> impl Iterator<Item = &Way> {
        let may = self.head.has_finalizer();
        let slots = self.slots.iter().filter(move |_| may);
        let ways = slots.filter_map(|(target, slot)| Some((target, slot.way.as_ref()?)));
        ways.filter(|(target, way)| way.work.is_delete() || self.is_told_of(target))
            .map(|(_, way)| way)
    }

    /// What somebody says by annotations, and was not obeyed yet; nothing while there is nobody to hear it.
    pub fn asked(&self, now: Timestamp) -> Vec<Asked> {
        let keys: Vec<AppKey> = self.ways().map(|way| way.work.key()).collect();
        if keys.is_empty() || self.is_suspended() {
            return Vec::new();
        }
        let is_handled = |said: &&String| self.head.status()[LAST_RECONCILE] == said.as_str();
        let reconcile = self.unheard(RECONCILE_AT).filter(|said| !is_handled(said));
        let reconcile = reconcile.map(|said| (RECONCILE_AT, said, Order::Reconcile(now)));
        let approve = self.unheard(APPROVE);
        let approve = approve.map(|said| (APPROVE, said, Order::Approve { plan: said.clone() }));
        let asked = |(annotation, said, order): (&'static str, &String, Order)| Asked {
            annotation,
            said: said.clone(),
            order,
            keys: keys.clone(),
        };
        let of_all = reconcile.into_iter().chain(approve).map(asked);
        of_all.chain(self.promoted()).collect()
    }

    fn unheard(&self, annotation: &'static str) -> Option<&String> {
        let said = self.head.annotations.get(annotation)?;
        (self.obeyed.get(annotation) != Some(said)).then_some(said)
    }

    /// Everybody whom it is for was given it.
    pub fn obeyed(&mut self, annotation: &'static str, said: String) {
        self.obeyed.insert(annotation, said);
    }

    pub fn begun(&mut self, target: &str, told: Told) {
        if let Some(slot) = self.slots.get_mut(target) {
            slot.told = Some(told.after(slot.told.take()));
        }
    }

    /// Answers whether it was about what is wanted now.
    pub fn ended(&mut self, target: &str, work: &Arc<Work>, told: Told) -> bool {
        let Some(slot) = self.slots.get_mut(target) else {
            return false;
        };
        let of_now = slot.way.as_ref().is_some_and(|now| Arc::ptr_eq(&now.work, work));
        if of_now {
            slot.told = Some(told);
        }
        of_now
    }

    /// The next change of the object that is due; one at a time.
    pub fn write(&self, now: &str) -> Option<Write> {
        if self.is_busy || (self.head.deleting && !self.head.has_finalizer()) {
            return None;
        }
        if let Some(targets) = self.record() {
            return Some(Write::Record(self.head.record_patch(&targets)));
        }
        let before = self.head.status();
        let status = self.status(&before, now)?;
        (status != before).then_some(Write::Status(status))
    }

    /// What is to be on record, where that is not what is: none ends it. A suspended App is left as it is.
    fn record(&self) -> Option<BTreeSet<&str>> {
        if self.is_suspended() {
            return None;
        }
        if self.head.deleting {
            let may_go = self.head.says(ORPHAN) || self.slots.values().all(|slot| slot.is_gone());
            return may_go.then(BTreeSet::new);
        }
        // What an App without faults was applied to before is not known from this one.
        self.intent.as_ref().ok()?;
        let is_there =
            |(target, slot): &(&str, &Slot)| !slot.is_gone() && (slot.way.is_some() || self.may_be_at(target));
        let slots = self.slots.iter().map(|(target, slot)| (target.as_str(), &**slot));
        let targets: BTreeSet<&str> = slots.filter(is_there).map(|(target, _)| target).collect();
        let known = self.head.record().unwrap_or_default();
        (targets != known).then_some(targets)
    }

    /// What its status is to be; none while nothing new is known.
    fn status(&self, before: &Value, now: &str) -> Option<Value> {
        if self.is_suspended() {
            return Some(status::suspended(before, self.head.generation, now));
        }
        let refused = self
            .intent
            .as_ref()
            .err()
            .filter(|_| !self.head.deleting)
            .map(|faults| Told::refused(faults));
        let waiting = Told::waiting();
        let mut kept = Map::new();
        let mut told: Vec<(&str, &Told)> = Vec::new();
        let mut without_entry = BTreeSet::new();
        if let Some(refused) = &refused {
            kept = before["targets"].as_object().cloned().unwrap_or_default();
            told.push(("", refused));
        } else if !self.is_worth_telling() {
            return None;
        }
        for (target, slot) in self
            .slots
            .iter()
            .filter(|(_, slot)| self.head.deleting || !slot.is_gone())
        {
            told.push((target, slot.told.as_ref().unwrap_or(&waiting)));
            if slot.way.is_none() && !self.may_be_at(target) {
                without_entry.insert(target.as_str());
            }
        }
        let reconciled = self.obeyed.get(RECONCILE_AT).map(String::as_str);
        let promoted = self.handled_promotion(before);
        Some(status::status(&Parts {
            generation: self.head.generation,
            told,
            without_entry,
            kept,
            reconcile_at: reconciled.or_else(|| before[LAST_RECONCILE].as_str()),
            promote: promoted,
            scaled: self.scaled(),
            before,
            now,
        }))
    }

    /// The one service of an App that says `replicas`, on each of its targets.
    fn scaled(&self) -> Option<Scaled<'_>> {
        let app = self.intent.as_ref().ok()?.values().next()?;
        app.spec.replicas?;
        let service = app.spec.services.keys().next()?;
        Some(Scaled {
            app: &self.name.name,
            service,
        })
    }

    /// Once all targets have told; sooner where something is not as it shall be. So a controller that begins anew writes
    /// nothing for what stands as it stood.
    fn is_worth_telling(&self) -> bool {
        let mut told = self.slots.values().filter_map(|slot| slot.told.as_ref());
        let all = self.slots.values().all(|slot| slot.told.is_some());
        all || told.any(|told| !told.ready.is && !told.is_gone)
    }

    /// Whether the object says that something of it may be there: from before anything is applied, until nothing is left.
    fn is_told_of(&self, target: &str) -> bool {
        self.head.told_targets().any(|told| told == target)
    }

    /// An object that bears the finalizer and names no targets has lost what it said, as one from a backup.
    fn may_be_at(&self, target: &str) -> bool {
        let has_lost = self.head.has_finalizer() && self.head.record().is_none() && self.head.observed().is_none();
        has_lost || self.is_told_of(target)
    }

    pub fn is_suspended(&self) -> bool {
        self.head.says(SUSPEND) && !(self.head.deleting && self.head.says(ORPHAN))
    }

    /// By target.
    fn wanted(&self, slots: &Slots) -> BTreeMap<String, Wanted> {
        let deleted = |target: &str| (target.to_string(), Wanted::Deleted);
        let intent = self.intent.as_ref().ok().into_iter().flatten();
        match (self.head.deleting, self.head.says(ORPHAN)) {
            (true, true) => BTreeMap::new(),
            (true, false) => {
                let targets = intent.map(|(target, _)| target).chain(slots.keys());
                let targets = targets.map(String::as_str).chain(self.head.told_targets());
                targets.map(deleted).collect()
            }
            (false, _) => {
                let here = slots.iter().filter(|(_, slot)| slot.way.is_some() && !slot.is_gone());
                let left = self.head.told_targets().chain(here.map(|(target, _)| target.as_str()));
                let mut wanted: BTreeMap<_, _> = left.map(deleted).collect();
                wanted.extend(intent.map(|(target, app)| (target.clone(), Wanted::Kept(app.clone()))));
                wanted
            }
        }
    }
}

fn are_same(one: &[Arc<Work>], other: &[Arc<Work>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| Arc::ptr_eq(one, other))
}
