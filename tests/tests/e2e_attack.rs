//! `examples/hello` on this kernel while its processes are killed at random moments, its journal is damaged, the disk is full,
//! the clock jumps and somebody takes its links, rules and cgroups away: each time it ends in the desired state with nothing
//! twice, or in a refusal that loses nothing, and at the end nothing is left over.

// A panic is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use portolan_tests::example::Example;
use portolan_tests::home::Home;
use portolan_tests::http::get;
use portolan_tests::journal::bring_log_in;
use portolan_tests::machine::Picture;
use portolan_tests::processes::{self, kill};
use portolan_tests::{is_root, skip};
use serde_json::Value;

#[test]
fn killed_twenty_times_it_ends_as_desired() {
    killed_at_random("killed_twenty_times_it_ends_as_desired", 18_301, 20, 1);
}

#[test]
#[ignore = "minutes: tests/run --full"]
fn killed_two_hundred_times_it_ends_as_desired() {
    killed_at_random("killed_two_hundred_times_it_ends_as_desired", 18_302, 200, 2);
}

/// Command, supervisor or keeper, while an update, a rollback or a delete goes on.
fn killed_at_random(test: &str, port: u16, rounds: u32, seed: u64) {
    if !is_root() {
        return skip(test, "containers are started by root");
    }
    let before = machine();
    {
        let hello = hello(port);
        let mut random = Random(seed);
        for round in 0..rounds {
            let verb: &[&str] = match round % 4 {
                0 | 2 => &["up"],
                1 => &["rollback", "--yes"],
                _ => &["delete", "--yes"],
            };
            let victim = ["portolan", "portolan-superv", "portolan-keeper"][random.below(3) as usize];
            let after = Duration::from_millis(random.below(1_000));
            let told = format!("round {round} of seed {seed}: {verb:?}, {victim} killed after {after:?}");
            sail(&hello, round);
            let mut command = hello.home.portolan(&hello.folder, verb);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            sleep(after);
            match victim {
                "portolan" => child.kill().unwrap(),
                name => kill("KILL", &pids(&hello, name)),
            }
            child.wait().unwrap();
            is_as_desired(&hello, port, &told);
        }
    }
    let left = until_nothing(&before);
    assert!(left.is_empty(), "left over: {left:?}");
}

#[test]
fn a_journal_that_is_damaged_is_refused_and_one_that_is_lost_is_rebuilt() {
    let test = "a_journal_that_is_damaged_is_refused_and_one_that_is_lost_is_rebuilt";
    if !is_root() {
        return skip(test, "containers are started by root");
    }
    let hello = hello(18_303);
    let state = hello.home.portolan_home().join("state");
    let (journal, containers) = (state.join("journal.db"), pids(&hello, "hello"));
    let forget_log = || {
        for name in ["journal.db-wal", "journal.db-shm"] {
            _ = fs::remove_file(state.join(name));
        }
    };
    bring_log_in(&journal);
    let good = fs::read(&journal).unwrap();
    let halved = good[..good.len() / 2].to_vec();
    let noise = b"portolan ".repeat(1_000);
    for (reason, bytes) in [("cut off", halved), ("overwritten", noise)] {
        forget_log();
        fs::write(&journal, &bytes).unwrap();
        let said = hello.fails(&["up"]);
        assert!(said.contains("error[JournalUnusable]: "), "{reason}: {said}");
        assert_eq!(
            fs::read(&journal).unwrap(),
            bytes,
            "{reason}: it is left for whoever can mend it"
        );
        assert_eq!(pids(&hello, "hello"), containers, "{reason}: nothing was touched");
        assert!(serves(18_303), "{reason}");
    }
    forget_log();
    fs::remove_file(&journal).unwrap();
    is_as_desired(&hello, 18_303, "a lost journal");
    assert_eq!(pids(&hello, "hello"), containers, "what runs is taken as it is");
}

