//! Where a seed strikes first. Seeds walk the list of all pairs of call site and fault, and what leads to a rare call is put
//! into their scripts, so that a million of them meet each pair often enough.

use std::sync::LazyLock;

use portolan_core::plan::Verb;
use portolan_provider_fake::Rules;
use portolan_provider_fake::kinds::BALANCER;
use portolan_provider_fake::platform::{PLATFORMS, Platform};

use super::catalogue::Version;
use super::fault::{Fault, pairs};
use super::local::LOCAL;
use super::random::Random;
use super::scenario::{Lag, Outside, Scenario, Start};
use super::site::Site;

/// A pair that is to be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    pub site: Site,
    pub fault: Fault,
}

type Aims = Vec<(Aim, Vec<&'static Platform>)>;

/// Every pair that can be met at a cloud, and the clouds at which it can.
static AIMS: LazyLock<Aims> = LazyLock::new(|| aims(&PLATFORMS));

/// So on this machine.
static LOCAL_AIMS: LazyLock<Aims> = LazyLock::new(|| aims(&[&LOCAL]));

fn aims(platforms: &[&'static Platform]) -> Aims {
    let rules: Vec<(&Platform, Rules)> = platforms.iter().map(|one| (*one, Rules::of(one))).collect();
    let aim = |(site, fault)| {
        let aim = Aim { site, fault };
        let fitting = rules.iter().filter(|(platform, rules)| aim.fits(platform, rules));
        let fitting: Vec<_> = fitting.map(|(platform, _)| *platform).collect();
        (!fitting.is_empty()).then_some((aim, fitting))
    };
    // Some version fails in every third seed: what is held is noted often enough.
    let sought = pairs().filter(|(site, _)| *site != Site::Note);
    sought.filter_map(aim).collect()
}

impl Aim {
    /// One that can be met on this machine.
    pub fn on_this_machine(random: &mut Random) -> Self {
        random.one_of(&LOCAL_AIMS).0
    }

    /// That of the seed, and the clouds at which it can be met.
    pub fn of(seed: u64) -> (Self, &'static [&'static Platform]) {
        let nth = usize::try_from(seed % AIMS.len() as u64).expect("it is less than a length");
        let (aim, platforms) = &AIMS[nth];
        (*aim, platforms)
    }

    fn fits(self, platform: &Platform, rules: &Rules) -> bool {
        let balanced = !matches!(self.site, Site::Write(_, kind) if kind == BALANCER.name);
        (balanced || rules.has_balancers) && self.fault.can_strike(self.site, platform, rules)
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
            (Verb::Create, "Image") | (Verb::Update, "Network" | "Service") => &[Hello, HelloImage],
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
