//! The image crate through the contract: what is pinned, what is known to be pinned already, and how failures read.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use portolan_core::facts::{BuildSource, ContainerPath, ImageSource};
use portolan_image::build::BuildEvent;
use portolan_image::import::{ImportOptions, import};
use portolan_image::{ImageEvent, ImageReference, ImagesOptions, ImagesProgress, LocalImages};
use portolan_provider_api::{ErrorClass, ImageError, Images, PinRequest};

struct Bench {
    folder: tempfile::TempDir,
    images: LocalImages,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl ImagesProgress for Told {
    fn event(&self, image: &str, event: ImageEvent<'_>) {
        let text = match event {
            ImageEvent::BuildStarted => "build".to_owned(),
            ImageEvent::Build(BuildEvent::Finished(step)) => format!("made {}/{}", step.number, step.of),
            ImageEvent::Build(BuildEvent::Cached(step)) => format!("cached {}/{}", step.number, step.of),
            ImageEvent::Built(built) => format!("built {} of {}", built.steps - built.cached_steps, built.steps),
            _ => return,
        };
        self.0.lock().unwrap().push(format!("{image}: {text}"));
    }
}

impl Told {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let told = Arc::new(Told::default());
        let images = open(folder.path(), told.clone());
        fs::create_dir(folder.path().join("context")).unwrap();
        Self { folder, images, told }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join("context").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn build(&self, tag: &str) -> PinRequest {
        let source = BuildSource {
            context: self.folder.path().join("context"),
            dockerfile: PathBuf::from("Dockerfile"),
            target: None,
            args: BTreeMap::new(),
            tag: reference(tag),
        };
        request(ImageSource::Build(source))
    }

    /// Every file below the store and the cache, with its size.
    fn files(&self) -> BTreeMap<PathBuf, u64> {
        let mut files = BTreeMap::new();
        for folder in ["store", "cache"] {
            gather(&self.folder.path().join(folder), &mut files);
        }
        files
    }

    async fn fault(&self, dockerfile: &str) -> ImageError {
        self.write("Dockerfile", dockerfile);
        self.images.pin(&self.build("faulty")).await.unwrap_err()
    }
}

fn open(folder: &Path, progress: Arc<Told>) -> LocalImages {
    let options = ImagesOptions {
        store: folder.join("store"),
        cache: folder.join("cache"),
        runtime: None,
        progress,
    };
    LocalImages::open(options).unwrap()
}

fn reference(text: &str) -> ImageReference {
    ImageReference::parse(text).unwrap()
}

fn request(source: ImageSource) -> PinRequest {
    PinRequest {
        container: ContainerPath::service("web"),
        source,
    }
}

fn gather(folder: &Path, files: &mut BTreeMap<PathBuf, u64>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => gather(&path, files),
            false => drop(files.insert(path.clone(), fs::metadata(&path).unwrap().len())),
        }
    }
}

const TWO_STEPS: &str =
    "FROM scratch\nENV A=1\nCOPY one /one\nCOPY two /two\nENTRYPOINT [\"/one\"]\nUSER 7\nWORKDIR /\n";

#[tokio::test]
async fn a_build_is_pinned_and_then_known() {
    let bench = Bench::new();
    bench.write("Dockerfile", TWO_STEPS);
    bench.write("one", "1");
    bench.write("two", "2");
    let web = bench.build("shop/web");
    assert_eq!(bench.images.pinned_already(&web).await.unwrap(), None);
    let pinned = bench.images.pin(&web).await.unwrap();
    assert_eq!(pinned.reference, reference("shop/web"));
    assert_eq!(
        (pinned.config.entrypoint.as_slice(), pinned.config.user.as_deref()),
        (&["/one".to_owned()][..], Some("7"))
    );
    assert_eq!(bench.told.take().first().unwrap(), "shop/web:latest: build");

    let before = bench.files();
    assert_eq!(bench.images.pinned_already(&web).await.unwrap().as_ref(), Some(&pinned));
    assert_eq!(bench.files(), before, "nothing is written in order to know");
    assert_eq!(bench.told.take(), Vec::<String>::new(), "and nothing is told");
    assert_eq!(bench.images.pin(&web).await.unwrap(), pinned);
    assert_eq!(bench.told.take().last().unwrap(), "shop/web:latest: built 0 of 3");

    let renamed = bench.build("shop/other");
    assert_eq!(
        bench.images.pinned_already(&renamed).await.unwrap(),
        None,
        "the name is still to be given"
    );
    bench.write("two", "3");
    let before = bench.files();
    assert_eq!(
        bench.images.pinned_already(&web).await.unwrap(),
        None,
        "a file has changed"
    );
    assert_eq!(bench.files(), before);
}

