//! What stays from one process to the next, in one folder: who this is to others, and the engine's journal of each shard.
//!
//! A journal says what this side has done, and holds only while nobody else has written since. Whoever takes a lease over
//! from another holder therefore begins with an empty one, which the engine fills from the tags at the targets; whoever
//! finds itself still named as the holder goes on with its own.

use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use portolan_core::name::hash_of;
use portolan_engine::journal::SqliteJournal;

use crate::error::OperatorError;
use crate::shard::Shard;

pub struct Memory {
    folder: PathBuf,
    identity: String,
    /// Held for as long as the process lives.
    _lock: File,
}

impl Memory {
    /// Below `state`, a folder for each cluster and what of it is kept.
    pub fn open(state: &Path, url: &str, scope: &str) -> Result<Self, OperatorError> {
        let folder = state.join("kubernetes").join(&hash_of(&["operator", url, scope])[..16]);
        let lock = lock(&folder)?;
        let identity = identity(&folder).map_err(failed(&folder))?;
        Ok(Self {
            folder,
            identity,
            _lock: lock,
        })
    }

    /// By which leases name this side as its holder.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    pub fn journal(&self, shard: Shard) -> Result<SqliteJournal, OperatorError> {
        Ok(SqliteJournal::open(&self.journals(shard))?)
    }

    /// The shard's journal is none any more.
    pub fn forget(&self, shard: Shard) -> Result<(), OperatorError> {
        match fs::remove_dir_all(self.journals(shard)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&self.folder)(error)),
            _ => Ok(()),
        }
    }

    fn journals(&self, shard: Shard) -> PathBuf {
        self.folder.join(shard.lease("journal"))
    }
}

fn lock(folder: &Path) -> Result<File, OperatorError> {
    let made = fs::create_dir_all(folder).and_then(|()| File::create(folder.join("lock")));
    let file = made.map_err(failed(folder))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OperatorError::Shared {
            folder: folder.to_path_buf(),
        }),
        Err(TryLockError::Error(error)) => Err(failed(folder)(error)),
    }
}

/// The one that was written here before, or a new one: the machine's name, and enough behind it to tell two folders apart.
fn identity(folder: &Path) -> io::Result<String> {
    let file = folder.join("identity");
    match fs::read_to_string(&file) {
        Ok(known) if !known.trim().is_empty() => return Ok(known.trim().to_string()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let random = RandomState::new().hash_one(std::process::id());
    let identity = format!("{}_{random:016x}", machine.trim());
    fs::write(&file, &identity)?;
    Ok(identity)
}

fn failed(folder: &Path) -> impl Fn(io::Error) -> OperatorError {
    let folder = folder.to_path_buf();
    move |source| OperatorError::Memory {
        folder: folder.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_has_the_folder_and_the_next_is_the_same_to_others() {
        let state = std::env::temp_dir().join(format!("portolan-memory-{}", std::process::id()));
        let first = Memory::open(&state, "https://a", "all").unwrap();
        let known = first.identity().to_string();
        assert!(matches!(
            Memory::open(&state, "https://a", "all"),
            Err(OperatorError::Shared { .. })
        ));
        assert_ne!(Memory::open(&state, "https://b", "all").unwrap().identity(), known);
        first.forget(Shard { index: 0, count: 1 }).unwrap();
        drop(first);
        assert_eq!(Memory::open(&state, "https://a", "all").unwrap().identity(), known);
        fs::remove_dir_all(&state).unwrap();
    }
}
