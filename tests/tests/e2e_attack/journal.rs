//! The journal damaged, and lost.

use std::fs;

use portolan_tests::home::said;
use portolan_tests::journal::bring_log_in;
use portolan_tests::{is_root, skip};

use crate::hello::{hello, is_as_desired, pids, serves};

/// SQLite's.
const PAGE: usize = 4_096;

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
    for (reason, bytes) in [("cut off", halved), ("overwritten", noise.clone())] {
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
    // A page alone, whichever: what it held may not be needed, but is never taken for something else.
    for page in 0..good.len() / PAGE {
        forget_log();
        let mut bytes = good.clone();
        bytes[page * PAGE..(page + 1) * PAGE].copy_from_slice(&noise[..PAGE]);
        fs::write(&journal, &bytes).unwrap();
        let output = hello.home.portolan(&hello.folder, ["up"]).output().unwrap();
        let said = said(&output);
        let is_refused = output.status.code() == Some(1) && said.contains("error[JournalUnusable]: ");
        assert!(output.status.success() || is_refused, "page {page}: {said}");
        assert_eq!(
            pids(&hello, "hello"),
            containers,
            "page {page}: nothing was touched: {said}"
        );
    }
    forget_log();
    fs::write(&journal, &good).unwrap();
    is_as_desired(&hello, 18_303, "the journal is whole again");
    forget_log();
    fs::remove_file(&journal).unwrap();
    is_as_desired(&hello, 18_303, "a lost journal");
    assert_eq!(pids(&hello, "hello"), containers, "what runs is taken as it is");
}
