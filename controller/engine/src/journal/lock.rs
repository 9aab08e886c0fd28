//! One writer for each app on each target of this machine: a lock on a file, let go by the kernel when its holder dies.
//!
//! The file is there as long as somebody holds it. A holder that is killed leaves its file; the next one takes it over.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use portolan_core::name::{NameGrammar, native_name};

use super::sqlite::plainly;
use super::{AppKey, JournalError, Lock};

struct FileLock {
    path: PathBuf,
    _file: File,
}

impl Lock for FileLock {}

/// The file goes while its lock is held. Whoever opened it in time and gets the lock afterwards sees that it is gone.
impl Drop for FileLock {
    fn drop(&mut self) {
        // One that cannot be removed is as good as one whose holder was killed.
        _ = std::fs::remove_file(&self.path);
    }
}

/// What became of a file that was opened to be locked.
enum Claim {
    Held(FileLock),
    Busy {
        pid: Option<u32>,
    },
    /// The holder before has removed it since it was opened: its lock keeps nobody out any more.
    Removed,
}

/// Takes the lock, and leaves our process id in its file for those who come too late.
pub fn take(folder: &Path, key: &AppKey) -> Result<Box<dyn Lock>, JournalError> {
    let failed = |source: std::io::Error| JournalError::Access {
        operation: "take the lock",
        key: key.clone(),
        source: plainly(source.into()),
    };
    let path = folder.join(file_name(key));
    loop {
        let file = open(&path).map_err(failed)?;
        match claim(file, &path).map_err(failed)? {
            Claim::Held(lock) => return Ok(Box::new(lock)),
            Claim::Busy { pid } => return Err(JournalError::Busy { key: key.clone(), pid }),
            Claim::Removed => {}
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path)
}

fn claim(mut file: File, path: &Path) -> std::io::Result<Claim> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Claim::Busy { pid: holder(&mut file) }),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if !is_at(&file, path)? {
        return Ok(Claim::Removed);
    }
    write_holder(&mut file)?;
    Ok(Claim::Held(FileLock {
        path: path.to_path_buf(),
        _file: file,
    }))
}

/// Whether the file is the one that others find under its name.
fn is_at(file: &File, path: &Path) -> std::io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Over what the holder before has left, which is as long: of a file that was made empty first, ext4 brings what is written
/// then to the disk when it is closed, and a look at an app would wait for that.
fn write_holder(file: &mut File) -> std::io::Result<()> {
    let line = format!("{:>10}\n", std::process::id());
    file.write_all(line.as_bytes())
}

/// Who holds it, if that can be read: the holder may just be writing it.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn file_name(key: &AppKey) -> String {
    let grammar = NameGrammar {
        max_length: 120,
        separator: '-',
        also: "",
    };
    let name = native_name(&[&key.namespace, &key.app, &key.target], grammar);
    format!("{name}.lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_removed_after_it_was_opened_locks_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("app.lock");
        let claimed = |file| claim(file, &path).expect("the file system works");
        let first = claimed(open(&path).expect("a file"));
        let late = open(&path).expect("the same file");
        assert!(matches!(first, Claim::Held(_)));
        assert!(matches!(
            claimed(open(&path).expect("the same file")),
            Claim::Busy { pid: Some(_) }
        ));
        drop(first);
        assert!(!path.exists(), "nothing stays of a lock that was let go of");
        let second = claimed(open(&path).expect("a new file"));
        assert!(matches!(claimed(late), Claim::Removed), "not beside the second");
        assert!(matches!(second, Claim::Held(_)));
    }
}
