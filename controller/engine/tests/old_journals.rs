//! Journals of other versions: an older one is read, brought up to date and gone on with; a newer one is refused and left as
//! it is.

mod harness;

use std::fs;
use std::path::Path;

use harness::bench::Bench;
use harness::manifests::{apply, hello};
use portolan_core::plan::Scope;
use portolan_core::resolve::scope_of;
use portolan_engine::journal::{Journal, JournalError, Order, SqliteJournal};
use portolan_engine::{OutcomeKind, Wish, Work};
use portolan_provider_api::ErrorClass;
use portolan_provider_fake::kinds::{NETWORK, SERVICE};
use portolan_provider_fake::object;
use rusqlite::Connection;

/// As version 1 wrote it, word for word: a generation that converged, and another whose create may have been sent.
const VERSION_1: &str = r#"
    CREATE TABLE apps (
        id INTEGER PRIMARY KEY,
        namespace TEXT NOT NULL, app TEXT NOT NULL, target TEXT NOT NULL,
        owner TEXT, latest INTEGER, converged INTEGER, held TEXT,
        UNIQUE (namespace, app, target)
    ) STRICT;
    CREATE TABLE generations (app INTEGER, number INTEGER, body TEXT NOT NULL, PRIMARY KEY (app, number)) STRICT;
    CREATE TABLE intents (app INTEGER, resource TEXT, body TEXT NOT NULL, PRIMARY KEY (app, resource)) STRICT;
    CREATE TABLE operations (app INTEGER, resource TEXT, body TEXT NOT NULL, PRIMARY KEY (app, resource)) STRICT;
    CREATE TABLE history (app INTEGER, number INTEGER, body TEXT NOT NULL, PRIMARY KEY (app, number)) STRICT;
    PRAGMA user_version = 1;
    PRAGMA journal_mode = WAL;
    INSERT INTO apps VALUES (1, 'default', 'hello', 'local', 'OWNER', 2, 1, NULL);
    INSERT INTO generations VALUES (1, 1, '{"number":1,"kind":"apply","hash":"one","begun":1000,"resources":{
        "NETWORK":{"id":"NETWORK","body":{},"edges":[],"origin":"/spec","holdsData":false,
            "createIsIdempotent":true,"awaited":false},
        "WEB":{"id":"WEB","body":{"image":"sha256:old","replicas":1},"edges":[{"to":"NETWORK","condition":"exists"}],
            "origin":"/spec/services/web","holdsData":false,"createIsIdempotent":false,"awaited":true,"revision":"r1"}},
        "images":{"services/web":{"reference":"registry.example/web:0","digest":"sha256:DIGEST",
            "config":{"entrypoint":[],"cmd":[],"env":[],"user":null,"workingDir":null,"stopSignal":null}}},
        "patience":{"secs":630,"nanos":0}}');
    INSERT INTO generations VALUES (1, 2, '{"number":2,"kind":"apply","hash":"two","begun":2000,"resources":{
        "NETWORK":{"id":"NETWORK","body":{},"edges":[],"origin":"/spec","holdsData":false,
            "createIsIdempotent":true,"awaited":false},
        "WORKER":{"id":"WORKER","body":{"image":"sha256:new","replicas":1},"edges":[],
            "origin":"/spec/services/worker","holdsData":false,"createIsIdempotent":false,"awaited":true,"revision":"r2"}},
        "images":{},"patience":{"secs":630,"nanos":0}}');
    INSERT INTO intents VALUES (1, 'WORKER', '{"id":"WORKER","verb":"create","generation":2,
        "idempotencyToken":"token","at":2001}');
    INSERT INTO history VALUES (1, 1, '{"at":1500,"generation":1,"kind":"apply","outcome":{"is":"converged"},
        "changes":["create NETWORK","create WEB"],"images":{}}');
"#;

