//! Bugs put back one at a time ([`Mutant`]), each of which has to be caught: by an invariant of the simulation, or by what
//! holds for every journal.
//!
//! Run are, in this order, the usual workloads, ways that once led to a bug, and seeds, until an invariant breaks. `PORTOLAN_REGENERATE=1 cargo test -p portolan-tests --test mutants` writes
//! what came of it into docs/mutants.md.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]
// Shipped code has no mutants.
#![cfg(debug_assertions)]

use std::fmt::Write as _;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use portolan_core::mutant::Mutant;
use portolan_core::name::OwnerId;
use portolan_core::observation::Observation;
use portolan_core::plan::{PlanInput, PlanOptions, Scope, plan};
use portolan_core::resource::ResourceId;
use portolan_tests::root;
use portolan_tests::simulation::exhaustive::{LAGS, PLATFORM_OF_LAG, workloads};
use portolan_tests::simulation::ways::ways;
use portolan_tests::simulation::{Faults, Scenario, Stands, run, seeds};
use serde_json::json;

mod journal;

/// A mutant that lives longer than so many seeds is not caught.
const MOST_SEEDS: u64 = 5_000;

struct Caught {
    /// The invariant that broke.
    by: String,
    /// In which run.
    how: String,
    runs: usize,
}

fn scenarios() -> impl Iterator<Item = (String, Scenario)> {
    let usual = workloads().into_iter().flat_map(|workload| {
        LAGS.into_iter().zip(PLATFORM_OF_LAG).map(move |(lag, platform)| {
            let name = format!("{} on {platform:?}", workload.name);
            (name, workload.scenario(platform, lag, Faults::Listed(Vec::new())))
        })
    });
    let ways = ways().into_iter().map(|(name, way)| (name.to_string(), way));
    let seeds = (1..=MOST_SEEDS).map(|seed| (format!("seed {seed}"), seeds::scenario(seed)));
    usual.chain(ways).chain(seeds)
}

/// The bug is there while it is looked for, also when names and bodies are made.
fn catch(mutant: Mutant) -> Option<Caught> {
    let _back = mutant.put_back();
    if let Some(by) = journal::grows_without_end() {
        let how = "the journal".to_string();
        return Some(Caught { by, how, runs: 1 });
    }
    if acts_on_a_partial_read() {
        let (by, how) = ("rule 5".to_string(), "a plan".to_string());
        return Some(Caught { by, how, runs: 1 });
    }
    let stands = Stands::default();
    scenarios().enumerate().find_map(|(nth, (how, scenario))| {
        let broken = run(&scenario, &stands).broken?;
        Some(Caught {
            by: broken.invariant.to_string(),
            how,
            runs: nth + 1,
        })
    })
}

/// What the simulation can show no more, for what follows such a plan is guarded too.
fn acts_on_a_partial_read() -> bool {
    let id: ResourceId = "Service/web".parse().unwrap();
    let web = json!({ "id": id, "body": {}, "edges": [], "origin": "/spec/services/web" });
    let desired = [(id, serde_json::from_value(web).unwrap())].into_iter().collect();
    let scope = Scope {
        namespace: "default".to_string(),
        app: "hello".to_string(),
        target: "local".to_string(),
        owner: OwnerId::derive("default", "hello", "local", "here"),
        source: "file".to_string(),
    };
    let plan = plan(&PlanInput {
        scope: &scope,
        generation: 1,
        desired: &desired,
        observed: &Observation::default(),
        diff: &|_, _| Vec::new(),
        options: PlanOptions::default(),
    });
    !plan.steps.is_empty()
}

#[test]
fn every_mutant_is_caught() {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(mutant) = Mutant::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let caught = catch(*mutant);
                    found.lock().unwrap().push((*mutant, caught));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap();
    found.sort_by_key(|(mutant, _)| *mutant);
    for (mutant, caught) in &found {
        match caught {
            Some(caught) => println!(
                "{mutant:?}: caught by {} in {}, after {} runs",
                caught.by, caught.how, caught.runs
            ),
            None => println!("{mutant:?}: LIVES"),
        }
    }
    let alive: Vec<Mutant> = found
        .iter()
        .filter(|(_, caught)| caught.is_none())
        .map(|(one, _)| *one)
        .collect();
    assert!(alive.is_empty(), "nothing catches {alive:?}");
    check_document(&found);
}

#[test]
fn without_a_mutant_every_way_ends_well() {
    let stands = Stands::default();
    for (name, way) in ways() {
        assert_eq!(run(&way, &stands).broken, None, "{name}");
    }
    assert_eq!(journal::grows_without_end(), None);
    assert!(!acts_on_a_partial_read());
}

const BEGIN: &str = "<!-- mutants: begin -->\n";
const END: &str = "<!-- mutants: end -->\n";

fn row(mutant: Mutant, caught: &Caught) -> String {
    format!(
        "| {mutant:?} | {} | {} | {} | {} | {} |\n",
        mutant.wrong(),
        mutant.peers().unwrap_or_default(),
        caught.by,
        caught.how,
        caught.runs
    )
}

/// The document has a row for each mutant. When and where it was caught is of the last writing: another order of calls
/// changes it, and nothing is worse for that.
fn check_document(found: &[(Mutant, Option<Caught>)]) {
    let path = root().join("docs/mutants.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(BEGIN).unwrap();
    let (table, tail) = rest.split_once(END).unwrap();
    let mut written = String::from(
        "| mutant | what goes wrong | peers who met it | caught by | in | runs |\n|---|---|---|---|---|---|\n",
    );
    for (mutant, caught) in found {
        written.push_str(&row(*mutant, caught.as_ref().unwrap()));
    }
    if std::env::var_os("PORTOLAN_REGENERATE").is_some() {
        let mut whole = String::new();
        write!(whole, "{head}{BEGIN}{written}{END}{tail}").unwrap();
        fs::write(&path, whole).unwrap();
        return;
    }
    let held = |table: &str| -> Vec<String> {
        table
            .lines()
            .map(|line| line.split('|').take(4).collect::<Vec<_>>().join("|"))
            .collect()
    };
    assert_eq!(held(table), held(&written), "docs/mutants.md is to be written anew");
}
