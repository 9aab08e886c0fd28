//! The store: several writers at once, crashes, damage, and what a prune may take.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use portolan_image::config::ContainerConfig;
use portolan_image::import::image_of_tree;
use portolan_image::layer::{Compression, PackOptions};
use portolan_image::store::{Hasher, Roots};
use portolan_image::{Algorithm, Content, Descriptor, Digest, Error, ErrorClass, ImageReference, Store};

fn store() -> (tempfile::TempDir, Store) {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path().join("images")).unwrap();
    (temp, store)
}

fn reference(text: &str) -> ImageReference {
    ImageReference::parse(text).unwrap()
}

/// An image of one layer with one file of this text.
fn image(store: &Store, text: &str) -> Descriptor {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("file"), text).unwrap();
    let pack = PackOptions {
        compression: Compression::Zstd,
        ..PackOptions::default()
    };
    image_of_tree(store, tree.path(), ContainerConfig::default(), &pack).unwrap()
}

#[test]
fn blobs_are_what_was_announced_or_nothing() {
    let (_temp, store) = store();
    let content = Hasher::content_of(Algorithm::Sha256, b"hello");
    let other = Hasher::content_of(Algorithm::Sha256, b"other");
    assert_eq!(store.put_blob(&b"hello"[..], Some(&content)).unwrap(), content);
    let mut read = String::new();
    store
        .open_blob(&content.digest)
        .unwrap()
        .read_to_string(&mut read)
        .unwrap();
    assert_eq!(read, "hello");
    let long = Content {
        size: 4,
        ..content.clone()
    };
    let short = Content {
        size: 6,
        ..content.clone()
    };
    for (bytes, expected, reason) in [
        (&b"hello"[..], &other, "another digest"),
        (b"hello", &long, "more than announced"),
        (b"hello", &short, "less than announced"),
        (b"", &content, "nothing"),
    ] {
        let error = store.put_blob(bytes, Some(expected)).expect_err(reason);
        assert!(
            matches!(error, Error::BlobMismatch { .. }) && error.class() == ErrorClass::Invalid,
            "{reason}"
        );
    }
    assert!(!store.has_blob(&other));
    assert!(matches!(store.open_blob(&other.digest), Err(Error::BlobMissing { .. })));
    let sha512 = Hasher::content_of(Algorithm::Sha512, b"hello");
    assert_eq!(store.put_blob(&b"hello"[..], Some(&sha512)).unwrap(), sha512);
    assert_eq!(
        fs::read_dir(store.root().join("tmp")).unwrap().count(),
        0,
        "nothing half-made is left"
    );
}

/// A source that breaks: the disk keeps nothing under a final name.
#[test]
fn a_broken_source_leaves_no_blob() {
    struct Broken(u8);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => Ok(buffer.len()),
                _ => Err(io::Error::other("the line is cut")),
            }
        }
    }
    let (_temp, store) = store();
    let error = store.put_blob(Broken(0), None).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Retry(None));
    assert!(!store.root().join("blobs/sha256").exists());
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn names_are_given_moved_and_taken() {
    let (_temp, store) = store();
    let (one, two) = (image(&store, "one"), image(&store, "two"));
    store.tag(&reference("shop:1"), &one).unwrap();
    store.tag(&reference("shop:2"), &one).unwrap();
    store.tag(&reference("shop:1"), &two).unwrap();
    let resolved = |text: &str| store.resolve(&reference(text)).unwrap().map(|found| found.digest);
    assert_eq!(resolved("shop:1"), Some(two.digest.clone()));
    assert_eq!(resolved("docker.io/library/shop:2"), Some(one.digest.clone()));
    assert_eq!(
        resolved(&format!("anything@{}", one.digest)),
        Some(one.digest.clone()),
        "a digest needs no name"
    );
    assert_eq!(
        resolved(&format!("shop:1@{}", one.digest)),
        Some(one.digest.clone()),
        "a digest wins over a tag"
    );
    assert_eq!(resolved("shop"), None);
    let listed: Vec<_> = store
        .list()
        .unwrap()
        .into_iter()
        .map(|image| image.reference.to_string())
        .collect();
    assert_eq!(listed, ["docker.io/library/shop:1", "docker.io/library/shop:2"]);
    assert!(store.remove(&reference("shop:1")).unwrap());
    assert!(!store.remove(&reference("shop:1")).unwrap());
    let missing = Descriptor {
        digest: Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap(),
        ..one
    };
    assert!(matches!(
        store.tag(&reference("shop:3"), &missing),
        Err(Error::BlobMissing { .. })
    ));
}

