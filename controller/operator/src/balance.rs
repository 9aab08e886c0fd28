//! Who holds which shard: what one of several processes does next, from what all of them see. Pure.
//!
//! Everybody comes to the same end by himself: each free shard goes to whoever holds least, as if that had happened already,
//! and only then the one with the most lets one go, if somebody would have at least two less.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// How one shard stands, for this side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holding {
    Mine,
    /// This side's until it has ended what it does.
    Leaving,
    Others(String),
    Free {
        /// Nobody has taken it for so long that whoever should cannot be waited for.
        is_left: bool,
    },
}

/// A shard is its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    Bid(usize),
    Release(usize),
    Rest,
}

/// How many each member holds, by its identity.
struct Loads<'a>(BTreeMap<&'a str, usize>);

impl<'a> Loads<'a> {
    fn of(me: &'a str, members: &'a BTreeSet<String>, shards: &'a [Holding]) -> Self {
        let everybody = members.iter().map(String::as_str).chain([me]);
        let mut loads = Self(everybody.map(|member| (member, 0)).collect());
        for shard in shards {
            match shard {
                Holding::Mine => loads.add(me),
                Holding::Others(holder) => loads.add(holder),
                Holding::Leaving | Holding::Free { .. } => {}
            }
        }
        loads
    }

    /// Whoever is no member takes no part.
    fn add(&mut self, member: &str) {
        if let Some(load) = self.0.get_mut(member) {
            *load += 1;
        }
    }

    /// The first of those.
    fn least(&self) -> (&'a str, usize) {
        let all = self.0.iter().map(|(member, load)| (*member, *load));
        all.min_by_key(|(member, load)| (*load, *member)).unwrap_or_default()
    }

    /// The first of those.
    fn most(&self) -> (&'a str, usize) {
        let all = self.0.iter().map(|(member, load)| (*member, *load));
        all.max_by_key(|(member, load)| (*load, Reverse(*member)))
            .unwrap_or_default()
    }
}

/// One thing at a time; what it leads to is seen by the next look.
pub fn decide(me: &str, members: &BTreeSet<String>, shards: &[Holding]) -> Move {
    let mut loads = Loads::of(me, members, shards);
    let mut wanted = None;
    for (index, shard) in shards.iter().enumerate() {
        let (Holding::Leaving | Holding::Free { .. }) = shard else {
            continue;
        };
        let (taker, _) = loads.least();
        loads.add(taker);
        let is_ours = match shard {
            Holding::Free { is_left } => *is_left || taker == me,
            _ => false,
        };
        wanted = wanted.or(is_ours.then_some(index));
    }
    if let Some(index) = wanted {
        return Move::Bid(index);
    }
    let ((most, has), (_, least)) = (loads.most(), loads.least());
    let last = shards.iter().rposition(|shard| *shard == Holding::Mine);
    match last {
        Some(index) if most == me && has >= least + 2 => Move::Release(index),
        _ => Move::Rest,
    }
}

#[cfg(test)]
mod tests;
