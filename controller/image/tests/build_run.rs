//! RUN on this kernel: the base image that `examples/base/make.sh` makes, commands in our own runtime, layers of what
//! they wrote. One test holds all cases, because they share the base.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

#[path = "common/output.rs"]
mod output;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use portolan_image::build::{BuildError, BuildOptions, BuildRequest, BuiltImage, build, find_built};
use portolan_image::import::{ImportOptions, import};
use portolan_image::layer::{Compression, PackOptions};
use portolan_image::{ImageReference, Store};

use output::Output;

struct Bench {
    folder: tempfile::TempDir,
    store: Store,
    runtime: PathBuf,
    output: Output,
}

impl Bench {
    fn new(runtime: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store")).unwrap();
        let root = folder.path().join("base");
        let script = examples().join("base/make.sh");
        let made = Command::new("sh").arg(script).arg(&root).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let name = ImageReference::parse("portolan.local/base:latest").unwrap();
        import(
            &store,
            &root,
            &ImportOptions {
                name: Some(name),
                // Compressing a compiler takes an unoptimised program half a minute.
                pack: PackOptions {
                    compression: Compression::None,
                    ..PackOptions::default()
                },
                ..ImportOptions::default()
            },
        )
        .unwrap();
        fs::create_dir(folder.path().join("context")).unwrap();
        Self {
            folder,
            store,
            runtime,
            output: Output::default(),
        }
    }

    fn options(&self) -> BuildOptions {
        let runtime = Some(self.runtime.clone());
        BuildOptions {
            runtime,
            ..BuildOptions::new(self.folder.path().join("cache"))
        }
    }

    async fn build(&self, steps: &str) -> Result<BuiltImage, BuildError> {
        let context = self.folder.path().join("context");
        let dockerfile = context.join("Dockerfile");
        fs::write(&dockerfile, format!("FROM portolan.local/base\n{steps}\n")).unwrap();
        let request = BuildRequest {
            context,
            dockerfile,
            ..BuildRequest::default()
        };
        build(&self.store, &request, &self.options(), &self.output).await
    }

    /// Builds, and gives what the commands printed.
    async fn prints(&self, steps: &str) -> Vec<String> {
        self.output.0.lock().unwrap().clear();
        self.build(steps)
            .await
            .unwrap_or_else(|error| panic!("{steps}\n{}", cause(&error)));
        self.output.0.lock().unwrap().clone()
    }

    fn top_layer(&self, image: &BuiltImage) -> PathBuf {
        self.store.unpack(&image.digest).unwrap().layers[0].clone()
    }

    /// The folders of builds that have not ended.
    fn unfinished(&self) -> impl Iterator<Item = String> {
        let entries = fs::read_dir(self.folder.path().join("store/tmp")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.ends_with(".lock"))
    }

    fn nothing_is_left(&self) {
        let left: Vec<_> = fs::read_dir(self.folder.path().join("store/tmp")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&self.folder.path().display().to_string()), "{mounts}");
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn cause(error: &BuildError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        text += &format!(": {source}");
        next = source.source();
    }
    text
}

/// The runtime that was built beside this test, or the one that `PORTOLAN_RUNTIME` names.
fn runtime() -> Option<PathBuf> {
    let named = std::env::var_os("PORTOLAN_RUNTIME").map(PathBuf::from);
    let beside = || {
        std::env::current_exe()
            .ok()?
            .parent()?
            .parent()
            .map(|folder| folder.join("portolan-runtime"))
    };
    named.or_else(beside).filter(|path| path.is_file())
}

#[tokio::test]
async fn commands_run_and_their_files_become_layers() {
    let Some(runtime) = runtime() else {
        eprintln!("SKIP commands_run_and_their_files_become_layers: portolan-runtime is not built");
        return;
    };
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP commands_run_and_their_files_become_layers: not root");
        return;
    }
    let bench = Bench::new(runtime);
    what_a_command_sees(&bench).await;
    what_a_command_leaves(&bench).await;
    how_a_command_fails(&bench).await;
    what_the_cache_spares(&bench).await;
    hostile_images(&bench).await;
    a_dropped_build(&bench).await;
    the_shop(&bench).await;
    bench.nothing_is_left();
}

