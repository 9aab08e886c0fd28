//! Measures the engine on the provider in memory: `fleet --apps N` applies that many apps, starts a controller with the journal
//! they have left, and lets it look at each of them once. The figures stand on the last line, as JSON.
//!
//! The cloud's clock runs a thousand times as fast as it should, so that nobody waits for rollouts; nothing lags, and the account's
//! budget is as large as a manifest can make it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use portolan_core::manifest::{App, Budget, Target};
use portolan_core::plan::Plan;
use portolan_engine::controller::{Assignment, Assignments, Controller, Listener, Settings, Standing};
use portolan_engine::journal::{AppKey, SqliteJournal};
use portolan_engine::{Audience, Engine, EngineError, EngineEvent, Outcome, OutcomeKind, Wish, Work};
use portolan_provider_api::Provider;
use portolan_provider_fake::{FakeCloud, FakeImages, FakeShape, provider};
use portolan_tests::journal::bring_log_in;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

const USAGE: &str = "fleet --apps N";
const AT_ONCE: usize = 16;
/// Generations of the one app by which the price of a long history is measured.
const SHORT_HISTORY: u32 = 10;
const LONG_HISTORY: u32 = 500;
const LOOKS: u32 = 300;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let apps = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--apps", number] => number.parse().ok(),
        _ => None,
    };
    let Some(apps) = apps else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    match measure(apps).await {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(apps: u32) -> Result<Value, Failure> {
    let folder = tempfile::tempdir()?;
    let fleet = Fleet::new();
    let applied = fleet.apply(folder.path(), apps).await?;
    let kept = fleet.keep(folder.path(), apps).await?;
    let aged = age().await?;
    Ok(json!({ "apps": apps, "apply": applied, "resync": kept, "history": aged }))
}

/// What outlives an engine, but for its journal.
struct Fleet {
    cloud: FakeCloud,
    provider: Provider,
}

impl Fleet {
    fn new() -> Self {
        let began = Instant::now();
        let cloud = FakeCloud::new(Arc::new(move || began.elapsed().as_micros() as u64));
        cloud.stop_recording();
        Self {
            provider: provider(cloud.clone(), FakeShape::default()),
            cloud,
        }
    }

    /// Each app for the first time.
    async fn apply(&self, journal: &Path, apps: u32) -> Result<Value, Failure> {
        let engine = engine(journal)?;
        let used = Used::now();
        let mut running = JoinSet::new();
        for number in 0..apps {
            if running.len() == AT_ONCE {
                running.join_next().await.ok_or("nothing runs")???;
            }
            running.spawn(reconcile(engine.clone(), self.provider.clone(), work(&name(number), 1)));
        }
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        let used = used.until_now();
        let objects = self.cloud.objects().len();
        drop(engine);
        bring_log_in(&journal.join("journal.db"));
        Ok(json!({ "cpuS": used.cpu, "wallS": used.wall, "objects": objects, "journalBytes": size_of(journal)? }))
    }

    /// A controller that begins with the journal as it is, until each app has been looked at once.
    async fn keep(&self, journal: &Path, apps: u32) -> Result<Value, Failure> {
        let before = resident_bytes()?;
        let used = Used::now();
        let controller = Controller::new(engine(journal)?, Settings::default(), Arc::new(Silent));
        let board = controller.board();
        let (_assignments, assigned) = watch::channel(self.assignments(apps));
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move { controller.run(assigned, stopped).await });
        let mut first = None;
        // In this order: the second question goes through all apps.
        while board.counts().reconciles < u64::from(apps) || !board.is_ready() {
            sleep(Duration::from_millis(20)).await;
            if first.is_none() && board.counts().reconciles > 0 {
                first = Some(used.until_now());
            }
        }
        let whole = used.until_now();
        let resident = resident_bytes()?;
        let astray = board
            .apps()
            .iter()
            .filter(|app| app.standing != Standing::Converged)
            .count();
        let changes = board.counts().changes;
        stop.send_replace(true);
        task.await??;
        if astray > 0 || changes > 0 {
            return Err(format!("{astray} apps have not converged, {changes} writes were made").into());
        }
        let first = first.unwrap_or_else(|| used.until_now());
        Ok(json!({
            "firstLookS": first.wall, "cpuS": whole.cpu, "wallS": whole.wall,
            "residentBytes": resident.saturating_sub(before),
        }))
    }

    fn assignments(&self, apps: u32) -> Assignments {
        let assignment = |number| {
            let Work {
                app, target, folder, ..
            } = work(&name(number), 1);
            let work = Arc::new(Work::keep(app, target, folder));
            let provider = self.provider.clone();
            let suspended = false;
            (
                work.key(),
                Assignment {
                    provider,
                    work,
                    suspended,
                },
            )
        };
        Arc::new((0..apps).map(assignment).collect::<BTreeMap<_, _>>())
    }
}

