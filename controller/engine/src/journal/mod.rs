//! The journal: what the engine must not forget between two runs, and what it tells about the past.
//!
//! A record is the sum of its entries: [`AppRecord::apply`] says what each one means, and every journal keeps to it. All
//! of it can be rebuilt by observing the target but for the past itself; no secret's value ever reaches it, because
//! rendered resources hold references only.

mod error;
mod lock;
mod memory;
mod orders;
mod record;
mod sqlite;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use error::JournalError;
pub use memory::MemoryJournal;
pub use orders::{Order, Orders, Promoted};
pub use record::{
    AppKey, AppRecord, Generation, GenerationKind, HistoryEntry, HistoryOutcome, Hold, Intent, JournalEntry,
};

pub use sqlite::SqliteJournal;

/// Generations that are kept whole for each app.
pub const GENERATIONS_KEPT: u64 = 10;

/// Where records are kept. Methods block; the driver calls them where that is allowed.
pub trait Journal: Send + Sync {
    /// What is known of the app; an empty record if nothing is.
    fn load(&self, key: &AppKey) -> Result<AppRecord, JournalError>;

    /// The newest generations of the app, the oldest first: what it can be rolled back to.
    fn generations(&self, key: &AppKey) -> Result<Vec<Arc<Generation>>, JournalError>;

    /// Every app that anything is known of.
    fn keys(&self) -> Result<Vec<AppKey>, JournalError>;

    /// Adds entries, all of them or none. Durable on return.
    fn append(&self, key: &AppKey, entries: &[JournalEntry]) -> Result<(), JournalError>;

    /// What was done to the app, the newest first.
    fn history(&self, key: &AppKey) -> Result<Vec<HistoryEntry>, JournalError>;

    /// What users want of the controller that keeps an app, of each for which there is anything.
    fn orders(&self) -> Result<BTreeMap<AppKey, Orders>, JournalError>;

    /// Gives one order more. Durable on return.
    fn give(&self, key: &AppKey, order: Order) -> Result<(), JournalError>;

    /// Another number once another process has written.
    fn version(&self) -> Result<i64, JournalError>;

    /// Takes the one right to write for the app, until the answer is dropped; [`JournalError::Busy`] if it is taken.
    fn lock(&self, key: &AppKey) -> Result<Box<dyn Lock>, JournalError>;
}

/// The right to write for one app on one target, held as long as it lives.
pub trait Lock: Send {}
