//! The state made safe against the end of the machine's power, beside everything else.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinHandle;

use super::commands;
use crate::protocol::ErrorBody;
use crate::storage::{self, StorageError};

/// What the last request has written, on its way to the disk.
#[derive(Default)]
pub(super) struct Durable {
    under_way: Option<JoinHandle<Result<(), StorageError>>>,
    failed: Arc<AtomicBool>,
}

impl Durable {
    /// What is written to this file by now, or later in its place.
    pub fn begin(&mut self, file: PathBuf) {
        let failed = self.failed.clone();
        self.under_way = Some(tokio::task::spawn_blocking(move || sync(&file, &failed)));
    }

    /// What is written to this file by now, before anything goes on that must not be known to the disk first.
    pub fn at_once(&self, file: &Path) -> Result<(), StorageError> {
        sync(file, &self.failed)
    }

    /// Waits for what was begun last, once: for the answer of the request that began it.
    pub fn wait(&mut self) -> Option<impl Future<Output = Result<(), ErrorBody>> + Send + use<>> {
        let under_way = self.under_way.take()?;
        Some(async move {
            match under_way.await {
                Ok(synced) => synced.map_err(|error| commands::storage_refusal(&error)),
                // The runtime is going away, and the answer with it.
                Err(_) => Ok(()),
            }
        })
    }

    /// After a failure the kernel forgets what it could not write: it has to be written anew.
    pub fn has_failed(&self) -> bool {
        self.failed.swap(false, Ordering::Relaxed)
    }
}

fn sync(file: &Path, failed: &AtomicBool) -> Result<(), StorageError> {
    let synced = storage::sync(file);
    if synced.is_err() {
        failed.store(true, Ordering::Relaxed);
    }
    synced
}
