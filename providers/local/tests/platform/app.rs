//! One app under test, in folders of its own, by the names that are longest: 63 characters each.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use portolan_core::facts::PinnedImage;
use portolan_core::manifest::Egress;
use portolan_core::name::OwnerId;
use portolan_core::observation::{Observation, ObservedResource, ResourceState};
use portolan_core::plan::{Scope, Verb};
use portolan_core::reference::Digest;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{CallError, ErrorClass, ImageError, Images, PinRequest, Provider, WriteRequest};
use portolan_provider_local::{LocalSettings, TargetSettings, local};
use portolan_supervisor::Client;
use portolan_supervisor::protocol::{Observation as SupervisorObservation, socket_path};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

pub struct App {
    pub scope: Scope,
    settings: LocalSettings,
    folder: tempfile::TempDir,
}

impl App {
    /// With a network. `None`, said aloud, where containers cannot be run.
    pub async fn new(test: &str) -> Option<App> {
        let app = App::unwritten(test)?;
        app.put(&app.command(), "Network/app", json!({"name": "app"}), 1).await;
        Some(app)
    }

    /// As [`App::new`], without a network: nothing of it is there.
    pub fn unwritten(test: &str) -> Option<App> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP {test}: not root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let secrets = folder.path().join("secrets.env");
        std::fs::write(&secrets, "API_TOKEN=no-secret\n").unwrap();
        let settings = LocalSettings {
            supervisor: program("portolan-supervisor"),
            runtime: program("portolan-runtime"),
            run_dir: folder.path().join("run"),
            state_dir: folder.path().join("state"),
            data_dir: folder.path().join("data"),
            target: TargetSettings {
                publish_address: Ipv4Addr::LOCALHOST,
                egress: Egress::default(),
                secret_files: vec![secrets],
            },
        };
        let named = format!("{:.40}-{}", test, std::process::id()).replace('_', "-");
        let scope = Scope {
            namespace: "n".repeat(63),
            app: format!("{named}{}", "x".repeat(63 - named.len())),
            target: "local".into(),
            owner: OwnerId::from_tag("ours"),
            source: "file".into(),
        };
        Some(App {
            scope,
            settings,
            folder,
        })
    }

    /// The provider as each command makes it anew.
    pub fn command(&self) -> Provider {
        self.command_with(Arc::new(NoImages))
    }

    pub fn command_with(&self, images: Arc<dyn Images>) -> Provider {
        local(self.settings.clone(), images)
    }

    pub async fn put(&self, provider: &Provider, id: &str, body: Value, generation: u64) {
        let request = write(Verb::Update, id, body, generation);
        provider.calls.update(&self.scope, &request).await.unwrap();
    }

    pub async fn look(&self, provider: &Provider) -> Result<Observation, CallError> {
        provider.calls.observe(&self.scope, &[], &[]).await
    }

    pub async fn see(&self, provider: &Provider, id: &str) -> ObservedResource {
        let mut seen = self.look(provider).await.unwrap();
        seen.resources.remove(&id.parse::<ResourceId>().unwrap()).unwrap()
    }

    /// Looks as an engine does, again after what passes, until `wanted` is seen; the failure shows what is there instead.
    pub async fn until(
        &self,
        provider: &Provider,
        id: &str,
        wanted: impl Fn(&ResourceState) -> bool,
    ) -> ObservedResource {
        let begun = Instant::now();
        loop {
            let seen = match self.look(provider).await {
                Ok(mut seen) => seen.resources.remove(&id.parse::<ResourceId>().unwrap()),
                Err(error) if matches!(error.class, ErrorClass::Retry { .. }) => None,
                Err(error) => panic!("{error:?}"),
            };
            match seen {
                Some(seen) if wanted(&seen.state) => return seen,
                seen => assert!(begun.elapsed() < PATIENCE, "{id}: {seen:#?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn ready(&self, provider: &Provider, id: &str) -> ObservedResource {
        let ended = |state: &ResourceState| matches!(state, ResourceState::Ready | ResourceState::Completed);
        self.until(provider, id, ended).await
    }

    /// Where its supervisor listens, once there is one.
    pub fn socket(&self) -> PathBuf {
        socket_path(&self.below(&self.settings.run_dir))
    }

    /// For what a test keeps besides.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub async fn supervisor(&self) -> Option<Client> {
        Client::connect(&self.below(&self.settings.run_dir)).await.ok()
    }

    /// SIGKILL for the supervisor alone.
    pub async fn kill_supervisor(&self) {
        kill(self.supervisor().await.expect("a supervisor runs").welcome().pid);
    }

    /// SIGKILL for it and its keeper, of which neither can start the other again.
    pub async fn kill_both(&self) {
        let processes = processes_about(&self.below(&self.settings.run_dir));
        processes.iter().for_each(|pid| signal(*pid, Signal::STOP));
        processes.iter().for_each(|pid| kill(*pid));
        let begun = Instant::now();
        while self.supervisor().await.is_some() {
            assert!(begun.elapsed() < PATIENCE, "{processes:?} were killed, and one answers");
        }
    }

    /// Processes of the app's containers.
    pub fn containers(&self) -> BTreeSet<u32> {
        self.cgroups().iter().flat_map(|path| processes(path)).collect()
    }

    /// What is in the state folder belongs to another boot of the machine: no process and no cgroup is left of that.
    pub fn reboot(&self) {
        self.clear_cgroups();
        let file = self.below(&self.settings.state_dir).join("state.json");
        let mut state: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        state["boot_id"] = json!("another");
        std::fs::write(file, state.to_string()).unwrap();
    }

    /// Cuts the state file off; answers what it held.
    pub fn damage_state(&self) -> Vec<u8> {
        let file = self.below(&self.settings.state_dir).join("state.json");
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(file, &whole[..whole.len() / 2]).unwrap();
        whole
    }

    pub fn mend_state(&self, whole: Vec<u8>) {
        std::fs::write(self.below(&self.settings.state_dir).join("state.json"), whole).unwrap();
    }

    /// Deletes everything, what depends on others first, and waits until no file is left. The last command ends with it: a
    /// supervisor stays for as long as somebody is connected.
    pub async fn delete_everything(&self, provider: Provider) {
        for kind in ["Service", "Job", "Volume", "Network"] {
            let seen = self.look(&provider).await.unwrap();
            for id in seen.resources.keys().filter(|id| id.kind == kind) {
                let mut request = write(Verb::Delete, &id.to_string(), Value::Null, 1);
                request.erase_data = true;
                request.take_over = true;
                provider.calls.delete(&self.scope, &request).await.unwrap();
            }
            self.until_gone(&provider, kind).await;
        }
        drop(provider);
        let begun = Instant::now();
        let left = || [&self.settings.run_dir, &self.settings.state_dir].map(|folder| self.below(folder).exists());
        while left() != [false, false] {
            assert!(begun.elapsed() < PATIENCE, "left over: {:?}", left());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(self.cgroups().is_empty(), "{:?}", self.cgroups());
    }

    async fn until_gone(&self, provider: &Provider, kind: &str) {
        let begun = Instant::now();
        loop {
            let seen = self.look(provider).await.unwrap();
            let mut there = seen
                .resources
                .values()
                .filter(|one| one.id.kind == kind && !one.retained);
            if there.next().is_none() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{kind} stays: {seen:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The app's own folder, the only one below.
    fn below(&self, folder: &Path) -> PathBuf {
        let mut entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        entries
            .next()
            .map_or_else(|| folder.join("nothing"), |entry| entry.path())
    }

    /// Ends all that runs in the app's cgroups, and removes them.
    fn clear_cgroups(&self) {
        let (cgroups, begun) = (self.cgroups(), Instant::now());
        while !self.containers().is_empty() && begun.elapsed() < PATIENCE {
            self.containers().into_iter().for_each(kill);
            std::thread::sleep(Duration::from_millis(5));
        }
        cgroups.iter().for_each(|path| drop(std::fs::remove_dir(path)));
    }

    /// Inner ones before outer ones.
    fn cgroups(&self) -> Vec<PathBuf> {
        let start = format!("{}.{}.", self.scope.namespace, self.scope.app);
        let hierarchies = folders_in(Path::new("/sys/fs/cgroup"));
        let apps = hierarchies.iter().flat_map(|path| folders_in(&path.join("portolan")));
        let ours = apps.filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&start))
        });
        ours.flat_map(|path| folders_in(&path).into_iter().chain([path]))
            .collect()
    }
}

/// After a failed test alone there is anything to do: then by force, so that the machine stays clean.
impl Drop for App {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let log = std::fs::read_to_string(self.below(&self.settings.run_dir).join("supervisor.log"));
        eprintln!("{}", log.unwrap_or_default());
        let asked = std::thread::scope(|scope| scope.spawn(|| self.ask_for_cleaning()).join());
        let processes = processes_about(&self.below(&self.settings.run_dir));
        processes.iter().for_each(|pid| signal(*pid, Signal::STOP));
        processes.into_iter().for_each(kill);
        self.clear_cgroups();
        if let Ok(Some(bridge)) = asked {
            _ = Command::new("ip").args(["link", "delete", &bridge]).status();
        }
        eprintln!("the folders of the test were in {}", self.folder.path().display());
    }
}

