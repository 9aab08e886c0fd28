//! The journal in its file: what it keeps, whom it lets in, and what it refuses.

mod harness;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use harness::manifests::{apply, hello, shop};
use portolan_core::name::OwnerId;
use portolan_core::observation::Failure;
use portolan_core::plan::Verb;
use portolan_core::resource::{ResourceId, Resources};
use portolan_engine::journal::{
    AppKey, Generation, GenerationKind, HistoryEntry, HistoryOutcome, Hold, Intent, Journal, JournalEntry,
    JournalError, MemoryJournal, Order, Promoted, SqliteJournal,
};
use portolan_engine::machine::Timestamp;
use portolan_provider_api::{Handle, OpenOperation};

fn key() -> AppKey {
    apply(shop()).key()
}

fn owner(realm: &str) -> OwnerId {
    OwnerId::derive("default", "shop", "local", realm)
}

fn begun(number: u64, realm: &str) -> JournalEntry {
    JournalEntry::Begun {
        owner: owner(realm),
        generation: Arc::new(Generation {
            number,
            kind: GenerationKind::Apply,
            hash: format!("hash {number}"),
            begun: Timestamp(number),
            resources: Arc::new(Resources::new()),
            images: BTreeMap::new(),
            patience: Duration::from_millis(1500),
            intent: None,
            drift: BTreeMap::new(),
        }),
    }
}

fn web() -> ResourceId {
    ResourceId::new("Service", "web")
}

fn intent() -> JournalEntry {
    JournalEntry::IntentOpened(Intent {
        id: web(),
        verb: Verb::Create,
        generation: 1,
        idempotency_token: "token".into(),
        at: Timestamp(7),
    })
}

fn operation() -> JournalEntry {
    JournalEntry::OperationOpened(OpenOperation {
        id: web(),
        verb: Verb::Create,
        handle: Handle("handle".into()),
    })
}

fn held(rolling_back_to: Option<u64>) -> JournalEntry {
    JournalEntry::Held(Hold {
        generation: 2,
        hash: "hash 2".into(),
        failure: Failure::new("Crashed", "it ended with 1"),
        rolling_back_to,
        serving: None,
    })
}

/// A generation that converged, one after it that is held, and what came of the way back.
fn held_after_one(then: impl IntoIterator<Item = JournalEntry>) -> Vec<JournalEntry> {
    let before = [
        begun(1, "here"),
        JournalEntry::Converged,
        begun(2, "here"),
        held(Some(1)),
    ];
    before.into_iter().chain(then).collect()
}

fn line(generation: u64) -> JournalEntry {
    JournalEntry::History(HistoryEntry {
        at: Timestamp(generation),
        generation,
        kind: GenerationKind::Apply,
        outcome: HistoryOutcome::Converged,
        changes: vec!["create Service/web".into()],
        images: BTreeMap::new(),
    })
}

fn open(folder: &Path) -> SqliteJournal {
    SqliteJournal::open(folder).expect("a journal")
}

/// The file and the memory agree after each entry, whoever opens the file.
#[test]
fn the_file_means_what_the_record_says() {
    let cases: Vec<(&str, Vec<JournalEntry>)> = vec![
        ("nothing", vec![]),
        ("a generation", vec![begun(1, "here")]),
        ("one that converged", vec![begun(1, "here"), JournalEntry::Converged]),
        ("two", vec![begun(1, "here"), JournalEntry::Converged, begun(2, "here")]),
        ("an intent", vec![begun(1, "here"), intent()]),
        (
            "an intent that was answered",
            vec![begun(1, "here"), intent(), JournalEntry::IntentClosed(web())],
        ),
        ("an operation", vec![begun(1, "here"), operation()]),
        (
            "an operation that ended",
            vec![begun(1, "here"), operation(), JournalEntry::OperationClosed(web())],
        ),
        ("a hold", held_after_one([])),
        ("a rollback that ended", held_after_one([JournalEntry::RolledBack])),
        ("a rollback that failed", held_after_one([JournalEntry::RollbackFailed])),
        (
            "what served after a rollback, and cannot any more",
            held_after_one([JournalEntry::RolledBack, JournalEntry::RollbackFailed]),
        ),
        (
            "a hold that ended",
            vec![begun(2, "here"), held(None), begun(2, "here")],
        ),
        (
            "a hold that healed",
            vec![begun(2, "here"), held(None), JournalEntry::Converged],
        ),
        (
            "another account",
            vec![
                begun(3, "here"),
                JournalEntry::Converged,
                intent(),
                operation(),
                held(None),
                begun(1, "there"),
            ],
        ),
        ("history", vec![begun(1, "here"), line(1), line(2)]),
    ];
    for (reason, entries) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let memory = MemoryJournal::default();
        for entry in entries {
            open(folder.path())
                .append(&key(), std::slice::from_ref(&entry))
                .expect("it is written");
            memory.append(&key(), &[entry]).expect("it is remembered");
        }
        let file = open(folder.path());
        assert_eq!(
            file.load(&key()).expect("a record"),
            memory.load(&key()).expect("a record"),
            "{reason}"
        );
        assert_eq!(
            file.history(&key()).expect("lines"),
            memory.history(&key()).expect("lines"),
            "{reason}"
        );
        assert_eq!(
            file.load(&apply(hello()).key()).expect("a record"),
            Default::default(),
            "{reason}: others know nothing"
        );
    }
}