/// One digest for what the steps copy: other files of the context are no part of it, nor is the file that is left out.
#[tokio::test]
async fn a_source_is_another_once_what_its_steps_copy_is() {
    let bench = Bench::new();
    let ImageSource::Build(source) = bench.build("shop/web").source else {
        panic!("a build")
    };
    let digest = async || {
        let plan = bench.folder.path().join("context/plan.json");
        bench.images.source_digest(&source, &plan).await.unwrap()
    };
    bench.write(".dockerignore", "ignored");
    bench.write(
        "Dockerfile",
        "FROM scratch AS unused\nCOPY two /\nFROM scratch\nCOPY one folder /\n",
    );
    type Case<'a> = (&'a str, &'a str, &'a str, bool);
    let named: &[Case<'_>] = &[
        ("a file that is copied", "one", "2", true),
        ("one below a folder", "folder/deep/three", "2", true),
        ("a new one there", "folder/four", "", true),
        ("one that only another stage copies", "two", "2", false),
        ("one that nothing copies", "portolan.yaml", "kind: App", false),
        ("one that is ignored", "ignored", "2", false),
        ("the Dockerfile", "Dockerfile", "FROM scratch\nCOPY folder /\n", true),
        ("what is not copied any more", "one", "3", false),
    ];
    let all: &[Case<'_>] = &[
        ("all of the context", "Dockerfile", "FROM scratch\nCOPY . /\n", true),
        ("any file of it", "portolan.yaml", "kind: Target", true),
        ("the plan's own file", "plan.json", "{}", false),
        (
            "what a variable names",
            "Dockerfile",
            "FROM scratch\nARG x=one\nCOPY $x /\n",
            true,
        ),
        ("may be any file", "two", "3", true),
        ("but none that is ignored", "ignored", "3", false),
    ];
    bench.write("one", "1");
    bench.write("folder/deep/three", "1");
    let before = bench.files();
    let mut known = digest().await;
    assert_eq!(known, digest().await);
    assert_eq!(bench.files(), before, "nothing is written in order to know");
    for (reason, file, text, changes) in named.iter().chain(all) {
        bench.write(file, text);
        let now = digest().await;
        assert_eq!(now != known, *changes, "{reason}");
        known = now;
    }
}

#[tokio::test]
async fn equal_requests_at_the_same_time_are_one_build() {
    let bench = Bench::new();
    bench.write("Dockerfile", TWO_STEPS);
    bench.write("one", "1");
    bench.write("two", "2");
    let (one, two) = (bench.build("a"), bench.build("a"));
    let (one, two) = tokio::join!(bench.images.pin(&one), bench.images.pin(&two));
    assert_eq!(one.unwrap(), two.unwrap());
    let builds = bench
        .told
        .take()
        .iter()
        .filter(|line| line.ends_with(": build"))
        .count();
    assert_eq!(builds, 1);
}

#[tokio::test]
async fn what_the_store_has_needs_no_registry() {
    let bench = Bench::new();
    bench.write("Dockerfile", "FROM scratch\nCOPY one /\n");
    bench.write("one", "1");
    let built = bench.images.pin(&bench.build("shop/web:1")).await.unwrap();
    let named = request(ImageSource::Reference(reference("shop/web:1")));
    let pinned = bench.images.pin(&named).await.unwrap();
    assert_eq!(pinned.digest, built.digest);
    let by_digest = request(ImageSource::Reference(
        reference("shop/web").with_digest(built.digest.clone()),
    ));
    assert_eq!(
        bench.images.pinned_already(&by_digest).await.unwrap().unwrap().digest,
        built.digest
    );
    let unknown = request(ImageSource::Reference(reference("shop/web:2")));
    assert_eq!(
        bench.images.pinned_already(&unknown).await.unwrap(),
        None,
        "no registry is asked"
    );

    assert!(bench.images.is_unpacked(&built.digest).await.unwrap());
    let layers = bench.images.unpack(&built.digest).await.unwrap();
    assert_eq!(fs::read_to_string(layers[0].join("one")).unwrap(), "1");
    bench.images.store().remove(&reference("shop/web:1")).unwrap();
    assert_eq!(
        bench.images.pinned_already(&named).await.unwrap(),
        None,
        "a name that was taken away is seen at once"
    );
}

