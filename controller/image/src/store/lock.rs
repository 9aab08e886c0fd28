//! The two locks of a store, both `flock` on files that are never removed.
//!
//! `index.lock` is held, exclusively and briefly, around each read-change-write of `index.json`. `prune.lock` is held
//! shared by whoever adds content that nothing names yet, and exclusively by `prune`. The kernel drops both when a
//! process ends, however it ends.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::{FlockOperation, flock};

use super::Store;
use crate::error::{Error, Result};

/// While it lives, nothing is pruned from the store.
#[derive(Debug)]
pub struct Hold {
    _file: File,
}

impl Store {
    /// Keeps `prune` away until the answer is dropped; any number of holds may exist. Waits for a running prune.
    pub fn hold(&self) -> Result<Hold> {
        self.lock("prune.lock", FlockOperation::LockShared)
            .map(|file| Hold { _file: file })
    }

    /// Alone in the store, or [`Error::StoreBusy`].
    pub(super) fn lock_for_prune(&self) -> Result<File> {
        self.lock("prune.lock", FlockOperation::NonBlockingLockExclusive)
    }

    pub(super) fn lock_index(&self) -> Result<File> {
        self.lock("index.lock", FlockOperation::LockExclusive)
    }

    fn lock(&self, name: &str, operation: FlockOperation) -> Result<File> {
        let path = self.root().join(name);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::file("open", path.clone()))?;
        loop {
            match flock(&file, operation) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(Error::StoreBusy {
                        path: self.root().to_owned(),
                    });
                }
                Err(error) => return Err(Error::file("lock", path)(error)),
            }
        }
    }
}
