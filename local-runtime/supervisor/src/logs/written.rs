//! That something was written, and how much of each log may be told, said by those who write to those who read.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// A handle; all clones are one.
#[derive(Clone, Default)]
pub struct Written {
    count: watch::Sender<u64>,
    settled: Arc<Mutex<HashMap<PathBuf, Settled>>>,
}

/// Of a file that is written: its first bytes that a kill does not take back.
#[derive(Clone, Copy)]
struct Settled {
    inode: u64,
    bytes: u64,
}

impl Written {
    /// Wakes those who follow.
    pub fn poke(&self) {
        self.count.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    pub(super) fn settle(&self, log: &Path, inode: u64, bytes: u64) {
        self.settled().insert(log.into(), Settled { inode, bytes });
    }

    /// Nobody writes to it any more.
    pub(super) fn forget(&self, log: &Path) {
        self.settled().remove(log);
    }

    /// How many bytes of one of a log's files may be told. Its length is asked first: a file that is not yet known as the
    /// one that is written has nothing in it that is not settled.
    pub(super) fn tellable(&self, log: &Path, file: &File) -> io::Result<u64> {
        let metadata = file.metadata()?;
        let settled = self.settled().get(log).copied();
        let settled = settled.filter(|settled| settled.inode == metadata.ino());
        Ok(settled.map_or(metadata.len(), |settled| settled.bytes.min(metadata.len())))
    }

    fn settled(&self) -> MutexGuard<'_, HashMap<PathBuf, Settled>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
