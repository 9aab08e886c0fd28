//! One App: its object, what the engine is to do about it on each target, and what there is to write. Pure.
//!
//! Nothing is assigned before the object bears the finalizer, so that nothing can be applied whose App goes without a delete;
//! and the finalizer goes only once every target has told that nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use kube::api::DynamicObject;
use portolan_core::manifest::{App, Target};
use portolan_core::plan::PlanOptions;
use portolan_engine::controller::Assignment;
use portolan_engine::journal::{AppKey, Order};
use portolan_engine::{Wish, Work};
use portolan_provider_api::Provider;
use serde_json::{Map, Value};

use crate::intent::{self, Intent, Refusal};
use crate::object::{APPROVE, AppName, Head, ORPHAN, RECONCILE_AT, SUSPEND};
use crate::status::{self, Parts};
use crate::told::Told;

/// The Targets that there are, and the way to each.
pub type Harbour = Result<(Arc<Target>, Provider), Vec<Refusal>>;

pub struct KeptApp {
    pub name: AppName,
    pub head: Head,
    /// Whether something is being written to the object.
    pub is_busy: bool,
    intent: Result<Intent, Vec<Refusal>>,
    slots: BTreeMap<String, Slot>,
    /// Annotations that were obeyed: what was said last.
    reconciled: Option<String>,
    approved: Option<String>,
}

/// What is done on one target.
struct Slot {
    /// None where there is no way to the target.
    assignment: Option<Assignment>,
    told: Option<Told>,
}

