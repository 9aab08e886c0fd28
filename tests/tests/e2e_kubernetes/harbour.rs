//! A cluster with a registry beside it, and `examples/shop` as a user brings it there: built here, pushed, and applied
//! with the pushed digests in place of `build`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use portolan_cluster::node::REGISTRY;
use portolan_cluster::{Node, or_skip};
use portolan_tests::home::{Home, said};
use portolan_tests::wait::until;
use portolan_tests::{is_root, program, root, skip};
use serde_json::{Value, json};

/// On two cores that others use as well.
pub const LIMIT: Duration = Duration::from_secs(120);
/// Where the shop's objects are.
pub const PLACE: &str = "shops";

/// Programs of Debian packages, besides what the node itself needs.
const OF_THE_MACHINE: &[&str] = &["docker-registry", "wrk", "curl"];

/// The registry as it is called where the node is: without TLS one is believed on loopback alone.
pub const PUSHED_TO: &str = "127.0.0.1:5000";

/// Everything ends with the value: the node, with all that runs in its namespaces, before the home that it uses is removed.
pub struct Harbour {
    pub node: Node,
    registry: Child,
    pub home: Home,
    /// The shop's source.
    pub source: PathBuf,
    /// Where the manifest is that is applied, and where commands run.
    folder: PathBuf,
    /// What the manifest says of this Target alone.
    overrides: Value,
}

impl Harbour {
    /// `None`, and said so, where something is missing here. Nothing is built yet.
    pub fn open(test: &str, start: impl FnOnce() -> portolan_cluster::Result<Node>) -> Option<Self> {
        if !is_root() {
            skip(test, "a node needs root: it has cgroups, mounts and a network");
            return None;
        }
        if let Some(missing) = OF_THE_MACHINE.iter().find(|name| !is_installed(name)) {
            skip(test, &format!("not installed: {missing}"));
            return None;
        }
        let node = or_skip(test, start())?;
        let home = Home::new();
        let registry = registry(&node, &home);
        let folder = home.path().join("cluster");
        fs::create_dir(&folder).unwrap();
        home.import_base_image();
        let harbour = Self {
            source: home.example("shop"),
            node,
            registry,
            home,
            folder,
            overrides: json!({}),
        };
        harbour.prepare();
        Some(harbour)
    }

    /// What a cluster's administrator makes before anybody deploys: a namespace, its secret, and volumes.
    fn prepare(&self) {
        self.kubectl(&["create", "namespace", PLACE]);
        let secret = [
            "create",
            "secret",
            "generic",
            "admin",
            "--from-literal=token=open-sesame",
        ];
        self.kubectl(&[&secret[..], &["-n", PLACE]].concat());
        let volumes: Vec<Value> = (0..2).map(|number| self.volume(number)).collect();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": volumes });
        self.node.plane().apply(&list.to_string()).unwrap();
    }