/// One app that is changed again and again: what a look costs then, and how much the journal grows.
async fn age() -> Result<Value, Failure> {
    let folder = tempfile::tempdir()?;
    let fleet = Fleet::new();
    let mut found = vec![];
    let mut version = 0;
    for generations in [SHORT_HISTORY, LONG_HISTORY] {
        let engine = engine(folder.path())?;
        while version < generations {
            version += 1;
            reconcile(engine.clone(), fleet.provider.clone(), work("aged", version)).await?;
        }
        let used = Used::now();
        for _ in 0..LOOKS {
            reconcile(engine.clone(), fleet.provider.clone(), work("aged", version)).await?;
        }
        let cpu = used.until_now().cpu / f64::from(LOOKS);
        drop(engine);
        bring_log_in(&folder.path().join("journal.db"));
        found.push(json!({ "generations": generations, "lookCpuS": cpu, "journalBytes": size_of(folder.path())? }));
    }
    Ok(json!(found))
}

fn engine(journal: &Path) -> Result<Arc<Engine>, Failure> {
    let journal = SqliteJournal::open(journal)?;
    Ok(Arc::new(Engine::new(
        Arc::new(journal),
        Arc::new(FakeImages::default()),
    )))
}

async fn reconcile(engine: Arc<Engine>, provider: Provider, work: Work) -> Result<(), Failure> {
    let (_stop, stopped) = watch::channel(false);
    let outcome = engine.reconcile(&provider, work, Arc::new(Silent), stopped).await?;
    match outcome.kind {
        OutcomeKind::Converged => Ok(()),
        other => Err(format!("an app has ended as {other:?}").into()),
    }
}

fn name(number: u32) -> String {
    format!("app-{number:06}")
}

/// Two services, one behind the other, as most apps have.
fn work(name: &str, version: u32) -> Work {
    let image = format!("registry.example/web:{version}");
    let app = json!({
        "apiVersion": "portolan.dev/v1alpha1",
        "kind": "App",
        "metadata": { "name": name },
        "spec": { "services": {
            "web": {
                "image": image,
                "ports": [{ "name": "http", "port": 8080 }],
                "env": { "BACKEND": "${services.api.url}", "LOG_LEVEL": "info" },
                "scale": { "min": 2 },
            },
            "api": { "image": image, "ports": [{ "name": "http", "port": 9090 }], "resources": { "memory": "256Mi" } },
        } },
    });
    let app: App = serde_json::from_value(app).expect("it is a manifest");
    let mut target = Target::local();
    target.spec.budget = Some(Budget {
        requests_per_second: 10_000,
    });
    Work {
        wish: Wish::Apply,
        ..Work::apply(app, target, "/nowhere")
    }
}

struct Silent;

#[async_trait]
impl Audience for Silent {
    fn event(&self, _event: &EngineEvent) {}

    async fn approve(&self, _plan: &Plan, _reasons: &[String]) -> bool {
        false
    }
}

impl Listener for Silent {
    fn event(&self, _key: &AppKey, _event: &EngineEvent) {}

    fn ended(&self, _key: &AppKey, _work: &Arc<Work>, _result: &Result<Outcome, EngineError>) {}
}

/// Seconds, since some moment.
struct Used {
    cpu: f64,
    wall: f64,
}

struct Since {
    cpu: f64,
    at: Instant,
}

impl Used {
    fn now() -> Since {
        Since {
            cpu: processor_seconds(),
            at: Instant::now(),
        }
    }
}

impl Since {
    fn until_now(&self) -> Used {
        Used {
            cpu: processor_seconds() - self.cpu,
            wall: self.at.elapsed().as_secs_f64(),
        }
    }
}

/// Of all threads, in the kernel and out of it (proc(5), `utime` and `stime` of /proc/PID/stat, in ticks of 10 ms).
fn processor_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(") ").next().unwrap_or_default();
    let ticks = fields
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

fn resident_bytes() -> Result<u64, Failure> {
    let pages = fs::read_to_string("/proc/self/statm")?;
    let resident: u64 = pages.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(resident * 4096)
}

fn size_of(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for file in fs::read_dir(folder)? {
        let found = file?.metadata()?;
        bytes += if found.is_file() { found.len() } else { 0 };
    }
    Ok(bytes)
}