#[test]
fn what_is_taken_away_by_hand_is_put_back() {
    let test = "what_is_taken_away_by_hand_is_put_back";
    if !is_root() {
        return skip(test, "containers are started by root");
    }
    if !has("ip") || !has("nft") {
        return skip(test, "it takes `ip` and `nft` to take links and rules away");
    }
    let before = machine();
    {
        let hello = hello(18_304);
        let there = || machine().beyond(&before);
        let names = |kind: &str| -> Vec<String> {
            let found = there().into_iter();
            found
                .filter_map(|line| Some(line.strip_prefix(kind)?.trim().to_string()))
                .collect()
        };
        let lasting = || -> Vec<String> {
            let lasts = |line: &String| !line.starts_with("process ");
            there().into_iter().filter(lasts).collect()
        };
        let whole = lasting();
        let links = names("link ");
        assert!(links.len() >= 3, "a bridge and the links of two replicas: {links:?}");
        let table = names("nft table ip ").pop().expect("an app has rules");
        let table = table.trim_end_matches(" {").to_string();
        for link in &links {
            run("ip", &["link", "delete", link]);
            is_whole_again(&hello, 18_304, &format!("without {link}"), || lasting() == whole);
        }
        run("nft", &["delete", "table", "ip", &table]);
        is_whole_again(&hello, 18_304, "without rules", || lasting() == whole);
        take_cgroups_away(&hello);
        is_whole_again(&hello, 18_304, "without cgroups", || lasting() == whole);
    }
    let left = until_nothing(&before);
    assert!(left.is_empty(), "left over: {left:?}");
}

/// Its processes run on, in the topmost group, without a limit.
fn take_cgroups_away(hello: &Example) {
    let mut groups = BTreeSet::new();
    for pid in pids(hello, "hello") {
        for line in fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().lines() {
            let (_, group) = line.rsplit_once(':').unwrap();
            if group.contains("portolan") {
                groups.insert(group.trim_start_matches('/').to_string());
            }
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let is_cgroup = |line: &&str| line.contains(" - cgroup");
    for mount in mounts
        .lines()
        .filter(is_cgroup)
        .map(|line| line.split(' ').nth(4).unwrap())
    {
        for group in &groups {
            let folder = Path::new(mount).join(group);
            for pid in fs::read_to_string(folder.join("cgroup.procs"))
                .unwrap_or_default()
                .lines()
            {
                fs::write(Path::new(mount).join("cgroup.procs"), pid).unwrap();
            }
            _ = fs::remove_dir(folder);
        }
    }
}

/// By itself: nobody runs a command.
fn is_whole_again(hello: &Example, port: u16, told: &str, is_whole: impl Fn() -> bool) {
    let whole = (0..150).any(|_| {
        sleep(Duration::from_millis(100));
        serves(port) && pids(hello, "hello").len() == 2 && is_whole()
    });
    assert!(whole, "{told}: {:#?}", machine());
    is_as_desired(hello, port, told);
}

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    let test = "a_full_disk_is_said_and_loses_nothing";
    if !is_root() {
        return skip(test, "a file system is mounted by root");
    }
    let before = machine();
    {
        let home = Home::new();
        let disk = Disk::mount(&home.portolan_home());
        let hello = hello_in(home, 18_305);
        let containers = pids(&hello, "hello");
        sail(&hello, 0);
        disk.fill();
        let said = hello.fails(&["up"]);
        assert!(said.contains("no space is left on its disk"), "{said}");
        hello.says(&["status"]);
        assert!(serves(18_305), "the old revision goes on");
        assert_eq!(pids(&hello, "hello"), containers);
        disk.make_room();
        is_as_desired(&hello, 18_305, "after room was made");
    }
    let left = until_nothing(&before);
    assert!(left.is_empty(), "left over: {left:?}");
}

/// A small file system in memory, gone with the value.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        run(
            "mount",
            &["-t", "tmpfs", "-o", "size=512m", "none", folder.to_str().unwrap()],
        );
        Self(folder.into())
    }

    /// To the last byte.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("full")).unwrap();
        let (mut size, zeroes) = (1 << 20, vec![0; 1 << 20]);
        while size > 0 {
            if file.write_all(&zeroes[..size]).is_err() {
                size /= 2;
            }
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("full")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["--lazy", self.0.to_str().unwrap()]);
        // The home could not go while it was mounted there.
        _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

