//! Images between us and others, over Debian's `docker-registry`: what we push is read by skopeo and run by podman, and
//! what podman pushes is run by us.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

#[path = "common/output.rs"]
mod output;
#[path = "common/registry.rs"]
mod registry;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use portolan_image::build::{BuildError, BuildOptions, BuildRequest, BuiltImage, build};
use portolan_image::import::{ImportOptions, import};
use portolan_image::registry::{Anonymous, ClientOptions, Platforms, RegistryClient};
use portolan_image::{ImageReference, Silent, Store};

use output::Output;
use registry::Registry;

/// Says its first argument, a variable, its user and its working directory.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **words) {
    char folder[256] = "";
    getcwd(folder, sizeof folder);
    printf("%s %s %d:%d %s\n", count > 1 ? words[1] : "-", getenv("GREETING"), getuid(), getgid(), folder);
    return 0;
}
"#;

const DOCKERFILE: &str =
    "FROM scratch\nCOPY app /app\nENV GREETING=ahoy\nUSER 7:8\nWORKDIR /w\nENTRYPOINT [\"/app\"]\nCMD [\"nothing\"]\n";

/// What podman needs on a machine with cgroups of both versions and without the right to raise limits.
const PODMAN: &str = r#"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
[network]
network_backend = "netavark"
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
"#;

struct Bench {
    folder: tempfile::TempDir,
    store: Store,
    registry: Registry,
}

impl Bench {
    /// `None`, with the line that says so, where one of `programs` is not installed.
    fn new(test: &str, programs: &[&str]) -> Option<Self> {
        for program in programs {
            let found = Command::new(program).arg("--version").stdout(Stdio::null()).status();
            if !found.is_ok_and(|status| status.success()) {
                eprintln!("SKIP {test}: {program} is not installed");
                return None;
            }
        }
        let registry = Registry::start(test)?;
        let folder = tempfile::tempdir().unwrap();
        let context = folder.path().join("context");
        fs::create_dir(&context).unwrap();
        fs::write(context.join("app.c"), PROGRAM).unwrap();
        fs::write(context.join("Dockerfile"), DOCKERFILE).unwrap();
        fs::write(folder.path().join("containers.conf"), PODMAN).unwrap();
        let [source, app] = ["app.c", "app"].map(|name| context.join(name));
        let compiled = Command::new("gcc").args(["-static", "-o"]).args([app, source]).status();
        assert!(compiled.unwrap().success());
        let store = Store::open(folder.path().join("store")).unwrap();
        Some(Self {
            folder,
            store,
            registry,
        })
    }

    fn context(&self) -> PathBuf {
        self.folder.path().join("context")
    }

    async fn build(&self, tag: &ImageReference, output: &Output) -> Result<BuiltImage, BuildError> {
        let request = BuildRequest {
            context: self.context(),
            dockerfile: self.context().join("Dockerfile"),
            tags: vec![tag.clone()],
            ..BuildRequest::default()
        };
        let options = BuildOptions {
            runtime: runtime(),
            ..BuildOptions::new(self.folder.path().join("cache"))
        };
        build(&self.store, &request, &options, output).await
    }

    /// Our image, built and pushed.
    async fn push_ours(&self) -> (ImageReference, BuiltImage) {
        let reference = self.registry.reference("ours/app:1");
        let built = self.build(&reference, &Output::default()).await.unwrap();
        client()
            .push(&self.store, &built.descriptor, &reference, &Silent)
            .await
            .unwrap();
        (reference, built)
    }

    fn podman(&self, words: &[&str]) -> String {
        let inside = |name: &str| self.folder.path().join(name);
        let mut command = aside("podman");
        command.env("CONTAINERS_CONF", inside("containers.conf"));
        command
            .arg("--root")
            .arg(inside("podman"))
            .arg("--runroot")
            .arg(inside("podman-run"));
        command.arg("--tmpdir").arg(inside("podman-tmp"));
        said(command.args(["--storage-driver", "vfs"]).args(words))
    }

    fn nothing_is_mounted(&self) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&self.folder.path().display().to_string()), "{mounts}");
    }
}

