//! A control plane with what the operator ships, and operators that run beside it as its service account.

use std::cell::Cell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use portolan_cluster::{ControlPlane, Entry, or_skip};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::looks::Looks;
use crate::proxy::Proxy;

const SYSTEM: &str = "portolan-system";

/// Its user, as the API server names a service account.
pub const ACCOUNT: &str = "system:serviceaccount:portolan-system:portolan-controller";

/// Between two looks at what does not move.
pub const RESYNC: Duration = Duration::from_secs(1);

pub const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What is shipped: which Apps an operator looks at, and what its role lets it do.
#[derive(Clone, Copy)]
pub enum Shipped {
    Cluster,
    /// For the namespace `apps`, as it stands in the files.
    Namespaced,
}

impl Shipped {
    fn folders(self) -> &'static [&'static str] {
        match self {
            Self::Cluster => &["deploy/cluster"],
            Self::Namespaced => &["../../crds", "deploy/namespaced"],
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Cluster => &[],
            Self::Namespaced => &["--namespace", "apps"],
        }
    }
}

pub struct World {
    pub plane: ControlPlane,
    shipped: Shipped,
    folder: TempDir,
    looks: Looks,
}

impl World {
    /// As [`World::of`] a whole cluster, whose operator need not wait: its Lease is one that somebody has released.
    pub fn start(test: &str) -> Option<Self> {
        let world = Self::of(test, Shipped::Cluster)?;
        world.apply(&json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": "portolan-controller", "namespace": SYSTEM },
            "spec": { "holderIdentity": "somebody", "leaseDurationSeconds": 1 },
        }));
        Some(world)
    }

    /// With the definitions, the role, the namespaces `team` and `apps`, and this cluster as the Target `here`.
    pub fn of(test: &str, shipped: Shipped) -> Option<Self> {
        let plane = or_skip(test, ControlPlane::start())?;
        for name in ["team", "apps"] {
            plane.kubectl(&["create", "namespace", name]).unwrap();
        }
        for folder in shipped.folders() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            let manifests = plane.kubectl(&["kustomize", folder.to_str().unwrap()]).unwrap();
            // Definitions are there before what is defined by them.
            plane.apply(&manifests).unwrap();
        }
        let established = [
            "wait",
            "--for=condition=Established",
            "crd/apps.portolan.dev",
            "crd/targets.portolan.dev",
        ];
        plane.kubectl(&established).unwrap();
        let world = Self {
            looks: Looks::by(&plane.kubeconfig()),
            plane,
            shipped,
            folder: tempfile::Builder::new().prefix("portolan-operator-").tempdir().unwrap(),
        };
        world.apply(&target("here"));
        Some(world)
    }

    /// A file of that name, as long as the world is there.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A file or folder of that name, as long as the world is there.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn apply(&self, object: &Value) {
        self.plane.apply(&object.to_string()).unwrap();
    }

    /// As the shipped service account, with a home of that name.
    pub fn operator(&self, home: &str) -> Running {
        self.operator_of(home, ACCOUNT, None)
    }

    /// With another time between two looks at what does not move.
    pub fn operator_that_rests(&self, home: &str, resync: &str) -> Running {
        self.start_operator(home, (ACCOUNT, None), resync, &[])
    }

    pub fn operator_of(&self, home: &str, user: &str, group: Option<&str>) -> Running {
        self.start_operator(home, (user, group), &format!("{}s", RESYNC.as_secs()), &[])
    }

    /// As the shipped service account, with further arguments.
    pub fn operator_with(&self, home: &str, arguments: &[&str]) -> Running {
        self.start_operator(home, (ACCOUNT, None), "1s", arguments)
    }

    /// With the shipped role for a cluster under a name of its own, by which the audit log knows it.
    pub fn operator_as(&self, user: &str, arguments: &[&str]) -> Running {
        for (kind, role, namespace) in [
            ("ClusterRoleBinding", "ClusterRole", None),
            ("RoleBinding", "Role", Some(SYSTEM)),
        ] {
            let group = "rbac.authorization.k8s.io";
            self.apply(&json!({
                "apiVersion": format!("{group}/v1"), "kind": kind, "metadata": { "name": user, "namespace": namespace },
                "roleRef": { "apiGroup": group, "kind": role, "name": "portolan-controller" },
                "subjects": [{ "apiGroup": group, "kind": "User", "name": user }],
            }));
        }
        for question in [
            ["list", "leases", "-n", SYSTEM],
            ["list", "apps.portolan.dev", "-n", "team"],
        ] {
            let ask = [&["auth", "can-i", "--as", user], &question[..]].concat();
            until("it may", || self.plane.kubectl(&ask).is_ok());
        }
        self.start_operator(user, (user, None), "1s", arguments)
    }

    /// That speaks to nobody but what is in front of the API server.
    pub fn operator_behind(&self, proxy: &Proxy, home: &str) -> Running {
        self.operator_by(home, &proxy.kubeconfig(SYSTEM))
    }

    /// Whose kubeconfig says more than where this cluster is.
    pub fn operator_by(&self, home: &str, kubeconfig: &Value) -> Running {
        let kubeconfig = self.write(&format!("{home}.kubeconfig"), &kubeconfig.to_string());
        self.start_by(home, kubeconfig, "1s", &[])
    }

    /// Of the shipped service account.
    pub fn own_kubeconfig(&self, home: &str) -> Value {
        let path = self.kubeconfig(home, ACCOUNT, None);
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    /// As the shipped service account.
    pub fn proxy(&self) -> Proxy {
        Proxy::start(&self.plane.kubeconfig_of(ACCOUNT, None).unwrap())
    }

    fn start_operator(
        &self,
        home: &str,
        (user, group): (&str, Option<&str>),
        resync: &str,
        further: &[&str],
    ) -> Running {
        let kubeconfig = self.kubeconfig(home, user, group);
        self.start_by(home, kubeconfig, resync, further)
    }

    fn start_by(&self, home: &str, kubeconfig: PathBuf, resync: &str, further: &[&str]) -> Running {
        let folder = self.folder.path().join(home);
        fs::create_dir_all(&folder).unwrap();
        let log = folder.join("log");
        let out = File::options().create(true).append(true).open(&log).unwrap();
        let mut command: Command = self.plane.command(program());
        command
            .args(["controller", "--kubernetes", "--listen", "none", "--resync", resync])
            .args(self.shipped.arguments())
            .args(further)
            .env("PORTOLAN_HOME", folder.join("home"))
            .env("KUBECONFIG", kubeconfig)
            .env("RUST_LOG", "info,portolan=debug")
            .stdout(Stdio::null())
            .stderr(out);
        Running {
            child: command.spawn().unwrap(),
            log,
        }
    }

    /// Of a user whose own namespace is that of the system.
    fn kubeconfig(&self, home: &str, user: &str, group: Option<&str>) -> PathBuf {
        let made = self.plane.kubeconfig_of(user, group).unwrap();
        let mut config: Value = serde_json::from_str(&fs::read_to_string(made).unwrap()).unwrap();
        config["contexts"][0]["context"]["namespace"] = json!(SYSTEM);
        let path = self.folder.path().join(format!("{home}.kubeconfig"));
        fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// As `kubectl get` shows it.
    pub fn get(&self, what: &[&str]) -> Option<Value> {
        if let Ok(found) = self.looks.get(what) {
            return found;
        }
        let arguments = [&["get", "-o", "json", "--ignore-not-found"], what].concat();
        let text = self.plane.kubectl(&arguments).unwrap();
        serde_json::from_str(&text).ok()
    }

    /// The App `asking`, on a Target whose plans wait for a yes.
    pub fn asks(&self) {
        let mut careful = target("careful");
        careful["spec"]["approval"] = json!("always");
        self.apply(&careful);
        let mut asking = app("asking", 1);
        asking["spec"]["targets"] = json!(["careful"]);
        self.apply(&asking);
    }

    /// As `kubectl wait --for=condition=Ready` has it, which heeds generations.
    pub fn is_ready(&self, app: &str) {
        self.is_ready_in("team", app);
    }

    pub fn is_ready_in(&self, namespace: &str, app: &str) {
        let app = format!("app/{app}");
        let timeout = format!("--timeout={}s", patience().as_secs());
        let wait = ["wait", "--for=condition=Ready", &timeout, "-n", namespace, &app];
        if let Err(error) = self.plane.kubectl(&wait) {
            panic!("{error}\n{:#}", self.get(&["-n", namespace, &app]).unwrap_or_default());
        }
    }

    /// Ready, and nothing is going on.
    pub fn is_settled(&self, namespace: &str, app: &str) {
        self.is_ready_in(namespace, app);
        until("it is settled", || {
            self.condition_in(namespace, app, "Reconciling") == "False Settled"
        });
    }

    /// The App's condition, as `status reason`.
    pub fn condition(&self, app: &str, kind: &str) -> String {
        self.condition_in("team", app, kind)
    }

    pub fn condition_in(&self, namespace: &str, app: &str, kind: &str) -> String {
        let app = self.get(&["-n", namespace, "app", app]).unwrap_or_default();
        let conditions = app["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|one| one["type"] == kind);
        found.map_or(String::new(), |found| {
            format!(
                "{} {}",
                found["status"].as_str().unwrap(),
                found["reason"].as_str().unwrap()
            )
        })
    }

    /// What a user wrote since then, leases aside.
    pub fn writes(&self, user: &str, since: &str) -> Vec<Entry> {
        let all = self.plane.audit().unwrap();
        let of_user = |entry: &Entry| entry.user == user && entry.at.as_str() > since;
        all.into_iter()
            .filter(|entry| of_user(entry) && entry.is_write() && !entry.is_lease())
            .collect()
    }

    /// The time of the last entry.
    pub fn now(&self) -> String {
        self.plane
            .audit()
            .unwrap()
            .iter()
            .map(|entry| entry.at.clone())
            .max()
            .unwrap_or_default()
    }
}

pub struct Running {
    pub child: Child,
    log: PathBuf,
}

impl Running {
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// It stood still for longer than its lease lasts.
    pub fn thaws_and_has_lost_its_lease(&mut self) {
        self.signal("-CONT");
        let ended = self.child.wait().unwrap();
        let log = self.log();
        assert!(!ended.success() && log.contains("LeaseLost"), "{ended}: {log}");
    }

    /// Ended with -9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asked to stop; answers its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.signal("-TERM");
        self.child.wait().unwrap().code()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}:\n{}", self.log.display(), self.log());
        }
    }
}