#[tokio::test]
async fn a_thousand_references_are_known_within_a_second() {
    let bench = Bench::new();
    let root = bench.folder.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), "x").unwrap();
    let name = Some(reference("shop/web:0"));
    let options = ImportOptions {
        name,
        ..ImportOptions::default()
    };
    import(bench.images.store(), &root, &options).unwrap();
    name_many(&bench.folder.path().join("store/index.json"), 1000);
    let begun = Instant::now();
    for number in 0..1000 {
        let named = request(ImageSource::Reference(reference(&format!("shop/web:{number}"))));
        assert!(bench.images.pinned_already(&named).await.unwrap().is_some());
    }
    let took = begun.elapsed();
    assert!(took.as_millis() < 1000, "{took:?}");
    eprintln!("1,000 references known in {took:?}");
}

/// Gives the one image of the index as many names, in one write instead of one for each.
fn name_many(index: &Path, names: usize) {
    let mut read: serde_json::Value = serde_json::from_slice(&fs::read(index).unwrap()).unwrap();
    let entries = (0..names).map(|number| {
        let mut entry = read["manifests"][0].clone();
        let name = entry["annotations"]["org.opencontainers.image.ref.name"]
            .as_str()
            .unwrap();
        let name = name.replace(":0", &format!(":{number}"));
        entry["annotations"]["org.opencontainers.image.ref.name"] = name.into();
        entry
    });
    read["manifests"] = entries.collect();
    fs::write(index, read.to_string()).unwrap();
}

#[tokio::test]
async fn failures_say_where_and_what_next() {
    let bench = Bench::new();
    let faults = bench.fault("FROM scratch\nCOPPY a b\nRUN --mount=type=cache,target=/c make\nADD https://a.example/f /\nONBUILD RUN x\n").await;
    assert_eq!(
        (faults.code.as_str(), faults.class),
        ("DockerfileInvalid", ErrorClass::Invalid)
    );
    let lines: Vec<(usize, &str)> = faults
        .places
        .iter()
        .map(|place| (place.line, place.text.as_str()))
        .collect();
    let expected = [
        (2, "COPPY a b"),
        (3, "RUN --mount=type=cache,target=/c make"),
        (4, "ADD https://a.example/f /"),
        (5, "ONBUILD RUN x"),
    ];
    assert_eq!(lines, expected);
    assert!(
        faults.places[0].message.contains("did you mean `COPY`?"),
        "{}",
        faults.places[0].message
    );

    let missing = bench.fault("FROM scratch\n\nCOPY nothing /\n").await;
    assert_eq!(missing.code, "BuildSourceMissing");
    assert_eq!(
        (missing.places[0].line, missing.places[0].text.as_str()),
        (3, "COPY nothing /")
    );

    let base = bench.fault("FROM 127.0.0.1:1/none\n").await;
    assert_eq!(
        (base.code.as_str(), base.class),
        ("RegistryUnreachable", ErrorClass::Retry { after: None })
    );
    assert_eq!(base.places[0].line, 1);

    let no_runtime = bench.fault("FROM scratch\nRUN x\n").await;
    assert_eq!(no_runtime.code, "RuntimeMissing");
    assert!(no_runtime.hint.unwrap().contains("portolan-runtime"));

    fs::remove_file(bench.folder.path().join("context/Dockerfile")).unwrap();
    let gone = bench.images.pin(&bench.build("faulty")).await.unwrap_err();
    assert_eq!((gone.code.as_str(), gone.places.len()), ("DockerfileMissing", 0));

    let unreachable = request(ImageSource::Reference(reference("127.0.0.1:1/none")));
    let error = bench.images.pin(&unreachable).await.unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.class),
        ("RegistryUnreachable", ErrorClass::Retry { after: None })
    );
}