async fn what_a_command_sees(bench: &Bench) {
    let cases: [(&str, &str, &[&str]); 10] = [
        ("shell form", "RUN echo one; echo two >&2", &["one", "two"]),
        ("exec form", "RUN [\"sh\", \"-c\", \"echo $0\", \"$HOME\"]", &["$HOME"]),
        (
            "variables",
            "ARG A=1\nENV B=2 A2=x\nRUN echo $A $B $A2 $HOME",
            &["1 2 x /root"],
        ),
        ("the working directory is made", "WORKDIR /w/x\nRUN pwd", &["/w/x"]),
        (
            "another shell",
            "SHELL [\"/bin/sh\", \"-ec\"]\nRUN false || echo $-",
            &["e"],
        ),
        ("a script", "RUN <<EOF\nx=1\necho $x\nEOF", &["1"]),
        ("a here-document of the shell", "RUN cat <<EOF\n$HOME\nEOF", &["/root"]),
        (
            "no network but its own loopback",
            "RUN cat /proc/net/dev | { while read -r name _; do case $name in *:) echo $name;; esac; done; }",
            &["lo:"],
        ),
        (
            "the machine's network where it is asked for",
            "RUN --network=host [ -s /etc/resolv.conf ] && echo yes",
            &["yes"],
        ),
        (
            "the names of this machine",
            "RUN [ -s /etc/hosts ] && echo yes",
            &["yes"],
        ),
    ];
    for (reason, steps, expected) in cases {
        let mut printed = bench.prints(steps).await;
        printed.sort();
        assert_eq!(printed, expected, "{reason}");
    }
    let numbers = bench
        .prints("RUN echo 'app:x:7:8::/home:/bin/sh' >> /etc/passwd\nUSER app\nRUN ls -ln /proc/self/fd/1; env")
        .await;
    assert!(
        numbers
            .iter()
            .any(|line| line.contains(" 7 8 ") || line.contains(" 7        8 ")),
        "{numbers:?}"
    );
    assert!(numbers.contains(&"HOME=/home".to_owned()), "{numbers:?}");
    let closed = bench
        .prints("RUN for f in /proc/kcore /proc/sys/kernel/hostname; do (: > $f) 2>/dev/null || echo closed; done")
        .await;
    assert_eq!(closed, ["closed", "closed"]);
    let filtered = bench
        .prints("RUN while read -r name value; do case $name in Seccomp:|NoNewPrivs:) echo $name $value;; esac; done < /proc/self/status")
        .await;
    assert_eq!(
        filtered,
        ["NoNewPrivs: 1", "Seccomp: 2"],
        "a step has the runtime's filter"
    );
}

async fn what_a_command_leaves(bench: &Bench) {
    let image = bench
        .build("RUN mkdir /made && echo x > /made/f && rm /bin/mv && chmod 711 /root")
        .await
        .unwrap();
    let top = bench.top_layer(&image);
    assert_eq!(fs::read_to_string(top.join("made/f")).unwrap(), "x\n");
    let hidden = fs::symlink_metadata(top.join("usr/bin/mv")).unwrap();
    assert_eq!((hidden.mode() & 0o170000, hidden.rdev()), (0o020000, 0), "a whiteout");
    for stub in ["proc", "dev", "sys", "etc/resolv.conf", "etc/hosts"] {
        assert!(!top.join(stub).exists(), "{stub} is the runtime's");
    }
    assert_eq!(
        fs::metadata(top.join("made/f")).unwrap().mtime(),
        portolan_image::build::DEFAULT_EPOCH
    );

    let cold = Bench {
        folder: tempfile::tempdir().unwrap(),
        store: bench.store.clone(),
        runtime: bench.runtime.clone(),
        output: Output::default(),
    };
    fs::create_dir(cold.folder.path().join("context")).unwrap();
    let steps = "RUN mkdir /d && echo a > /d/f\nRUN echo b >> /d/f";
    let (one, two) = (bench.build(steps).await.unwrap(), cold.build(steps).await.unwrap());
    assert_eq!((two.steps, two.cached_steps), (2, 0));
    let diffs =
        |bench: &Bench, image: &BuiltImage| bench.store.config(&image.digest).unwrap().rootfs.diff_ids[1..].to_vec();
    assert_eq!(
        diffs(bench, &one),
        diffs(&cold, &two),
        "the same commands make the same layers"
    );
}

async fn how_a_command_fails(bench: &Bench) {
    let error = bench
        .build("RUN true\nRUN echo some; echo words >&2; exit 7")
        .await
        .unwrap_err();
    let text = cause(&error);
    assert_eq!(error.code(), "BuildFailed");
    assert!(
        text.contains("Dockerfile:3: cannot carry out `RUN echo some; echo words >&2; exit 7`"),
        "{text}"
    );
    assert!(
        text.contains("exit code 7") && text.contains("some") && text.contains("words"),
        "{text}"
    );
    let missing = bench.build("RUN [\"/no/such/program\"]").await.unwrap_err();
    let said = missing.output().concat();
    assert!(said.contains("/no/such/program"), "{}: {said}", cause(&missing));
    bench.nothing_is_left();
}

