//! Builds without RUN: what COPY makes, what the cache spares, and contexts and images that mean harm.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use portolan_image::build::{BuildError, BuildEvent, BuildOptions, BuildProgress, BuildRequest, BuiltImage, build};
use portolan_image::{ImageReference, Progress, Store};

/// A store, a cache and a context of one test.
struct Bench {
    folder: tempfile::TempDir,
    store: Store,
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn started(&self, _unit: &str, _total: Option<u64>) {}
    fn advanced(&self, _unit: &str, _bytes: u64) {}
    fn finished(&self, _unit: &str) {}
}

impl BuildProgress for Told {
    fn event(&self, event: BuildEvent<'_>) {
        let text = match event {
            BuildEvent::Started(step) => format!("started {}", step.line),
            BuildEvent::Cached(step) => format!("cached {}", step.line),
            BuildEvent::Finished(step) => format!("finished {}", step.line),
            BuildEvent::Output(step, text) => format!("output {} {text}", step.line),
            BuildEvent::Warning(text) => format!("warning {text}"),
        };
        self.0.lock().unwrap().push(text);
    }
}

impl Bench {
    /// A context of `files`, each a path and a text.
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("context")).unwrap();
        let store = Store::open(folder.path().join("store")).unwrap();
        let bench = Self { folder, store };
        for (path, text) in files {
            bench.write(path, text);
        }
        bench
    }

    fn context(&self) -> PathBuf {
        self.folder.path().join("context")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.context().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn request(&self) -> BuildRequest {
        BuildRequest {
            context: self.context(),
            dockerfile: self.context().join("Dockerfile"),
            ..BuildRequest::default()
        }
    }

    async fn build(&self, dockerfile: &str) -> Result<BuiltImage, BuildError> {
        self.build_with(dockerfile, self.request()).await
    }

    async fn build_with(&self, dockerfile: &str, request: BuildRequest) -> Result<BuiltImage, BuildError> {
        self.write("Dockerfile", dockerfile);
        let options = BuildOptions::new(self.folder.path().join("cache"));
        build(&self.store, &request, &options, &Told::default()).await
    }

    /// The image's root as `path mode uid:gid content`, whiteouts not looked for: COPY makes none.
    fn tree(&self, image: &BuiltImage) -> Vec<String> {
        let mut tree = std::collections::BTreeMap::new();
        for layer in self.store.unpack(&image.digest).unwrap().layers.iter().rev() {
            list(layer, layer, &mut tree);
        }
        tree.into_iter().map(|(path, text)| format!("{path} {text}")).collect()
    }

    /// Builds, and gives the tree without its folders.
    async fn files(&self, dockerfile: &str) -> Vec<String> {
        let image = self
            .build(dockerfile)
            .await
            .unwrap_or_else(|error| panic!("{dockerfile}\n{error:?}"));
        self.tree(&image)
            .into_iter()
            .filter(|line| !line.ends_with(" dir"))
            .collect()
    }
}

fn list(top: &Path, folder: &Path, tree: &mut std::collections::BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let found = fs::symlink_metadata(&path).unwrap();
        let what = match found.file_type() {
            kind if kind.is_dir() => "dir".to_owned(),
            kind if kind.is_symlink() => format!("-> {}", fs::read_link(&path).unwrap().display()),
            _ => fs::read_to_string(&path).unwrap(),
        };
        let name = path.strip_prefix(top).unwrap().display().to_string();
        tree.insert(
            name,
            format!("{:o} {}:{} {what}", found.mode() & 0o7777, found.uid(), found.gid()),
        );
        if found.is_dir() {
            list(top, &path, tree);
        }
    }
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