#[test]
fn entries_of_other_tools_are_kept() {
    let (_temp, store) = store();
    let one = image(&store, "one");
    let path = store.root().join("index.json");
    let foreign = format!(
        r#"{{"schemaVersion":2,"x-own":1,"manifests":[{{"mediaType":"{}","digest":"{}","size":{},"x":2,
            "annotations":{{"org.opencontainers.image.ref.name":"Not A Reference"}}}}]}}"#,
        one.media_type, one.digest, one.size
    );
    fs::write(&path, foreign).unwrap();
    assert!(store.list().unwrap().is_empty());
    store.tag(&reference("shop"), &one).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!((&index["x-own"], &index["manifests"][0]["x"]), (&1.into(), &2.into()));
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
}

/// Threads and processes that give names at the same time lose none.
#[test]
fn concurrent_names_are_all_kept() {
    let (_temp, store) = store();
    let one = image(&store, "one");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (store, one) = (&store, &one);
            scope.spawn(move || {
                // Its own handle, as another process would have.
                let store = Store::open(store.root()).unwrap();
                for number in 0..10 {
                    store.tag(&reference(&format!("shop:{thread}-{number}")), one).unwrap();
                }
            });
        }
    });
    let tags: BTreeSet<_> = store.list().unwrap().into_iter().map(|image| image.reference).collect();
    assert_eq!(tags.len(), 40);
}

#[test]
fn concurrent_blobs_and_layers_are_made_once() {
    let (_temp, store) = store();
    let one = image(&store, "one");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                assert_eq!(image(&store, "one").digest, one.digest, "packing is reproducible");
                let unpacked = store.unpack(&one.digest).unwrap();
                assert_eq!(fs::read_to_string(unpacked.layers[0].join("file")).unwrap(), "one");
            });
        }
    });
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn prune_takes_what_nothing_needs() {
    let (_temp, store) = store();
    let (kept, dropped, rooted) = (image(&store, "kept"), image(&store, "dropped"), image(&store, "rooted"));
    store.tag(&reference("kept"), &kept).unwrap();
    for image in [&kept, &dropped, &rooted] {
        store.unpack(&image.digest).unwrap();
    }
    let cached = store.put_blob(&b"cache"[..], None).unwrap();
    fs::write(store.root().join("tmp/left by a crash"), "x").unwrap();
    let roots = Roots {
        manifests: vec![rooted.digest.clone()],
        blobs: vec![cached.digest.clone()],
        layers: vec![],
    };
    let pruned = store.prune(&roots).unwrap();
    assert_eq!(
        (pruned.blobs, pruned.layers),
        (3, 1),
        "manifest, configuration and layer of the dropped image"
    );
    assert!(pruned.blob_bytes > 0);
    for image in [&kept, &rooted] {
        assert_eq!(store.unpack(&image.digest).unwrap().layers.len(), 1);
    }
    assert!(store.has_blob(&cached));
    assert!(matches!(
        store.manifest(&dropped.digest),
        Err(Error::BlobMissing { .. })
    ));
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    assert_eq!(
        store.prune(&roots).unwrap(),
        Default::default(),
        "the second time there is nothing"
    );
}

#[test]
fn prune_waits_for_no_one_and_meets_no_build() {
    let (_temp, store) = store();
    let hold = store.hold().unwrap();
    let fresh = image(&store, "not named yet");
    let error = Store::open(store.root()).unwrap().prune(&Roots::default()).unwrap_err();
    assert!(matches!(error, Error::StoreBusy { .. }) && error.class() == ErrorClass::Retry(None));
    store.tag(&reference("named"), &fresh).unwrap();
    drop(hold);
    assert_eq!(store.prune(&Roots::default()).unwrap().blobs, 0);
}

