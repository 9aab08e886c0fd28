//! The engine on clouds that go wrong: every single fault at every call of each workload, pairs of them for the smallest, and
//! thousands of seeds.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use portolan_tests::simulation::exhaustive::{LAGS, PLATFORM_OF_LAG, workloads};
use portolan_tests::simulation::fault::{EXCLUSIONS, FAULTS, exclusion, pairs};
use portolan_tests::simulation::{Coverage, Fault, Faults, Run, Scenario, Site, Stands, run, seeds, shortest, trace};

/// Runs every scenario on all processors; answers what was met, and the first that fails with its shortest way there.
fn run_all(scenarios: &[Scenario], check: impl Fn(&Scenario, &Run) + Sync) -> Coverage {
    let next = AtomicUsize::new(0);
    let coverage = Mutex::new(Coverage::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let stands = Stands::default();
                let mut met = Coverage::default();
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let run = run(scenario, &stands);
                    if run.broken.is_some() {
                        next.store(scenarios.len(), Ordering::Relaxed);
                        fail(scenario, &run, &stands);
                    }
                    check(scenario, &run);
                    met.add(&run.coverage);
                }
                coverage.lock().unwrap().add(&met);
            });
        }
    });
    coverage.into_inner().unwrap()
}

fn fail(scenario: &Scenario, failed: &Run, stands: &Stands) {
    let shortest = shortest(scenario, failed, stands);
    let lines = trace(&shortest, stands).trace;
    panic!("{:?}\n{shortest:#?}\n{}", failed.broken, lines.join("\n"));
}

/// Each workload without a fault, on each platform with the lag that goes with it.
fn without_faults() -> Vec<(Scenario, bool)> {
    let all = workloads().into_iter().flat_map(|workload| {
        let one = move |(lag, platform)| {
            let scenario = workload.scenario(platform, lag, Faults::Listed(Vec::new()));
            (scenario, workload.is_small)
        };
        LAGS.into_iter().zip(PLATFORM_OF_LAG).map(one).collect::<Vec<_>>()
    });
    all.collect()
}

fn with_faults(scenario: &Scenario, faults: Vec<(u64, Fault)>) -> Scenario {
    Scenario {
        faults: Faults::Listed(faults),
        ..scenario.clone()
    }
}

/// Every fault at every call of the run at which it is possible.
fn single(plain: &Run) -> Vec<(u64, Fault)> {
    let calls = (0..).zip(&plain.calls);
    let possible = |fault: &Fault, site: Site| exclusion(*fault, site).is_none();
    let of_one = |(at, site): (u64, &Site)| {
        let site = *site;
        let faults = FAULTS.into_iter().filter(move |fault| possible(fault, site));
        faults.map(move |fault| (at, fault))
    };
    calls.flat_map(of_one).collect()
}

#[test]
fn every_single_fault_at_every_call_is_made_good() {
    let stands = Stands::default();
    let mut scenarios = Vec::new();
    for (scenario, _) in without_faults() {
        let plain = run(&scenario, &stands);
        assert_eq!(plain.broken, None, "{scenario:#?}");
        scenarios.extend(
            single(&plain)
                .into_iter()
                .map(|fault| with_faults(&scenario, vec![fault])),
        );
    }
    let coverage = run_all(&scenarios, |_, _| {});
    println!(
        "{} runs, {:?} pairs of call site and fault",
        scenarios.len(),
        coverage.pairs()
    );
}

/// The pairs are those of faults that stand at different calls. All of them are left for --full; here is every so many.
fn pairs_of_faults(every: usize) {
    let stands = Stands::default();
    let mut scenarios = Vec::new();
    for (scenario, _) in without_faults().into_iter().filter(|(_, is_small)| *is_small) {
        let single = single(&run(&scenario, &stands));
        for (nth, first) in single.iter().enumerate() {
            let later = single[nth..].iter().filter(|second| second.0 > first.0);
            scenarios.extend(later.map(|second| with_faults(&scenario, vec![*first, *second])));
        }
    }
    let chosen: Vec<Scenario> = scenarios.into_iter().step_by(every).collect();
    run_all(&chosen, |_, _| {});
    println!("{} runs", chosen.len());
}

#[test]
fn some_pairs_of_faults_are_made_good() {
    pairs_of_faults(307);
}

#[test]
#[ignore = "some of them are in the usual set, all of them take long"]
fn all_pairs_of_faults_are_made_good() {
    pairs_of_faults(1);
}

#[test]
fn twenty_thousand_seeds_hold_every_invariant() {
    let scenarios: Vec<Scenario> = (1..=20_000).map(seeds::scenario).collect();
    let coverage = run_all(&scenarios, |_, _| {});
    let (sites, all_sites) = coverage.sites();
    let (pairs, all_pairs) = coverage.pairs();
    println!("{sites} of {all_sites} call sites, {pairs} of {all_pairs} pairs of call site and fault");
    assert_eq!(sites, all_sites, "every call site meets a fault");
}

/// I12: the same seed gives the same run, to the last step.
#[test]
fn the_same_seed_gives_the_same_run() {
    let (one, other) = (Stands::default(), Stands::default());
    for seed in 1..=200 {
        let scenario = seeds::scenario(seed);
        let (one, other) = (run(&scenario, &one), run(&scenario, &other));
        assert_eq!(
            (one.hash, one.steps, &one.met),
            (other.hash, other.steps, &other.met),
            "{seed}"
        );
        let listed = with_faults(&scenario, one.met.clone());
        assert_eq!(listed.faults, Faults::Listed(other.met), "{seed}");
    }
}

#[test]
fn every_fault_can_strike_somewhere_and_every_exclusion_excludes() {
    for fault in FAULTS {
        assert!(pairs().any(|(_, one)| one == fault), "{fault} can strike nowhere");
    }
    for row in EXCLUSIONS {
        let excludes = |site: Site| exclusion(row.fault, site).is_some_and(|found| std::ptr::eq(found, row));
        assert!(
            Site::all().any(excludes),
            "{row:?} excludes nothing that another row does not"
        );
    }
    let numbers: std::collections::BTreeSet<u32> = FAULTS.into_iter().map(Fault::number).collect();
    assert_eq!(numbers, (1..=14).collect());
}