impl App {
    /// Answers the bridge that is left once everything has been ended.
    fn ask_for_cleaning(&self) -> Option<String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut client = self.supervisor().await?;
            let seen: SupervisorObservation = client.observe().await.ok()?;
            seen.objects.into_iter().find_map(|one| Some(one.network?.bridge))
        })
    }
}

pub fn write(verb: Verb, id: &str, body: Value, generation: u64) -> WriteRequest {
    WriteRequest {
        verb,
        id: id.parse().unwrap(),
        body,
        revision: None,
        etag: None,
        generation,
        idempotency_token: String::new(),
        take_over: false,
        erase_data: false,
    }
}

/// A service's body, as render makes it: it listens on a port of the host that was free a moment ago.
pub fn service(name: &str, replicas: u32, protocol: &str) -> (Value, u16) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let publish = json!({"address": "127.0.0.1", "port": free});
    let arguments = [&free.to_string(), "hello"];
    let body = json!({
        "name": name, "revision": "r1", "replicas": replicas,
        "pod": {"main": container(&["serve", arguments[0], arguments[1]])},
        "ports": [{"name": "main", "port": free, "protocol": protocol, "publish": publish}],
        "stop": {"grace_period_ms": 2000},
    });
    (body, free)
}

pub fn job(name: &str, arguments: &[&str]) -> Value {
    json!({"name": name, "revision": "r1", "pod": {"main": container(arguments)}})
}

