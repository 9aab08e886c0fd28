//! Runs the simulation for any number of seeds: `simulate --seeds N [--from SEED] [--jobs J]`, or one seed with every line of
//! what happens: `simulate --trace SEED`; `--explain SEED` leaves out what a failing seed does not need. `simulate --pairs EVERY`
//! runs every so many of all pairs of faults at the calls of the smallest workloads. The figures stand on the last line.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use portolan_tests::simulation::exhaustive::{Case, cases};
use portolan_tests::simulation::{self, Coverage, Run, Stands, seeds};

struct Arguments {
    seeds: u64,
    from: u64,
    jobs: u64,
    trace: Option<u64>,
    explain: Option<u64>,
    pairs: Option<u64>,
}

const USAGE: &str = "simulate --seeds N [--from SEED] [--jobs J] | simulate --pairs EVERY [--from NTH] [--jobs J] | \
                     simulate --trace SEED | simulate --explain SEED";

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    match &arguments {
        Arguments { trace: Some(seed), .. } => trace(*seed),
        Arguments {
            explain: Some(seed), ..
        } => explain(*seed),
        Arguments { pairs: Some(every), .. } => pairs(&arguments, *every),
        _ => simulate(&arguments),
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        seeds: 1000,
        from: 1,
        jobs: 1,
        trace: None,
        explain: None,
        pairs: None,
    };
    while let Some(word) = words.next() {
        let number = words.next().and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| format!("{word} wants a number"))?;
        match word.as_str() {
            "--seeds" => arguments.seeds = number,
            "--from" => arguments.from = number,
            "--jobs" => arguments.jobs = number.max(1),
            "--explain" => arguments.explain = Some(number),
            "--pairs" => arguments.pairs = Some(number.max(1)),
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
    supervisor_steps: u64,
    faults: u64,
    coverage: Coverage,
    failed: Vec<u64>,
}

fn simulate(arguments: &Arguments) -> ExitCode {
    let end = arguments.from + arguments.seeds;
    let one = |seed, stands: &Stands| simulation::run(&seeds::scenario(seed), stands);
    let all = run_all(arguments, end, one, |seed| format!("seed {seed}"));
    for seed in all.failed.iter().take(3) {
        _ = explain(*seed);
    }
    ExitCode::from(u8::from(!all.failed.is_empty()))
}

/// Numbered from 1 as seeds are.
fn pairs(arguments: &Arguments, every: u64) -> ExitCode {
    let cases: Vec<Case> = cases(&Stands::default());
    let small = cases.iter().filter(|case| case.is_small);
    let pairs = small.flat_map(|case| case.pairs().into_iter().map(move |pair| (case, pair)));
    let every = usize::try_from(every).expect("a count fits into memory");
    let chosen: Vec<_> = pairs.step_by(every).collect();
    let nth = |number: u64| &chosen[usize::try_from(number - 1).expect("it is the number of one of them")];
    let one = |number, stands: &Stands| {
        let (case, pair) = nth(number);
        let mut run = simulation::run(&case.with(pair.to_vec()), stands);
        run.broken = run.broken.take().or_else(|| case.difference(&run));
        run
    };
    let name = |number| {
        let (case, pair) = nth(number);
        format!("pair {number}, {:?}", case.with(pair.to_vec()))
    };
    let all = run_all(arguments, chosen.len() as u64 + 1, one, name);
    ExitCode::from(u8::from(!all.failed.is_empty()))
}

/// As many failures as anybody looks at.
const ENOUGH: usize = 20;

/// The runs with the numbers from where the arguments say to before `end`; those that fail are told by name.
fn run_all(
    arguments: &Arguments,
    end: u64,
    one: impl Fn(u64, &Stands) -> Run + Sync,
    name: impl Fn(u64) -> String + Sync,
) -> Sum {
    let began = Instant::now();
    let next = AtomicU64::new(arguments.from);
    let stop = AtomicBool::new(false);
    let some = || {
        let stands = Stands::default();
        let mut sum = Sum::default();
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= end {
                break;
            }
            let run = one(number, &stands);
            sum.add(&run);
            if let Some(broken) = &run.broken {
                println!("{}: {}: {}", name(number), broken.invariant, broken.because);
                sum.failed.push(number);
            }
            if sum.failed.len() >= ENOUGH {
                stop.store(true, Ordering::Relaxed);
            }
        }
        sum
    };
    let mut all = Sum::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.jobs).map(|_| scope.spawn(some)).collect();
        for thread in threads {
            all.join(thread.join().expect("a run that panics is a run that fails"));
        }
    });
    all.failed.sort_unstable();
    report(&all, began.elapsed().as_secs_f64(), arguments.jobs);
    all
}

impl Sum {
    fn add(&mut self, run: &Run) {
        self.runs += 1;
        self.steps += run.steps;
        self.supervisor_steps += run.supervisor_steps;
        self.faults += run.met.len() as u64;
        self.coverage.add(&run.coverage);
    }

    fn join(&mut self, other: Self) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.supervisor_steps += other.supervisor_steps;
        self.faults += other.faults;
        self.coverage.add(&other.coverage);
        self.failed.extend(other.failed);
    }
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
        "{} runs, {:.0} runs/s, {:.0} steps/s of the engine and {:.0} of supervisors on {jobs} jobs, {} faults, \
         {sites} of {all_sites} call sites, {pairs} of {all_pairs} pairs of call site and fault, each at least {least} times, \
         {} violations",
        sum.runs,
        sum.runs as f64 / seconds,
        sum.steps as f64 / seconds,
        sum.supervisor_steps as f64 / seconds,
        sum.faults,
        sum.failed.len(),
    );
}
