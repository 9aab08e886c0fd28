//! The journal in one SQLite file, `journal.db`, with the locks beside it.
//!
//! Each table keeps one part of [`AppRecord`]; what an entry means for it is what [`AppRecord::apply`] says, and a test
//! compares the two. Values inside the parts are JSON: nothing in here is ever searched by them.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portolan_core::mutant::Mutant;
use portolan_core::name::OwnerId;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Params, Row, Transaction, TransactionBehavior, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    AppKey, AppRecord, GENERATIONS_KEPT, Generation, HistoryEntry, Journal, JournalEntry, JournalError, Lock, Order,
    Orders, lock,
};

pub struct SqliteJournal {
    connection: Mutex<Connection>,
    locks: PathBuf,
}

/// Counted up with every change of the tables; older ones are brought up to date, newer ones are left alone.
const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// From each version to the next.
const MIGRATIONS: [&str; 2] = [TABLES, "ALTER TABLE apps ADD COLUMN orders TEXT;"];

const TABLES: &str = "
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
";

/// Lines of the past that are kept for each app.
const HISTORY_KEPT: i64 = 100;

/// How long a writer waits for another process that writes for another app.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// So much is read again by whoever opens the journal: a megabyte.
const CHECKPOINT_PAGES: i64 = 256;

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl SqliteJournal {
    /// Opens or creates the journal in `folder`, which nobody else may read.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join("journal.db");
        let failed = |source: Failure| JournalError::Open {
            path: path.clone(),
            source: plainly(source),
        };
        let locks = folder.join("locks");
        create_private(&locks, &path).map_err(|error| failed(error.into()))?;
        let mut connection = connect(&path).map_err(|error| failed(error.into()))?;
        let found = migrate(&mut connection).map_err(|error| failed(error.into()))?;
        if found > SCHEMA_VERSION {
            return Err(JournalError::Newer {
                path: path.clone(),
                found,
                known: SCHEMA_VERSION,
            });
        }
        Ok(Self {
            connection: Mutex::new(connection),
            locks,
        })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A transaction that was not finished is rolled back when it is dropped, by a panic too.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for SqliteJournal {
    fn load(&self, key: &AppKey) -> Result<AppRecord, JournalError> {
        load(&self.connection(), key).map_err(access("read the record", key))
    }

    fn generations(&self, key: &AppKey) -> Result<Vec<Arc<Generation>>, JournalError> {
        generations(&self.connection(), key).map_err(access("read the generations", key))
    }

    fn keys(&self) -> Result<Vec<AppKey>, JournalError> {
        keys(&self.connection()).map_err(|source| JournalError::List { source })
    }

    fn append(&self, key: &AppKey, entries: &[JournalEntry]) -> Result<(), JournalError> {
        append(&mut self.connection(), key, entries).map_err(access("write the record", key))
    }

    fn history(&self, key: &AppKey) -> Result<Vec<HistoryEntry>, JournalError> {
        history(&self.connection(), key).map_err(access("read the history", key))
    }

    fn orders(&self) -> Result<BTreeMap<AppKey, Orders>, JournalError> {
        orders(&self.connection()).map_err(|source| JournalError::List { source })
    }

    fn give(&self, key: &AppKey, order: Order) -> Result<(), JournalError> {
        give(&mut self.connection(), key, order).map_err(access("write the orders", key))
    }

    fn version(&self) -> Result<i64, JournalError> {
        let version = self
            .connection()
            .pragma_query_value(None, "data_version", |row| row.get(0));
        version.map_err(|source| JournalError::List { source: source.into() })
    }

    fn lock(&self, key: &AppKey) -> Result<Box<dyn Lock>, JournalError> {
        lock::take(&self.locks, key)
    }
}

fn access(operation: &'static str, key: &AppKey) -> impl FnOnce(Failure) -> JournalError {
    let key = key.clone();
    move |source| JournalError::Access {
        operation,
        key,
        source: plainly(source),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no space is left on its disk")]
struct DiskFull;

/// SQLite says that a disk is full in two ways; of the file that it shares with other processes only by a number.
pub(super) fn plainly(source: Failure) -> Failure {
    let from_sqlite = source.downcast_ref::<rusqlite::Error>();
    let is_full = from_sqlite.and_then(|error| error.sqlite_error()).is_some_and(|error| {
        error.code == rusqlite::ErrorCode::DiskFull || error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
    });
    let from_system = source.downcast_ref::<std::io::Error>();
    match is_full || from_system.is_some_and(|error| error.kind() == ErrorKind::StorageFull) {
        true => DiskFull.into(),
        false => source,
    }
}

/// SQLite gives its other files the mode of the first.
fn create_private(locks: &Path, database: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(locks)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(database).map(drop)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Most commands write little: what one would bring into the database at its end, and the log that the next one would
    // begin again, are four waits for the disk.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Makes the tables if there are none, and answers the version of what is there. Of a newer one nothing is changed, nor
/// how it is written.
///
/// With a write-ahead log readers and a writer do not wait for each other, and a process that dies at any moment leaves
/// whole transactions only. `FULL` makes them survive the loss of power too.
fn migrate(connection: &mut Connection) -> rusqlite::Result<i64> {
    let found = version(connection)?;
    if found > SCHEMA_VERSION {
        return Ok(found);
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    if found == SCHEMA_VERSION {
        return Ok(found);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been sooner, of a newer program too.
    let found = usize::try_from(version(&transaction)?).unwrap_or_default();
    for migration in MIGRATIONS.iter().skip(found) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION.max(version(&transaction)?))?;
    transaction.commit()?;
    version(connection)
}

fn keys(connection: &Connection) -> Result<Vec<AppKey>, Failure> {
    let mut statement = connection.prepare("SELECT namespace, app, target FROM apps ORDER BY 1, 2, 3")?;
    let rows = statement.query_map([], app_key)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn app_key(row: &Row<'_>) -> rusqlite::Result<AppKey> {
    Ok(AppKey {
        namespace: row.get(0)?,
        app: row.get(1)?,
        target: row.get(2)?,
    })
}

fn load(connection: &Connection, key: &AppKey) -> Result<AppRecord, Failure> {
    let row = connection
        .prepare_cached(
            "SELECT id, owner, latest, converged, held FROM apps WHERE (namespace, app, target) = (?, ?, ?)",
        )?
        .query_row(params![key.namespace, key.app, key.target], |row| {
            Ok(AppRow {
                id: row.get(0)?,
                owner: row.get(1)?,
                latest: row.get(2)?,
                converged: row.get(3)?,
                held: row.get(4)?,
            })
        })
        .optional()?;
    let Some(row) = row else {
        return Ok(AppRecord::default());
    };
    let latest = generation(connection, row.id, row.latest)?;
    let converged = match row.converged == row.latest {
        true => latest.clone(),
        false => generation(connection, row.id, row.converged)?,
    };
    let unconverged = match row.converged == row.latest {
        true => Vec::new(),
        false => parts(connection, UNCONVERGED, row.id)?,
    };
    let intents: Vec<super::Intent> = parts(connection, "SELECT body FROM intents WHERE app = ?", row.id)?;
    let operations: Vec<portolan_provider_api::OpenOperation> =
        parts(connection, "SELECT body FROM operations WHERE app = ?", row.id)?;
    Ok(AppRecord {
        owner: row.owner.map(OwnerId::from_tag),
        latest,
        converged,
        unconverged: unconverged.into_iter().map(Arc::new).collect(),
        held: row.held.map(|text| serde_json::from_str(&text)).transpose()?,
        intents: intents.into_iter().map(|intent| (intent.id.clone(), intent)).collect(),
        operations: operations
            .into_iter()
            .map(|operation| (operation.id.clone(), operation))
            .collect(),
    })
}

const UNCONVERGED: &str = "
    SELECT body FROM generations WHERE app = ?1
    AND number > (SELECT coalesce(converged, 0) FROM apps WHERE id = ?1) ORDER BY number
";

struct AppRow {
    id: i64,
    owner: Option<String>,
    latest: Option<i64>,
    converged: Option<i64>,
    held: Option<String>,
}

fn generation(connection: &Connection, app: i64, number: Option<i64>) -> Result<Option<Arc<Generation>>, Failure> {
    let Some(number) = number else { return Ok(None) };
    let body: String = connection
        .prepare_cached("SELECT body FROM generations WHERE app = ? AND number = ?")?
        .query_row(params![app, number], |row| row.get(0))?;
    Ok(Some(Arc::new(serde_json::from_str(&body)?)))
}

fn generations(connection: &Connection, key: &AppKey) -> Result<Vec<Arc<Generation>>, Failure> {
    let query = "SELECT body FROM generations WHERE app = ? ORDER BY number";
    match app_id(connection, key)? {
        Some(app) => parts(connection, query, app).map(|kept| kept.into_iter().map(Arc::new).collect()),
        None => Ok(Vec::new()),
    }
}

fn parts<T: DeserializeOwned>(connection: &Connection, query: &str, app: i64) -> Result<Vec<T>, Failure> {
    let mut statement = connection.prepare_cached(query)?;
    let bodies = statement.query_map(params![app], |row| row.get::<_, String>(0))?;
    bodies.map(|body| Ok(serde_json::from_str(&body?)?)).collect()
}

fn history(connection: &Connection, key: &AppKey) -> Result<Vec<HistoryEntry>, Failure> {
    match app_id(connection, key)? {
        Some(app) => parts(
            connection,
            "SELECT body FROM history WHERE app = ? ORDER BY number DESC",
            app,
        ),
        None => Ok(Vec::new()),
    }
}

fn app_id(connection: &Connection, key: &AppKey) -> Result<Option<i64>, Failure> {
    let id = connection
        .prepare_cached("SELECT id FROM apps WHERE (namespace, app, target) = (?, ?, ?)")?
        .query_row(params![key.namespace, key.app, key.target], |row| row.get(0))
        .optional()?;
    Ok(id)
}

fn append(connection: &mut Connection, key: &AppKey, entries: &[JournalEntry]) -> Result<(), Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let app = app_row(&transaction, key)?;
    for entry in entries {
        add(&transaction, app, entry)?;
    }
    transaction.commit()?;
    Ok(())
}

fn orders(connection: &Connection) -> Result<BTreeMap<AppKey, Orders>, Failure> {
    let sql = "SELECT namespace, app, target, orders FROM apps WHERE orders IS NOT NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok((app_key(row)?, row.get::<_, String>(3)?)))?;
    rows.map(|row| {
        let (key, text) = row?;
        Ok((key, serde_json::from_str(&text)?))
    })
    .collect()
}

fn give(connection: &mut Connection, key: &AppKey, order: Order) -> Result<(), Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let app = app_row(&transaction, key)?;
    let known: Option<String> =
        transaction.query_row("SELECT orders FROM apps WHERE id = ?", params![app], |row| row.get(0))?;
    let known = known.map(|text| serde_json::from_str(&text)).transpose()?;
    let mut orders: Orders = known.unwrap_or_default();
    orders.take(order);
    run(
        &transaction,
        "UPDATE apps SET orders = ? WHERE id = ?",
        params![json(&orders)?, app],
    )?;
    transaction.commit()?;
    Ok(())
}

/// The app's row, which is made if there is none.
fn app_row(transaction: &Transaction<'_>, key: &AppKey) -> Result<i64, Failure> {
    run(
        transaction,
        "INSERT OR IGNORE INTO apps (namespace, app, target) VALUES (?, ?, ?)",
        params![key.namespace, key.app, key.target],
    )?;
    Ok(app_id(transaction, key)?.ok_or("the app was not added")?)
}

fn add(transaction: &Transaction<'_>, app: i64, entry: &JournalEntry) -> Result<(), Failure> {
    match entry {
        JournalEntry::Begun { owner, generation } => begin(transaction, app, owner, generation),
        JournalEntry::IntentOpened(intent) => {
            let sql = "INSERT OR REPLACE INTO intents (app, resource, body) VALUES (?, ?, ?)";
            run(transaction, sql, params![app, intent.id.to_string(), json(intent)?])
        }
        JournalEntry::IntentClosed(id) => {
            let sql = "DELETE FROM intents WHERE app = ? AND resource = ?";
            run(transaction, sql, params![app, id.to_string()])
        }
        JournalEntry::OperationOpened(operation) => {
            let sql = "INSERT OR REPLACE INTO operations (app, resource, body) VALUES (?, ?, ?)";
            run(
                transaction,
                sql,
                params![app, operation.id.to_string(), json(operation)?],
            )
        }
        JournalEntry::OperationClosed(id) => {
            let sql = "DELETE FROM operations WHERE app = ? AND resource = ?";
            run(transaction, sql, params![app, id.to_string()])
        }
        JournalEntry::Converged => {
            let sql = "UPDATE apps SET converged = latest, held = NULL WHERE id = ?";
            run(transaction, sql, params![app])
        }
        JournalEntry::Held(hold) => run(
            transaction,
            "UPDATE apps SET held = ? WHERE id = ?",
            params![json(hold)?, app],
        ),
        JournalEntry::RolledBack => {
            let sql = "UPDATE apps SET held = json_remove(
                           json_set(held, '$.serving', json_extract(held, '$.rollingBackTo')), '$.rollingBackTo')
                       WHERE id = ?";
            run(transaction, sql, params![app])
        }
        JournalEntry::RollbackFailed => {
            let sql = "UPDATE apps SET held = json_remove(held, '$.rollingBackTo', '$.serving') WHERE id = ?";
            run(transaction, sql, params![app])
        }
        JournalEntry::History(line) => remember(transaction, app, line),
    }
}

/// Generations that are old, and that nothing points at any more, are forgotten.
fn begin(transaction: &Transaction<'_>, app: i64, owner: &OwnerId, generation: &Generation) -> Result<(), Failure> {
    keep_only_of(transaction, app, owner)?;
    let number = i64::try_from(generation.number)?;
    let sql = "INSERT OR REPLACE INTO generations (app, number, body) VALUES (?, ?, ?)";
    run(transaction, sql, params![app, number, json(generation)?])?;
    let sql = "UPDATE apps SET owner = ?, latest = ?, held = NULL WHERE id = ?";
    run(transaction, sql, params![owner.as_str(), number, app])?;
    let sql = "DELETE FROM generations WHERE app = ?1 AND number <= ?2 AND number NOT IN
               (SELECT latest FROM apps WHERE id = ?1 UNION SELECT coalesce(converged, latest) FROM apps WHERE id = ?1)";
    let kept = i64::try_from(GENERATIONS_KEPT)?;
    if Mutant::GenerationsAreKeptForEver.is_on() {
        return Ok(());
    }
    run(transaction, sql, params![app, number - kept])
}

/// What speaks of another owner says nothing about this one.
fn keep_only_of(transaction: &Transaction<'_>, app: i64, owner: &OwnerId) -> Result<(), Failure> {
    let sql = "UPDATE apps SET owner = NULL, latest = NULL, converged = NULL, held = NULL
               WHERE id = ? AND owner IS NOT NULL AND owner <> ?";
    if transaction.prepare_cached(sql)?.execute(params![app, owner.as_str()])? == 0 {
        return Ok(());
    }
    run(transaction, "DELETE FROM generations WHERE app = ?", params![app])?;
    run(transaction, "DELETE FROM intents WHERE app = ?", params![app])?;
    run(transaction, "DELETE FROM operations WHERE app = ?", params![app])
}

fn remember(transaction: &Transaction<'_>, app: i64, line: &HistoryEntry) -> Result<(), Failure> {
    let sql = "INSERT INTO history (app, number, body)
               VALUES (?1, 1 + (SELECT coalesce(max(number), 0) FROM history WHERE app = ?1), ?2)";
    run(transaction, sql, params![app, json(line)?])?;
    let sql = "DELETE FROM history WHERE app = ?1 AND number <= (SELECT max(number) FROM history WHERE app = ?1) - ?2";
    run(transaction, sql, params![app, HISTORY_KEPT])
}

fn run(transaction: &Transaction<'_>, sql: &str, values: impl Params) -> Result<(), Failure> {
    transaction.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

fn json(value: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string(value)
}
