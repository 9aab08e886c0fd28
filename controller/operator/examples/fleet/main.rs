//! Measures the operator on a control plane of its own: `fleet --apps N --converged M --program PORTOLAN`. First what a plain
//! client needs for the objects that N Apps become; then N new Apps, a controller that begins anew among them, and one
//! among M. The figures stand on the last line, as JSON; `tests/bench/kubernetes.py` makes a table of them.

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
    program: PathBuf,
}

#[tokio::main]
async fn main() {
    let sizes = sizes();
    let ceiling = ceiling::measure(sizes.apps, &sizes.program).await;
    eprintln!("ceiling: {ceiling}");
    let figures = measure(&sizes).await;
    println!("{}", json!({ "ceiling": ceiling, "operator": figures }));
}

fn sizes() -> Sizes {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--apps", apps, "--converged", converged, "--program", program] => Sizes {
            apps: apps.parse().expect("--apps is a number"),
            converged: converged.parse().expect("--converged is a number"),
            program: program.into(),
        },
        _ => panic!("fleet --apps N --converged M --program PORTOLAN"),
    }
}

async fn measure(sizes: &Sizes) -> Value {
    let plane = Plane::start(sizes.converged).await;
    let running = Running::start(&plane, &sizes.program, "10m");
    plane.try_out().await;
    sleep(REST).await;
    let empty = running.resident_bytes();
    let came = come(&plane, &running, sizes.apps).await;
    eprintln!("come: {came}");
    sleep(REST).await;
    let again = begin_anew(&plane, running, sizes, sizes.apps, "10m").await;
    eprintln!("restart: {}", again.1);
    let running = again.0;
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
        "apps": came, "restart": again.1, "converged": all, "resync": resync,
        "emptyBytes": empty, "residentBytes": resident,
    })
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
