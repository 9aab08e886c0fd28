//! The journal's file, looked at from outside.

use std::path::Path;

/// What commands have written lies in a log beside the database, until there is a megabyte of it. Afterwards it does not.
pub fn bring_log_in(database: &Path) {
    let connection = rusqlite::Connection::open(database).expect("the journal opens");
    let brought = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    assert_eq!(brought.expect("it is a journal"), 0, "somebody else has it open");
}
