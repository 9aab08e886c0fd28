//! Archives that attack whoever unpacks them. Each is rejected for its own reason, or unpacked without harm; beside
//! the directory lies a canary tree, which must be the same afterwards, to its times and modes.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use common::archive::{Archive, Block, record};
use portolan_image::layer::{Compression, Limits, UnpackOptions, unpack};

/// What must come of an archive.
enum Expect {
    /// An error whose chain contains this text.
    Rejected(&'static str),
    /// Unpacked, and then this holds of the directory.
    Harmless(fn(&Path) -> bool),
}
use Expect::{Harmless, Rejected};

struct Case {
    reason: &'static str,
    archive: Vec<u8>,
    expect: Expect,
}

fn case(reason: &'static str, archive: Archive, expect: Expect) -> Case {
    Case {
        reason,
        archive: archive.end(),
        expect,
    }
}

fn raw(reason: &'static str, archive: Vec<u8>, expect: Expect) -> Case {
    Case {
        reason,
        archive,
        expect,
    }
}

/// A directory for the layer with the canary beside it.
struct Place {
    _temp: tempfile::TempDir,
    outer: PathBuf,
    layer: PathBuf,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let outer = temp.path().to_owned();
        fs::create_dir_all(outer.join("canary/etc")).unwrap();
        fs::write(outer.join("canary/etc/secret"), "untouched").unwrap();
        fs::write(outer.join("canary/victim"), "untouched").unwrap();
        symlink("etc", outer.join("canary/link")).unwrap();
        let layer = outer.join("layer");
        fs::create_dir(&layer).unwrap();
        Self {
            _temp: temp,
            outer,
            layer,
        }
    }

    /// Everything outside the layer: path, mode, owner, times, content.
    fn outside(&self) -> Vec<String> {
        let mut found = Vec::new();
        snapshot(&self.outer, &self.layer, &mut found);
        found.sort();
        found
    }
}

fn snapshot(directory: &Path, except: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path == except {
            continue;
        }
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_file() {
            fs::read_to_string(&path).unwrap()
        } else {
            String::new()
        };
        let (mode, uid, links) = (meta.mode(), meta.uid(), meta.nlink());
        found.push(format!(
            "{path:?} {mode:o} {uid} {links} {} {} {content}",
            meta.mtime(),
            meta.ctime_nsec()
        ));
        if meta.is_dir() {
            snapshot(&path, except, found);
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

fn check(case: &Case, place: &Place, limits: &Limits) {
    let before = place.outside();
    let options = UnpackOptions {
        limits: limits.clone(),
        ..UnpackOptions::default()
    };
    let outcome = unpack(&case.archive[..], Compression::None, &place.layer, &options);
    match (&case.expect, outcome) {
        (Rejected(part), Err(error)) => {
            let text = chain(&error);
            assert!(text.contains(part), "{}: {text}", case.reason);
        }
        (Harmless(holds), Ok(_)) => assert!(holds(&place.layer), "{}", case.reason),
        (Rejected(_), Ok(_)) => panic!("{}: was unpacked", case.reason),
        (Harmless(_), Err(error)) => panic!("{}: was rejected: {}", case.reason, chain(&error)),
    }
    assert_eq!(
        before,
        place.outside(),
        "{}: the world outside has changed",
        case.reason
    );
}

fn check_all(cases: &[Case]) {
    for case in cases {
        check(case, &Place::new(), &Limits::default());
    }
}

fn exists(path: PathBuf) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn content(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn mode(path: PathBuf) -> u32 {
    fs::symlink_metadata(path).map_or(0, |meta| meta.permissions().mode() & 0o7777)
}

fn is_whiteout(path: PathBuf) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_char_device() && meta.rdev() == 0)
}

fn is_opaque(path: PathBuf) -> bool {
    let mut value = [0; 8];
    rustix::fs::lgetxattr(path, "trusted.overlay.opaque", &mut value[..]).is_ok_and(|length| value[..length] == *b"y")
}

fn needs_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIP {test}: owners and device nodes need root");
    }
    root
}

