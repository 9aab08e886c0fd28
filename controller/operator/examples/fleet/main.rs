//! Measures the operator on control planes of its own: `fleet --apps N --converged M --rounds R --program PORTOLAN`. In each
//! round what a plain client needs for the objects that N Apps become, and then N new Apps; after the last one a controller
//! that begins anew among them, and one among M. The figures stand on the last line, as JSON; `tests/bench/kubernetes.py`
//! makes a table of them.

// What fails here is told by where it failed.
#![allow(clippy::unwrap_used)]

mod ceiling;
mod counting;
mod operator;
mod plane;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use counting::{counted, watched_until};
use operator::Running;
use plane::Plane;

/// Requests under way at the same time, of the plain client as of the one that creates Apps; the controller's are its own.
const WORKERS: usize = 16;

/// How long nothing is measured, so that what came before has come to rest.
const REST: Duration = Duration::from_secs(25);

struct Sizes {
    apps: usize,
    converged: usize,
    rounds: usize,
    program: PathBuf,
}

/// A controller on a control plane, once its new Apps have come.
struct Fleet {
    plane: Plane,
    running: Running,
    empty_bytes: u64,
}

#[tokio::main]
async fn main() {
    let sizes = sizes();
    let (mut rounds, mut last) = (Vec::new(), None);
    for round in 1..=sizes.rounds {
        // One control plane at a time.
        drop(last.take());
        let ceiling = ceiling::measure(sizes.apps, &sizes.program).await;
        let (fleet, came) = Fleet::come(&sizes).await;
        eprintln!("round {round}: {ceiling} {came}");
        rounds.push(json!({ "ceiling": ceiling, "apps": came }));
        last = Some(fleet);
    }
    let figures = last.expect("there is a round").measure(&sizes).await;
    println!("{}", json!({ "rounds": rounds, "operator": figures }));
}

fn sizes() -> Sizes {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [
            "--apps",
            apps,
            "--converged",
            converged,
            "--rounds",
            rounds,
            "--program",
            program,
        ] => Sizes {
            apps: apps.parse().expect("--apps is a number"),
            converged: converged.parse().expect("--converged is a number"),
            rounds: rounds.parse().expect("--rounds is a number"),
            program: program.into(),
        },
        _ => panic!("fleet --apps N --converged M --rounds R --program PORTOLAN"),
    }
}

impl Fleet {
    async fn come(sizes: &Sizes) -> (Self, Value) {
        let plane = Plane::start(sizes.converged).await;
        let running = Running::start(&plane, &sizes.program, "10m");
        plane.try_out().await;
        sleep(REST).await;
        let empty_bytes = running.resident_bytes();
        let came = come(&plane, &running, sizes.apps).await;
        let fleet = Self {
            plane,
            running,
            empty_bytes,
        };
        (fleet, came)
    }

    async fn measure(self, sizes: &Sizes) -> Value {
        let Self {
            plane,
            running,
            empty_bytes,
        } = self;
        sleep(REST).await;
        let (running, again) = begin_anew(&plane, running, sizes, sizes.apps, "10m").await;
        eprintln!("restart: {again}");
        plane.create_apps("more", sizes.converged - sizes.apps).await;
        running.converge(sizes.converged + 1).await;
        sleep(REST).await;
        let (running, all) = begin_anew(&plane, running, sizes, sizes.converged, "10m").await;
        eprintln!("converged: {all}");
        sleep(REST).await;
        let resident = running.resident_bytes();
        let (running, _) = begin_anew(&plane, running, sizes, sizes.converged, "30s").await;
        let resync = resync(&plane, &running).await;
        drop(running);
        json!({
            "restart": again, "converged": all, "resync": resync,
            "emptyBytes": empty_bytes, "residentBytes": resident,
        })
    }
}

/// New Apps, all at once.
async fn come(plane: &Plane, running: &Running, apps: usize) -> Value {
    let since = plane.now();
    let before = running.processor_seconds();
    let ready = tokio::spawn(watched_until(plane.client.clone(), counting::APPS, "new", apps));
    let exist = tokio::spawn(counted(plane.client.clone(), "new", plane::OBJECTS, apps));
    plane.create_apps("new", apps).await;
    let created = plane.elapsed();
    let (exist, ready) = (exist.await.unwrap(), ready.await.unwrap());
    let used = running.processor_seconds() - before;
    let asked = plane.asked(&since);
    json!({ "createdS": created, "existS": exist, "readyS": ready, "cpuS": used, "asked": asked })
}

/// Ends the one that runs and starts another; measured until that knows all Apps to be converged.
async fn begin_anew(plane: &Plane, running: Running, sizes: &Sizes, apps: usize, resync: &str) -> (Running, Value) {
    running.stop();
    let since = plane.now();
    let running = Running::start(plane, &sizes.program, resync);
    let known = running.converge(apps + 1).await;
    let used = running.processor_seconds();
    sleep(Duration::from_secs(3)).await;
    let asked = plane.asked(&since);
    (running, json!({ "knownS": known, "cpuS": used, "asked": asked }))
}

/// What a minute costs in which each App is looked at twice, whatever the watches say.
async fn resync(plane: &Plane, running: &Running) -> Value {
    let since = plane.now();
    let (cpu, looks) = (running.processor_seconds(), running.reconciles());
    sleep(Duration::from_secs(60)).await;
    let (cpu, looks) = (running.processor_seconds() - cpu, running.reconciles() - looks);
    json!({ "cpuS": cpu, "looks": looks, "asked": plane.asked(&since) })
}
