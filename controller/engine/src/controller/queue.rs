//! Whose turn it is. Pure; time comes in.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::journal::AppKey;

/// Each app once, with the time when it is due.
#[derive(Debug, Default)]
pub struct Queue {
    /// By target: where one has no room its apps wait, and those of others do not.
    due: BTreeMap<String, BTreeSet<(Instant, AppKey)>>,
    of: BTreeMap<AppKey, Instant>,
}

impl Queue {
    /// Due then, whenever it was due before.
    pub fn set(&mut self, key: AppKey, at: Instant) {
        self.remove(&key);
        self.due
            .entry(key.target.clone())
            .or_default()
            .insert((at, key.clone()));
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
        if let Some(at) = self.of.remove(key)
            && let Some(due) = self.due.get_mut(&key.target)
        {
            due.remove(&(at, key.clone()));
            if due.is_empty() {
                self.due.remove(&key.target);
            }
        }
    }

    /// Takes out the one that has waited longest, of the targets that have room, if its time has come.
    pub fn pop_due(&mut self, now: Instant, has_room: impl Fn(&str) -> bool) -> Option<AppKey> {
        let (at, key) = self.first(has_room)?;
        if *at > now {
            return None;
        }
        let key = key.clone();
        self.remove(&key);
        Some(key)
    }

    /// When the next one is due, of the targets that have room.
    pub fn earliest(&self, has_room: impl Fn(&str) -> bool) -> Option<Instant> {
        self.first(has_room).map(|(at, _)| *at)
    }

    fn first(&self, has_room: impl Fn(&str) -> bool) -> Option<&(Instant, AppKey)> {
        let queues = self.due.iter().filter(|(target, _)| has_room(target));
        queues.filter_map(|(_, due)| due.first()).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(app: &str) -> AppKey {
        key_at("local", app)
    }

    fn key_at(target: &str, app: &str) -> AppKey {
        AppKey {
            namespace: "default".into(),
            app: app.into(),
            target: target.into(),
        }
    }

    const ALL: fn(&str) -> bool = |_| true;

    #[test]
    fn who_goes_where_there_is_no_room_lets_others_pass() {
        let start = Instant::now();
        let mut queue = Queue::default();
        queue.set(key_at("full", "a"), start);
        queue.set(key_at("free", "b"), start + Duration::from_secs(1));
        let free = |target: &str| target == "free";
        let later = start + Duration::from_secs(2);
        assert_eq!(queue.earliest(free), Some(start + Duration::from_secs(1)));
        assert_eq!(queue.pop_due(later, free), Some(key_at("free", "b")));
        assert_eq!(queue.pop_due(later, free), None);
        assert_eq!(queue.earliest(free), None, "nobody waits for what has no room");
        assert_eq!(queue.pop_due(later, ALL), Some(key_at("full", "a")));
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
        assert_eq!(queue.pop_due(start, ALL), None, "nobody's time has come");
        assert_eq!(queue.pop_due(at(5), ALL), Some(key("b")));
        assert_eq!(queue.pop_due(at(5), ALL), Some(key("c")));
        assert_eq!(queue.pop_due(at(5), ALL), None, "`a` was put off");
        assert_eq!(queue.earliest(ALL), Some(at(9)));
        assert!(queue.hurry(&key("a"), at(8)), "something has changed");
        assert_eq!(queue.pop_due(at(8), ALL), Some(key("a")));
        assert_eq!(queue.earliest(ALL), None);
    }
}
