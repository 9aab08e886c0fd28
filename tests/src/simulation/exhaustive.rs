//! Every single fault at every call of each workload, and pairs of them for the smallest.
//!
//! A workload runs without faults first, which tells its calls, and what any run of it must come to.

use portolan_provider_fake::Rules;
use portolan_provider_fake::platform::{CLOUD_RUN_LIKE, ECS_LIKE, PLAIN, Platform};

use super::catalogue::Version;
use super::fault::{FAULTS, Fault};
use super::invariants::Broken;
use super::local::{self, LOCAL};
use super::scenario::{Faults, Lag, Outside, Scenario, Start};
use super::site::Site;
use super::stand::Stands;
use super::world::Run;
use super::{exact, run};

/// What users do, as scenarios in which nothing goes wrong.
pub struct Workload {
    pub name: &'static str,
    /// Whether it is small enough for pairs of faults.
    pub is_small: bool,
    scripts: Vec<Vec<(Start, Version)>>,
    outside: Vec<(u64, Outside)>,
}

pub const LAGS: [Lag; 4] = [
    Lag {
        list: 0,
        description: 0,
    },
    Lag {
        list: 0,
        description: 0,
    },
    Lag {
        list: 700,
        description: 300,
    },
    Lag {
        list: 60_000,
        description: 20_000,
    },
];

pub const PLATFORM_OF_LAG: [&Platform; 4] = [&PLAIN, &LOCAL, &CLOUD_RUN_LIKE, &ECS_LIKE];

impl Workload {
    /// With these reads, and these faults.
    pub fn scenario(&self, platform: &'static Platform, lag: Lag, faults: Faults) -> Scenario {
        Scenario {
            seed: 7,
            platform,
            lag,
            controllers: 1,
            accounts: 1,
            scripts: self.scripts.clone(),
            outside: self.outside.clone(),
            faults,
        }
    }
}

pub fn workloads() -> Vec<Workload> {
    use Version::*;
    let after = |versions: &[Version]| -> Vec<(Start, Version)> {
        versions.iter().map(|version| (Start::After(3_000), *version)).collect()
    };
    let alone = |name, versions: &[Version]| Workload {
        name,
        is_small: false,
        scripts: vec![after(versions)],
        outside: Vec::new(),
    };
    let small = |name, versions: &[Version]| Workload {
        is_small: true,
        ..alone(name, versions)
    };
    vec![
        small("create", &[Hello]),
        small("update env", &[Hello, HelloEnv]),
        small("scale", &[Hello, HelloScaled]),
        small("delete", &[Hello, Delete]),
        alone("create a shop", &[Shop]),
        alone("update image", &[Shop, ShopImage]),
        alone("another migration", &[Shop, ShopMigration]),
        alone("add service", &[Hello, HelloWorker]),
        alone("remove service", &[HelloWorker, Hello]),
        alone("rename", &[Hello, HelloRenamed]),
        alone("another port", &[HelloPublic, HelloPort]),
        alone("failed rollout with rollback", &[Hello, HelloFails]),
        alone("stalled rollout with rollback", &[HelloPublic, HelloStalls]),
        alone("failed rollout with another port", &[HelloPublic, HelloPortFails]),
        alone("delete a shop with its data", &[Shop, DeleteWithData]),
        Workload {
            scripts: vec![vec![
                (Start::After(0), Shop),
                (Start::After(3_000), Delete),
                (Start::Halfway(1_500), Shop),
            ]],
            ..alone("delete half way", &[Shop])
        },
        Workload {
            scripts: vec![vec![
                (Start::After(0), Hello),
                (Start::After(3_000), HelloImage),
                (Start::Halfway(600), Hello),
            ]],
            ..alone("there and back", &[Hello])
        },
        Workload {
            scripts: vec![after(&[Hello, HelloImage]), after(&[HelloWorker, Delete])],
            ..alone("two apps on one target", &[Hello])
        },
        Workload {
            outside: vec![
                (20_000, Outside::RemovedByHand { app: 0, nth: 1 }),
                (25_000, Outside::ChangedByHand { app: 0, nth: 0 }),
            ],
            ..alone("manual drift", &[Hello])
        },
        Workload {
            outside: vec![
                (0, Outside::NameTaken { app: 0, nth: 1 }),
                (20_000, Outside::NameFreed { app: 0, nth: 1 }),
            ],
            ..alone("a name that is taken", &[Hello])
        },
    ]
}

/// A workload on a platform, and what comes of it where nothing goes wrong.
pub struct Case {
    pub scenario: Scenario,
    pub is_small: bool,
    pub plain: Run,
}

/// Each workload on each platform, with the lag that goes with it; on this machine, where a run costs many times as much,
/// only the smallest.
pub fn cases(stands: &Stands) -> Vec<Case> {
    let all = workloads().into_iter().flat_map(|workload| {
        let is_small = workload.is_small;
        let fits = move |(_, platform): &(Lag, &Platform)| is_small || !local::is_this(platform);
        let one = move |(lag, platform)| {
            let scenario = workload.scenario(platform, lag, Faults::Listed(Vec::new()));
            Case {
                plain: run(&scenario, stands),
                is_small,
                scenario,
            }
        };
        LAGS.into_iter()
            .zip(PLATFORM_OF_LAG)
            .filter(fits)
            .map(one)
            .collect::<Vec<_>>()
    });
    all.collect()
}

impl Case {
    /// So, with these faults.
    pub fn with(&self, faults: Vec<(u64, Fault)>) -> Scenario {
        Scenario {
            faults: Faults::Listed(faults),
            ..self.scenario.clone()
        }
    }

    /// Every fault at every call at which it is possible.
    pub fn singles(&self) -> Vec<(u64, Fault)> {
        let calls = (0..).zip(&self.plain.calls);
        let (platform, rules) = (self.scenario.platform, Rules::of(self.scenario.platform));
        let possible = |fault: Fault, site: Site| fault.can_strike(site, platform, &rules);
        let of_one = |(at, site): (u64, &Site)| {
            let site = *site;
            let faults = FAULTS.into_iter().filter(|fault| possible(*fault, site));
            faults.map(|fault| (at, fault)).collect::<Vec<_>>()
        };
        calls.flat_map(of_one).collect()
    }

    /// Every two of them that stand at different calls.
    pub fn pairs(&self) -> Vec<[(u64, Fault); 2]> {
        let singles = self.singles();
        let with_later = |nth: usize| {
            let first = singles[nth];
            let later = singles[nth..].iter().filter(move |second| second.0 > first.0);
            later.map(move |second| [first, *second])
        };
        (0..singles.len()).flat_map(with_later).collect()
    }

    /// How a run with faults differs from the one without, more than it may.
    pub fn difference(&self, run: &Run) -> Option<Broken> {
        let comparable = exact::is_comparable(&self.scenario);
        exact::difference(&self.plain, run).filter(|_| comparable)
    }
}
