//! What the cross-crate tests share: our programs, a home of their own for each test, sessions that read like a
//! terminal, a small HTTP client, and pictures of the machine before and after.
//!
//! `session.rs` is what the command-line tests are made of, `machine.rs` what the end-to-end tests compare, and
//! `simulation/` what the engine is proven by.

// A panic is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod example;
pub mod home;
pub mod http;
pub mod journal;
pub mod machine;
pub mod processes;
pub mod scratch;
pub mod session;
pub mod shop;
pub mod simulation;
pub mod wait;

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.parent().expect("tests/ lies in the repository").to_path_buf()
}

/// The folder of our programs: that of the profile whose tests these are.
pub fn programs() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it lies");
    let deps = test.parent().expect("a program lies in a folder");
    deps.parent().expect("target/PROFILE/deps").to_path_buf()
}

/// One of our programs, built before.
pub fn program(name: &str) -> PathBuf {
    let path = programs().join(name);
    assert!(
        path.is_file(),
        "there is no {}: build it with `cargo build --workspace`",
        path.display()
    );
    path
}

/// Says that a test does not run here, in the form that tests/suites.py judges.
pub fn skip(test: &str, reason: &str) {
    println!("SKIP {test}: {reason}");
}

/// Whether this process may start containers.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}
