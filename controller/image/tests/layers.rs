//! Layers there and back: what is packed unpacks to the same, the same directory gives the same bytes, and the kernel's
//! overlayfs agrees with both directions.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use common::archive::Archive;
use portolan_image::Error;
use portolan_image::layer::{Compression, PackOptions, PackedLayer, UnpackOptions, pack, unpack};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

fn packed(directory: &Path, options: &PackOptions) -> (PackedLayer, Vec<u8>) {
    pack(directory, options, Vec::new()).unwrap()
}

fn plain() -> PackOptions {
    PackOptions {
        compression: Compression::None,
        ..PackOptions::default()
    }
}

fn needs_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIP {test}: owners and device nodes need root");
    }
    root
}

fn set_time(path: &Path, seconds: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A tree with one of everything.
fn fill(root: &Path) {
    let long = "n".repeat(120);
    fs::create_dir_all(root.join("d").join(&long)).unwrap();
    fs::write(root.join("d").join(&long).join("deep"), "deep").unwrap();
    fs::write(root.join("file"), vec![7; 200_000]).unwrap();
    fs::set_permissions(root.join("file"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(root.join("file"), root.join("d/second name")).unwrap();
    symlink("/etc/passwd", root.join("link")).unwrap();
    symlink("t".repeat(150), root.join("long link")).unwrap();
    fs::write(root.join("ümläut"), "x").unwrap();
    chown(root.join("ümläut"), Some(3_000_000_000), Some(70_000)).unwrap();
    rustix::fs::mknodat(
        CWD,
        root.join("null"),
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o666),
        rustix::fs::makedev(1, 3),
    )
    .unwrap();
    rustix::fs::mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let capability = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    rustix::fs::lsetxattr(
        root.join("file"),
        "security.capability",
        capability,
        XattrFlags::empty(),
    )
    .unwrap();
    fs::write(root.join("old"), "x").unwrap();
    set_time(&root.join("old"), -100);
    set_time(&root.join("link"), 1000);
    set_time(&root.join("d"), 2000);
    set_time(root, 3000);
}

/// Path, type and mode, owner, time, links, device, size, target, content: of the whole tree.
fn describe(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let target = fs::read_link(&path).unwrap_or_default();
        let content = if meta.is_file() {
            fs::read(&path).unwrap().len()
        } else {
            0
        };
        let mut capability = [0; 64];
        let capable = rustix::fs::lgetxattr(&path, "security.capability", &mut capability[..]).unwrap_or(0);
        let links = if meta.is_dir() { 0 } else { meta.nlink() };
        lines.push(format!(
            "{:?} {:o} {}:{} {} {links} {} {target:?} {content} {capable}",
            path.strip_prefix(root).unwrap(),
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.rdev()
        ));
        if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    lines.sort();
    lines
}

#[test]
fn what_is_packed_unpacks_to_the_same() {
    if !needs_root("what_is_packed_unpacks_to_the_same") {
        return;
    }
    let tree = tempfile::tempdir().unwrap();
    fill(tree.path());
    let (reference, _) = packed(tree.path(), &plain());
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let options = PackOptions {
            compression,
            ..PackOptions::default()
        };
        let (layer, bytes) = packed(tree.path(), &options);
        assert_eq!(layer.packed.size, bytes.len() as u64);
        assert_eq!(
            layer.diff, reference.diff,
            "the diff id does not depend on the compression"
        );
        assert_eq!(packed(tree.path(), &options).1, bytes, "the same bytes each time");
        let copy = tempfile::tempdir().unwrap();
        let unpacked = unpack(&bytes[..], compression, copy.path(), &UnpackOptions::default()).unwrap();
        assert_eq!((&unpacked.diff, unpacked.entries), (&layer.diff, layer.entries));
        assert_eq!(describe(copy.path()), describe(tree.path()));
        assert_eq!(packed(copy.path(), &options).1, bytes, "and back again");
    }
}

#[test]
fn times_and_owners_can_be_settled() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("a"), "x").unwrap();
    let settled = PackOptions {
        latest_mtime: Some(1000),
        owner: Some((0, 0)),
        ..plain()
    };
    let (first, _) = packed(tree.path(), &settled);
    set_time(&tree.path().join("a"), 2_000_000);
    set_time(tree.path(), 3_000_000);
    assert_eq!(packed(tree.path(), &settled).0, first);
    set_time(&tree.path().join("a"), 999);
    assert_ne!(packed(tree.path(), &settled).0, first, "earlier times stay");
}

