//! Runs the simulation for any number of seeds: `simulate --seeds N [--from SEED] [--jobs J]`, or one seed with every line of
//! what happens: `simulate --trace SEED`; `--explain SEED` leaves out what a failing seed does not need. The figures stand on the last line.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use portolan_tests::simulation::{self, Coverage, Stands, seeds};

struct Arguments {
    seeds: u64,
    from: u64,
    jobs: u64,
    trace: Option<u64>,
    explain: Option<u64>,
}

const USAGE: &str = "simulate --seeds N [--from SEED] [--jobs J] | simulate --trace SEED | simulate --explain SEED";

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    match (arguments.trace, arguments.explain) {
        (Some(seed), _) => trace(seed),
        (None, Some(seed)) => explain(seed),
        (None, None) => simulate(&arguments),
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        seeds: 1000,
        from: 1,
        jobs: 1,
        trace: None,
        explain: None,
    };
    while let Some(word) = words.next() {
        let number = words.next().and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| format!("{word} wants a number"))?;
        match word.as_str() {
            "--seeds" => arguments.seeds = number,
            "--from" => arguments.from = number,
            "--jobs" => arguments.jobs = number.max(1),
            "--explain" => arguments.explain = Some(number),
            "--trace" => arguments.trace = Some(number),
            other => return Err(format!("there is no {other}")),
        }
    }
    Ok(arguments)
}

/// What all runs of one thread come to.
#[derive(Default)]
struct Sum {
    runs: u64,
    steps: u64,
    faults: u64,
    coverage: Coverage,
    failed: Vec<u64>,
}

fn simulate(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from + arguments.seeds;
    let stop = AtomicBool::new(false);
    let sums: Vec<Sum> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.jobs)
            .map(|_| scope.spawn(|| some_seeds(&next, end, &stop)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a run that panics is a run that fails"))
            .collect()
    });
    let mut all = Sum::default();
    for sum in sums {
        all.runs += sum.runs;
        all.steps += sum.steps;
        all.faults += sum.faults;
        all.coverage.add(&sum.coverage);
        all.failed.extend(sum.failed);
    }
    all.failed.sort_unstable();
    for seed in all.failed.iter().take(3) {
        _ = explain(*seed);
    }
    report(&all, began.elapsed().as_secs_f64(), arguments.jobs);
    ExitCode::from(u8::from(!all.failed.is_empty()))
}

/// As many failing seeds as anybody looks at.
const ENOUGH: usize = 20;

fn some_seeds(next: &AtomicU64, end: u64, stop: &AtomicBool) -> Sum {
    let stands = Stands::default();
    let mut sum = Sum::default();
    while !stop.load(Ordering::Relaxed) {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            break;
        }
        let run = simulation::run(&seeds::scenario(seed), &stands);
        sum.runs += 1;
        sum.steps += run.steps;
        sum.faults += run.met.len() as u64;
        sum.coverage.add(&run.coverage);
        if let Some(broken) = run.broken {
            println!("seed {seed}: {}: {}", broken.invariant, broken.because);
            sum.failed.push(seed);
            if sum.failed.len() >= ENOUGH {
                stop.store(true, Ordering::Relaxed);
            }
        }
    }
    sum
}

/// The shortest way to what a failing seed has shown.
fn explain(seed: u64) -> ExitCode {
    let stands = Stands::default();
    let scenario = seeds::scenario(seed);
    let failed = simulation::run(&scenario, &stands);
    let shortest = simulation::shortest(&scenario, &failed, &stands);
    println!("\nseed {seed}, with everything left out that is not needed:\n{shortest:#?}");
    for line in simulation::trace(&shortest, &stands).trace {
        println!("  {line}");
    }
    ExitCode::from(u8::from(failed.broken.is_some()))
}

fn trace(seed: u64) -> ExitCode {
    let run = simulation::trace(&seeds::scenario(seed), &Stands::default());
    println!("{:#?}", seeds::scenario(seed));
    for line in &run.trace {
        println!("{line}");
    }
    println!("{} steps, trace hash {:016x}", run.steps, run.hash);
    ExitCode::from(u8::from(run.broken.is_some()))
}

fn report(sum: &Sum, seconds: f64, jobs: u64) {
    let (sites, all_sites) = sum.coverage.sites();
    let (pairs, all_pairs) = sum.coverage.pairs();
    let (site, fault, least) = sum.coverage.rarest();
    println!("met least often: {fault} at {site}, {least} times");
    println!(
        "{} runs, {:.0} runs/s, {:.0} steps/s on {jobs} jobs, {} faults, {sites} of {all_sites} call sites, \
         {pairs} of {all_pairs} pairs of call site and fault, each at least {least} times, {} violations",
        sum.runs,
        sum.runs as f64 / seconds,
        sum.steps as f64 / seconds,
        sum.faults,
        sum.failed.len(),
    );
}
