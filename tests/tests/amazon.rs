//! Amazon ECS as a target, at the command line: what is printed, and what is refused.
//!
//! `PORTOLAN_REGENERATE=1 cargo test -p portolan-tests --test amazon` writes the session anew: read the difference.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::fs;

use portolan_tests::home::Home;
use portolan_tests::{root, session};

#[test]
fn an_app_for_amazon_is_rendered_and_its_faults_are_told_at_once() {
    let home = Home::new();
    let folder = root().join("tests/fixtures/amazon");
    let copy = home.path().join("app");
    fs::create_dir(&copy).unwrap();
    for file in ["hello.yaml", "faults.yaml"] {
        fs::copy(folder.join(file), copy.join(file)).unwrap();
    }
    let (expected, said) = session::run(&folder, &copy, &home);
    assert_eq!(said, expected);
    assert_eq!(
        said.matches("error[ApplyUnsupported]").count(),
        3,
        "plan, apply and status"
    );
}