#[tokio::test]
async fn sources_land_where_docker_puts_them() {
    let bench = Bench::new(&[
        ("a", "A"),
        ("b.c", "B"),
        ("d.c", "D"),
        ("dir/x", "X"),
        ("dir/sub/y", "Y"),
    ]);
    let cases: [(&str, &str, &[&str]); 16] = [
        ("a file to a name", "COPY a /to", &["to 644 0:0 A"]),
        ("a file into a folder", "COPY a /to/", &["to/a 644 0:0 A"]),
        (
            "several files",
            "COPY a b.c /to/",
            &["to/a 644 0:0 A", "to/b.c 644 0:0 B"],
        ),
        ("a wildcard", "COPY *.c /to/", &["to/b.c 644 0:0 B", "to/d.c 644 0:0 D"]),
        (
            "an absent wildcard beside a file",
            "COPY a none* /to/",
            &["to/a 644 0:0 A"],
        ),
        (
            "a folder's content",
            "COPY dir /to",
            &["to/sub/y 644 0:0 Y", "to/x 644 0:0 X"],
        ),
        ("a wildcard of folders", "COPY d*r/s?b /to/", &["to/y 644 0:0 Y"]),
        (
            "relative to the working directory",
            "WORKDIR /w\nCOPY a b",
            &["w/b 644 0:0 A"],
        ),
        ("to the working directory", "WORKDIR /w\nCOPY a .", &["w/a 644 0:0 A"]),
        ("to the root", "COPY a /", &["a 644 0:0 A"]),
        (
            "into a folder that is there",
            "COPY dir /to\nCOPY a /to",
            &["to/a 644 0:0 A", "to/sub/y 644 0:0 Y", "to/x 644 0:0 X"],
        ),
        ("with an owner", "COPY --chown=5:6 a /to", &["to 644 5:6 A"]),
        ("with an owner alone", "COPY --chown=5 a /to", &["to 644 5:5 A"]),
        ("with a mode", "COPY --chmod=0700 a /to", &["to 700 0:0 A"]),
        (
            "with variables",
            "ARG D=/v\nENV N=a\nCOPY $N ${D}/${NONE:-z}",
            &["v/z 644 0:0 A"],
        ),
        (
            "from the Dockerfile",
            "ENV V=1\nCOPY <<x /to/\nv=$V \"q\"\nx",
            &["to/x 644 0:0 v=1 \"q\"\n"],
        ),
    ];
    for (reason, steps, expected) in cases {
        assert_eq!(
            bench.files(&format!("FROM scratch\n{steps}\n")).await,
            expected,
            "{reason}"
        );
    }
}

#[tokio::test]
async fn links_and_modes_of_the_context_are_kept() {
    let bench = Bench::new(&[("dir/run", "R"), ("real/f", "F")]);
    fs::set_permissions(bench.context().join("dir/run"), fs::Permissions::from_mode(0o4755)).unwrap();
    symlink("/etc/passwd", bench.context().join("dir/link")).unwrap();
    symlink("real", bench.context().join("alias")).unwrap();
    let files = bench
        .files("FROM scratch\nCOPY dir /d\nCOPY alias /r\nCOPY alias/f /f\n")
        .await;
    assert_eq!(
        files,
        [
            "d/link 777 0:0 -> /etc/passwd",
            "d/run 4755 0:0 R",
            "f 644 0:0 F",
            "r/f 644 0:0 F"
        ]
    );
}

#[tokio::test]
async fn stages_hand_on_files_and_settings() {
    let bench = Bench::new(&[("a", "A"), ("unused", "U")]);
    let dockerfile = "ARG G=global\nFROM scratch AS base\nENV E=1\nCOPY --chown=7:8 a /x/a\n\
        FROM scratch AS skipped\nCOPY absent /\n\
        FROM base AS child\nARG G\nENV F=${E}${G}\n\
        FROM scratch\nCOPY --from=child /x/ /y/\nCOPY --from=0 ../../x/a /z\nWORKDIR /w/$NONE/x\n\
        EXPOSE 80 53/udp\nVOLUME /data /more/../v\nLABEL a=b\nCMD [\"/z\"]\nENTRYPOINT run it\nSTOPSIGNAL SIGINT\n\
        HEALTHCHECK --interval=5s CMD true\nUSER 5:6\n";
    let image = bench.build(dockerfile).await.unwrap();
    let files: Vec<_> = bench
        .tree(&image)
        .into_iter()
        .filter(|line| !line.ends_with(" dir"))
        .collect();
    assert_eq!(files, ["y/a 644 7:8 A", "z 644 7:8 A"], "owners are those of the stage");
    let config = bench.store.config(&image.digest).unwrap();
    let text = serde_json::to_value(&config).unwrap();
    assert_eq!(
        text["config"],
        serde_json::json!({
            "User": "5:6", "ExposedPorts": {"53/udp": {}, "80/tcp": {}}, "Cmd": ["/z"],
            "Entrypoint": ["/bin/sh", "-c", "run it"], "Volumes": {"/data": {}, "/v": {}}, "WorkingDir": "/w/x",
            "Labels": {"a": "b"}, "StopSignal": "SIGINT",
            "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000_u64},
        })
    );
    assert_eq!(text["created"], "1980-01-01T00:00:00Z");
    assert_eq!(
        config.history.iter().filter(|step| !step.empty_layer).count(),
        config.rootfs.diff_ids.len()
    );
    let child = BuildRequest {
        target: Some("child".into()),
        ..bench.request()
    };
    let image = bench.build_with(dockerfile, child).await.unwrap();
    assert_eq!(
        bench.store.config(&image.digest).unwrap().config.env,
        ["E=1", "F=1global"]
    );
}