/// A change of the object that is due.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A merge patch.
    Finalizer(Value),
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
            reconciled: None,
            approved: None,
        }
    }

    /// The object as it is now; answers whether that is news.
    pub fn see(&mut self, mut object: DynamicObject) -> bool {
        let head = Head::of(&mut object);
        if head.is_older_than(&self.head) {
            return false;
        }
        if head.uid != self.head.uid {
            self.slots.clear();
            (self.reconciled, self.approved) = (None, None);
        }
        if (&head.uid, head.generation) != (&self.head.uid, self.head.generation) {
            self.intent = intent::app(&self.name, &object.data["spec"]);
        }
        self.head = head;
        true
    }

    /// What is to be done, with the Targets that there are; answers whether the assignments have changed.
    pub fn settle(&mut self, harbours: &BTreeMap<String, Harbour>) -> bool {
        let before = self.assigned();
        // What cannot be read goes on as it was last without faults.
        let is_read = self.intent.is_ok() || self.head.deleting;
        if is_read && !self.is_suspended() {
            let wanted = self.wanted();
            let mut old = std::mem::take(&mut self.slots);
            for (target, (app, wish)) in wanted {
                let old = old.remove(&target);
                let was_there = self.is_told_of(&target) || old.as_ref().is_some_and(|old| old.assignment.is_some());
                let slot = self.slot(&target, app, wish, harbours.get(&target), old);
                // Where nothing can have been applied nothing is to go.
                if wish == Wish::Keep || was_there || slot.assignment.is_some() {
                    self.slots.insert(target, slot);
                }
            }
        }
        before != self.assigned()
    }

    pub fn assignments(&self) -> impl Iterator<Item = (AppKey, Assignment)> {
        let may = self.head.has_finalizer() && !self.is_suspended();
        let slots = self.slots.values().filter(move |_| may);
        slots.filter_map(|slot| {
            let assignment = slot.assignment.clone()?;
            Some((assignment.work.key(), assignment))
        })
    }

    /// What somebody says by annotations, once each.
    pub fn orders(&mut self, now: portolan_engine::machine::Timestamp) -> Vec<(AppKey, Order)> {
        let mut orders = Vec::new();
        let said = self.head.annotations.get(RECONCILE_AT).cloned();
        let handled = self.head.status["lastHandledReconcileAt"].as_str();
        if said.is_some() && said.as_deref() != handled && said != self.reconciled {
            self.reconciled = said;
            orders.push(Order::Reconcile(now));
        }
        let approved = self.head.annotations.get(APPROVE).cloned();
        if approved != self.approved {
            self.approved.clone_from(&approved);
            orders.extend(approved.map(|plan| Order::Approve { plan }));
        }
        let keys: Vec<AppKey> = self.assignments().map(|(key, _)| key).collect();
        let each = |order: Order| keys.iter().map(move |key| (key.clone(), order.clone()));
        orders.into_iter().flat_map(each).collect()
    }

    pub fn begun(&mut self, target: &str, told: Told) {
        if let Some(slot) = self.slots.get_mut(target) {
            slot.told = Some(told);
        }
    }

    /// Answers whether it was about what is wanted now.
    pub fn ended(&mut self, target: &str, work: &Arc<Work>, told: Told) -> bool {
        let Some(slot) = self.slots.get_mut(target) else {
            return false;
        };
        let of_now = slot.assignment.as_ref().is_some_and(|now| Arc::ptr_eq(&now.work, work));
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
        if self.head.deleting && (self.head.says(ORPHAN) || self.slots.values().all(Slot::is_gone)) {
            return Some(Write::Finalizer(self.head.finalizer_patch(false)));
        }
        if !self.head.has_finalizer() && self.slots.values().any(|slot| slot.assignment.is_some()) {
            return Some(Write::Finalizer(self.head.finalizer_patch(true)));
        }
        let status = self.status(now)?;
        (status != self.head.status).then_some(Write::Status(status))
    }

    /// What its status is to be; none while nothing new is known.
    fn status(&self, now: &str) -> Option<Value> {
        if self.is_suspended() {
            return Some(status::suspended(&self.head.status, self.head.generation, now));
        }
        let refused = self
            .intent
            .as_ref()
            .err()
            .filter(|_| !self.head.deleting)
            .map(|faults| Told::refused(faults));
        let waiting = Told::waiting();
        let before = self.head.status["targets"].as_object();
        let mut kept = Map::new();
        let mut told: Vec<(&str, &Told)> = Vec::new();
        let mut without_entry = BTreeSet::new();
        if let Some(refused) = &refused {
            kept = before.cloned().unwrap_or_default();
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
            if slot.assignment.is_none() && !self.is_told_of(target) {
                without_entry.insert(target.as_str());
            }
        }
        let reconciled = self.reconciled.as_deref();
        Some(status::status(&Parts {
            generation: self.head.generation,
            told,
            without_entry,
            kept,
            reconcile_at: reconciled.or_else(|| self.head.status["lastHandledReconcileAt"].as_str()),
            before: &self.head.status,
            now,
        }))
    }

    /// Once all targets have told; sooner only where something is not as it shall be. So a controller that begins anew writes
    /// nothing for what stands as it stood.
    fn is_worth_telling(&self) -> bool {
        let told = || self.slots.values().filter_map(|slot| slot.told.as_ref());
        let all = self.slots.values().all(|slot| slot.told.is_some());
        all || told().any(|told| !told.ready.is && !told.is_gone)
    }

    /// Whether something may have been applied there.
    fn is_told_of(&self, target: &str) -> bool {
        self.head.status["targets"].get(target).is_some()
    }

    pub fn is_suspended(&self) -> bool {
        self.head.says(SUSPEND) && !(self.head.deleting && self.head.says(ORPHAN))
    }

    /// By target, the manifest and the wish.
    fn wanted(&self) -> BTreeMap<String, (App, Wish)> {
        let delete = Wish::Delete { erase_data: false };
        let nothing = |target: &String| (target.clone(), (intent::nothing_of(&self.name, target), delete));
        let intent = self.intent.as_ref();
        let keep = intent.ok().into_iter().flatten();
        match (self.head.deleting, self.head.says(ORPHAN)) {
            (true, true) => BTreeMap::new(),
            (true, false) => {
                let targets = keep
                    .map(|(target, _)| target)
                    .chain(self.head.told_targets())
                    .chain(self.slots.keys());
                targets.map(nothing).collect()
            }
            (false, _) => {
                let here = self
                    .slots
                    .iter()
                    .filter(|(_, slot)| slot.assignment.is_some() && !slot.is_gone());
                let left = self.head.told_targets().chain(here.map(|(target, _)| target));
                let mut wanted: BTreeMap<_, _> = left.map(nothing).collect();
                wanted.extend(keep.map(|(target, app)| (target.clone(), (app.clone(), Wish::Keep))));
                wanted
            }
        }
    }

    fn slot(&self, target: &str, app: App, wish: Wish, harbour: Option<&Harbour>, old: Option<Slot>) -> Slot {
        let (found, provider) = match harbour {
            Some(Ok((found, provider))) => (found, provider),
            Some(Err(refusals)) => return self.unreachable(refusals.clone()),
            None => {
                return self.unreachable(vec![Refusal {
                    code: "UnknownTarget".into(),
                    message: format!("no Target is called `{target}`"),
                }]);
            }
        };
        let is_same = |work: &Work| work.wish == wish && work.app == app && work.target == **found;
        match old {
            Some(old) if old.assignment.as_ref().is_some_and(|known| is_same(&known.work)) => old,
            _ => Slot {
                assignment: Some(Assignment {
                    provider: provider.clone(),
                    work: Arc::new(self.work(app, Target::clone(found), wish)),
                }),
                told: None,
            },
        }
    }

    fn work(&self, app: App, target: Target, wish: Wish) -> Work {
        let mut work = Work::keep(app, target, PathBuf::new());
        work.source = self.name.source();
        work.wish = wish;
        if work.is_delete() {
            work.options = PlanOptions {
                retry: true,
                ..PlanOptions::default()
            };
        }
        work
    }

    fn unreachable(&self, mut refusals: Vec<Refusal>) -> Slot {
        if self.head.deleting {
            let way_out = "what is left there cannot be deleted; hint: bring the Target back, or let the App go with `kubectl annotate app";
            for refusal in &mut refusals {
                let (namespace, name) = (&self.name.namespace, &self.name.name);
                refusal.message = format!("{}: {way_out} -n {namespace} {name} {ORPHAN}=true`", refusal.message);
            }
        }
        Slot {
            assignment: None,
            told: Some(Told::refused(&refusals)),
        }
    }

    /// What the engine has to do, to be compared.
    fn assigned(&self) -> Vec<*const Work> {
        self.assignments()
            .map(|(_, assignment)| Arc::as_ptr(&assignment.work))
            .collect()
    }
}

impl Slot {
    fn is_gone(&self) -> bool {
        self.told.as_ref().is_some_and(|told| told.is_gone)
    }
}
