//! What many runs come to: how often each pair of call site and fault was met.

use super::fault::{FAULTS, Fault, pairs};
use super::site::{SITES, Site};

#[derive(Clone, Debug)]
pub struct Coverage {
    counts: Vec<u64>,
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            counts: vec![0; SITES * FAULTS.len()],
        }
    }
}

impl Coverage {
    pub fn met(&mut self, site: Site, fault: Fault) {
        self.counts[site.index() * FAULTS.len() + fault.index()] += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    pub fn of(&self, site: Site, fault: Fault) -> u64 {
        self.counts[site.index() * FAULTS.len() + fault.index()]
    }

    /// Possible pairs that were met, and how many there are.
    pub fn pairs(&self) -> (usize, usize) {
        let met = pairs().filter(|(site, fault)| self.of(*site, *fault) > 0).count();
        (met, pairs().count())
    }

    /// Sites at which something was met, and how many there are.
    pub fn sites(&self) -> (usize, usize) {
        let met = Site::all().filter(|site| FAULTS.into_iter().any(|fault| self.of(*site, fault) > 0));
        (met.count(), SITES)
    }

    /// The possible pair that was met least often.
    pub fn rarest(&self) -> (Site, Fault, u64) {
        let counted = pairs().map(|(site, fault)| (self.of(site, fault), site, fault));
        let (count, site, fault) = counted.min().expect("there are pairs");
        (site, fault, count)
    }
}