#[tokio::test]
async fn an_unchanged_build_writes_nothing_and_a_late_change_little() {
    let bench = Bench::new(&[("early", "E"), ("late", "L")]);
    let dockerfile = "FROM scratch AS one\nCOPY early /early\nWORKDIR /w\nFROM one\nCOPY --from=one /early /again\nCOPY late /late\n";
    let tag = ImageReference::parse("localhost/test:1").unwrap();
    let request = BuildRequest {
        tags: vec![tag.clone()],
        ..bench.request()
    };
    let first = bench.build_with(dockerfile, request.clone()).await.unwrap();
    assert_eq!((first.steps, first.cached_steps), (4, 0));
    let before = snapshot(&bench.folder.path().join("store"));
    let again = bench.build_with(dockerfile, request.clone()).await.unwrap();
    assert_eq!((again.steps, again.cached_steps), (4, 4));
    assert_eq!(again.digest, first.digest);
    assert_eq!(
        snapshot(&bench.folder.path().join("store")),
        before,
        "nothing of the store is written"
    );
    assert_eq!(bench.store.resolve(&tag).unwrap().unwrap().digest, first.digest);

    bench.write("late", "L2");
    let late = bench.build_with(dockerfile, request.clone()).await.unwrap();
    assert_eq!(
        (late.steps, late.cached_steps),
        (4, 3),
        "only what comes after the change"
    );
    assert_ne!(late.digest, first.digest);

    bench.write("late", "L");
    let back = bench.build_with(dockerfile, request.clone()).await.unwrap();
    assert_eq!(
        (back.digest.clone(), back.cached_steps),
        (first.digest.clone(), 4),
        "content decides, not time"
    );

    fs::set_permissions(bench.context().join("late"), fs::Permissions::from_mode(0o755)).unwrap();
    let mode = bench.build_with(dockerfile, request.clone()).await.unwrap();
    assert_eq!(mode.cached_steps, 3, "a mode is content");

    bench.write("other", "not copied");
    let other = bench.build_with(dockerfile, request).await.unwrap();
    assert_eq!(
        (other.digest, other.cached_steps),
        (mode.digest, 4),
        "a file that no step copies is no matter"
    );
}

/// Every file below `folder` with its time of change, the locks aside.
fn snapshot(folder: &Path) -> Vec<(PathBuf, i64, i64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        found.push((path.clone(), metadata.ctime(), metadata.ctime_nsec()));
        if metadata.is_dir() {
            found.extend(snapshot(&path));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn the_same_inputs_give_the_same_digest_elsewhere() {
    let digest = async || {
        let bench = Bench::new(&[("a", "A"), ("dir/b", "B")]);
        bench
            .build("FROM scratch\nCOPY . /all\nWORKDIR /w\nCMD [\"x\"]\n")
            .await
            .unwrap()
            .digest
    };
    assert_eq!(digest().await, digest().await);
}

#[tokio::test]
async fn a_lost_cache_or_layer_is_made_again() {
    let bench = Bench::new(&[("a", "A")]);
    let dockerfile = "FROM scratch\nCOPY a /a\n";
    let first = bench.build(dockerfile).await.unwrap();
    fs::remove_dir_all(bench.folder.path().join("cache")).unwrap();
    assert_eq!(bench.build(dockerfile).await.unwrap().digest, first.digest);
    bench.store.prune(&Default::default()).unwrap();
    let again = bench.build(dockerfile).await.unwrap();
    assert_eq!((again.digest.clone(), again.cached_steps), (first.digest, 0));
    for file in walk(&bench.folder.path().join("cache/steps")) {
        fs::write(file, "torn{").unwrap();
    }
    assert_eq!(
        bench.build(dockerfile).await.unwrap().cached_steps,
        0,
        "a torn record is no answer"
    );
    bench
        .store
        .prune(&portolan_image::build::cached_layers(
            &bench.folder.path().join("cache"),
        ))
        .unwrap();
    assert_eq!(
        bench.build(dockerfile).await.unwrap().cached_steps,
        1,
        "the cache can be kept over a prune"
    );
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] })
        .collect()
}

