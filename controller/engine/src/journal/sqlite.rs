//! The journal in one SQLite file.

use std::path::Path;

use super::{AppKey, AppRecord, HistoryEntry, Journal, JournalEntry, JournalError, Lock};

pub struct SqliteJournal {}

#[allow(clippy::todo, unused_variables)]
impl SqliteJournal {
    /// Opens or creates `journal.db` in `folder`; locks lie beside it, in `locks/`.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        todo!()
    }
}

#[allow(clippy::todo, unused_variables)]
impl Journal for SqliteJournal {
    fn load(&self, key: &AppKey) -> Result<AppRecord, JournalError> {
        todo!()
    }

    fn append(&self, key: &AppKey, entries: &[JournalEntry]) -> Result<(), JournalError> {
        todo!()
    }

    fn history(&self, key: &AppKey) -> Result<Vec<HistoryEntry>, JournalError> {
        todo!()
    }

    fn lock(&self, key: &AppKey) -> Result<Box<dyn Lock>, JournalError> {
        todo!()
    }
}