#[test]
fn names_that_lead_elsewhere() {
    if !needs_root("names_that_lead_elsewhere") {
        return;
    }
    let long = "x".repeat(300);
    check_all(&[
        case(
            "a name upwards",
            Archive::new().file("../canary/victim", "x"),
            Rejected("upwards"),
        ),
        case(
            "upwards in the middle",
            Archive::new().dir("a").file("a/../../canary/victim", "x"),
            Rejected("upwards"),
        ),
        case(
            "upwards and down again",
            Archive::new().file("a/../b", "x"),
            Rejected("upwards"),
        ),
        case(
            "upwards behind a dot",
            Archive::new().file("./../canary/victim", "x"),
            Rejected("upwards"),
        ),
        case("a folder upwards", Archive::new().dir("../evil/"), Rejected("upwards")),
        case("only ..", Archive::new().dir(".."), Rejected("upwards")),
        case(
            "an absolute name",
            Archive::new().file("/etc/passwd", "x"),
            Rejected("absolute"),
        ),
        case(
            "two slashes",
            Archive::new().file("//etc/passwd", "x"),
            Rejected("absolute"),
        ),
        case("an empty name", Archive::new().file("", "x"), Rejected("empty")),
        case(
            "a NUL in a long name, behind which a shorter reader stops",
            Archive::new().pax(&[("path", b"a\0b")]).file("a", "x"),
            Rejected("NUL"),
        ),
        case(
            "bytes behind the NUL of a name",
            Archive::new().block(Block::new(b"a", b'0', 0).with(2, b"b"), b""),
            Rejected("NUL"),
        ),
        case(
            "an upward name in an extended header",
            Archive::new().pax(&[("path", b"../canary/victim")]).file("fine", "x"),
            Rejected("upwards"),
        ),
        case(
            "an upward GNU long name",
            Archive::new().gnu_long(b'L', b"../canary/victim").file("fine", "x"),
            Rejected("upwards"),
        ),
        case(
            "an upward prefix of a ustar name",
            Archive::new().block(Block::new(b"victim", b'0', 1).with(345, b"../canary"), b"x"),
            Rejected("upwards"),
        ),
        case(
            "an absolute prefix of a ustar name",
            Archive::new().block(Block::new(b"passwd", b'0', 1).with(345, b"/etc"), b"x"),
            Rejected("absolute"),
        ),
        case(
            "a component longer than a file system takes",
            Archive::new().pax(&[("path", long.as_bytes())]).file("a", ""),
            Rejected("longer than 255"),
        ),
        case(
            "a path longer than a call takes",
            Archive::new().pax(&[("path", "ab/".repeat(1500).as_bytes())]).dir("a"),
            Rejected("longer than 4095"),
        ),
        case(
            "dots and empty parts are only untidy",
            Archive::new().file("./a//./b", "x"),
            Harmless(|layer| content(layer.join("a/b")) == "x"),
        ),
        case(
            "a name of dots is a name",
            Archive::new().file(".../..a", "x"),
            Harmless(|layer| content(layer.join(".../..a")) == "x"),
        ),
        case(
            "a newline and bytes that are no text",
            Archive::new().block(Block::new(b"a\n\xff", b'0', 1), b"x"),
            Harmless(|layer| fs::read_dir(layer).unwrap().count() == 1),
        ),
    ]);
}

