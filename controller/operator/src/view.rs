//! All Leases of one installation, as this side has watched them. Pure: it is told what there is, and when that was seen.
//!
//! Each shard has a Lease, and where there are several each process has one that says that it is there. Whether somebody lives by
//! a Lease follows from when this side saw it change, and never from what another clock says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease as KubeLease;
use portolan_core::name::hash_of;
use tokio::time::Instant;

use crate::balance::Holding;
use crate::election::{DURATION, Standing, Watch, holder, said};
use crate::shard::Shard;

/// Who was not there for so long does not come back.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// Between the installation's name and what tells members apart.
const MEMBER: &str = "-member-of-";

pub struct View {
    installation: String,
    identity: String,
    count: u32,
    /// By name.
    seen: BTreeMap<String, Seen>,
}

/// A Lease as it was seen last, none where it is gone.
pub struct Seen {
    pub lease: Option<KubeLease>,
    pub standing: Standing,
    /// For how long it has been as it is.
    unchanged: Duration,
    watch: Watch,
}

impl View {
    pub fn new(installation: &str, identity: &str, count: u32) -> Self {
        Self {
            installation: installation.to_string(),
            identity: identity.to_string(),
            count,
            seen: BTreeMap::new(),
        }
    }

    /// What this side may ask for.
    fn expected(&self) -> BTreeSet<String> {
        let count = self.count;
        let shards = (0..count).map(|index| Shard { index, count }.lease(&self.installation));
        let member = (count > 1).then(|| self.member());
        shards.chain(member).collect()
    }

    /// Those that are not among what was listed are looked for by their names: somebody may have taken a label away, and
    /// earlier versions gave none to the only Lease that they had.
    pub fn looked_for(&self) -> BTreeSet<String> {
        let mut names = self.expected();
        names.insert(self.installation.clone());
        names
    }

    /// The name of this process's own.
    pub fn member(&self) -> String {
        let hash = &hash_of(&["member", &self.identity])[..16];
        format!("{}{MEMBER}{}-{hash}", self.installation, self.count)
    }

    /// All that there are by now. One that is gone is remembered for as long as somebody may live by it.
    pub fn take(&mut self, now: BTreeMap<String, KubeLease>, at: Instant) {
        let mut now: BTreeMap<String, Option<KubeLease>> =
            now.into_iter().map(|(name, lease)| (name, Some(lease))).collect();
        let believed = self.seen.iter().filter(|(_, seen)| seen.standing == Standing::Taken);
        let missing = believed.map(|(name, _)| name.clone()).chain(self.expected());
        for name in missing {
            now.entry(name).or_default();
        }
        self.seen.retain(|name, _| now.contains_key(name));
        for (name, lease) in now {
            let mut watch = self.seen.remove(&name).map(|seen| seen.watch).unwrap_or_default();
            let standing = watch.standing(lease.as_ref(), &self.identity, at);
            let seen = Seen {
                standing,
                unchanged: watch.unchanged(at),
                lease,
                watch,
            };
            self.seen.insert(name, seen);
        }
    }

    pub fn get(&self, name: &str) -> Option<&Seen> {
        self.seen.get(name)
    }

    /// Shards of another count: whoever holds one that is taken may be writing.
    pub fn of_another_count(&self) -> impl Iterator<Item = (Shard, &String, &Seen)> {
        let shards = self.seen.iter().filter_map(|(name, seen)| {
            let shard = Shard::of_lease(&self.installation, name)?;
            Some((shard, name, seen))
        });
        shards.filter(|(shard, _, _)| shard.count != self.count)
    }

    /// Everybody who is there, this side among them.
    pub fn members(&self) -> BTreeSet<String> {
        let prefix = format!("{}{MEMBER}{}-", self.installation, self.count);
        let of_count = self.seen.iter().filter(|(name, _)| name.starts_with(&prefix));
        let there = of_count.filter(|(_, seen)| seen.standing == Standing::Taken && seen.lease.is_some());
        let holders = there.filter_map(|(_, seen)| seen.lease.as_ref()).map(holder);
        holders.map(String::from).chain([self.identity.clone()]).collect()
    }

    /// Members of whichever count that are not there any more, for long.
    pub fn forgotten(&self) -> impl Iterator<Item = (&String, &KubeLease)> {
        let prefix = format!("{}{MEMBER}", self.installation);
        let members = self.seen.iter().filter(move |(name, _)| name.starts_with(&prefix));
        let gone = members.filter(|(_, seen)| seen.standing == Standing::Free && seen.unchanged >= FORGOTTEN);
        gone.filter_map(|(name, seen)| Some((name, seen.lease.as_ref()?)))
    }

    /// How a shard stands that is not held here.
    pub fn holding(&self, shard: Shard) -> Holding {
        let Some(seen) = self.seen.get(&shard.lease(&self.installation)) else {
            return Holding::Others(String::new());
        };
        match seen.standing {
            Standing::Taken => Holding::Others(seen.lease.as_ref().map(holder).unwrap_or_default().to_string()),
            Standing::Ours | Standing::Free => Holding::Free {
                is_left: seen.unchanged >= said(seen.lease.as_ref()) + DURATION,
            },
        }
    }
}

#[cfg(test)]
mod tests;
