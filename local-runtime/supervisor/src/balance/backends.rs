//! The replicas of one service: which of them the next connection goes to, and how many each has open.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::machine::Group;

/// A replica's address as a target.
pub type Target = (u64, Ipv4Addr);

/// Where the connections of one service go. A handle; all clones are one.
#[derive(Clone)]
pub struct Backends {
    groups: Arc<Mutex<Vec<Weighted>>>,
    changed: watch::Sender<()>,
    open: Open,
}

/// A group with its credit: smooth weighted round robin, so that of 90 to 10 every tenth connection is one of the ten, and
/// not the last ten of a hundred.
struct Weighted {
    weight: u32,
    credit: i64,
    targets: BTreeMap<u64, Backend>,
}

struct Backend {
    address: Ipv4Addr,
    /// Connections given to it so far: breaks ties, so that equals take turns.
    given: u64,
}

impl Backends {
    pub fn new(open: Open) -> Backends {
        Backends {
            groups: Arc::default(),
            changed: watch::Sender::default(),
            open,
        }
    }

    /// New connections follow at once. Groups are known by their place, so that a change of weight keeps their credit.
    pub fn set(&self, wanted: &[Group]) {
        let mut groups = lock(&self.groups);
        groups.resize_with(wanted.len(), || Weighted {
            weight: 0,
            credit: 0,
            targets: BTreeMap::new(),
        });
        for (group, wanted) in groups.iter_mut().zip(wanted) {
            group.weight = wanted.weight;
            group.set_targets(&wanted.targets);
        }
        self.changed.send_replace(());
    }

    /// Tells when `has` may answer otherwise than before.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub fn has(&self, replica: u64) -> bool {
        lock(&self.groups)
            .iter()
            .any(|group| group.targets.contains_key(&replica))
    }

    /// A target that has not been tried, as an open connection until `Opened` is dropped.
    pub fn take(&self, tried: &[u64]) -> Option<(Target, Opened)> {
        let target = choose(&mut lock(&self.groups), &self.open, tried)?;
        Some((target, self.open.begin(target.0)))
    }
}

impl Weighted {
    fn set_targets(&mut self, wanted: &BTreeMap<u64, Ipv4Addr>) {
        self.targets.retain(|id, _| wanted.contains_key(id));
        let given = self.targets.values().map(|b| b.given).min().unwrap_or(0);
        for (id, address) in wanted {
            let address = *address;
            self.targets.entry(*id).or_insert(Backend { address, given });
        }
    }

    fn has_untried(&self, tried: &[u64]) -> bool {
        self.targets.keys().any(|id| !tried.contains(id))
    }
}

/// The group by weight among those that have somebody, then the replica with the fewest open connections in it.
fn choose(groups: &mut [Weighted], open: &Open, tried: &[u64]) -> Option<Target> {
    let mut able: Vec<&mut Weighted> = groups.iter_mut().filter(|g| g.has_untried(tried)).collect();
    // A group without weight is asked only when no other has anybody.
    if able.iter().any(|g| g.weight > 0) {
        able.retain(|g| g.weight > 0);
    }
    let all: i64 = able.iter().map(|g| i64::from(g.weight)).sum();
    able.iter_mut().for_each(|g| g.credit += i64::from(g.weight));
    let chosen = able.into_iter().rev().max_by_key(|g| g.credit)?;
    chosen.credit -= all;
    let counts = lock(&open.0.counts);
    let untried = chosen.targets.iter_mut().filter(|(id, _)| !tried.contains(id));
    let (id, backend) = untried.min_by_key(|(id, b)| (counts.get(id).copied().unwrap_or(0), b.given))?;
    backend.given += 1;
    Some((*id, backend.address))
}

/// The open connections of every replica, also of those that get no new ones. A handle; all clones are one.
#[derive(Clone, Default)]
pub struct Open(Arc<Counted>);

#[derive(Default)]
struct Counted {
    counts: Mutex<BTreeMap<u64, u32>>,
    /// Replicas that still get connections: their coming to zero is no news.
    routed: Mutex<BTreeSet<u64>>,
    drained: Notify,
}