#[test]
fn a_clock_that_jumps_changes_nothing() {
    let test = "a_clock_that_jumps_changes_nothing";
    if !is_root() {
        return skip(test, "containers are started by root");
    }
    let Some(library) = faketime() else {
        return skip(test, "libfaketime is not there");
    };
    let hello = hello(18_306);
    let containers = pids(&hello, "hello");
    for offset in ["+400d", "-3000d", "+0 x100", "-1h"] {
        let mut command = hello.home.portolan(&hello.folder, ["up", "-o", "json"]);
        command
            .env("LD_PRELOAD", &library)
            .env("FAKETIME", offset)
            .env("FAKETIME_NO_CACHE", "1");
        let output = command.output().unwrap();
        let said = portolan_tests::home::said(&output);
        assert_eq!(output.status.code(), Some(0), "{offset}: {said}");
        let reports: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(reports[0]["outcome"], "converged", "{offset}: {said}");
        assert_eq!(pids(&hello, "hello"), containers, "{offset}: nothing was to be done");
        is_as_desired(&hello, 18_306, offset);
    }
    // A change is made under a clock that is wrong as under one that is right.
    sail(&hello, 0);
    let mut command = hello.home.portolan(&hello.folder, ["up"]);
    command.env("LD_PRELOAD", &library).env("FAKETIME", "-3000d");
    assert!(command.output().unwrap().status.success());
    is_as_desired(&hello, 18_306, "changed in the past");
}

fn faketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    libraries.find(|library| library.exists())
}

fn has(program: &str) -> bool {
    Command::new(program).arg("-V").output().is_ok()
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = portolan_tests::home::said(&output);
    assert!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
}

fn hello(port: u16) -> Example {
    hello_in(Home::new(), port)
}

fn hello_in(home: Home, port: u16) -> Example {
    Example::up_in(home, "hello", |manifest| {
        let manifest = manifest.replace("port: 8090", &format!("port: {port}"));
        manifest.replace(
            "build: {}",
            "build: {}\n      scale: {min: 2}\n      env: {VOYAGE: \"0\"}",
        )
    })
}

/// The next version of the manifest.
fn sail(hello: &Example, round: u32) {
    let from = format!("VOYAGE: \"{round}\"");
    hello.edit("portolan.yaml", &from, &format!("VOYAGE: \"{}\"", round + 1));
}

fn is_as_desired(hello: &Example, port: u16, told: &str) {
    let output = hello
        .home
        .portolan(&hello.folder, ["up", "-o", "json"])
        .output()
        .unwrap();
    let said = portolan_tests::home::said(&output);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{told}: {said}, {:?}",
        processes::of(&hello.home)
    );
    let reports: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(reports[0]["outcome"], "converged", "{told}: {said}");
    assert!(serves(port), "{told}");
    let names = ["hello", "portolan-superv", "portolan-keeper"];
    let counted = until_some(|| {
        let counts = names.map(|name| pids(hello, name).len());
        (counts == [2, 1, 1]).then_some(counts)
    });
    assert!(counted.is_some(), "{told}: {:?}", processes::of(&hello.home));
}

fn pids(hello: &Example, name: &str) -> Vec<u32> {
    let found = processes::of(&hello.home).into_iter();
    found
        .filter(|process| process.name == name)
        .map(|process| process.pid)
        .collect()
}

fn serves(port: u16) -> bool {
    get(SocketAddr::from(([127, 0, 0, 1], port)), "/").is_ok_and(|answer| answer.status == 200)
}

fn until_some<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..50 {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        sleep(Duration::from_millis(100));
    }
    None
}

/// Without files: the home goes with the test.
fn machine() -> Picture {
    Picture::take(Path::new("/nonexistent"), |_| true)
}

fn until_nothing(before: &Picture) -> Vec<String> {
    let mut left = Vec::new();
    _ = until_some(|| {
        left = machine().beyond(before);
        left.is_empty().then_some(())
    });
    left
}

/// The same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