impl Drop for Bench {
    /// podman leaves the parents of its cgroups; one that is in use is not removed.
    fn drop(&mut self) {
        let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        for top in hierarchies.map(|entry| entry.path()).chain(["/sys/fs/cgroup".into()]) {
            for left in ["libpod_parent/conmon", "libpod_parent"] {
                let _ = fs::remove_dir(top.join(left));
            }
        }
    }
}

/// `program` with folders of its own where it keeps things beside what it is told: none of them is this machine's.
fn aside(program: &str) -> Command {
    const PREPARE: &str = "mount -t tmpfs none /run && mount -t tmpfs none /var/lib && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", PREPARE, "sh", program]);
    command
}

/// Whether this user may run `test`; says so where not.
fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIP {test}: not root");
    }
    root
}

/// Standard output of a command that must succeed.
fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{words}");
    String::from_utf8(output.stdout).unwrap()
}

fn client() -> RegistryClient {
    RegistryClient::new(Arc::new(Anonymous), ClientOptions::default()).unwrap()
}

/// The runtime that was built beside this test, or the one that `PORTOLAN_RUNTIME` names.
fn runtime() -> Option<PathBuf> {
    let named = std::env::var_os("PORTOLAN_RUNTIME").map(PathBuf::from);
    let beside = || {
        let test = std::env::current_exe().ok()?;
        Some(test.parent()?.parent()?.join("portolan-runtime"))
    };
    named.or_else(beside).filter(|path| path.is_file())
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_reads_what_we_push() {
    const TEST: &str = "skopeo_reads_what_we_push";
    if !is_root(TEST) {
        return;
    }
    let Some(bench) = Bench::new(TEST, &["skopeo"]) else {
        return;
    };
    let (reference, built) = bench.push_ours().await;
    let remote = format!("docker://{reference}");
    let inspected = said(aside("skopeo").args(["inspect", "--tls-verify=false", &remote]));
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["Digest"], built.digest.to_string());
    assert_eq!(inspected["Env"][0], "GREETING=ahoy");

    let copy = bench.folder.path().join("copy");
    let local = format!("oci:{}:copied", copy.display());
    said(aside("skopeo").args(["copy", "--src-tls-verify=false", &remote, &local]));
    let back = Store::open(bench.folder.path().join("back")).unwrap();
    let name = ImageReference::parse("back/app:1").unwrap();
    let options = ImportOptions {
        name: Some(name),
        ..ImportOptions::default()
    };
    let imported = import(&back, &copy, &options).unwrap();
    assert_eq!(imported[0].descriptor.digest, built.digest, "a copy is the same image");
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_runs_what_we_push() {
    const TEST: &str = "podman_runs_what_we_push";
    if !is_root(TEST) {
        return;
    }
    let Some(bench) = Bench::new(TEST, &["podman", "runc"]) else {
        return;
    };
    let (reference, _) = bench.push_ours().await;
    let image = reference.to_string();
    bench.podman(&["pull", "--quiet", "--tls-verify=false", &image]);
    let printed = bench.podman(&["run", "--rm", "--network=none", &image, "podman"]);
    assert_eq!(printed, "podman ahoy 7:8 /w\n");
    bench.nothing_is_mounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn we_run_what_podman_pushes() {
    const TEST: &str = "we_run_what_podman_pushes";
    if !is_root(TEST) {
        return;
    }
    if runtime().is_none() {
        eprintln!("SKIP {TEST}: portolan-runtime is not built");
        return;
    }
    let Some(bench) = Bench::new(TEST, &["podman", "runc"]) else {
        return;
    };
    let reference = bench.registry.reference("theirs/app:1");
    let (image, context) = (reference.to_string(), bench.context().display().to_string());
    bench.podman(&["build", "--quiet", "--isolation=chroot", "--tag", &image, &context]);
    bench.podman(&["push", "--quiet", "--tls-verify=false", &image]);

    client()
        .pull(&reference, &bench.store, Platforms::Host, &Silent)
        .await
        .unwrap();
    let dockerfile = format!("FROM {image}\nRUN [\"/app\", \"portolan\"]\n");
    fs::write(Path::new(&context).join("Dockerfile"), dockerfile).unwrap();
    let output = Output::default();
    bench
        .build(&bench.registry.reference("mixed/app:1"), &output)
        .await
        .unwrap();
    assert_eq!(*output.0.lock().unwrap(), ["portolan ahoy 7:8 /w"]);
    bench.nothing_is_mounted();
}