fn old(folder: &Path, scope: &Scope) {
    fs::create_dir_all(folder.join("locks")).expect("a folder");
    let words = [
        ("OWNER", scope.owner.to_string()),
        ("NETWORK", object(scope, NETWORK, "app").to_string()),
        ("WORKER", object(scope, SERVICE, "worker").to_string()),
        ("WEB", object(scope, SERVICE, "web").to_string()),
        ("DIGEST", "0".repeat(64)),
    ];
    let sql = words
        .iter()
        .fold(VERSION_1.to_string(), |sql, (word, text)| sql.replace(word, text));
    let database = Connection::open(folder.join("journal.db")).expect("a database");
    database.execute_batch(&sql).expect("the tables of version 1");
}

#[tokio::test(start_paused = true)]
async fn a_journal_of_version_1_is_gone_on_with() {
    let work = apply(hello());
    let scope = scope_of(&work.resolve_input("fake-account"));
    let folder = tempfile::tempdir().expect("a folder");
    old(folder.path(), &scope);
    let bench = Bench::in_folder(folder);
    let record = bench.journal.load(&work.key()).expect("a record");
    let numbers =
        |one: &Option<std::sync::Arc<portolan_engine::journal::Generation>>| one.as_ref().map(|one| one.number);
    assert_eq!(
        (numbers(&record.latest), numbers(&record.converged)),
        (Some(2), Some(1))
    );
    let worker = object(&scope, SERVICE, "worker");
    assert!(
        record.intents.contains_key(&worker),
        "the question is still open: {record:?}"
    );

    let ended = bench.reconcile(work.clone()).await.expect("an end");
    assert_eq!(ended, OutcomeKind::Converged);
    let record = bench.journal.load(&work.key()).expect("a record");
    assert_eq!(
        (numbers(&record.latest), numbers(&record.converged)),
        (Some(3), Some(3))
    );
    assert!(record.intents.is_empty(), "and has its answer");
    let past = bench.journal.history(&work.key()).expect("lines");
    assert_eq!(past.iter().map(|line| line.generation).collect::<Vec<_>>(), [3, 1]);

    let back = Work {
        wish: Wish::Rollback { to: Some(1) },
        ..work.clone()
    };
    assert_eq!(bench.reconcile(back).await.expect("an end"), OutcomeKind::Converged);
    let web = bench
        .cloud
        .objects()
        .remove(&object(&scope, SERVICE, "web"))
        .expect("it is there");
    assert_eq!((web.body["image"].as_str(), web.generation), (Some("sha256:old"), 4));
    bench
        .journal
        .give(&work.key(), Order::Suspend)
        .expect("what version 1 did not know");
    assert!(bench.journal.orders().expect("orders")[&work.key()].suspended);
}

#[test]
fn a_newer_journal_is_refused_and_left_as_it_is() {
    let work = apply(hello());
    let scope = scope_of(&work.resolve_input("fake-account"));
    let folder = tempfile::tempdir().expect("a folder");
    old(folder.path(), &scope);
    let path = folder.path().join("journal.db");
    let newer = Connection::open(&path).expect("a database");
    let later = "PRAGMA journal_mode = DELETE; CREATE TABLE later (what TEXT); INSERT INTO later VALUES ('kept');
                 ALTER TABLE apps RENAME COLUMN held TO kept_back; PRAGMA user_version = 9";
    newer.execute_batch(later).expect("a version to come");
    drop(newer);
    let before = fs::read(&path).expect("a file");
    let refused = SqliteJournal::open(folder.path()).map(drop).expect_err("it is newer");
    assert!(
        matches!(refused, JournalError::Newer { found: 9, known: 2, .. }),
        "{refused:?}"
    );
    assert_eq!(refused.class(), ErrorClass::Invalid);
    let said = refused.to_string();
    assert!(
        said.contains("written by a newer Portolan (schema 9, this one knows 2)"),
        "{said}"
    );
    assert_eq!(fs::read(&path).expect("a file"), before, "to the byte");
    let files = fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(files, 2, "the file and the locks");
}
