//! Exactly one supervisor, and one keeper, per runtime directory: a lock that dies with its process, on a file that may itself be removed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::storage::{StorageError, create_folder};

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("cannot make the runtime directory")]
    Folder(#[from] StorageError),
    #[error("cannot lock {}", path.display())]
    Lock { path: PathBuf, source: io::Error },
}

#[derive(Debug)]
pub struct Lock {
    _held: Flock<File>,
    path: PathBuf,
}

impl Lock {
    /// `None` if another process holds it.
    ///
    /// The holder before us may have removed the file between our open and our lock: then it locks nobody out, and the
    /// file that is at the path now is tried.
    pub fn take(run_dir: &Path, name: &str) -> Result<Option<Lock>, LockError> {
        let path = run_dir.join(name);
        loop {
            create_folder(run_dir)?;
            let failed = |source| LockError::Lock {
                path: path.clone(),
                source,
            };
            let file = match OpenOptions::new().write(true).create(true).truncate(false).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(failed)?,
            };
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(held) if is_at(&held, &path) => return Ok(Some(Lock { _held: held, path })),
                Ok(_) => continue,
                Err((file, nix::errno::Errno::EWOULDBLOCK)) if is_at(&file, &path) => return Ok(None),
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => continue,
                Err((_, errno)) => return Err(failed(errno.into())),
            }
        }
    }

    /// Removes the file and then the folder, if that is empty, while still holding the lock.
    pub fn remove_with_folder(self, folder: &Path) {
        let _ = fs::remove_file(&self.path);
        // Not empty means that the next supervisor has begun in it.
        let _ = fs::remove_dir(folder);
    }

    /// Removes the file while still holding the lock.
    pub fn remove_file(self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(held), Ok(there)) = (file.metadata(), fs::metadata(path)) else {
        return false;
    };
    (held.dev(), held.ino()) == (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_and_a_removed_file_locks_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let first = Lock::take(&run, "lock").unwrap().expect("nobody holds it");
        assert!(Lock::take(&run, "lock").unwrap().is_none(), "one at a time");
        first.remove_with_folder(&run);
        assert!(!run.exists());
        let second = Lock::take(&run, "lock").unwrap();
        assert!(second.is_some(), "the folder is made again");
    }
}