pub fn target(name: &str) -> Value {
    json!({
        "apiVersion": "portolan.dev/v1alpha1", "kind": "Target", "metadata": { "name": name },
        "spec": { "provider": "kubernetes" },
    })
}

pub fn app(name: &str, replicas: u32) -> Value {
    app_in("team", name, replicas)
}

pub fn app_in(namespace: &str, name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "portolan.dev/v1alpha1", "kind": "App", "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "targets": ["here"],
            "services": { "web": {
                "image": format!("registry.example/web@{DIGEST}"),
                "ports": [{ "name": "http", "port": 8080 }],
                "scale": { "min": replicas, "max": replicas },
            } },
        },
    })
}

/// How long a test waits for what comes.
const PATIENCE: Duration = Duration::from_secs(180);

thread_local! {
    /// Of the test on this thread.
    static GIVEN: Cell<Duration> = const { Cell::new(PATIENCE) };
}

pub fn patience() -> Duration {
    GIVEN.get()
}

/// So many times the usual patience while something is done that takes longer on purpose.
pub fn patiently<T>(times: u32, something: impl FnOnce() -> T) -> T {
    GIVEN.set(PATIENCE * times);
    let done = something();
    GIVEN.set(PATIENCE);
    done
}

pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    until_within(patience(), what, is_so);
}

pub fn until_within(bound: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < bound, "{what}: not within {bound:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Beside the folder that this test lies in.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("portolan");
    assert!(
        path.is_file(),
        "there is no {}: `cargo build --workspace` builds it",
        path.display()
    );
    path
}