#[test]
fn links_that_lead_elsewhere() {
    if !needs_root("links_that_lead_elsewhere") {
        return;
    }
    let place = Place::new();
    let host = place.outer.join("canary").to_str().unwrap().to_owned();
    let through = "leads through a symbolic link";
    let cases = [
        case(
            "a link to a host folder, then a file through it (CVE-2026-46703)",
            Archive::new().symlink("out", &host).file("out/victim", "x"),
            Rejected(through),
        ),
        case(
            "the same with a relative target",
            Archive::new().symlink("out", "../canary").file("out/victim", "x"),
            Rejected(through),
        ),
        case(
            "a folder made through a link (CVE-2021-29136)",
            Archive::new().symlink("out", &host).dir("out/new"),
            Rejected(through),
        ),
        case(
            "a missing parent below a link",
            Archive::new().symlink("out", &host).file("out/new/file", "x"),
            Rejected(through),
        ),
        case(
            "a link inside the layer is no way either",
            Archive::new().dir("a").symlink("b", "a").file("b/c", "x"),
            Rejected(through),
        ),
        case(
            "two links in a row",
            Archive::new()
                .symlink("a", &host)
                .symlink("b", "a")
                .file("b/victim", "x"),
            Rejected(through),
        ),
        case(
            "a link that leads to itself",
            Archive::new().symlink("a", "a").file("a/b", "x"),
            Rejected(through),
        ),
        case(
            "a symlink made through a link",
            Archive::new().symlink("out", &host).symlink("out/l", "x"),
            Rejected(through),
        ),
        case(
            "a device made through a link",
            Archive::new().symlink("out", &host).char_device("out/d", 1, 3),
            Rejected(through),
        ),
        case(
            "a pipe made through a link",
            Archive::new().symlink("out", &host).fifo("out/p"),
            Rejected(through),
        ),
        case(
            "a whiteout made through a link",
            Archive::new().symlink("out", &host).file("out/.wh.victim", ""),
            Rejected(through),
        ),
        case(
            "an opaque folder that is a link",
            Archive::new().symlink("out", &host).file("out/.wh..wh..opq", ""),
            Rejected(through),
        ),
        case(
            "a hard link to a name upwards",
            Archive::new().hard_link("l", "../canary/victim"),
            Rejected("upwards"),
        ),
        case(
            "a hard link to an absolute name",
            Archive::new().hard_link("l", "/etc/passwd"),
            Rejected("absolute"),
        ),
        case(
            "a hard link through a link",
            Archive::new().symlink("out", &host).hard_link("l", "out/victim"),
            Rejected(through),
        ),
        case(
            "a hard link made through a link",
            Archive::new()
                .file("f", "x")
                .symlink("out", &host)
                .hard_link("out/l", "f"),
            Rejected(through),
        ),
        case(
            "a hard link to nothing",
            Archive::new().hard_link("l", "missing"),
            Rejected("not in this layer"),
        ),
        case(
            "a hard link to nothing in nothing",
            Archive::new().hard_link("l", "missing/too"),
            Rejected("not in this layer"),
        ),
        case(
            "a hard link to itself",
            Archive::new().file("f", "x").hard_link("f", "f"),
            Rejected("not in this layer"),
        ),
        case(
            "a hard link to a folder",
            Archive::new().dir("d").hard_link("l", "d"),
            Rejected("directory or a whiteout"),
        ),
        case(
            "a hard link to the root",
            Archive::new().hard_link("l", "."),
            Rejected("directory or a whiteout"),
        ),
        case(
            "a hard link to a whiteout",
            Archive::new().file(".wh.a", "").hard_link("l", "a"),
            Rejected("directory or a whiteout"),
        ),
        case(
            "a hard link with an upward extended target",
            Archive::new()
                .file("f", "x")
                .pax(&[("linkpath", b"../canary/victim")])
                .hard_link("l", "f"),
            Rejected("upwards"),
        ),
        case(
            "a symlink without a target",
            Archive::new().symlink("l", ""),
            Rejected("target is empty"),
        ),
        case(
            "a symlink with a NUL",
            Archive::new().pax(&[("linkpath", b"a\0b")]).symlink("l", "x"),
            Rejected("NUL"),
        ),
        case(
            "the root as a link (CVE-2021-38511)",
            Archive::new().symlink(".", &host).file("victim", "x"),
            Rejected("root of the layer"),
        ),
        case(
            "the root as a file",
            Archive::new().file("./", "x"),
            Rejected("size of 1"),
        ),
        case(
            "the root as an empty file",
            Archive::new().block(Block::new(b".", b'0', 0), b""),
            Rejected("root of the layer"),
        ),
        case(
            "the root as a hard link",
            Archive::new().file("f", "").hard_link(".", "f"),
            Rejected("root of the layer"),
        ),
        case(
            "a file below a file",
            Archive::new().file("f", "x").file("f/g", "x"),
            Rejected("no directory"),
        ),
        case(
            "a file below a device",
            Archive::new().char_device("d", 1, 3).file("d/g", "x"),
            Rejected("no directory"),
        ),
        case(
            "a link, then a folder of the same name, then a file in it (CVE-2026-33056)",
            Archive::new().symlink("a", &host).dir("a").file("a/victim", "mine"),
            Harmless(|layer| {
                fs::symlink_metadata(layer.join("a")).unwrap().is_dir() && content(layer.join("a/victim")) == "mine"
            }),
        ),
        case(
            "a folder, then a link of the same name, then a file through it",
            Archive::new().dir("a").symlink("a", &host).file("a/victim", "x"),
            Rejected(through),
        ),
        case(
            "a folder kept open, replaced by a link, then a file through it",
            Archive::new()
                .dir("a")
                .dir("a/b")
                .block(Block::new(b"a/b", b'2', 0).link(b"/"), b"")
                .file("a/b/victim", "x"),
            Rejected(through),
        ),
        case(
            "a link, then a file of the same name: the link's target is not written (CVE-2018-20990)",
            Archive::new().symlink("a", &format!("{host}/victim")).file("a", "mine"),
            Harmless(|layer| {
                fs::symlink_metadata(layer.join("a")).unwrap().is_file() && content(layer.join("a")) == "mine"
            }),
        ),
        case(
            "a hard link, then a file of the same name: the first file is not written",
            Archive::new()
                .file("f", "first")
                .hard_link("l", "f")
                .file("l", "second"),
            Harmless(|layer| content(layer.join("f")) == "first" && content(layer.join("l")) == "second"),
        ),
        case(
            "a hard link to a symlink is another name of the link",
            Archive::new().symlink("s", &host).hard_link("l", "s"),
            Harmless(|layer| fs::symlink_metadata(layer.join("l")).unwrap().is_symlink()),
        ),
        case(
            "a mode for a link is not its target's",
            Archive::new().block(
                Block::new(b"s", b'2', 0)
                    .link(format!("{host}/victim").as_bytes())
                    .mode(0o777)
                    .owner(7, 7)
                    .mtime(9),
                b"",
            ),
            Harmless(|layer| fs::symlink_metadata(layer.join("s")).unwrap().uid() == 7),
        ),
        case(
            "links may point anywhere as long as nobody follows them",
            Archive::new()
                .symlink("a", "/")
                .symlink("b", "../../../..")
                .symlink("c", "/proc/self/root"),
            Harmless(|layer| fs::read_link(layer.join("b")).unwrap() == Path::new("../../../..")),
        ),
        case(
            "a folder that is not empty, replaced by a file",
            Archive::new().file("d/f", "x").file("d", "x"),
            Rejected("not empty"),
        ),
    ];
    for case in &cases {
        fs::remove_dir_all(&place.layer).unwrap();
        fs::create_dir(&place.layer).unwrap();
        let _ = fs::metadata(&place.outer);
        check(case, &place, &Limits::default());
    }
}