#[test]
fn what_a_layer_cannot_express_is_refused() {
    if !needs_root("what_a_layer_cannot_express_is_refused") {
        return;
    }
    let named = tempfile::tempdir().unwrap();
    fs::write(named.path().join(".wh.x"), "").unwrap();
    let redirected = tempfile::tempdir().unwrap();
    fs::create_dir(redirected.path().join("d")).unwrap();
    rustix::fs::lsetxattr(
        redirected.path().join("d"),
        "trusted.overlay.redirect",
        b"/e",
        XattrFlags::empty(),
    )
    .unwrap();
    for tree in [named, redirected] {
        let error = pack(tree.path(), &plain(), Vec::new()).unwrap_err();
        assert!(matches!(error, Error::LayerInexpressible { .. }), "{error}");
    }
}

/// Mounts an overlay of real lower and upper directories, changes things in it, packs the upper one, unpacks that
/// beside the lower one, and mounts the two: the same tree must appear.
#[test]
fn the_kernel_agrees_about_whiteouts() {
    let test = "the_kernel_agrees_about_whiteouts";
    if !needs_root(test) {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    for name in [
        "lower/gone",
        "lower/opaque",
        "lower/kept",
        "upper",
        "work",
        "merged",
        "copy",
        "view",
    ] {
        fs::create_dir_all(at(name)).unwrap();
    }
    for name in [
        "lower/gone/a",
        "lower/opaque/a",
        "lower/kept/a",
        "lower/kept/b",
        "lower/file",
    ] {
        fs::write(at(name), name).unwrap();
    }
    let inside = |script: &str| {
        let status = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-ec", script])
            .status();
        status.is_ok_and(|status| status.success())
    };
    let (lower, upper, work, merged) = (at("lower"), at("upper"), at("work"), at("merged"));
    let (lower, upper, work, merged) = (lower.display(), upper.display(), work.display(), merged.display());
    let mount = format!("mount -t overlay overlay -o lowerdir={lower},upperdir={upper},workdir={work} {merged}");
    if !inside(&mount) {
        eprintln!("SKIP {test}: no overlay can be mounted here");
        return;
    }
    let change = "rm -r gone opaque file; rm kept/a; mkdir opaque; echo new > opaque/new; echo x > file2";
    assert!(inside(&format!(
        "{mount}; cd {merged}; {change}; find . | sort > {}",
        at("expected").display()
    )));

    let (layer, bytes) = packed(&at("upper"), &plain());
    unpack(&bytes[..], Compression::None, &at("copy"), &UnpackOptions::default()).unwrap();
    assert_eq!(packed(&at("copy"), &plain()).0, layer);
    let (copy, view) = (at("copy"), at("view"));
    let (copy, view) = (copy.display(), view.display());
    let mount = format!("mount -t overlay overlay -o lowerdir={copy}:{lower} {view}");
    assert!(inside(&format!(
        "{mount}; cd {view}; find . | sort > {}",
        at("found").display()
    )));
    let read = |name: &str| fs::read_to_string(at(name)).unwrap();
    assert_eq!(read("expected"), read("found"));
    assert_eq!(read("found"), ".\n./file2\n./kept\n./kept/b\n./opaque\n./opaque/new\n");
}

#[test]
fn an_archive_of_many_entries_is_read_in_full() {
    let mut archive = Archive::new();
    for number in 0..20_000 {
        archive = archive.file(&format!("d{}/f{number}", number % 100), "");
    }
    let place = tempfile::tempdir().unwrap();
    let unpacked = unpack(
        &archive.end()[..],
        Compression::None,
        place.path(),
        &UnpackOptions::default(),
    )
    .unwrap();
    assert_eq!(unpacked.entries, 20_000);
    assert_eq!(fs::read_dir(place.path().join("d7")).unwrap().count(), 200);
}
