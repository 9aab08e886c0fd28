//! Every single fault at every call of each workload, and pairs of them for the smallest.

use portolan_provider_fake::platform::{CLOUD_RUN_LIKE, ECS_LIKE, PLAIN, Platform};

use super::catalogue::Version;
use super::scenario::{Faults, Lag, Outside, Scenario, Start};

/// What users do, as scenarios in which nothing goes wrong.
pub struct Workload {
    pub name: &'static str,
    /// Whether it is small enough for pairs of faults.
    pub is_small: bool,
    scripts: Vec<Vec<(Start, Version)>>,
    outside: Vec<(u64, Outside)>,
}

pub const LAGS: [Lag; 3] = [
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

pub const PLATFORM_OF_LAG: [&Platform; 3] = [&PLAIN, &CLOUD_RUN_LIKE, &ECS_LIKE];

impl Workload {
    /// With these reads, and these faults.
    pub fn scenario(&self, platform: &'static Platform, lag: Lag, faults: Faults) -> Scenario {
        Scenario {
            seed: 7,
            platform,
            lag,
            controllers: 1,
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