#[test]
fn whiteouts_that_lie() {
    if !needs_root("whiteouts_that_lie") {
        return;
    }
    let whiteout = "a whiteout must be";
    check_all(&[
        case(
            "a whiteout of ..",
            Archive::new().file(".wh...", ""),
            Rejected(whiteout),
        ),
        case("a whiteout of .", Archive::new().file(".wh..", ""), Rejected(whiteout)),
        case(
            "a whiteout of nothing",
            Archive::new().file(".wh.", ""),
            Rejected(whiteout),
        ),
        case(
            "a whiteout of .. deeper",
            Archive::new().file("a/.wh...", ""),
            Rejected(whiteout),
        ),
        case(
            "a whiteout with content",
            Archive::new().file(".wh.a", "x"),
            Rejected(whiteout),
        ),
        case(
            "a whiteout that is a folder",
            Archive::new().dir(".wh.a"),
            Rejected(whiteout),
        ),
        case(
            "a whiteout that is a link",
            Archive::new().symlink(".wh.a", "/"),
            Rejected(whiteout),
        ),
        case(
            "a file in a folder named as a whiteout",
            Archive::new().file(".wh.a/b", "x"),
            Rejected(whiteout),
        ),
        case(
            "another marker of a former file system",
            Archive::new().file(".wh..wh.plnk", ""),
            Rejected(whiteout),
        ),
        case(
            "an opaque marker with content",
            Archive::new().file("a/.wh..wh..opq", "x"),
            Rejected(whiteout),
        ),
        case(
            "an opaque root",
            Archive::new().file(".wh..wh..opq", ""),
            Rejected("cannot be opaque"),
        ),
        case(
            "overlayfs's own whiteout",
            Archive::new().char_device("a", 0, 0),
            Rejected("is a whiteout of overlayfs"),
        ),
        case(
            "a whiteout",
            Archive::new().file("d/.wh.a", ""),
            Harmless(|layer| is_whiteout(layer.join("d/a")) && !exists(layer.join("d/.wh.a"))),
        ),
        case(
            "an opaque folder",
            Archive::new().dir("d").file("d/.wh..wh..opq", ""),
            Harmless(|layer| is_opaque(layer.join("d")) && !exists(layer.join("d/.wh..wh..opq"))),
        ),
        case(
            "a marker before its folder",
            Archive::new().file("d/.wh..wh..opq", "").dir("d"),
            Harmless(|layer| is_opaque(layer.join("d"))),
        ),
        case(
            "a whiteout and then a folder hides the folder below",
            Archive::new().file(".wh.d", "").dir("d"),
            Harmless(|layer| is_opaque(layer.join("d"))),
        ),
        case(
            "a folder and then its whiteout too",
            Archive::new().file("d/f", "x").file(".wh.d", ""),
            Harmless(|layer| is_opaque(layer.join("d")) && exists(layer.join("d/f"))),
        ),
        case(
            "a whiteout does not remove this layer's file",
            Archive::new().file("f", "x").file(".wh.f", ""),
            Harmless(|layer| content(layer.join("f")) == "x"),
        ),
        case(
            "a file after its whiteout",
            Archive::new().file(".wh.f", "").file("f", "x"),
            Harmless(|layer| content(layer.join("f")) == "x"),
        ),
        case(
            "the same whiteout twice",
            Archive::new().file(".wh.f", "").file(".wh.f", ""),
            Harmless(|layer| is_whiteout(layer.join("f"))),
        ),
    ]);
}