pub fn container(arguments: &[&str]) -> Value {
    let command: Vec<&str> = ["/bin/app"].iter().chain(arguments).copied().collect();
    json!({"name": "main", "layers": [layer()], "command": command})
}

/// A folder with the supervisor's own test program as `/bin/app`.
pub fn layer() -> PathBuf {
    static LAYER: OnceLock<PathBuf> = OnceLock::new();
    LAYER.get_or_init(build_layer).clone()
}

fn build_layer() -> PathBuf {
    let layer = Path::new(env!("CARGO_TARGET_TMPDIR")).join("provider-layer");
    std::fs::create_dir_all(layer.join("bin")).unwrap();
    let source = "../../local-runtime/supervisor/tests/platform/program.c";
    let built = Command::new("gcc")
        .args(["-static", "-O1", "-w", "-o"])
        .arg(layer.join("bin/app"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(source))
        .output()
        .expect("gcc is there");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    layer
}

/// A program of the workspace beside this test's own folder; built if only this crate was.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join(name);
    if !path.exists() {
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "-p",
                "portolan-supervisor",
                "-p",
                "portolan-oci",
                "--bins",
            ])
            .status();
        assert!(built.unwrap().success(), "{name} cannot be built");
    }
    path
}

fn folders_in(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn processes(cgroup: &Path) -> Vec<u32> {
    let list = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Every process that was started with this folder among its arguments.
fn processes_about(folder: &Path) -> Vec<u32> {
    let about = |pid: &u32| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments
            .split(|byte| *byte == 0)
            .any(|word| word == folder.as_os_str().as_encoded_bytes())
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(about).collect()
}

fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

fn signal(pid: u32, signal: Signal) {
    // One that has ended already is as dead as it shall be.
    _ = kill_process(Pid::from_raw(pid as i32).unwrap(), signal);
}

/// The layers of these apps stand in their bodies.
struct NoImages;

#[async_trait]
impl Images for NoImages {
    async fn pin(&self, _: &PinRequest) -> Result<PinnedImage, ImageError> {
        unreachable!("nothing is pinned here")
    }

    async fn pinned_already(&self, _: &PinRequest) -> Result<Option<PinnedImage>, ImageError> {
        Ok(None)
    }

    async fn is_unpacked(&self, _: &Digest) -> Result<bool, ImageError> {
        Ok(false)
    }

    async fn unpack(&self, _: &Digest) -> Result<Vec<PathBuf>, ImageError> {
        unreachable!("nothing is unpacked here")
    }
}
