//! What the supervisor keeps on disk: where, and how it survives a crash at any moment.

mod paths;
mod records;
mod state_file;

pub use paths::Paths;
pub use records::Records;
pub use state_file::{load, save};

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
    #[error("{} is damaged; move it away to begin afresh, after ending what still runs", path.display())]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("{} was written by a newer program (format {found}, this one knows {known})", path.display())]
    TooNew { path: PathBuf, found: u64, known: u64 },
}

/// How much a write must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The end of this process.
    Process,
    /// The end of the machine's power.
    Power,
}

/// Replaces a file as a whole: a reader sees the old content or the new one, never a part.
pub fn write_atomically(path: &Path, content: &[u8], durability: Durability) -> Result<(), StorageError> {
    let temporary = path.with_extension("tmp");
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(content)?;
        if durability == Durability::Power {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)?;
        match (durability, path.parent()) {
            (Durability::Power, Some(folder)) => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    };
    write().map_err(|source| StorageError::Write {
        path: path.into(),
        source,
    })
}

/// Makes a file that was replaced as a whole survive the end of the machine's power, with its name.
pub fn sync(path: &Path) -> Result<(), StorageError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let sync = || {
        File::open(path)?
            .sync_all()
            .and_then(|()| File::open(folder)?.sync_all())
    };
    sync().map_err(|source| StorageError::Write {
        path: path.into(),
        source,
    })
}

/// The content; `None` if there is no such file.
pub fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StorageError::Read {
            path: path.into(),
            source,
        }),
    }
}

pub fn create_folder(path: &Path) -> Result<(), StorageError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StorageError::Write {
        path: path.into(),
        source,
    })
}

/// Removes a folder with all in it; one that is not there is success.
pub fn remove_folder(path: &Path) -> Result<(), StorageError> {
    gone(path, fs::remove_dir_all(path))
}

/// Removes a file; one that is not there is success.
pub fn remove_file(path: &Path) -> Result<(), StorageError> {
    gone(path, fs::remove_file(path))
}

fn gone(path: &Path, result: io::Result<()>) -> Result<(), StorageError> {
    match result {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StorageError::Remove {
            path: path.into(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Changes a file's content and keeps the file itself: for files that are mounted into containers.
pub fn write_in_place(path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)?;
        file.write_all(content)?;
        file.set_len(content.len() as u64)
    };
    write().map_err(|source| StorageError::Write {
        path: path.into(),
        source,
    })
}