#[test]
fn archives_with_two_readings() {
    if !needs_root("archives_with_two_readings") {
        return;
    }
    let inner = Archive::new().file("../canary/victim", "smuggled");
    let sparse = record("GNU.sparse.major", b"1");
    check_all(&[
        case(
            "an extended size that hides members (CVE-2025-62518)",
            Archive::new()
                .pax(&[("size", b"1024")])
                .block(Block::new(b"a", b'0', 0), b"")
                .raw(&inner.bytes),
            Rejected("disagree"),
        ),
        case(
            "an extended size of zero over content (CVE-2026-33055)",
            Archive::new().pax(&[("size", b"0")]).file("a", "content"),
            Rejected("disagree"),
        ),
        case(
            "an extended size that agrees",
            Archive::new().pax(&[("size", b"7")]).file("a", "content"),
            Harmless(|layer| content(layer.join("a")) == "content"),
        ),
        case(
            "content on a folder",
            Archive::new().block(Block::new(b"d/", b'5', 512), &[b'x'; 512]),
            Rejected("size of 512"),
        ),
        case(
            "content on a symlink",
            Archive::new().block(Block::new(b"l", b'2', 1).link(b"x"), b"x"),
            Rejected("size of 1"),
        ),
        case(
            "content on a hard link",
            Archive::new()
                .file("f", "x")
                .block(Block::new(b"l", b'1', 1).link(b"f"), b"x"),
            Rejected("size of 1"),
        ),
        case(
            "content on a device",
            Archive::new().block(Block::new(b"d", b'3', 1).device(1, 3), b"x"),
            Rejected("size of 1"),
        ),
        case(
            "a name in two ways",
            Archive::new().pax(&[("path", b"a")]).gnu_long(b'L', b"b").file("c", ""),
            Rejected("two different"),
        ),
        case(
            "two extended headers",
            Archive::new()
                .pax(&[("path", b"a")])
                .pax(&[("path", b"b")])
                .file("c", ""),
            Rejected("two different"),
        ),
        case(
            "two long names",
            Archive::new().gnu_long(b'L', b"a").gnu_long(b'L', b"b").file("c", ""),
            Rejected("two different"),
        ),
        case(
            "a key given twice",
            Archive::new().pax(&[("path", b"a"), ("path", b"b")]).file("c", ""),
            Rejected("twice"),
        ),
        case(
            "a global header that renames",
            Archive::new().pax_of(b'g', &[("path", b"../x")]).file("c", ""),
            Rejected("global"),
        ),
        case(
            "a global comment",
            Archive::new().pax_of(b'g', &[("comment", b"x")]).file("c", ""),
            Harmless(|layer| exists(layer.join("c"))),
        ),
        case(
            "an extended header before nothing",
            Archive::new().pax(&[("path", b"a")]),
            Rejected("no entry follows"),
        ),
        case(
            "a record with a wrong length",
            Archive::new()
                .block(Block::new(b"p", b'x', 9), b"99 a=b\n\0\0")
                .file("c", ""),
            Rejected("malformed"),
        ),
        case(
            "a sparse file, extended",
            Archive::new()
                .block(Block::new(b"p", b'x', sparse.len() as u64), &sparse)
                .file("c", ""),
            Rejected("sparse"),
        ),
        case(
            "a sparse file, GNU",
            Archive::new().block(Block::new(b"s", b'S', 0).with(257, b"ustar  \0"), b""),
            Rejected("sparse"),
        ),
        case(
            "an unknown type",
            Archive::new().block(Block::new(b"a", b'Z', 0), b""),
            Rejected("type 'Z'"),
        ),
        case(
            "several volumes",
            Archive::new().block(Block::new(b"a", b'M', 0), b""),
            Rejected("volumes"),
        ),
        case(
            "another magic",
            Archive::new().block(Block::new(b"a", b'0', 0).with(257, b"ustar\x0099"), b""),
            Rejected("variant"),
        ),
        case(
            "a mode that is no number",
            Archive::new().block(Block::new(b"a", b'0', 0).with(100, b"rwxr-xr-"), b""),
            Rejected("mode"),
        ),
        case(
            "a size that is no number",
            Archive::new().block(Block::new(b"a", b'0', 0).with(124, b"12345678901x"), b""),
            Rejected("size"),
        ),
        case(
            "two numbers in one field",
            Archive::new().block(Block::new(b"a", b'0', 0).with(124, b"00000000 777"), b""),
            Rejected("size"),
        ),
        case(
            "a negative size",
            Archive::new().block(Block::new(b"a", b'0', 0).with(124, &[0xff; 12]), b""),
            Rejected("size has the value -1"),
        ),
        case(
            "a size beyond 63 bits",
            Archive::new().block(
                Block::new(b"a", b'0', 0).with(124, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"),
                b"",
            ),
            Rejected("out of range"),
        ),
        case(
            "an owner that means no change (CVE-2024-40635)",
            Archive::new().pax(&[("uid", b"4294967295")]).file("a", ""),
            Rejected("uid"),
        ),
        case(
            "an owner beyond 32 bits",
            Archive::new().pax(&[("gid", b"4294967296")]).file("a", ""),
            Rejected("gid"),
        ),
        case(
            "a negative owner",
            Archive::new().block(Block::new(b"a", b'0', 0).with(108, &[0xff; 8]), b""),
            Rejected("uid"),
        ),
        case(
            "a device number beyond the kernel's",
            Archive::new().char_device("a", 0o7777777, 0),
            Rejected("major"),
        ),
        case(
            "an attribute of overlayfs: redirect",
            Archive::new()
                .pax(&[("SCHILY.xattr.trusted.overlay.redirect", b"/")])
                .dir("a"),
            Rejected("trusted.overlay.redirect"),
        ),
        case(
            "an attribute of overlayfs: opaque",
            Archive::new()
                .pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")])
                .dir("a"),
            Rejected("trusted.overlay.opaque"),
        ),
        case(
            "an attribute of overlayfs for users",
            Archive::new()
                .pax(&[("SCHILY.xattr.user.overlay.metacopy", b"")])
                .file("a", ""),
            Rejected("user.overlay.metacopy"),
        ),
        case(
            "an attribute without a space of names",
            Archive::new().pax(&[("SCHILY.xattr.evil", b"")]).file("a", ""),
            Rejected("evil"),
        ),
        case(
            "a label of the host",
            Archive::new()
                .pax(&[("SCHILY.xattr.security.selinux", b"x")])
                .file("a", ""),
            Harmless(|layer| exists(layer.join("a"))),
        ),
        raw(
            "bytes after the end",
            [Archive::new().file("a", "").end(), inner.bytes.clone()].concat(),
            Rejected("after the end"),
        ),
        raw(
            "one block of zeros, then members",
            Archive::new().file("a", "").raw(&[0; 512]).raw(&inner.bytes).end(),
            Rejected("after the end"),
        ),
        raw(
            "no end",
            Archive::new().file("a", "x").bytes,
            Rejected("ends in the middle"),
        ),
        raw(
            "half an end",
            Archive::new().file("a", "x").raw(&[0; 512]).bytes,
            Rejected("ends in the middle"),
        ),
        raw(
            "half a header",
            Archive::new().file("a", "x").raw(&[b'x'; 100]).bytes,
            Rejected("ends in the middle"),
        ),
        raw(
            "a size longer than the archive",
            Archive::new().block(Block::new(b"a", b'0', 1 << 30), b"x").bytes,
            Rejected("ends in the middle"),
        ),
        raw("nothing at all", Vec::new(), Rejected("ends in the middle")),
        raw("noise", vec![0xaa; 4096], Rejected("variant")),
        raw(
            "a wrong checksum",
            {
                let mut bytes = Archive::new().file("a", "x").end();
                bytes[0] = b'b';
                bytes
            },
            Rejected("checksum"),
        ),
        raw(
            "an archive without members",
            Archive::new().end(),
            Harmless(|layer| fs::read_dir(layer).unwrap().count() == 0),
        ),
        raw(
            "long padding",
            Archive::new().file("a", "x").raw(&[0; 10_240]).bytes,
            Harmless(|layer| exists(layer.join("a"))),
        ),
    ]);
}

#[test]
fn kinds_and_rights_that_are_allowed() {
    if !needs_root("kinds_and_rights_that_are_allowed") {
        return;
    }
    let capability = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    check_all(&[
        case(
            "set-uid is kept, inside",
            Archive::new().block(Block::new(b"su", b'0', 0).mode(0o4755).owner(0, 0), b""),
            Harmless(|layer| mode(layer.join("su")) == 0o4755),
        ),
        case(
            "set-uid and an owner",
            Archive::new().block(Block::new(b"su", b'0', 0).mode(0o6755).owner(5, 6), b""),
            Harmless(|layer| {
                let meta = fs::metadata(layer.join("su")).unwrap();
                (meta.uid(), meta.gid(), meta.mode() & 0o7777) == (5, 6, 0o6755)
            }),
        ),
        case(
            "sticky folder",
            Archive::new().block(Block::new(b"tmp/", b'5', 0).mode(0o1777), b""),
            Harmless(|layer| mode(layer.join("tmp")) == 0o1777),
        ),
        case(
            "bits of the type above the mode",
            Archive::new().block(Block::new(b"f", b'0', 0).mode(0o100640), b""),
            Harmless(|layer| mode(layer.join("f")) == 0o640),
        ),
        case(
            "a device node, as the specification allows",
            Archive::new().char_device("null", 1, 3),
            Harmless(|layer| fs::metadata(layer.join("null")).unwrap().rdev() == rustix::fs::makedev(1, 3)),
        ),
        case(
            "a pipe",
            Archive::new().fifo("p"),
            Harmless(|layer| fs::metadata(layer.join("p")).unwrap().file_type().is_fifo()),
        ),
        case(
            "file capabilities survive the change of owner",
            Archive::new()
                .pax(&[("SCHILY.xattr.security.capability", capability)])
                .block(Block::new(b"f", b'0', 0).owner(5, 5), b""),
            Harmless(|layer| {
                let mut value = [0; 64];
                rustix::fs::lgetxattr(layer.join("f"), "security.capability", &mut value[..]).is_ok()
            }),
        ),
        case(
            "times of a folder outlast its files",
            Archive::new()
                .block(Block::new(b"d/", b'5', 0).mode(0o755).mtime(77), b"")
                .file("d/f", "x"),
            Harmless(|layer| fs::metadata(layer.join("d")).unwrap().mtime() == 77),
        ),
        case(
            "a time before the epoch",
            Archive::new().pax(&[("mtime", b"-1.5")]).file("f", ""),
            Harmless(|layer| {
                let meta = fs::metadata(layer.join("f")).unwrap();
                (meta.mtime(), meta.mtime_nsec()) == (-2, 500_000_000)
            }),
        ),
        case(
            "the root's own mode",
            Archive::new()
                .block(Block::new(b"./", b'5', 0).mode(0o711).mtime(5), b"")
                .file("f", ""),
            Harmless(|layer| mode(layer.to_owned()) == 0o711 && fs::metadata(layer).unwrap().mtime() == 5),
        ),
        case(
            "missing parents are made readable",
            Archive::new().file("a/b/c", "x"),
            Harmless(|layer| mode(layer.join("a")) == 0o755 && mode(layer.join("a/b")) == 0o755),
        ),
        case(
            "an oldest-format folder",
            Archive::new().block(Block::new(b"d/", 0, 0).with(257, &[0; 8]), b""),
            Harmless(|layer| layer.join("d").is_dir()),
        ),
        case(
            "a GNU long name and target",
            Archive::new()
                .gnu_long(b'L', "n".repeat(200).as_bytes())
                .gnu_long(b'K', "t".repeat(200).as_bytes())
                .symlink("x", "y"),
            Harmless(|layer| fs::read_link(layer.join("n".repeat(200))).unwrap().as_os_str().len() == 200),
        ),
        case(
            "an owner beyond the octal field",
            Archive::new().pax(&[("uid", b"3000000000")]).file("f", ""),
            Harmless(|layer| fs::metadata(layer.join("f")).unwrap().uid() == 3_000_000_000),
        ),
        case(
            "a large size as a binary number",
            Archive::new().block(
                Block::new(b"f", b'0', 0).with(124, b"\x80\0\0\0\0\0\0\0\0\0\0\x01"),
                b"x",
            ),
            Harmless(|layer| content(layer.join("f")) == "x"),
        ),
    ]);
}

#[test]
fn bombs_stop_at_their_limits() {
    if !needs_root("bombs_stop_at_their_limits") {
        return;
    }
    let many = (0..200).fold(Archive::new(), |archive, number| {
        archive.file(&format!("f{number}"), "")
    });
    let name = "n".repeat(90);
    let named = (0..20).fold(Archive::new(), |archive, number| {
        archive.file(&format!("{name}{number}"), "")
    });
    let big = Archive::new().file("big", &"x".repeat(100_000));
    let extended = Archive::new().pax(&[("comment", &[b'x'; 5000])]).file("f", "");
    let tight = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        limits
    };
    for (archive, limits, text) in [
        (many, tight(|limits| limits.entries = 100), "more than 100 entries"),
        (
            named,
            tight(|limits| limits.names = 1000),
            "longer than 1000 bytes together",
        ),
        (
            big.clone(),
            tight(|limits| limits.bytes = 50_000),
            "more than 50000 bytes",
        ),
        (extended, tight(|limits| limits.extended = 4096), "size has the value"),
        (
            big,
            tight(|limits| limits.time = std::time::Duration::ZERO),
            "takes longer",
        ),
    ] {
        check(&case(text, archive, Rejected(text)), &Place::new(), &limits);
    }
}