impl Open {
    fn begin(&self, id: u64) -> Opened {
        *lock(&self.0.counts).entry(id).or_insert(0) += 1;
        Opened { id, open: self.clone() }
    }

    pub fn set_routed(&self, ids: BTreeSet<u64>) {
        *lock(&self.0.routed) = ids;
    }

    /// Those that are out of the routes and still have connections.
    pub fn draining(&self) -> BTreeMap<u64, u32> {
        let routed = lock(&self.0.routed);
        let counts = lock(&self.0.counts);
        let draining = counts.iter().filter(|(id, _)| !routed.contains(id));
        draining.map(|(id, open)| (*id, *open)).collect()
    }

    /// Returns when a replica out of the routes has lost its last connection since the last call.
    pub async fn drained(&self) {
        self.0.drained.notified().await;
    }

    fn end(&self, id: u64) {
        let mut counts = lock(&self.0.counts);
        let left = counts.get(&id).map_or(0, |open| open - 1);
        if left > 0 {
            counts.insert(id, left);
            return;
        }
        counts.remove(&id);
        if !lock(&self.0.routed).contains(&id) {
            self.0.drained.notify_one();
        }
    }
}

/// One open connection of a replica.
pub struct Opened {
    id: u64,
    open: Open,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.open.end(self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(weight: u32, ids: &[u64]) -> Group {
        let targets = ids.iter().map(|id| (*id, Ipv4Addr::new(10, 0, 0, *id as u8)));
        Group {
            weight,
            targets: targets.collect(),
        }
    }

    fn backends(groups: &[Group]) -> Backends {
        let backends = Backends::new(Open::default());
        backends.set(groups);
        backends
    }

    #[test]
    fn connections_take_turns_and_avoid_the_busy() {
        let backends = backends(&[group(1, &[1, 2])]);
        let (first, _kept) = backends.take(&[]).unwrap();
        let (second, opened) = backends.take(&[]).unwrap();
        assert_ne!(first, second, "equals take turns");
        drop(opened);
        let (third, _opened) = backends.take(&[]).unwrap();
        assert_eq!(third, second, "the one with fewer open connections");
        assert!(backends.take(&[1, 2]).is_none(), "each is tried once");
        backends.set(&[group(1, &[3])]);
        assert_eq!(
            backends.take(&[]).unwrap().0.0,
            3,
            "those that are gone get nothing new"
        );
    }

    #[test]
    fn groups_are_served_by_weight() {
        for (reason, groups, expected) in [
            ("one in ten, evenly", [group(90, &[1]), group(10, &[2])], [9, 1]),
            ("equal", [group(1, &[1]), group(1, &[2])], [5, 5]),
            (
                "a group without replicas leaves its share",
                [group(90, &[]), group(10, &[2])],
                [0, 10],
            ),
            ("no weight, no connection", [group(1, &[1]), group(0, &[2])], [10, 0]),
            ("but better than none", [group(1, &[]), group(0, &[2])], [0, 10]),
        ] {
            let backends = backends(&groups);
            let mut counts = [0; 2];
            for _ in 0..10 {
                counts[backends.take(&[]).unwrap().0.0 as usize - 1] += 1;
            }
            assert_eq!(counts, expected, "{reason}");
        }
    }

    #[tokio::test]
    async fn a_replica_out_of_the_routes_is_counted_until_its_last_connection_ends() {
        let open = Open::default();
        let backends = Backends::new(open.clone());
        backends.set(&[group(1, &[1])]);
        open.set_routed([1].into());
        let (first, second) = (backends.take(&[]).unwrap().1, backends.take(&[]).unwrap().1);
        assert!(open.draining().is_empty(), "one that is routed does not drain");
        open.set_routed([].into());
        assert_eq!(open.draining(), [(1, 2)].into());
        drop(first);
        let brief = std::time::Duration::from_millis(10);
        assert!(tokio::time::timeout(brief, open.drained()).await.is_err());
        drop(second);
        open.drained().await;
        assert!(open.draining().is_empty());
    }
}