async fn what_the_cache_spares(bench: &Bench) {
    let build = async |early: &str, late: &str| {
        let steps = format!("RUN echo {early} > /early\nCOPY late /late\nRUN cat /late > /copy");
        fs::write(bench.folder.path().join("context/late"), late).unwrap();
        let image = bench.build(&steps).await.unwrap();
        (image.steps - image.cached_steps, image.digest)
    };
    let (made, first) = build("1", "a").await;
    assert_eq!(made, 3);
    assert_eq!(build("1", "a").await, (0, first.clone()), "unchanged");
    assert_eq!(build("1", "b").await.0, 2, "what comes after the change");
    assert_eq!(
        build("2", "a").await.0,
        3 - 1,
        "COPY of the same file makes the same layer, on whatever it lies"
    );
    assert_eq!(build("1", "a").await, (0, first), "and back");
}

async fn hostile_images(bench: &Bench) {
    let canary = bench.folder.path().join("canary");
    fs::create_dir(&canary).unwrap();
    let outside = canary.display();
    let cases = [
        (
            "a working directory through a link",
            format!("RUN ln -s {outside} /out\nWORKDIR /out/w\nRUN echo x > f\nCOPY late ."),
        ),
        (
            "a resolver that is a link out",
            format!("RUN rm -f /etc/resolv.conf; ln -s {outside}/r /etc/resolv.conf\nRUN true"),
        ),
        (
            "hosts that is a link out",
            format!("RUN rm -f /etc/hosts; ln -s ../../../..{outside}/h /etc/hosts\nRUN true"),
        ),
    ];
    for (reason, steps) in cases {
        if let Err(error) = bench.build(&steps).await {
            eprintln!("{reason}: {}", cause(&error));
        }
        assert_eq!(fs::read_dir(&canary).unwrap().count(), 0, "{reason}");
    }
    for top in ["/proc", "/sys", "/dev"] {
        // A runtime may refuse such an image; what it may not is write through the link.
        let _ = bench
            .build(&format!(
                "RUN [\"ln\", \"-s\", \"{outside}\", \"/new\"]\nCOPY --from=0 /new {top}/\nRUN true"
            ))
            .await;
        assert_eq!(fs::read_dir(&canary).unwrap().count(), 0, "{top}");
    }
    bench.nothing_is_left();
}

async fn a_dropped_build(bench: &Bench) {
    let mark = format!("31{}", std::process::id());
    let steps = format!("RUN echo begun; exec cat /dev/zero > /dev/null # {mark}");
    bench.output.0.lock().unwrap().clear();
    let names: Vec<String>;
    {
        let mut building = Box::pin(bench.build(&steps));
        while bench.output.0.lock().unwrap().is_empty() {
            tokio::select! {
                built = &mut building => panic!("{built:?}"),
                () = tokio::time::sleep(std::time::Duration::from_millis(10)) => {}
            }
        }
        names = bench.unfinished().collect();
        assert!(running(bench) && !cgroups(&names).is_empty(), "{names:?}");
    }
    let mut looks = 0;
    while bench.unfinished().count() > 0 || running(bench) || !cgroups(&names).is_empty() {
        looks += 1;
        assert!(looks < 1000, "the dropped build's command or folder is still there");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// The cgroups of builds with these names, in whatever hierarchies there are.
fn cgroups(names: &[String]) -> Vec<PathBuf> {
    let below = |folder: &Path| {
        fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    };
    let top = Path::new("/sys/fs/cgroup");
    let mut found: Vec<PathBuf> = below(top)
        .chain(below(top).flat_map(|folder| below(&folder).collect::<Vec<_>>()))
        .collect();
    found.retain(|path| names.iter().any(|name| path.to_string_lossy().contains(name)));
    found
}

/// Whether a process has its root below the bench.
fn running(bench: &Bench) -> bool {
    let stores = bench.folder.path().display().to_string();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.ok()?.path();
        fs::read_to_string(path.join("mountinfo")).ok()
    });
    processes.into_iter().any(|mounts| mounts.contains(&stores))
}

async fn the_shop(bench: &Bench) {
    for service in ["web", "catalog", "stats", "migrate"] {
        let context = examples().join("shop");
        let request = BuildRequest {
            dockerfile: context.join(service).join("Dockerfile"),
            context,
            ..BuildRequest::default()
        };
        let built = build(&bench.store, &request, &bench.options(), &bench.output).await;
        let image = built.unwrap_or_else(|error| panic!("{service}: {}", cause(&error)));
        let layers = bench.store.unpack(&image.digest).unwrap().layers;
        assert_eq!(layers.len(), 1, "{service} is one program on nothing");
        let again = build(&bench.store, &request, &bench.options(), &bench.output)
            .await
            .unwrap();
        assert_eq!((again.cached_steps, &again.digest), (again.steps, &image.digest));
        let begun = Instant::now();
        let found = find_built(&bench.store, &request, &bench.options())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.digest, image.digest);
        eprintln!("{service} is known to be built after {:?}", begun.elapsed());
    }
}
