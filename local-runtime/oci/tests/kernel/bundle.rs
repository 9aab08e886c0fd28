//! Bundles for tests: a root file system with one static program, and the runtime on it.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use portolan_oci::spec::{ContainerParams, Writable, container_spec};
use serde_json::Value;

const PROGRAM: &str = include_str!("see.c");

/// Compiled once for all runs of the tests, into cargo's own folder for what they make: the name is the content's.
pub fn program() -> &'static Path {
    static PROGRAM_FILE: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM_FILE.get_or_init(|| {
        let mut content = DefaultHasher::new();
        PROGRAM.hash(&mut content);
        let name = format!("see-{:016x}", content.finish());
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if !program.is_file() {
            compile(&program);
        }
        program
    })
}

fn compile(program: &Path) {
    let new = program.with_extension(format!("{}.new", std::process::id()));
    let source = new.with_extension("c");
    fs::write(&source, PROGRAM).unwrap();
    let gcc = Command::new("gcc")
        .args(["-static", "-O1", "-Wall", "-Werror", "-o"])
        .args([&new, &source])
        .output()
        .unwrap();
    assert!(gcc.status.success(), "{}", text(&gcc));
    fs::remove_file(source).unwrap();
    fs::rename(new, program).unwrap();
}

pub struct Bundle {
    folder: tempfile::TempDir,
    pub id: String,
}

impl Bundle {
    /// A root file system that holds the program alone; `None`, said aloud, where containers cannot be run.
    pub fn new(test: &str) -> Option<Bundle> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP {test}: not root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        for name in ["layer/bin", "upper", "work", "rootfs"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::copy(program(), folder.path().join("layer/bin/see")).unwrap();
        let id = format!("{test}-{}", std::process::id());
        Some(Bundle { folder, id })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn params(&self, arguments: &[&str]) -> ContainerParams {
        ContainerParams {
            lower: vec![self.path("layer")],
            writable: Some(Writable {
                upper: self.path("upper"),
                work: self.path("work"),
            }),
            args: ["/bin/see"]
                .iter()
                .chain(arguments)
                .map(|word| word.to_string())
                .collect(),
            env: vec!["PATH=/bin".into()],
            hostname: Some("harbour".into()),
            cgroups_path: Some(self.cgroup()),
            ..ContainerParams::default()
        }
    }

    pub fn cgroup(&self) -> String {
        format!("/portolan-test-{}", self.id)
    }

    pub fn write(&self, params: &ContainerParams) {
        self.write_changed(params, |_| {});
    }

    /// Writes the configuration after a change that parameters do not know.
    pub fn write_changed(&self, params: &ContainerParams, change: impl FnOnce(&mut Value)) {
        let mut spec = serde_json::to_value(container_spec(params)).unwrap();
        if !has_overlay() {
            spec["root"]["path"] = "layer".into();
            spec["annotations"]
                .as_object_mut()
                .unwrap()
                .retain(|name, _| !name.contains("overlay"));
        }
        change(&mut spec);
        fs::write(self.path("config.json"), serde_json::to_vec(&spec).unwrap()).unwrap();
    }

    /// The runtime with its state in the bundle's folder; `{id}` is the container's.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan-runtime"));
        command
            .arg("--root")
            .arg(self.path("state"))
            .current_dir(self.folder.path());
        command.args(arguments.iter().map(|word| word.replace("{id}", &self.id)));
        command
    }

    pub fn verb(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// As [`Bundle::verb`], which must succeed; answers standard output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.verb(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// As [`Bundle::verb`], which must fail; answers what it says.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.verb(arguments);
        assert!(!output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    }

    pub fn run(&self, params: &ContainerParams) -> Output {
        self.write(params);
        self.verb(&["run", "{id}"])
    }

    /// Creates and starts; output goes to the file `out`.
    pub fn start(&self, params: &ContainerParams) {
        self.write(params);
        self.create();
        self.ok(&["start", "{id}"]);
    }

    pub fn create(&self) {
        let out = fs::File::create(self.path("out")).unwrap();
        let mut command = self.command(&["create", "--pid-file", "pid", "{id}"]);
        let status = command.stdout(out.try_clone().unwrap()).stderr(out).status().unwrap();
        assert!(status.success(), "{}", self.output());
    }

    pub fn output(&self) -> String {
        fs::read_to_string(self.path("out")).unwrap()
    }

    pub fn state(&self) -> Value {
        serde_json::from_str(&self.ok(&["state", "{id}"])).unwrap()
    }

    pub fn pid(&self) -> u32 {
        fs::read_to_string(self.path("pid")).unwrap().parse().unwrap()
    }

    pub fn wait_until(&self, what: &str, done: impl Fn(&Bundle) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "never {what}: {}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn wait_until_stopped(&self) {
        self.wait_until("stopped", |bundle| bundle.state()["status"] == "stopped");
    }

    /// The container's folders in the host's hierarchies.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let below = self.cgroup();
        let folders = cgroup_mounts().into_iter();
        folders
            .map(|mount| mount.join(below.trim_start_matches('/')))
            .filter(|path| path.is_dir())
            .collect()
    }

    /// A cgroup's file in whichever hierarchy has it, and by either version's name.
    pub fn cgroup_file(&self, names: &[&str]) -> String {
        let folders = self.cgroups();
        let mut files = folders
            .iter()
            .flat_map(|folder| names.iter().map(|name| folder.join(name)));
        let found = files.find_map(|file| fs::read_to_string(file).ok());
        found
            .unwrap_or_else(|| panic!("none of {names:?} in {folders:?}"))
            .trim()
            .to_owned()
    }

    /// Whether this machine has the unified hierarchy alone.
    pub fn is_unified(&self) -> bool {
        !fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .contains(" - cgroup ")
    }

    /// Nothing of the container is left.
    pub fn assert_gone(&self) {
        assert!(!self.path("state").join(&self.id).exists(), "its folder is left");
        assert_eq!(self.cgroups(), Vec::<PathBuf>::new(), "its cgroup is left");
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = self.verb(&["delete", "--force", "{id}"]);
    }
}

/// Where the kernel has none, the layer itself is the root: enough for what is not about layers.
fn has_overlay() -> bool {
    fs::read_to_string("/proc/filesystems").unwrap().contains("overlay")
}

/// Where this machine's hierarchies of cgroups are.
pub fn cgroup_mounts() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = mounts
        .lines()
        .filter(|line| line.contains(" - cgroup"))
        .filter_map(|line| line.split(' ').nth(4));
    points.map(PathBuf::from).collect()
}

pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Whether a process is gone, or waits for its parent to take note.
pub fn ended(pid: u32) -> bool {
    process_state(pid).is_none_or(|state| ['Z', 'X'].contains(&state))
}

/// The letter that proc_pid_stat(5) has for what a process does; `None` if there is no such process.
pub fn process_state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
}
