//! Where a seed strikes first. Seeds walk the list of all pairs of call site and fault, and what leads to a rare call is put
//! into their scripts, so that a million of them meet each pair often enough.

use std::sync::LazyLock;

use portolan_core::plan::Verb;
use portolan_provider_fake::Rules;
use portolan_provider_fake::kinds::BALANCER;
use portolan_provider_fake::platform::{PLATFORMS, Platform};

use super::catalogue::Version;
use super::fault::{Fault, pairs};
use super::scenario::{Lag, Outside, Scenario, Start};
use super::site::Site;

/// A pair that is to be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    pub site: Site,
    pub fault: Fault,
}

/// Every pair, and the platforms on which it can be met.
static AIMS: LazyLock<Vec<(Aim, Vec<&'static Platform>)>> = LazyLock::new(|| {
    let rules: Vec<(&Platform, Rules)> = PLATFORMS.into_iter().map(|one| (one, Rules::of(one))).collect();
    let aim = |(site, fault)| {
        let aim = Aim { site, fault };
        let fitting = rules.iter().filter(|(_, rules)| aim.fits(rules));
        (aim, fitting.map(|(platform, _)| *platform).collect())
    };
    pairs().map(aim).collect()
});

impl Aim {
    /// That of the seed, and where it can be met.
    pub fn of(seed: u64) -> (Self, &'static [&'static Platform]) {
        let nth = usize::try_from(seed % AIMS.len() as u64).expect("it is less than a length");
        let (aim, platforms) = &AIMS[nth];
        (*aim, platforms)
    }

    fn fits(self, rules: &Rules) -> bool {
        let balanced = !matches!(self.site, Site::Write(_, kind) if kind == BALANCER.name);
        (balanced || rules.has_balancers) && self.fault.fits(self.site, rules)
    }

    /// The versions that lead to a call which few scripts lead to by chance.
    pub fn way(self) -> &'static [Version] {
        use Version::*;
        let Site::Write(verb, kind) = self.site else { return &[] };
        match (verb, kind) {
            (Verb::Create, "Balancer") => &[HelloPublic],
            (Verb::Update, "Balancer") => &[HelloPublic, HelloPort],
            (Verb::Delete, "Balancer") => &[HelloPublic, Hello],
            (Verb::Create, "Job" | "Volume") => &[Shop],
            (Verb::Update, "Job") => &[Shop, ShopMigration],
            (Verb::Update, "Volume") => &[Shop, ShopImage],
            (Verb::Delete, "Job") => &[Shop, Delete],
            (Verb::Delete, "Volume") => &[Shop, DeleteWithData],
            (Verb::Update, "Network" | "Service") => &[Hello, HelloImage],
            (Verb::Delete, "Network") => &[Hello, Delete],
            _ => &[],
        }
    }

    /// What never changes by itself is changed by hand, between the two versions of the way.
    pub fn drift(self, scenario: &mut Scenario) {
        let nth = match self.site {
            Site::Write(Verb::Update, "Network") => 0,
            Site::Write(Verb::Update, "Volume") => 4,
            _ => return,
        };
        scenario.lag = Lag {
            list: scenario.lag.list.min(700),
            description: scenario.lag.description.min(700),
        };
        scenario.scripts[0][1].0 = Start::After(90_000);
        scenario.outside.push((60_000, Outside::ChangedByHand { app: 0, nth }));
    }
}
