//! Whose turn it is. Pure; time comes in.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::journal::AppKey;

/// Each app once, with the time when it is due.
#[derive(Debug, Default)]
pub struct Queue {
    due: BTreeSet<(Instant, AppKey)>,
    of: BTreeMap<AppKey, Instant>,
}

impl Queue {
    /// Due then, whenever it was due before.
    pub fn set(&mut self, key: AppKey, at: Instant) {
        self.remove(&key);
        self.due.insert((at, key.clone()));
        self.of.insert(key, at);
    }

    /// Due then at the latest, if it is due at all; answers whether that is sooner than it was.
    pub fn hurry(&mut self, key: &AppKey, at: Instant) -> bool {
        let is_sooner = self.of.get(key).is_some_and(|due| *due > at);
        if is_sooner {
            self.set(key.clone(), at);
        }
        is_sooner
    }

    pub fn remove(&mut self, key: &AppKey) {
        if let Some(at) = self.of.remove(key) {
            self.due.remove(&(at, key.clone()));
        }
    }

    /// Takes out the one that has waited longest, if its time has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<AppKey> {
        if self.earliest()? > now {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        self.of.remove(&key);
        Some(key)
    }

    pub fn earliest(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(app: &str) -> AppKey {
        AppKey {
            namespace: "default".into(),
            app: app.into(),
            target: "local".into(),
        }
    }

    #[test]
    fn each_has_one_turn_and_the_longest_due_comes_first() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut queue = Queue::default();
        for (app, seconds) in [("a", 3), ("b", 1), ("c", 2), ("a", 9), ("d", 1)] {
            queue.set(key(app), at(seconds));
        }
        queue.remove(&key("d"));
        assert!(!queue.hurry(&key("d"), at(0)), "it is not due at all");
        assert!(!queue.hurry(&key("b"), at(2)), "it is due sooner");
        assert_eq!(queue.pop_due(start), None, "nobody's time has come");
        assert_eq!(queue.pop_due(at(5)), Some(key("b")));
        assert_eq!(queue.pop_due(at(5)), Some(key("c")));
        assert_eq!(queue.pop_due(at(5)), None, "`a` was put off");
        assert_eq!(queue.earliest(), Some(at(9)));
        assert!(queue.hurry(&key("a"), at(8)), "something has changed");
        assert_eq!(queue.pop_due(at(8)), Some(key("a")));
        assert_eq!(queue.earliest(), None);
    }
}