    /// One of this node's folders. It belongs to root: that the shop may write there is asked for by its pods.
    fn volume(&self, number: usize) -> Value {
        let path = self.home.path().join(format!("volume-{number}"));
        fs::create_dir(&path).unwrap();
        let here = json!({ "key": "kubernetes.io/hostname", "operator": "In", "values": ["node"] });
        json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": { "name": format!("volume-{number}") },
            "spec": {
                "capacity": { "storage": "1Gi" },
                "accessModes": ["ReadWriteOnce"],
                "local": { "path": path },
                "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [here] }] } },
            },
        })
    }

    /// Everything that is kept is below these.
    pub fn folders(&self) -> [PathBuf; 2] {
        let cluster = self.node.plane().kubeconfig();
        [cluster.parent().unwrap().to_path_buf(), self.home.path().to_path_buf()]
    }

    /// `portolan ARGUMENTS` as a user of the cluster says it: where the node is, beside the manifest.
    pub fn portolan(&self, arguments: &[&str]) -> Output {
        self.command(&program("portolan")).args(arguments).output().unwrap()
    }

    /// As [`Harbour::portolan`], with a text piped into it.
    pub fn fed(&self, arguments: &[&str], text: &str) -> Output {
        let mut command = self.command(&program("portolan"));
        let piped = command.args(arguments).stdin(Stdio::piped());
        let mut running = piped.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdin, text) = (running.stdin.take().unwrap(), text.to_string());
        let feeds = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
        let output = running.wait_with_output().unwrap();
        feeds.join().unwrap().unwrap();
        output
    }

    /// A command that says on its first line where it listens, until the guard is dropped.
    pub fn forwarded(&self, arguments: &[&str]) -> (String, Running) {
        let mut command = self.command(&program("portolan"));
        let mut running = Running(command.args(arguments).stdout(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(running.0.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.split_whitespace().next().expect("it says where it listens");
        (address.to_string(), running)
    }

    /// As [`Harbour::portolan`], at a terminal that is set up first; what is seen there.
    pub fn at_a_terminal(&self, setting: &str, arguments: &[&str]) -> String {
        let line = format!("{setting}; {} {}", program("portolan").display(), arguments.join(" "));
        let mut command = self.command(Path::new("script"));
        let command = command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{line}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Whoever enters the node's mounts is at their root first.
    fn command(&self, program: &Path) -> Command {
        let mut command = self.node.command("env");
        command.arg("--chdir").arg(&self.folder).arg(program);
        command
            .env("PORTOLAN_HOME", self.home.portolan_home())
            .env("HOME", self.home.path())
            .env("NO_COLOR", "1")
            .env_remove("RUST_LOG")
            .env_remove("DOCKER_CONFIG");
        command
    }

    /// As [`Harbour::portolan`]; all that it writes. Panics unless it ends with `code`.
    pub fn says(&self, arguments: &[&str], code: i32) -> String {
        let output = self.portolan(arguments);
        let text = said(&output);
        let ended = output.status.code();
        assert_eq!(ended, Some(code), "portolan {}: {text}", arguments.join(" "));
        text
    }

    /// What it reports of the one app, where it ends with 0.
    pub fn report(&self, arguments: &[&str]) -> Value {
        let output = self.portolan(&[arguments, &["-o", "json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        let reports: Value = serde_json::from_slice(&output.stdout).unwrap();
        reports[0].clone()
    }

    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.node.plane().kubectl(arguments).unwrap()
    }

    /// Replaces a text of the source that must be there.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.source.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no `{from}`");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Builds the images of the shop as its source is, and says what they will be called.
    pub fn build(&self) -> Vec<Built> {
        let output = self.home.run(&self.source, &["build", "-o", "json"]);
        let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
        rows.as_array().unwrap().iter().map(Built::of).collect()
    }

    /// Sends them to the registry.
    pub fn push(&self, images: &[Built]) {
        for image in images {
            let to = format!("{PUSHED_TO}/{}", image.repository);
            let row: Value = serde_json::from_str(&self.stdout(&["push", &image.name, &to, "-o", "json"])).unwrap();
            assert_eq!(row[0]["digest"], image.digest.as_str(), "it arrives as it was built");
        }
    }

    fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.portolan(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Has the manifest name them by their digests.
    pub fn use_images(&mut self, images: &[Built]) {
        for image in images {
            self.set(&format!("{}/image", image.container), json!(image.reference()));
            self.set(&format!("{}/build", image.container), Value::Null);
        }
    }

    /// Sets a field of the manifest for this Target: `services/web/scale/min`.
    pub fn set(&mut self, field: &str, value: Value) {
        let place = field.split('/').fold(&mut self.overrides, |at, name| &mut at[name]);
        *place = value;
        self.write_manifest();
    }

    /// Leaves such a field as the example says it.
    pub fn unset(&mut self, field: &str) {
        let (above, name) = field.rsplit_once('/').unwrap();
        let place = above.split('/').fold(&mut self.overrides, |at, name| &mut at[name]);
        place.as_object_mut().unwrap().remove(name).expect("it was set");
        self.write_manifest();
    }

    /// What it says of this Target alone, to come back to.
    pub fn manifest(&self) -> Value {
        self.overrides.clone()
    }

    pub fn restore(&mut self, manifest: Value) {
        self.overrides = manifest;
        self.write_manifest();
    }

    fn write_manifest(&self) {
        let text = fs::read_to_string(root().join("examples/shop/portolan.yaml")).unwrap();
        let (app, _) = text.split_once("\n---\n").unwrap();
        let overrides = json!({ "cluster": self.overrides });
        let target = json!({
            "apiVersion": "portolan.dev/v1alpha1",
            "kind": "Target",
            "metadata": { "name": "cluster" },
            "spec": { "provider": "kubernetes", "kubernetes": { "namespace": PLACE } },
        });
        let manifest = format!("{app}\n  targets: [cluster]\n  overrides: {overrides}\n---\n{target}\n");
        fs::write(self.folder.join("portolan.yaml"), manifest).unwrap();
    }

    /// Where the page is reached from within the cluster.
    pub fn address(&self) -> String {
        let chosen = "-l=app.kubernetes.io/name=web,app.kubernetes.io/component=service";
        let field = "-o=jsonpath={.items[?(@.spec.type==\"LoadBalancer\")].spec.clusterIP}";
        let address = self.kubectl(&["get", "services", "-n", PLACE, chosen, field]);
        format!("http://{address}:8080")
    }

    /// What is answered to `curl ARGUMENTS`, where it is a success.
    pub fn curl(&self, path: &str, arguments: &[&str]) -> String {
        let url = format!("{}{path}", self.address());
        let usual = ["--silent", "--show-error", "--fail", "--max-time", "10", &url];
        self.node.run("curl", &[&usual[..], arguments].concat()).unwrap()
    }

    /// Replica, revision and headline of whoever answers.
    pub fn whoami(&self) -> [String; 3] {
        let body = self.curl("/whoami", &[]);
        let word = |name: &str| {
            let line = body.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name}in {body}")).to_string()
        };
        [word("replica "), word("revision "), word("headline ")]
    }

    /// Builds another example's source, pushes it, and has this example name it so. Answers the image, and where the manifest is.
    pub fn example(&self, name: &str, source: &str) -> (String, PathBuf) {
        let [folder, source] = [name, source].map(|name| self.home.example(name));
        let image = format!("{REGISTRY}/hello:1");
        self.home.run(&source, &["build", "--tag", &image, "."]);
        self.stdout(&["push", &image, &format!("{PUSHED_TO}/hello:1")]);
        let manifest = folder.join("portolan.yaml");
        let text = fs::read_to_string(&manifest).unwrap();
        assert!(text.contains("registry.example/hello:1"), "{text}");
        fs::write(manifest, text.replace("registry.example/hello:1", &image)).unwrap();
        (image, folder)
    }

    /// Waits until what is left of the shop is one object of each of these kinds: pods end a while after their Deployment.
    pub fn leaves(&self, kinds: &[&str]) {
        self.leaves_in(PLACE, "shop", kinds);
    }

    pub fn leaves_in(&self, place: &str, app: &str, kinds: &[&str]) {
        until(&format!("nothing of {app} but {kinds:?} is left"), LIMIT, || {
            let left = self.objects(place, app);
            let kinds_left: Vec<&str> = left.iter().filter_map(|one| Some(one.split_once('/')?.0)).collect();
            (kinds_left == kinds).then_some(())
        });
    }

    /// Everything in the cluster that bears the app's label, as `KIND/NAME`.
    fn objects(&self, place: &str, app: &str) -> Vec<String> {
        let kinds = self.kubectl(&["api-resources", "--verbs=list", "--namespaced", "-o=name"]);
        let kinds = kinds.split_whitespace().collect::<Vec<_>>().join(",");
        let label = format!("-l=portolan.dev/app={app}");
        let list = self.kubectl(&["get", &kinds, "-n", place, &label, "-o=name"]);
        list.lines().map(String::from).collect()
    }
}

impl Drop for Harbour {
    fn drop(&mut self) {
        _ = self.registry.kill();
        _ = self.registry.wait();
    }
}

/// Ends with the value.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// An image of the shop, in the local store.
pub struct Built {
    /// Whose it is in the manifest: `services/web`.
    pub container: String,
    /// Its name in the local store.
    name: String,
    /// Its name in the registry.
    repository: String,
    digest: String,
}

impl Built {
    /// As the cluster names it, whether or not it has been pushed.
    pub fn reference(&self) -> String {
        format!("{REGISTRY}/{}@{}", self.repository, self.digest)
    }

    fn of(row: &Value) -> Self {
        let text = |field: &str| row[field].as_str().unwrap().to_string();
        let container = text("container");
        let last = container.rsplit('/').next().unwrap();
        Self {
            repository: format!("shop/{last}"),
            name: text("image"),
            digest: text("digest"),
            container,
        }
    }
}

fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Debian's, at every address of the node, with what it holds in the test's home.
fn registry(node: &Node, home: &Home) -> Child {
    let [config, data, log] = ["registry.yml", "registry", "registry.log"].map(|name| home.path().join(name));
    let storage = format!("{{filesystem: {{rootdirectory: {}}}}}", data.display());
    fs::write(
        &config,
        format!("version: 0.1\nlog: {{level: warn}}\nstorage: {storage}\nhttp: {{addr: ':5000'}}\n"),
    )
    .unwrap();
    let mut command = node.command("docker-registry");
    command.arg("serve").arg(config).stdout(Stdio::null());
    let mut registry = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
    let asked = ["--silent", "--fail", &format!("http://{REGISTRY}/v2/")];
    until("the registry answers", LIMIT, || {
        let ended = registry.try_wait().unwrap();
        assert!(ended.is_none(), "{}", fs::read_to_string(&log).unwrap());
        node.run("curl", &asked).ok()
    });
    registry
}
