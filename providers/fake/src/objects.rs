//! The objects of an account and the notes beside them, as they are and as reads that lag show them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portolan_core::name::OwnerId;
use portolan_core::observation::Held;
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;

use crate::object::Object;

/// Everything that stands under a name, and for a while what stood there.
#[derive(Clone, Default)]
pub struct Objects {
    slots: BTreeMap<ResourceId, Slot<Object>>,
    /// By whose they are: owner and source.
    notes: BTreeMap<(OwnerId, String), Slot<Held>>,
    /// Under which names an owner has, or had a while ago, an object.
    owned: BTreeMap<OwnerId, BTreeSet<ResourceId>>,
    /// How long the past is kept.
    memory_ms: u64,
}

#[derive(Clone)]
struct Slot<T> {
    now: Option<Arc<T>>,
    /// What stood there since each time, the present last; empty where nobody needs it.
    past: Vec<(u64, Option<Arc<T>>)>,
}

impl Objects {
    /// The past is kept at least this long.
    pub fn remember(&mut self, memory_ms: u64) {
        self.memory_ms = self.memory_ms.max(memory_ms);
    }

    pub fn get(&self, id: &ResourceId) -> Option<&Arc<Object>> {
        self.slots.get(id)?.now.as_ref()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ResourceId, &Arc<Object>)> {
        self.slots
            .iter()
            .filter_map(|(id, slot)| Some((id, slot.now.as_ref()?)))
    }

    /// What stood under the name at that time.
    pub fn as_of(&self, id: &ResourceId, at: u64) -> Option<&Arc<Object>> {
        self.slots.get(id)?.as_of(at)
    }

    /// What was noted of the app by that time.
    pub fn note_as_of(&self, scope: &Scope, at: u64) -> Option<&Held> {
        let slot = self.notes.get(&whose(scope))?;
        slot.as_of(at).map(Arc::as_ref)
    }

    pub fn noted(&self, scope: &Scope) -> Option<&Held> {
        self.notes.get(&whose(scope))?.now.as_deref()
    }

    pub fn note(&mut self, scope: &Scope, held: Option<&Held>, now: u64) {
        let slot = self.notes.entry(whose(scope)).or_default();
        slot.change(held.cloned().map(Arc::new), now, self.memory_ms);
    }

    /// The names under which `owner` may have an object at some time that is remembered.
    pub fn names_of(&self, owner: &OwnerId) -> impl Iterator<Item = &ResourceId> {
        self.owned.get(owner).into_iter().flatten()
    }

    pub fn set(&mut self, id: &ResourceId, object: Option<Object>, now: u64) {
        if let Some(object) = &object {
            let names = self.owned.entry(object.owner.clone()).or_default();
            if !names.contains(id) {
                names.insert(id.clone());
            }
        }
        if !self.slots.contains_key(id) {
            self.slots.insert(id.clone(), Slot::default());
        }
        let memory_ms = self.memory_ms;
        let slot = self.slots.get_mut(id).expect("it was put there");
        slot.change(object.map(Arc::new), now, memory_ms);
        if slot.is_forgotten() {
            self.slots.remove(id);
            for names in self.owned.values_mut() {
                names.remove(id);
            }
        }
    }
}

fn whose(scope: &Scope) -> (OwnerId, String) {
    (scope.owner.clone(), scope.source.clone())
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            now: None,
            past: Vec::new(),
        }
    }
}

impl<T> Slot<T> {
    fn as_of(&self, at: u64) -> Option<&Arc<T>> {
        if self.past.is_empty() {
            return self.now.as_ref();
        }
        let known = self.past.iter().rev().find(|(since, _)| *since <= at);
        known.and_then(|(_, one)| one.as_ref())
    }

    fn change(&mut self, one: Option<Arc<T>>, now: u64, memory_ms: u64) {
        let before = std::mem::replace(&mut self.now, one);
        if memory_ms == 0 {
            return;
        }
        if self.past.is_empty() {
            self.past.push((0, before));
        }
        self.past.push((now, self.now.clone()));
        let oldest = now.saturating_sub(memory_ms);
        let gone = self.past.iter().take_while(|(since, _)| *since <= oldest).count();
        self.past.drain(..gone.saturating_sub(1));
    }

    fn is_forgotten(&self) -> bool {
        self.now.is_none() && self.past.iter().all(|(_, one)| one.is_none())
    }
}
