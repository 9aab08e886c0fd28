//! The journal of tests: as durable as the value that holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    AppKey, AppRecord, GENERATIONS_KEPT, Generation, HistoryEntry, Journal, JournalEntry, JournalError, Lock, Order,
    Orders,
};

#[derive(Clone, Default)]
pub struct MemoryJournal {
    apps: Arc<Mutex<BTreeMap<AppKey, App>>>,
    locked: Arc<Mutex<BTreeSet<AppKey>>>,
    /// Orders given: whoever gives one is as good as another process.
    version: Arc<AtomicI64>,
}

#[derive(Clone, Default)]
struct App {
    record: AppRecord,
    history: Vec<HistoryEntry>,
    generations: BTreeMap<u64, Arc<Generation>>,
    orders: Orders,
    writes: usize,
}

impl App {
    fn keep(&mut self, entry: &JournalEntry) {
        let JournalEntry::Begun { owner, generation } = entry else {
            return;
        };
        if self.record.owner.as_ref().is_some_and(|known| known != owner) {
            self.generations.clear();
        }
        self.generations.insert(generation.number, generation.clone());
        let converged = self.record.converged.as_ref().map(|converged| converged.number);
        let newest = generation.number;
        self.generations
            .retain(|number, _| number + GENERATIONS_KEPT > newest || Some(*number) == converged);
    }
}

impl MemoryJournal {
    /// Transactions that were written for the app.
    pub fn writes(&self, key: &AppKey) -> usize {
        guard(&self.apps).get(key).map_or(0, |app| app.writes)
    }

    /// Asks about the record of the app, without a copy of it.
    pub fn read<T>(&self, key: &AppKey, ask: impl FnOnce(&AppRecord) -> T) -> Option<T> {
        guard(&self.apps).get(key).map(|app| ask(&app.record))
    }

    /// Another journal in which the same is written.
    pub fn fork(&self) -> Self {
        Self {
            apps: Arc::new(Mutex::new(guard(&self.apps).clone())),
            locked: Arc::default(),
            version: Arc::default(),
        }
    }

    /// Loses everything.
    pub fn forget(&self) {
        guard(&self.apps).clear();
    }
}

impl Journal for MemoryJournal {
    fn load(&self, key: &AppKey) -> Result<AppRecord, JournalError> {
        Ok(guard(&self.apps)
            .get(key)
            .map(|app| app.record.clone())
            .unwrap_or_default())
    }

    fn generations(&self, key: &AppKey) -> Result<Vec<Arc<Generation>>, JournalError> {
        let apps = guard(&self.apps);
        let kept = apps.get(key).map(|app| app.generations.values().cloned().collect());
        Ok(kept.unwrap_or_default())
    }

    fn keys(&self) -> Result<Vec<AppKey>, JournalError> {
        Ok(guard(&self.apps).keys().cloned().collect())
    }

    fn append(&self, key: &AppKey, entries: &[JournalEntry]) -> Result<(), JournalError> {
        let mut apps = guard(&self.apps);
        let app = apps.entry(key.clone()).or_default();
        app.writes += 1;
        for entry in entries {
            app.keep(entry);
            app.record.apply(entry);
            if let JournalEntry::History(line) = entry {
                app.history.insert(0, line.clone());
            }
        }
        Ok(())
    }

    fn history(&self, key: &AppKey) -> Result<Vec<HistoryEntry>, JournalError> {
        Ok(guard(&self.apps)
            .get(key)
            .map(|app| app.history.clone())
            .unwrap_or_default())
    }

    fn orders(&self) -> Result<BTreeMap<AppKey, Orders>, JournalError> {
        let apps = guard(&self.apps);
        let given = apps.iter().filter(|(_, app)| app.orders != Orders::default());
        Ok(given.map(|(key, app)| (key.clone(), app.orders.clone())).collect())
    }

    fn give(&self, key: &AppKey, order: Order) -> Result<(), JournalError> {
        guard(&self.apps).entry(key.clone()).or_default().orders.take(order);
        self.version.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn version(&self) -> Result<i64, JournalError> {
        Ok(self.version.load(Ordering::Relaxed))
    }

    fn lock(&self, key: &AppKey) -> Result<Box<dyn Lock>, JournalError> {
        if !guard(&self.locked).insert(key.clone()) {
            return Err(JournalError::Busy {
                key: key.clone(),
                pid: Some(std::process::id()),
            });
        }
        Ok(Box::new(Held {
            locked: self.locked.clone(),
            key: key.clone(),
        }))
    }
}

struct Held {
    locked: Arc<Mutex<BTreeSet<AppKey>>>,
    key: AppKey,
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        guard(&self.locked).remove(&self.key);
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
