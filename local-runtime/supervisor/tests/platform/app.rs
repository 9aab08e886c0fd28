//! One app under test: three folders, a supervisor, and small specs.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use portolan_supervisor::driver::{Paths, Settings};
use portolan_supervisor::network::Network;
use portolan_supervisor::protocol::{LogsRequest, ObjectState, Observation, Observed, PutOutcome, ServiceStatus};
use portolan_supervisor::spec::{ContainerSpec, JobSpec, Kind, Object, ServiceSpec};
use portolan_supervisor::{Client, Launch, ensure_running};
use serde_json::{Value, json};

use crate::machine::{self, Signal, Traces};
use crate::program;

const PATIENCE: Duration = Duration::from_secs(20);

pub struct App {
    pub launch: Launch,
    _folder: tempfile::TempDir,
}

impl App {
    /// With a network and a volume `data`. `None`, said aloud, where containers cannot be run.
    pub async fn new(test: &str) -> Option<App> {
        let app = App::empty(test)?;
        app.put_basics().await;
        Some(app)
    }

    pub async fn put_basics(&self) {
        self.put(json!({"kind": "network", "name": "app"})).await;
        self.put(json!({"kind": "volume", "name": "data"})).await;
    }

    pub fn empty(test: &str) -> Option<App> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIP {test}: not root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let name = test.rsplit("::").next().unwrap_or(test).replace('_', "-");
        let launch = Launch {
            binary: env!("CARGO_BIN_EXE_portolan-supervisor").into(),
            runtime: program::runtime(),
            app: format!("test/{}-{}", &name[..name.len().min(30)], std::process::id()),
            run_dir: at("run"),
            state_dir: at("state"),
            data_dir: at("data"),
            port_helper: None,
        };
        Some(App {
            launch,
            _folder: folder,
        })
    }

    /// A program in the supervisor's place that becomes it under these limits of open files.
    pub fn with_few_descriptors(&self, soft: u32, hard: u32) -> PathBuf {
        let path = self.launch.run_dir.with_file_name("limited");
        let program = self.launch.binary.display();
        let text = format!("#!/bin/sh\nulimit -Sn {soft} && ulimit -Hn {hard} || exit 1\nexec {program} \"$@\"\n");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub async fn client(&self) -> Client {
        ensure_running(&self.launch).await.unwrap()
    }

    pub async fn put(&self, object: Value) -> PutOutcome {
        let object: Object = serde_json::from_value(object).unwrap();
        self.client().await.put(object).await.unwrap()
    }

    pub async fn put_service(&self, spec: ServiceSpec) -> PutOutcome {
        self.client().await.put(Object::Service(spec)).await.unwrap()
    }

    pub async fn put_job(&self, spec: JobSpec) -> PutOutcome {
        self.client().await.put(Object::Job(spec)).await.unwrap()
    }

    pub async fn observe(&self) -> Observation {
        self.client().await.observe().await.unwrap()
    }

    /// Waits until the object satisfies `wanted`; the failure shows what it is instead.
    pub async fn until(&self, kind: Kind, name: &str, wanted: impl Fn(&Observed) -> bool) -> Observed {
        let (begun, mut client) = (Instant::now(), self.client().await);
        let mut seen = client.observe().await.unwrap();
        loop {
            let found = seen
                .find(kind, name)
                .cloned()
                .unwrap_or_else(|| panic!("{kind} `{name}` is not there"));
            if wanted(&found) {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "{found:#?}\n{}", self.supervisor_log());
            tokio::time::sleep(Duration::from_millis(10)).await;
            seen = client.observe().await.unwrap();
        }
    }

    pub async fn ready(&self, kind: Kind, name: &str) -> Observed {
        self.until(kind, name, |seen| seen.state == ObjectState::Ready).await
    }

    pub async fn service(&self, name: &str) -> ServiceStatus {
        self.ready(Kind::Service, name).await.service.unwrap()
    }

    /// The pid of the main container of the replica that was made first.
    pub async fn pids(&self, service: &str) -> Vec<u32> {
        let seen = self.until(Kind::Service, service, |_| true).await.service.unwrap();
        let containers = seen.replicas.iter().flat_map(|replica| &replica.containers);
        containers.filter_map(|container| container.pid).collect()
    }

    /// Where the service answers on the host.
    pub async fn address(&self, service: &str) -> std::net::SocketAddrV4 {
        self.service(service).await.endpoints[0].published.unwrap()
    }

    pub async fn logs(&self, kind: Kind, name: &str) -> Vec<String> {
        let mut stream = self.client().await.logs(logs_of(kind, name)).await.unwrap();
        let mut lines = vec![];
        while let Some(line) = stream.next().await.unwrap() {
            lines.push(line.text);
        }
        lines
    }

    pub async fn delete(&self, kind: Kind, name: &str) {
        self.client().await.delete(kind, name, false).await.unwrap();
        let begun = Instant::now();
        while self.observe().await.find(kind, name).is_some() {
            assert!(
                begun.elapsed() < PATIENCE,
                "{kind} `{name}` stays\n{}",
                self.supervisor_log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The process that holds the app's sockets.
    pub fn keeper(&self) -> u32 {
        let keeper = |pid: &u32| {
            let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments.split('\0').any(|word| word.starts_with("--keep"))
        };
        let mut processes = machine::processes_about(&self.launch.run_dir).into_iter();
        processes.find(keeper).expect("an app with a supervisor has a keeper")
    }

    /// Tells the supervisor to go, and waits until it has gone.
    pub async fn end_supervisor(&self) {
        let pid = self.client().await.welcome().pid;
        machine::signal(pid, Signal::SIGTERM);
        while machine::is_alive(pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn traces(&self) -> Traces {
        let mut traces = self.traces_now();
        traces.processes.insert(self.client().await.welcome().pid);
        traces
    }

    fn traces_now(&self) -> Traces {
        let folders = [self.launch.run_dir.clone(), self.launch.state_dir.clone()];
        Traces::of(&self.cgroup_folder(), &self.settings().bridge(), &folders)
    }

    /// With the processes that no cgroup tells of: one may have been begun a moment ago.
    fn all_traces_now(&self) -> Traces {
        let mut traces = self.traces_now();
        traces.processes.extend(machine::processes_about(&self.launch.run_dir));
        traces
    }

    /// Deletes every object and waits until nothing is left but the data.
    pub async fn delete_everything(&self) {
        let traces = self.traces().await;
        for kind in [Kind::Service, Kind::Job, Kind::Volume, Kind::Network] {
            let observation = self.observe().await;
            for seen in observation.objects.iter().filter(|seen| seen.object.kind() == kind) {
                self.delete(kind, seen.object.name()).await;
            }
        }
        let begun = Instant::now();
        while traces.still_there() != Traces::default() {
            let patient = begun.elapsed() < PATIENCE;
            assert!(
                patient,
                "left over: {:#?}\n{}",
                traces.still_there(),
                self.supervisor_log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(machine::cgroups(&self.cgroup_folder()).is_empty());
    }

    pub fn cgroup_folder(&self) -> String {
        self.settings().instance
    }

    fn settings(&self) -> Settings {
        let Launch {
            app,
            run_dir,
            state_dir,
            data_dir,
            runtime,
            ..
        } = self.launch.clone();
        let paths = Paths {
            run: run_dir,
            state: state_dir,
            data: data_dir,
        };
        Settings::new(app, paths, runtime)
    }

    pub fn data(&self, volume: &str) -> PathBuf {
        self.launch.data_dir.join("volumes").join(volume)
    }

    pub fn supervisor_log(&self) -> String {
        std::fs::read_to_string(self.launch.run_dir.join("supervisor.log")).unwrap_or_default()
    }
}

/// However the test has ended: by force, for there may be no supervisor any more that would do it. Nothing in here panics,
/// which during a panic would end the whole program and leave the other tests' apps behind.
impl Drop for App {
    fn drop(&mut self) {
        let mut left = self.all_traces_now();
        let begun = Instant::now();
        while left.is_on_the_machine() && begun.elapsed() < PATIENCE {
            left.remove_by_force();
            std::thread::sleep(Duration::from_millis(20));
            let still = left.still_there().processes;
            left = self.all_traces_now();
            left.processes.extend(still);
        }
        // Last, when nobody is left who would put its rules back.
        if let Err(error) = Network::of(&self.settings().instance).remove() {
            eprintln!("left over: {error}");
        }
    }
}

/// All lines of one workload, once.
pub fn logs_of(kind: Kind, name: &str) -> LogsRequest {
    serde_json::from_value(json!({"workloads": [{"kind": kind, "name": name}]})).unwrap()
}

/// `app ARGUMENTS`.
pub fn container(name: &str, arguments: &[&str]) -> ContainerSpec {
    let command: Vec<&str> = ["/bin/app"].iter().chain(arguments).copied().collect();
    let spec = json!({"name": name, "layers": [program::layer()], "command": command});
    serde_json::from_value(spec).unwrap()
}

/// Answers `TEXT from HOST` on 8080, and at an address of the host that no other test asks for.
pub fn service(name: &str, replicas: u32, text: &str) -> ServiceSpec {
    let spec = json!({
        "name": name, "revision": text, "replicas": replicas,
        "pod": {"main": container("main", &["serve", "8080", text])},
        "ports": [{"name": "http", "port": 8080, "publish": loopback()}],
        "stop": {"grace_period_ms": 2000},
    });
    serde_json::from_value(spec).unwrap()
}

/// The same by a program that keeps connections, and ends them in good order when it is told to stop.
pub fn steady_service(name: &str, replicas: u32, text: &str) -> ServiceSpec {
    let mut spec = service(name, replicas, text);
    spec.pod.main = container("main", &["serve-many", "8080", text]);
    spec
}

/// An address of 127.0.0.0/8 for each call.
fn loopback() -> Value {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let [_, _, b, c] = std::process::id().to_be_bytes();
    let last = COUNT.fetch_add(1, Ordering::Relaxed);
    json!({"address": format!("127.{b}.{c}.{last}"), "port": 8080})
}

pub fn job(name: &str, revision: &str, arguments: &[&str]) -> JobSpec {
    let spec = json!({"name": name, "revision": revision, "pod": {"main": container("main", arguments)}});
    serde_json::from_value(spec).unwrap()
}

/// The body of `GET path`; an error says what was wrong.
pub async fn get(address: std::net::SocketAddrV4, path: &str) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes())
        .await?;
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await??;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_string());
    body.ok_or_else(|| std::io::Error::other(format!("no answer but {answer:?}")))
}