/// Bytes that rot on the disk are found when they are read, and stop a prune before it removes anything.
#[test]
fn damage_on_the_disk_is_found() {
    let (_temp, store) = store();
    let one = image(&store, "one");
    store.tag(&reference("one"), &one).unwrap();
    let manifest = store.manifest(&one.digest).unwrap();
    fs::write(store.blob_path(&one.digest), "x".repeat(one.size as usize)).unwrap();
    assert!(matches!(
        store.manifest(&one.digest),
        Err(Error::DocumentInvalid { .. })
    ));
    assert!(store.prune(&Roots::default()).is_err());
    assert!(store.has_blob(&manifest.config.content()));
}

#[test]
fn a_layer_that_is_not_its_diff_id_is_no_layer() {
    let (_temp, store) = store();
    let (one, two) = (image(&store, "one"), image(&store, "two"));
    let (mut manifest, other) = (
        store.manifest(&one.digest).unwrap(),
        store.manifest(&two.digest).unwrap(),
    );
    manifest.layers = other.layers;
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let swapped = store.put_bytes(&one.media_type, &bytes).unwrap();
    assert!(matches!(store.unpack(&swapped.digest), Err(Error::BlobMismatch { .. })));
    let diff_id = &store.config(&one.digest).unwrap().rootfs.diff_ids[0];
    assert!(store.has_unpacked(diff_id).is_none(), "nothing has the name of a layer");
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn the_store_is_closed_to_others_and_refuses_strangers() {
    let (temp, store) = store();
    let mode = |path: &str| fs::metadata(store.root().join(path)).unwrap().permissions().mode() & 0o777;
    for path in ["", "blobs", "layers", "tmp"] {
        assert_eq!(mode(path), 0o700, "{path:?}");
    }
    let strange = temp.path().join("strange");
    fs::create_dir(&strange).unwrap();
    fs::write(strange.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(matches!(Store::open(&strange), Err(Error::StoreUnknown { .. })));
}

/// Killed at any moment, a writer leaves a store in which everything that has a name is whole.
#[test]
fn killed_writers_leave_whole_blobs() {
    let (_temp, store) = store();
    let this = std::env::current_exe().unwrap();
    for round in 0..8u64 {
        let mut child = Command::new(&this)
            .args(["--ignored", "--exact", "child_that_writes_until_killed", "--nocapture"])
            .env("PORTOLAN_TEST_STORE", store.root())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // Until it has begun, and then a little longer each time.
        let mut output = child.stdout.take().unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"begun") {
            let mut byte = [0];
            output.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        std::thread::sleep(std::time::Duration::from_millis(round * 7));
        child.kill().unwrap();
        child.wait().unwrap();
        for named in store.list().unwrap() {
            let manifest = store.manifest(&named.descriptor.digest).unwrap();
            assert!(manifest.layers.iter().all(|layer| store.has_blob(&layer.content())));
            store.config_of(&manifest).unwrap();
        }
        for entry in fs::read_dir(store.root().join("blobs/sha256")).into_iter().flatten() {
            let path = entry.unwrap().path();
            let content = Hasher::content_of(Algorithm::Sha256, &fs::read(&path).unwrap());
            assert_eq!(path.file_name().unwrap().to_str().unwrap(), content.digest.hex());
        }
    }
    store.prune(&Roots::default()).unwrap();
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
#[ignore = "the process that killed_writers_leave_whole_blobs starts and kills"]
fn child_that_writes_until_killed() {
    let Some(root) = std::env::var_os("PORTOLAN_TEST_STORE") else {
        return;
    };
    let store = Store::open(root).unwrap();
    println!("begun");
    for number in 0.. {
        let text = format!("{number} {}", "x".repeat(100_000));
        let made = image(&store, &text);
        store.tag(&reference(&format!("child:{}", number % 5)), &made).unwrap();
        store.unpack(&made.digest).unwrap();
    }
}