#[tokio::test]
async fn ignored_files_are_not_there() {
    let bench = Bench::new(&[
        (".dockerignore", "*.log\ndocs\n!docs/keep\n"),
        ("a.log", ""),
        ("docs/no", ""),
        ("docs/keep", "K"),
    ]);
    assert_eq!(bench.files("FROM scratch\nCOPY docs /d\n").await, ["d/keep 644 0:0 K"]);
    let error = bench.build("FROM scratch\nCOPY a.log /\n").await.unwrap_err();
    assert!(
        cause(&error).contains("excluded by .dockerignore:1"),
        "{}",
        cause(&error)
    );
    bench.write("Dockerfile.dockerignore", "docs/keep\n");
    let error = bench.build("FROM scratch\nCOPY docs/keep /\n").await.unwrap_err();
    assert!(
        cause(&error).contains("Dockerfile.dockerignore:1"),
        "the Dockerfile's own file comes first"
    );
}

#[tokio::test]
async fn faults_name_the_line_and_what_may_help() {
    let bench = Bench::new(&[("src/main.c", ""), ("file", ""), ("dir/x", "")]);
    let cases = [
        (
            "a missing source",
            "COPY src/mian.c /",
            "BuildSourceMissing",
            "did you mean `main.c`",
        ),
        (
            "a wildcard that matches nothing",
            "COPY *.none /",
            "BuildSourceMissing",
            "nothing matches",
        ),
        (
            "several sources to a file",
            "COPY file src/main.c /to",
            "DockerfileInvalid",
            "end it with a slash",
        ),
        (
            "a file over a folder",
            "COPY dir /d\nCOPY file /d/e/\nCOPY file /e\nCOPY dir /e",
            "DockerfileInvalid",
            "a directory would replace /e",
        ),
        (
            "an unknown user",
            "COPY --chown=someone file /",
            "DockerfileInvalid",
            "knows no user",
        ),
        (
            "a user that wraps around",
            "COPY --chown=4294967296 file /",
            "DockerfileInvalid",
            "larger than",
        ),
        (
            "an empty source",
            "COPY \"$NONE\" /",
            "DockerfileInvalid",
            "empty once its variables",
        ),
        (
            "a source out of the context",
            "ENV UP=..\nCOPY $UP/x /",
            "DockerfileInvalid",
            "leads out",
        ),
        (
            "a URL",
            "ENV U=https\nADD $U://example.com/x /",
            "DockerfileInvalid",
            "not supported",
        ),
        (
            "a demanded variable",
            "WORKDIR /${NONE:?set it}",
            "DockerfileInvalid",
            "set it",
        ),
        (
            "a working directory of the kernel",
            "WORKDIR /proc/self/fd/3",
            "DockerfileInvalid",
            "no folder of the image",
        ),
        ("a bad port", "ENV P=x\nEXPOSE $P", "DockerfileInvalid", "no port"),
        ("a relative volume", "VOLUME data", "DockerfileInvalid", "not absolute"),
        ("RUN without a runtime", "RUN true", "RuntimeMissing", "none was given"),
        (
            "an image that is nowhere",
            "COPY --from=nowhere:1 /a /",
            "ImageNotFound",
            "not in the local store",
        ),
    ];
    for (reason, steps, code, part) in cases {
        let error = bench
            .build(&format!("FROM scratch\n{steps}\n"))
            .await
            .expect_err(reason);
        assert_eq!(error.code(), code, "{reason}: {}", cause(&error));
        let text = format!("{} {}", cause(&error), error.hint().unwrap_or_default());
        assert!(text.contains(part), "{reason}: {text}");
        let last = 1 + steps.lines().count();
        assert!(text.contains(&format!("Dockerfile:{last}:")), "{reason}: {text}");
    }
}