#[test]
fn orders_are_heard_by_another_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let (controller, user) = (open(folder.path()), open(folder.path()));
    let key = apply(hello()).key();
    let before = controller.version().expect("a version");
    for (order, expected) in [
        (Order::Suspend, (true, None, None)),
        (Order::Reconcile(Timestamp(7)), (true, Some(Timestamp(7)), None)),
        (Order::Resume, (false, Some(Timestamp(7)), None)),
        (
            Order::Approve { plan: "p".into() },
            (false, Some(Timestamp(7)), Some("p".to_string())),
        ),
    ] {
        user.give(&key, order).expect("it can be written");
        let orders = controller.orders().expect("the orders")[&key].clone();
        assert_eq!((orders.suspended, orders.reconcile, orders.approved), expected);
    }
    let promoted = Promoted {
        pause: "p".into(),
        full: true,
    };
    user.give(&key, Order::Promote(promoted.clone()))
        .expect("it can be written");
    assert_eq!(controller.orders().expect("the orders")[&key].promoted, Some(promoted));
    assert_ne!(controller.version().expect("a version"), before);
}

#[test]
fn what_is_no_journal_is_an_error_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("journal.db"), "x".repeat(4096)).expect("a file");
    let error = SqliteJournal::open(folder.path())
        .map(drop)
        .expect_err("it is no database");
    assert!(error.to_string().contains("journal.db"), "{error}");
}

#[test]
fn nobody_else_may_read_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    open(&state).append(&key(), &[begun(1, "here")]).expect("it is written");
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&state.join("journal.db")), 0o600);
    assert_eq!(mode(&state.join("locks")), 0o700);
}

/// The other process is told who it is, and the lock is free as soon as its holder is gone.
#[test]
fn one_holder_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, other) = (open(folder.path()), open(folder.path()));
    let lock = one.lock(&key()).expect("a free lock");
    match other.lock(&key()).map(drop) {
        Err(JournalError::Busy { pid, key: busy }) => assert_eq!((pid, busy), (Some(std::process::id()), key())),
        unexpected => panic!("{unexpected:?}"),
    }
    other
        .lock(&apply(hello()).key())
        .map(drop)
        .expect("another app is free");
    drop(lock);
    other.lock(&key()).map(drop).expect("free again");
    let locks = std::fs::read_dir(folder.path().join("locks")).expect("a folder");
    assert_eq!(locks.count(), 0, "and nothing of it stays");
}

/// A process that dies in the middle of a transaction, leaving its log behind, leaves the record as it was before.
#[test]
fn a_write_that_was_cut_off_never_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(folder.path());
    journal
        .append(&key(), &[begun(1, "here"), intent()])
        .expect("it is written");
    let before = journal.load(&key()).expect("a record");
    let torn = rusqlite::Connection::open(folder.path().join("journal.db")).expect("a database");
    torn.execute_batch("BEGIN IMMEDIATE; DELETE FROM intents; UPDATE apps SET latest = NULL")
        .expect("half of a change");
    let copy = tempfile::tempdir().expect("a folder");
    for name in ["journal.db", "journal.db-wal"] {
        std::fs::copy(folder.path().join(name), copy.path().join(name)).expect("as the disk is at that moment");
    }
    assert_eq!(open(copy.path()).load(&key()).expect("a record"), before);
}

#[test]
fn the_past_is_bounded_and_so_is_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(folder.path());
    for number in 1..=150 {
        journal
            .append(&key(), &[begun(number, "here"), JournalEntry::Converged, line(number)])
            .expect("it is written");
    }
    let lines = journal.history(&key()).expect("lines");
    assert_eq!((lines.len(), lines[0].generation, lines[99].generation), (100, 150, 51));
    let connection = rusqlite::Connection::open(folder.path().join("journal.db")).expect("a database");
    let kept: i64 = connection
        .query_row("SELECT count(*) FROM generations", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(kept, 10, "generations to go back to");
    let numbers: Vec<u64> = journal
        .generations(&key())
        .expect("they are read")
        .iter()
        .map(|kept| kept.number)
        .collect();
    assert_eq!(numbers, (141..=150).collect::<Vec<u64>>());
}
