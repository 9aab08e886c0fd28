//! `examples/hello` on this kernel while its processes are killed at random moments and its journal is damaged: each time
//! the next `up` ends in the desired state with nothing twice, and at the end nothing is left over.

// A panic is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use portolan_tests::example::Example;
use portolan_tests::http::get;
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

fn hello(port: u16) -> Example {
    Example::up("hello", |manifest| {
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
