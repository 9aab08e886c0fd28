//! The registry client against Debian's `docker-registry`, on loopback.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

#[path = "common/registry.rs"]
mod registry;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portolan_image::config::ContainerConfig;
use portolan_image::import::image_of_tree;
use portolan_image::layer::{Compression, PackOptions};
use portolan_image::manifest::{OCI_INDEX, host_architecture};
use portolan_image::registry::{Anonymous, ClientOptions, Platforms, RegistryClient};
use portolan_image::{Descriptor, ErrorClass, Index, Platform, Progress, Silent, Store};
use registry::Registry;

#[derive(Default)]
struct Counting {
    bytes: AtomicU64,
}

impl Progress for Counting {
    fn started(&self, _unit: &str, _total: Option<u64>) {}
    fn advanced(&self, _unit: &str, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
    fn finished(&self, _unit: &str) {}
}

fn client() -> RegistryClient {
    RegistryClient::new(Arc::new(Anonymous), ClientOptions::default()).unwrap()
}

fn store() -> (tempfile::TempDir, Store) {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    (temp, store)
}

/// Several megabytes that do not compress, and a small file.
fn image(store: &Store, compression: Compression) -> Descriptor {
    let tree = tempfile::tempdir().unwrap();
    let mut state: u64 = 88_172_645_463_325_252;
    let noise: Vec<u8> = (0..3_000_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect();
    fs::write(tree.path().join("noise"), noise).unwrap();
    fs::write(tree.path().join("file"), "content").unwrap();
    let pack = PackOptions {
        compression,
        ..PackOptions::default()
    };
    image_of_tree(store, tree.path(), ContainerConfig::default(), &pack).unwrap()
}

fn content(directory: &Path) -> String {
    fs::read_to_string(directory.join("file")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_is_pulled() {
    let Some(registry) = Registry::start("what_is_pushed_is_pulled") else {
        return;
    };
    let client = client();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let ((_a, from), (_b, to)) = (store(), store());
        let made = image(&from, compression);
        let reference = registry.reference(&format!("shop/{compression:?}:1").to_lowercase());
        assert!(client.resolve(&reference).await.unwrap().is_none());
        client.push(&from, &made, &reference, &Silent).await.unwrap();
        client.push(&from, &made, &reference, &Silent).await.unwrap();
        let head = client.resolve(&reference).await.unwrap().unwrap();
        assert_eq!(
            (&head.digest, head.size, &head.media_type),
            (&made.digest, made.size, &made.media_type)
        );
        let counted = Counting::default();
        let pulled = client.pull(&reference, &to, Platforms::Host, &counted).await.unwrap();
        assert_eq!(pulled.descriptor.digest, made.digest);
        let manifest = to.manifest(&made.digest).unwrap();
        assert_eq!(
            counted.bytes.into_inner(),
            manifest.config.size + manifest.layers[0].size
        );
        assert_eq!(content(&to.unpack(&pulled.manifest).unwrap().layers[0]), "content");
        assert_eq!(to.list().unwrap()[0].reference, reference);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_push_uploads_nothing() {
    let Some(registry) = Registry::start("a_second_push_uploads_nothing") else {
        return;
    };
    let (_temp, store) = store();
    let made = image(&store, Compression::Gzip);
    let push = async |name: &str| {
        let reference = registry.reference(name);
        client().push(&store, &made, &reference, &Silent).await.unwrap();
    };
    push("shop/app:1").await;
    assert_eq!(registry.uploads(), 2, "the layer and the configuration");
    push("shop/app:1").await;
    push("shop/app:2").await;
    assert_eq!(registry.uploads(), 2, "blobs that the registry has are not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_layer_is_mounted() {
    let Some(registry) = Registry::start("a_known_layer_is_mounted") else {
        return;
    };
    let (_temp, store) = store();
    let made = image(&store, Compression::Zstd);
    let first = registry.reference("one/app:1");
    client().push(&store, &made, &first, &Silent).await.unwrap();
    store.tag(&first, &made).unwrap();
    // Without its layer's bytes a push can only succeed by the mount.
    let layer = store.manifest(&made.digest).unwrap().layers[0].clone();
    fs::write(store.blob_path(&layer.digest), vec![0; layer.size as usize]).unwrap();
    client()
        .push(&store, &made, &registry.reference("two/app:1"), &Silent)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_pulled_in_part_or_whole() {
    let Some(registry) = Registry::start("an_index_is_pulled_in_part_or_whole") else {
        return;
    };
    let (_a, from) = store();
    let mut index = Index::empty();
    for (architecture, compression) in [("other", Compression::Gzip), (host_architecture(), Compression::Zstd)] {
        let mut made = image(&from, compression);
        let platform = Platform {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: None,
            extra: Default::default(),
        };
        made.platform = Some(platform);
        index.manifests.push(made);
    }
    let top = from.put_bytes(OCI_INDEX, &serde_json::to_vec(&index).unwrap()).unwrap();
    let reference = registry.reference("shop/multi:1");
    client().push(&from, &top, &reference, &Silent).await.unwrap();

    let (_b, part) = store();
    let pulled = client()
        .pull(&reference, &part, Platforms::Host, &Silent)
        .await
        .unwrap();
    assert_eq!(
        (&pulled.descriptor.digest, &pulled.manifest),
        (&top.digest, &index.manifests[1].digest)
    );
    assert_eq!(part.unpack(&top.digest).unwrap().manifest, index.manifests[1].digest);
    let pinned = reference.with_digest(top.digest.clone());
    assert_eq!(part.resolve(&pinned).unwrap().unwrap().digest, top.digest);
    let error = client()
        .push(&part, &top, &registry.reference("shop/copy:1"), &Silent)
        .await
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::NotFound, "half an index is not pushed");

    let (_c, whole) = store();
    client()
        .pull(&reference, &whole, Platforms::All, &Silent)
        .await
        .unwrap();
    client()
        .push(&whole, &top, &registry.reference("shop/copy:1"), &Silent)
        .await
        .unwrap();
    assert_eq!(
        part.prune(&Default::default()).unwrap(),
        Default::default(),
        "a named index keeps its parts"
    );
}