/// A few hundred bytes that unpack to gigabytes, in both compressions: stopped by the ratio, long before the end.
#[test]
fn compressed_bombs_stop_at_the_ratio() {
    let size: u64 = 8 << 30;
    let head = Block::new(b"zeros", b'0', 0).with(124, &binary(size)).sealed();
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::copy(&mut (&head[..]).chain(std::io::repeat(0).take(8 << 20)), &mut encoder).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::stream::encode_all((&head[..]).chain(std::io::repeat(0).take(8 << 20)), 1).unwrap();
    for (compression, bytes) in [(Compression::Gzip, gzip), (Compression::Zstd, zstd)] {
        let place = Place::new();
        let limits = Limits {
            ratio_from: 1 << 20,
            ..Limits::default()
        };
        let options = UnpackOptions {
            limits,
            ..UnpackOptions::default()
        };
        let error = unpack(&bytes[..], compression, &place.layer, &options).unwrap_err();
        assert!(
            chain(&error).contains("more than 200 times"),
            "{compression:?}: {}",
            chain(&error)
        );
    }
}

fn binary(number: u64) -> [u8; 12] {
    let mut field = [0; 12];
    field[0] = 0x80;
    field[4..].copy_from_slice(&number.to_be_bytes());
    field
}

/// Damaged compression is an error, never a shorter layer.
#[test]
fn damaged_compression_is_rejected() {
    let archive = Archive::new().file("f", "some content").end();
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::copy(&mut &archive[..], &mut encoder).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::stream::encode_all(&archive[..], 1).unwrap();
    for (compression, bytes) in [(Compression::Gzip, gzip), (Compression::Zstd, zstd)] {
        let cut = bytes[..bytes.len() - 6].to_vec();
        let longer = [&bytes[..], b"garbage behind"].concat();
        let mut flipped = bytes.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x20;
        for (what, damaged) in [
            ("cut", cut),
            ("longer", longer),
            ("flipped", flipped),
            ("plain", archive.clone()),
        ] {
            let place = Place::new();
            let outcome = unpack(&damaged[..], compression, &place.layer, &UnpackOptions::default());
            // Frames without a checksum may hide a flipped bit; the diff id finds it, so here it may only not panic.
            if what != "flipped" || compression == Compression::Gzip {
                assert!(outcome.is_err(), "{compression:?} {what}");
            }
        }
        let twice = [&bytes[..], &bytes[..0]].concat();
        assert!(unpack(&twice[..], compression, &Place::new().layer, &UnpackOptions::default()).is_ok());
    }
}