#[tokio::test]
async fn requests_that_cannot_be_met() {
    let bench = Bench::new(&[]);
    let code =
        async |dockerfile: &str, request: BuildRequest| bench.build_with(dockerfile, request).await.unwrap_err().code();
    let target = BuildRequest {
        target: Some("none".into()),
        ..bench.request()
    };
    assert_eq!(code("FROM scratch AS a\n", target).await, "BuildStageUnknown");
    let platform = BuildRequest {
        platform: Some("linux/s390x".into()),
        ..bench.request()
    };
    assert_eq!(code("FROM scratch\n", platform).await, "PlatformUnsupported");
    let faults = bench
        .build("ARG B\nFROM $B\nFROM --platform=windows/amd64 scratch\nFROM x:${V:-Y:Z}\n")
        .await
        .unwrap_err();
    assert_eq!(
        (faults.code(), faults.to_string().matches("Dockerfile:").count()),
        ("DockerfileInvalid", 3),
        "{faults}"
    );
    let missing = BuildRequest {
        dockerfile: bench.context().join("none"),
        ..bench.request()
    };
    assert_eq!(code("", missing).await, "DockerfileMissing");
    let no_context = BuildRequest {
        context: bench.context().join("none"),
        ..bench.request()
    };
    assert_eq!(code("FROM scratch\n", no_context).await, "ContextUnreadable");
    bench.write(".dockerignore", "[");
    assert_eq!(code("FROM scratch\n", bench.request()).await, "IgnoreFileInvalid");
}

#[tokio::test]
async fn no_link_of_the_context_leads_out_of_it() {
    let bench = Bench::new(&[("sub/file", "F")]);
    fs::write(bench.folder.path().join("secret"), "S").unwrap();
    fs::create_dir(bench.folder.path().join("private")).unwrap();
    fs::write(bench.folder.path().join("private/key"), "S").unwrap();
    let links = [
        ("up", "../secret"),
        ("absolute", "/etc/passwd"),
        ("folder", "../private"),
        ("detour", "sub/../../secret"),
        ("sub/chain", "../up"),
        ("loop", "loop"),
    ];
    for (name, target) in links {
        symlink(target, bench.context().join(name)).unwrap();
    }
    for source in [
        "up",
        "absolute",
        "folder",
        "folder/key",
        "detour",
        "sub/chain",
        "loop",
        "fold*/key",
        "u?",
    ] {
        let error = bench
            .build(&format!("FROM scratch\nCOPY {source} /x/\n"))
            .await
            .expect_err(source);
        assert_eq!(error.code(), "BuildContextEscape", "{source}: {}", cause(&error));
    }
    let inside = bench.files("FROM scratch\nCOPY sub /x/\n").await;
    assert_eq!(
        inside,
        ["x/chain 777 0:0 -> ../up", "x/file 644 0:0 F"],
        "inside a folder, a link is only a link"
    );
}

#[tokio::test]
async fn what_is_no_file_is_refused_by_name() {
    let bench = Bench::new(&[("dir/x", "")]);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        bench.context().join("dir/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let error = bench.build("FROM scratch\nCOPY dir /\n").await.unwrap_err();
    assert!(
        cause(&error).contains("dir/pipe of the build context is a named pipe"),
        "{}",
        cause(&error)
    );
    bench.write(".dockerignore", "dir/pipe");
    bench.build("FROM scratch\nCOPY dir /\n").await.unwrap();
}

#[tokio::test]
async fn links_of_an_image_stay_inside_it() {
    let bench = Bench::new(&[("a", "A"), ("root/inside/f", "F")]);
    let outside = bench.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "S").unwrap();
    let root = bench.context().join("root");
    symlink(&outside, root.join("out")).unwrap();
    symlink("../../../../..", root.join("up")).unwrap();
    symlink("inside", root.join("in")).unwrap();
    let base = "FROM scratch AS base\nCOPY root /\n";
    let secret = format!("{}/secret", outside.display());
    for from in ["/out/secret", &secret, "../../../out/secret"] {
        let error = bench
            .build(&format!("{base}FROM scratch\nCOPY --from=base {from} /s\n"))
            .await
            .expect_err(from);
        assert_eq!(error.code(), "BuildSourceMissing", "{from}");
    }
    let written = bench
        .files(&format!("{base}WORKDIR /out/w\nCOPY a .\nCOPY a /up/b\nCOPY a /in/\n"))
        .await;
    let inside = format!("{}/w/a 644 0:0 A", outside.strip_prefix("/").unwrap().display());
    assert!(
        written.contains(&inside),
        "a link to the host is a place in the image: {written:?}"
    );
    assert!(
        written.contains(&"b 644 0:0 A".to_owned()),
        "above the root is the root"
    );
    assert!(
        written.contains(&"inside/a 644 0:0 A".to_owned()),
        "a link inside is followed"
    );
    assert_eq!(
        fs::read_dir(&outside).unwrap().count(),
        1,
        "nothing was written outside"
    );
}

