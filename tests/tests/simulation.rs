//! The engine on clouds that go wrong: every single fault at every call of each workload, pairs of them for the smallest, and
//! thousands of seeds.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use portolan_core::plan::Verb;
use portolan_tests::simulation::exact;
use portolan_tests::simulation::exhaustive::{Case, cases};
use portolan_tests::simulation::fault::{EXCLUSIONS, FAULTS, exclusion, pairs};
use portolan_tests::simulation::{
    Broken, Coverage, Fault, Faults, Run, Scenario, Site, Stands, run, run_with_secrets_told, seeds, shortest, trace,
};

/// Runs every scenario on all processors; answers what was met, and the first that fails with its shortest way there.
fn run_all(scenarios: &[Scenario], check: impl Fn(usize, &Run, &Stands) -> Option<Broken> + Sync) -> Coverage {
    let next = AtomicUsize::new(0);
    let coverage = Mutex::new(Coverage::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let stands = Stands::default();
                let mut met = Coverage::default();
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    let Some(scenario) = scenarios.get(nth) else { break };
                    let mut run = run(scenario, &stands);
                    run.broken = run.broken.take().or_else(|| check(nth, &run, &stands));
                    if run.broken.is_some() {
                        next.store(scenarios.len(), Ordering::Relaxed);
                        fail(scenario, &run, &stands);
                    }
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

fn listed(scenario: &Scenario, faults: Vec<(u64, Fault)>) -> Scenario {
    Scenario {
        faults: Faults::Listed(faults),
        ..scenario.clone()
    }
}

/// Scenarios with faults, each of the case with that number.
fn run_cases(cases: &[Case], scenarios: &[(usize, Scenario)]) -> Coverage {
    let only: Vec<Scenario> = scenarios.iter().map(|(_, scenario)| scenario.clone()).collect();
    run_all(&only, |nth, run, _| cases[scenarios[nth].0].difference(run))
}

#[test]
fn every_single_fault_at_every_call_is_made_good() {
    let cases = cases(&Stands::default());
    let mut scenarios = Vec::new();
    for (nth, case) in cases.iter().enumerate() {
        assert_eq!(case.plain.broken, None, "{:#?}", case.scenario);
        scenarios.extend(case.singles().into_iter().map(|fault| (nth, case.with(vec![fault]))));
    }
    let coverage = run_cases(&cases, &scenarios);
    println!(
        "{} runs, {:?} pairs of call site and fault",
        scenarios.len(),
        coverage.pairs()
    );
}

/// Of the smallest workloads. All of them are left for --full; here is every so many.
fn pairs_of_faults(every: usize) {
    let cases = cases(&Stands::default());
    let mut scenarios = Vec::new();
    for (nth, case) in cases.iter().enumerate().filter(|(_, case)| case.is_small) {
        let chosen = case.pairs().into_iter().step_by(every);
        scenarios.extend(chosen.map(|pair| (nth, case.with(pair.to_vec()))));
    }
    run_cases(&cases, &scenarios);
    println!("{} runs", scenarios.len());
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
    let coverage = run_all(&scenarios, |nth, run, stands| {
        let scenario = &scenarios[nth];
        // Those that can be told from their end alone: nothing happens but faults.
        let comparable = exact::is_comparable(scenario) && scenario.outside.is_empty();
        let plain = comparable.then(|| self::run(&listed(scenario, Vec::new()), stands))?;
        exact::difference(&plain, run)
    });
    let (sites, all_sites) = coverage.sites();
    let (pairs, all_pairs) = coverage.pairs();
    println!("{sites} of {all_sites} call sites, {pairs} of {all_pairs} pairs of call site and fault");
    assert_eq!(sites, all_sites, "every call site meets a fault");
}

/// I9. A provider that repeats what the platform says is found out where a service is refused.
#[test]
fn a_secret_that_leaves_the_process_is_found() {
    let stands = Stands::default();
    let refused = |seed: &u64| {
        let run = run(&seeds::scenario(*seed), &stands);
        let at_a_service =
            |number: u64| run.calls[usize::try_from(number).unwrap()] == Site::Write(Verb::Create, "Service");
        run.met
            .iter()
            .any(|(number, fault)| *fault == Fault::Oversize && at_a_service(*number))
    };
    let seed = (64..).step_by(64).find(refused).unwrap();
    let found = run_with_secrets_told(&seeds::scenario(seed), &stands).broken;
    assert_eq!(found.map(|broken| broken.invariant), Some("I9"), "{seed}");
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
        let listed = listed(&scenario, one.met.clone());
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