/// Seeded damage to a good archive: never a panic, never a change outside.
#[test]
fn damaged_archives_never_panic() {
    let good = Archive::new()
        .dir("d")
        .pax(&[("path", b"d/long"), ("mtime", b"1.5"), ("SCHILY.xattr.user.a", b"b")])
        .file("x", "content")
        .gnu_long(b'L', b"d/gnu")
        .symlink("x", "../canary/victim")
        .hard_link("h", "d/long")
        .file("d/.wh.gone", "")
        .end();
    let place = Place::new();
    let before = place.outside();
    let mut seed: u64 = 0x5eed;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..2000 {
        let mut bytes = good.clone();
        for _ in 0..1 + random() % 3 {
            let at = random() as usize % bytes.len();
            bytes[at] = random() as u8;
        }
        if random() % 4 == 0 {
            bytes.truncate(random() as usize % good.len());
        }
        if random() % 2 == 0 {
            reseal(&mut bytes);
        }
        fs::remove_dir_all(&place.layer).unwrap();
        fs::create_dir(&place.layer).unwrap();
        let _ = unpack(&bytes[..], Compression::None, &place.layer, &UnpackOptions::default());
    }
    assert_eq!(before, place.outside());
}

/// Rights the checksums of all blocks that look like headers, so that damage gets past them.
fn reseal(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}
