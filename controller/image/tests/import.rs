//! Import: file trees, image layouts and the archives of `docker save`, honest and not.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::archive::Archive;
use portolan_image::config::ContainerConfig;
use portolan_image::import::{ImportOptions, import, import_archive};
use portolan_image::layer::Compression;
use portolan_image::store::Hasher;
use portolan_image::{Algorithm, Error, ImageConfig, ImageReference, Store};

fn store() -> (tempfile::TempDir, Store) {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path().join("images")).unwrap();
    (temp, store)
}

fn reference(text: &str) -> ImageReference {
    ImageReference::parse(text).unwrap()
}

fn called(name: &str) -> ImportOptions {
    ImportOptions {
        name: Some(reference(name)),
        ..ImportOptions::default()
    }
}

fn file_of(store: &Store, name: &str) -> String {
    let image = store.resolve(&reference(name)).unwrap().unwrap();
    let unpacked = store.unpack(&image.digest).unwrap();
    fs::read_to_string(unpacked.layers[0].join("file")).unwrap()
}

/// `docker save` of one image with one layer.
fn docker_archive(layer: &[u8], config_layer: &[u8], tags: &str) -> Archive {
    let mut config = ImageConfig::empty();
    config
        .rootfs
        .diff_ids
        .push(Hasher::content_of(Algorithm::Sha256, config_layer).digest);
    config.config.cmd = Some(vec!["/bin/sh".into()]);
    let config = serde_json::to_string(&config).unwrap();
    let manifest = format!(r#"[{{"Config":"c.json","RepoTags":{tags},"Layers":["l/layer.tar"]}}]"#);
    let block = common::archive::Block::new(b"l/layer.tar", b'0', layer.len() as u64);
    Archive::new()
        .file("c.json", &config)
        .block(block, layer)
        .file("manifest.json", &manifest)
}

#[test]
fn a_tree_becomes_an_image() {
    let (_temp, store) = store();
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("file"), "tree").unwrap();
    let config = ContainerConfig {
        cmd: Some(vec!["/file".into()]),
        ..ContainerConfig::default()
    };
    let options = ImportOptions {
        config,
        ..called("base")
    };
    let images = import(&store, tree.path(), &options).unwrap();
    assert_eq!(file_of(&store, "base"), "tree");
    let config = store.config(&images[0].descriptor.digest).unwrap();
    assert_eq!(config.config.cmd, Some(vec!["/file".into()]));
    assert!(matches!(
        import(&store, tree.path(), &ImportOptions::default()),
        Err(Error::ImportUnnamed)
    ));
}

#[test]
fn an_archive_of_a_tree_becomes_an_image() {
    let (_temp, store) = store();
    let archive = Archive::new().file("file", "tar").end();
    let zstd = zstd::stream::encode_all(&archive[..], 1).unwrap();
    for (name, bytes) in [("plain", &archive), ("packed", &zstd)] {
        let images = import_archive(&store, &bytes[..], &called(name)).unwrap();
        let diff_id = &store.config(&images[0].descriptor.digest).unwrap().rootfs.diff_ids[0];
        assert!(store.has_unpacked(diff_id).is_some(), "it is unpacked already");
        assert_eq!(file_of(&store, name), "tar");
    }
}

#[test]
fn a_layout_is_copied_with_its_names() {
    let (_temp, from) = store();
    let (_other, to) = store();
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("file"), "layout").unwrap();
    let made = import(&from, tree.path(), &called("r.example/a:1")).unwrap();
    let images = import(&to, from.root(), &ImportOptions::default()).unwrap();
    assert_eq!(images[0].reference, reference("r.example/a:1"));
    assert_eq!(images[0].descriptor.digest, made[0].descriptor.digest);
    import(&to, from.root(), &called("renamed")).unwrap();
    assert_eq!(file_of(&to, "renamed"), "layout");

    let manifest = from.manifest(&made[0].descriptor.digest).unwrap();
    fs::write(from.blob_path(&manifest.layers[0].digest), "something else").unwrap();
    let (_third, empty) = store();
    assert!(matches!(
        import(&empty, from.root(), &ImportOptions::default()),
        Err(Error::BlobMismatch { .. })
    ));
    assert!(empty.list().unwrap().is_empty());
}

#[test]
fn a_saved_image_is_imported_and_compressed() {
    let (_temp, store) = store();
    let layer = Archive::new().file("file", "saved").end();
    let archive = docker_archive(&layer, &layer, r#"["shop:1","shop:2"]"#).end();
    let images = import_archive(&store, &archive[..], &ImportOptions::default()).unwrap();
    assert_eq!(images.len(), 2);
    assert_eq!(file_of(&store, "shop:2"), "saved");
    let manifest = store.manifest(&images[0].descriptor.digest).unwrap();
    assert_eq!(manifest.layers[0].media_type, Compression::Gzip.media_type());
    assert_eq!(
        store.config_of(&manifest).unwrap().config.cmd,
        Some(vec!["/bin/sh".into()])
    );
}

#[test]
fn archives_that_lie_are_rejected() {
    let (temp, store) = store();
    let secret = temp.path().join("secret");
    fs::write(&secret, "{}").unwrap();
    let layer = Archive::new().file("file", "x").end();
    let other = Archive::new().file("file", "y").end();
    let named = |config: &str, layer: &str| {
        Archive::new().file(
            "manifest.json",
            &format!(r#"[{{"Config":"{config}","RepoTags":["a"],"Layers":[{layer}]}}]"#),
        )
    };
    let host = secret.to_str().unwrap();
    for (archive, reason) in [
        (
            docker_archive(&layer, &other, r#"["a"]"#),
            "a layer that is not its diff id",
        ),
        (docker_archive(&layer, &layer, "null"), "no name"),
        (
            docker_archive(&layer, &layer, r#"["Not A Name"]"#),
            "a name that is none",
        ),
        (named("../secret", ""), "a configuration upwards"),
        (named(host, ""), "a configuration of the host"),
        (
            named("link", "").symlink("link", host),
            "a configuration that is a link to the host",
        ),
        (named("pipe", "").fifo("pipe"), "a configuration that never ends"),
        (named("missing", ""), "a configuration that is not there"),
        (Archive::new().file("manifest.json", "{"), "no JSON"),
        (Archive::new().file("../escape", "x"), "a name upwards"),
        (Archive::new().file("a/.wh.b", ""), "a whiteout in a tree"),
        (
            Archive::new()
                .file("oci-layout", "{}")
                .file("index.json", r#"{"schemaVersion":2,"manifests":[]}"#),
            "no image",
        ),
    ] {
        let options = ImportOptions::default();
        assert!(
            import_archive(&store, &archive.end()[..], &options).is_err(),
            "{reason}"
        );
        assert!(store.list().unwrap().is_empty(), "{reason}");
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), "{}");
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    assert!(!Path::new("escape").exists());
}
