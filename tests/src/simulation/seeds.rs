//! A scenario from a seed: several apps, several versions each, on one of the platforms, with several faults.

use super::aim::Aim;
use super::catalogue::{APPS, Version};
use super::local::LOCAL;
use super::random::Random;
use super::scenario::{Faults, Lag, Outside, Scenario, Script, Start};

pub fn scenario(seed: u64) -> Scenario {
    if Random::of(seed, 3).chance(LOCAL_PER_MILLE) {
        return on_this_machine(seed);
    }
    let mut random = Random::of(seed, 0);
    let (aim, platforms) = Aim::of(seed);
    let platform = random.one_of(platforms);
    let controllers = if random.chance(200) { 2 } else { 1 };
    let apps = [1, 1, 1, 2, 2, APPS][random.index(6)];
    let accounts = if random.chance(300) { 2 } else { 1 };
    let mut scenario = Scenario {
        seed,
        platform,
        lag: lag(&mut random),
        controllers,
        accounts,
        scripts: (0..apps)
            .map(|app| script(&mut random, if app == 0 { aim.way() } else { &[] }))
            .collect(),
        outside: outside(&mut random, apps, controllers, accounts),
        faults: Faults::Random {
            most: 1 + random.index(5),
            aim,
        },
    };
    aim.drift(&mut scenario);
    lose_the_journal(&mut scenario);
    scenario
}

/// So many of a thousand seeds are of this machine.
const LOCAL_PER_MILLE: u64 = 40;

/// One program has the journal of a machine, reads do not lag, and what stands behind the target is that machine.
fn on_this_machine(seed: u64) -> Scenario {
    let mut random = Random::of(seed, 4);
    let aim = Aim::on_this_machine(&mut random);
    let apps = [1, 1, 1, 2, 2, APPS][random.index(6)];
    let mut scenario = Scenario {
        seed,
        platform: &LOCAL,
        lag: Lag {
            list: 0,
            description: 0,
        },
        controllers: 1,
        accounts: 1,
        scripts: (0..apps)
            .map(|app| script(&mut random, if app == 0 { aim.way() } else { &[] }))
            .collect(),
        outside: at_this_machine(&mut random, apps),
        faults: Faults::Random {
            most: 1 + random.index(5),
            aim,
        },
    };
    aim.drift(&mut scenario);
    lose_the_journal(&mut scenario);
    scenario
}

/// In so many of a thousand seeds the journal is lost.
const LOST_PER_MILLE: u64 = 120;

fn lose_the_journal(scenario: &mut Scenario) {
    let mut random = Random::of(scenario.seed, 5);
    if random.chance(LOST_PER_MILLE) {
        scenario.outside.push((random.below(90_000), Outside::JournalLost));
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

/// The way, and one to four versions after it. What holds data is not left behind by another kind of app.
fn script(random: &mut Random, way: &[Version]) -> Script {
    let is_shop = match way.first() {
        Some(first) => first.is_shop(),
        None => random.chance(450),
    };
    let versions: &[Version] = if is_shop { &SHOPS } else { &HELLOS };
    let way = if way.is_empty() { &versions[..1] } else { way };
    let mut script: Script = way
        .iter()
        .map(|version| (Start::After(random.below(20_000)), *version))
        .collect();
    for _ in 0..1 + random.index(4) {
        let start = match random.below(5) {
            0 => Start::Halfway(random.below(6_000)),
            1 => Start::Missed(random.below(6_000)),
            _ => Start::After(random.below(20_000)),
        };
        script.push((start, *random.one_of(versions)));
    }
    script
}

fn outside(random: &mut Random, apps: usize, controllers: usize, accounts: usize) -> Vec<(u64, Outside)> {
    let count = [0, 0, 1, 1, 2, 3][random.index(6)];
    let mut all: Vec<(u64, Outside)> = (0..count)
        .map(|_| (random.below(60_000), one(random, apps, controllers, accounts)))
        .collect();
    if controllers > 1 {
        let controller = random.index(controllers);
        let ms = 5_000 + random.below(40_000);
        all.push((random.below(20_000), Outside::Stalled { controller, ms }));
    }
    if accounts > 1 {
        let app = random.index(apps);
        all.push((random.below(40_000), Outside::Moved { app }));
    }
    all
}

fn at_this_machine(random: &mut Random, apps: usize) -> Vec<(u64, Outside)> {
    let count = [0, 1, 1, 2, 3, 4][random.index(6)];
    let mut one = |_| {
        let (app, nth) = (random.index(apps), random.index(8));
        let what = match random.below(12) {
            0 | 1 => Outside::RemovedByHand { app, nth },
            2 | 3 => Outside::ChangedByHand { app, nth },
            4 => Outside::Killed { controller: 0 },
            5 | 6 => Outside::ContainerEnds {
                app,
                nth: nth % 3,
                code: [0, 1, 137][random.index(3)],
            },
            7 | 8 => Outside::Rebooted,
            _ => Outside::SupervisorKilled {
                app,
                keeper: random.chance(400),
            },
        };
        (random.below(60_000), what)
    };
    (0..count).map(&mut one).collect()
}

fn one(random: &mut Random, apps: usize, controllers: usize, accounts: usize) -> Outside {
    let (app, nth) = (random.index(apps), random.index(8));
    let controller = random.index(controllers);
    match random.below(12) {
        0..=2 => Outside::RemovedByHand { app, nth },
        3..=6 => Outside::ChangedByHand { app, nth },
        7 => Outside::TargetAway {
            account: random.index(accounts),
            ms: random.below(90_000),
        },
        8 => Outside::Killed { controller },
        9 if accounts > 1 => Outside::Moved { app },
        10 if controllers > 1 => Outside::LeaseAway {
            ms: random.below(60_000),
        },
        _ => Outside::Stalled {
            controller,
            ms: random.below(30_000),
        },
    }
}
