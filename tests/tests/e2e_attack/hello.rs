//! The example under attack, and what it must be in the end.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use portolan_tests::example::Example;
use portolan_tests::home::Home;
use portolan_tests::http::get;
use portolan_tests::machine::Picture;
use portolan_tests::processes;
use serde_json::Value;

pub fn has(program: &str) -> bool {
    Command::new(program).arg("-V").output().is_ok()
}

pub fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = portolan_tests::home::said(&output);
    assert!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
}

pub fn hello(port: u16) -> Example {
    hello_in(Home::new(), port)
}

pub fn hello_in(home: Home, port: u16) -> Example {
    Example::up_in(home, "hello", |manifest| {
        let manifest = manifest.replace("port: 8090", &format!("port: {port}"));
        manifest.replace(
            "build: {}",
            "build: {}\n      scale: {min: 2}\n      env: {VOYAGE: \"0\"}",
        )
    })
}

/// The next version of the manifest.
pub fn sail(hello: &Example, round: u32) {
    let from = format!("VOYAGE: \"{round}\"");
    hello.edit("portolan.yaml", &from, &format!("VOYAGE: \"{}\"", round + 1));
}

pub fn is_as_desired(hello: &Example, port: u16, told: &str) {
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

pub fn pids(hello: &Example, name: &str) -> Vec<u32> {
    let found = processes::of(&hello.home).into_iter();
    found
        .filter(|process| process.name == name)
        .map(|process| process.pid)
        .collect()
}

pub fn serves(port: u16) -> bool {
    get(SocketAddr::from(([127, 0, 0, 1], port)), "/").is_ok_and(|answer| answer.status == 200)
}

pub fn until_some<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..50 {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        sleep(Duration::from_millis(100));
    }
    None
}

/// Without files: the home goes with the test.
pub fn machine() -> Picture {
    Picture::take(Path::new("/nonexistent"), |_| true)
}

pub fn until_nothing(before: &Picture) -> Vec<String> {
    let mut left = Vec::new();
    _ = until_some(|| {
        left = machine().beyond(before);
        left.is_empty().then_some(())
    });
    left
}

/// The same for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
