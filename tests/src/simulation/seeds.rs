//! A scenario from a seed: several apps, several versions each, on one of the platforms, with several faults.

use portolan_provider_fake::platform::PLATFORMS;

use super::catalogue::{APPS, Version};
use super::random::Random;
use super::scenario::{Faults, Lag, Outside, Scenario, Script, Start};

pub fn scenario(seed: u64) -> Scenario {
    let mut random = Random::of(seed, 0);
    let platform = random.one_of(&PLATFORMS);
    let controllers = if random.chance(200) { 2 } else { 1 };
    let apps = [1, 1, 1, 2, 2, APPS][random.index(6)];
    Scenario {
        seed,
        platform,
        lag: lag(&mut random),
        controllers,
        scripts: (0..apps).map(|_| script(&mut random)).collect(),
        outside: outside(&mut random, apps, controllers),
        faults: Faults::Random {
            most: 1 + random.index(5),
        },
    }
}

fn lag(random: &mut Random) -> Lag {
    let lags = [0, 0, 700, 5_000, 60_000];
    Lag {
        list: *random.one_of(&lags),
        description: *random.one_of(&lags),
    }
}

const HELLOS: [Version; 12] = [
    Version::Hello,
    Version::HelloImage,
    Version::HelloEnv,
    Version::HelloScaled,
    Version::HelloWorker,
    Version::HelloRenamed,
    Version::HelloFails,
    Version::HelloStalls,
    Version::HelloPublic,
    Version::HelloPort,
    Version::Delete,
    Version::DeleteWithData,
];

const SHOPS: [Version; 7] = [
    Version::Shop,
    Version::ShopImage,
    Version::ShopMigration,
    Version::ShopWithoutWeb,
    Version::ShopFails,
    Version::Delete,
    Version::DeleteWithData,
];

/// One to four versions. What holds data is not left behind by another kind of app.
fn script(random: &mut Random) -> Script {
    let versions: &[Version] = if random.chance(450) { &SHOPS } else { &HELLOS };
    let length = 1 + random.index(4);
    let mut script: Script = Vec::with_capacity(length);
    script.push((Start::After(0), versions[0]));
    for _ in 0..length {
        let start = match random.below(5) {
            0 => Start::Halfway(random.below(6_000)),
            1 => Start::Missed(random.below(6_000)),
            _ => Start::After(random.below(20_000)),
        };
        script.push((start, *random.one_of(versions)));
    }
    script
}

fn outside(random: &mut Random, apps: usize, controllers: usize) -> Vec<(u64, Outside)> {
    let count = [0, 0, 1, 1, 2, 3][random.index(6)];
    let mut all: Vec<(u64, Outside)> = (0..count)
        .map(|_| (random.below(60_000), one(random, apps, controllers)))
        .collect();
    if controllers > 1 {
        let controller = random.index(controllers);
        let ms = 5_000 + random.below(40_000);
        all.push((random.below(20_000), Outside::Stalled { controller, ms }));
    }
    all
}

fn one(random: &mut Random, apps: usize, controllers: usize) -> Outside {
    let (app, nth) = (random.index(apps), random.index(8));
    match random.below(10) {
        0..=2 => Outside::RemovedByHand { app, nth },
        3..=6 => Outside::ChangedByHand { app, nth },
        7 => Outside::TargetAway {
            ms: random.below(90_000),
        },
        8 => Outside::Killed {
            controller: random.index(controllers),
        },
        _ => Outside::Stalled {
            controller: random.index(controllers),
            ms: random.below(30_000),
        },
    }
}