#[tokio::test]
async fn add_unpacks_archives_and_copy_does_not() {
    let bench = Bench::new(&[("t/one", "1"), ("t/sub/two", "2")]);
    let store = &bench.store;
    let mut bytes = Vec::new();
    portolan_image::layer::pack(&bench.context().join("t"), &Default::default(), &mut bytes).unwrap();
    fs::write(bench.context().join("t.tar.gz"), &bytes).unwrap();
    let dockerfile = "FROM scratch\nADD t.tar.gz /in/\nADD t/one /plain\n";
    assert_eq!(
        bench.files(dockerfile).await,
        ["in/one 644 0:0 1", "in/sub/two 644 0:0 2", "plain 644 0:0 1"]
    );
    let again = bench.build(dockerfile).await.unwrap();
    assert_eq!((again.steps, again.cached_steps), (2, 2));
    let copied = bench.build("FROM scratch\nCOPY t.tar.gz /in/\n").await.unwrap();
    assert!(
        store.unpack(&copied.digest).unwrap().layers[0]
            .join("in/t.tar.gz")
            .is_file()
    );
    bench.write("x.tar.xz", "\u{fd}7zXZ");
    fs::write(bench.context().join("x.tar.xz"), b"\xfd7zXZ\0rest").unwrap();
    let error = bench.build("FROM scratch\nADD x.tar.xz /in/\n").await.unwrap_err();
    assert!(cause(&error).contains("bzip2 or xz"), "{}", cause(&error));
}

#[tokio::test]
async fn builds_at_once_share_a_store() {
    let bench = Bench::new(&[("a", "A"), ("b/c", "C")]);
    bench.write(
        "Dockerfile",
        "FROM scratch AS x\nCOPY a /a\nFROM scratch\nCOPY b /b\nCOPY --from=x /a /c\n",
    );
    let options = BuildOptions::new(bench.folder.path().join("cache"));
    let (request, told) = (bench.request(), Told::default());
    let builds = (0..8).map(|_| build(&bench.store, &request, &options, &told));
    let images = futures_util::future::try_join_all(builds).await.unwrap();
    assert!(images.iter().all(|image| image.digest == images[0].digest));
    assert_eq!(
        fs::read_dir(bench.folder.path().join("store/tmp")).unwrap().count(),
        0,
        "no folder is left"
    );
}

#[tokio::test]
async fn values_that_nothing_takes_are_told() {
    let bench = Bench::new(&[("Dockerfile", "ARG A\nFROM scratch\nARG B\nLABEL b=$B\n")]);
    let given = [("A", "1"), ("B", "2"), ("C", "3"), ("HTTP_PROXY", "p")];
    let args = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let (request, told) = (
        BuildRequest {
            args,
            ..bench.request()
        },
        Told::default(),
    );
    let image = build(
        &bench.store,
        &request,
        &BuildOptions::new(bench.folder.path().join("c")),
        &told,
    )
    .await
    .unwrap();
    assert_eq!(
        told.0.into_inner().unwrap(),
        ["warning no ARG takes the value that was given for C"]
    );
    assert_eq!(bench.store.config(&image.digest).unwrap().config.labels["b"], "2");
}

#[tokio::test]
async fn a_dropped_build_leaves_nothing() {
    let bench = Bench::new(&[("Dockerfile", "FROM scratch\nCOPY . /\n")]);
    for number in 0..200 {
        bench.write(&format!("d{}/f{number}", number % 7), "some text");
    }
    let options = BuildOptions::new(bench.folder.path().join("cache"));
    let (request, told) = (bench.request(), Told::default());
    {
        let mut building = Box::pin(build(&bench.store, &request, &options, &told));
        for _ in 0..3 {
            let _ = futures_util::poll!(&mut building);
            tokio::task::yield_now().await;
        }
    }
    let image = build(&bench.store, &request, &options, &told).await.unwrap();
    assert_eq!(image.steps, 1);
    let temporary = bench.folder.path().join("store/tmp");
    let mut looks = 0;
    while fs::read_dir(&temporary).unwrap().count() > 0 {
        looks += 1;
        assert!(looks < 1000, "the dropped build's folder is still there");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
