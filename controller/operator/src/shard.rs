//! Shards: which one an App belongs to, and who is told of what changes for the Apps of those that are held here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portolan_core::name::hash_of;
use portolan_engine::controller::Changes;
use portolan_engine::journal::AppKey;

/// One of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    pub index: u32,
    pub count: u32,
}

impl Shard {
    /// That of an App, for ever: it follows from its name alone.
    pub fn of(namespace: &str, app: &str, count: u32) -> Self {
        let hash = hash_of(&["shard", namespace, app]);
        let number = u64::from_str_radix(&hash[..16], 16).unwrap_or_default();
        let index = u32::try_from(number % u64::from(count.max(1))).unwrap_or_default();
        Self { index, count }
    }

    pub fn has(self, namespace: &str, app: &str) -> bool {
        self == Self::of(namespace, app, self.count)
    }

    pub fn is_first(self) -> bool {
        self.index == 0
    }

    /// The name of its Lease: that of the installation, where it is the only one.
    pub fn lease(self, installation: &str) -> String {
        match self.count {
            1 => installation.to_string(),
            _ => format!("{installation}-{self}"),
        }
    }

    /// The one whose Lease is called so.
    pub fn of_lease(installation: &str, name: &str) -> Option<Self> {
        let rest = name.strip_prefix(installation)?;
        if rest.is_empty() {
            return Some(Self { index: 0, count: 1 });
        }
        let (index, count) = rest.strip_prefix('-')?.split_once("-of-")?;
        let (index, count) = (index.parse().ok()?, count.parse().ok()?);
        let shard = Self { index, count };
        (count > 1 && index < count).then_some(shard)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-of-{}", self.index, self.count)
    }
}

/// All of an installation. Cheap to ask: each change at a target asks.
pub struct Shards {
    count: u32,
    held: Mutex<BTreeMap<Shard, Arc<Changes>>>,
}

impl Shards {
    /// At least one.
    pub fn new(count: u32) -> Self {
        Self {
            count: count.max(1),
            held: Mutex::default(),
        }
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn all(&self) -> impl Iterator<Item = Shard> + use<> {
        let count = self.count;
        (0..count).map(move |index| Shard { index, count })
    }

    /// Something of an App has changed at a target. Of an App of a shard that is not held here nobody wants to know.
    pub fn tell(&self, key: AppKey) {
        let shard = Shard::of(&key.namespace, &key.app, self.count);
        if let Some(changes) = self.held().get(&shard) {
            changes.tell(key);
        }
    }

    pub fn take_up(&self, shard: Shard) -> Arc<Changes> {
        let changes = Arc::<Changes>::default();
        self.held().insert(shard, changes.clone());
        changes
    }

    pub fn let_go(&self, shard: Shard) {
        self.held().remove(&shard);
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Shard, Arc<Changes>>> {
        // A map is whole after every line of its code.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_app_has_one_shard_and_all_shards_have_their_share() {
        for count in [1, 2, 3, 8, 64] {
            let mut found = vec![0; count as usize];
            for number in 0..6_400 {
                let app = format!("app-{number}");
                let shard = Shard::of("team", &app, count);
                assert!(shard.has("team", &app) && shard.count == count);
                found[shard.index as usize] += 1;
            }
            let share = 6_400 / count;
            assert!(found.iter().all(|of| of * 2 > share && *of < share * 2), "{found:?}");
        }
    }

    #[test]
    fn an_app_stays_where_it_is_from_one_version_of_this_program_to_the_next() {
        let shards = ["shop", "api", "web"].map(|app| Shard::of("team", app, 64).index);
        assert_eq!(shards, [35, 58, 37]);
    }

    #[test]
    fn a_lease_is_called_as_its_shard_and_nothing_else_is() {
        let of = |name: &str| Shard::of_lease("portolan-controller", name);
        for shard in [1, 2, 64].map(|count| Shard {
            index: count - 1,
            count,
        }) {
            assert_eq!(of(&shard.lease("portolan-controller")), Some(shard));
        }
        for name in [
            "portolan-controller-team",
            "portolan-controller-team-0-of-2",
            "portolan-controller-2-of-2",
            "portolan-controller-0-of-1",
            "portolan-controller-member-of-2-0123456789abcdef",
            "another",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
