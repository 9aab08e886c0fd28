//! The private folder of one build, below the store's `tmp`: staged layers, bundles, upper directories. It goes away
//! with the build, however that ends; what a killed build left is found by its lock, which the kernel has dropped, and
//! removed by the next one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::fs::{FlockOperation, flock};

use super::error::{BuildError, StepError};

/// Begins the name of each build's folder and of its lock.
const PREFIX: &str = "build-";

/// A folder that nobody else writes to.
#[derive(Debug)]
pub(super) struct Workspace {
    directory: PathBuf,
    lock_path: PathBuf,
    _lock: File,
    next: AtomicU32,
}

/// Told to the threads of a build whose caller has gone.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Workspace {
    /// Makes the folder of a new build below `parent`, and removes what dead builds left there.
    pub fn new(parent: &Path) -> Result<Self, BuildError> {
        remove_leftovers(parent).map_err(BuildError::file("remove what a former build left in", parent))?;
        let failed = || BuildError::file("make a folder in", parent);
        let mut builder = tempfile::Builder::new();
        // The lock comes first, and is made under another name until it is held: what another build can take the lock
        // of is a leftover.
        let lock = builder.prefix(".new-").tempfile_in(parent).map_err(failed())?;
        flock(lock.as_file(), FlockOperation::LockExclusive)
            .map_err(io::Error::from)
            .map_err(failed())?;
        let name = lock
            .path()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .replacen(".new-", PREFIX, 1);
        let path = parent.join(name);
        let lock_path = path.with_extension("lock");
        let file = lock
            .persist(&lock_path)
            .map_err(|error| error.error)
            .map_err(failed())?;
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed())?;
        Ok(Self {
            directory: path,
            lock_path,
            _lock: file,
            next: AtomicU32::new(0),
        })
    }

    /// A new folder inside, for one step.
    pub fn step(&self, what: &str) -> Result<PathBuf, StepError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("{what}-{number}"));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(StepError::file("make the folder", &path))?;
        Ok(path)
    }

    /// A word that no other build on this machine has now.
    pub fn id(&self) -> String {
        let name = self.directory.file_name().unwrap_or_default();
        name.to_string_lossy()
            .replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "")
    }
}

impl Drop for Workspace {
    /// The folder, then its lock: in the other order another build could take it for a leftover.
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
        let _ = fs::remove_file(&self.lock_path);
    }
}

impl Stop {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn check(&self) -> Result<(), StepError> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(StepError::Stopped),
            false => Ok(()),
        }
    }
}

/// Removes the folders whose lock nobody holds.
fn remove_leftovers(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(stem) = name.strip_suffix(".lock").filter(|stem| stem.starts_with(PREFIX)) else {
            continue;
        };
        let opened = OpenOptions::new().read(true).custom_flags(libc_nofollow()).open(&path);
        let Ok(lock) = opened else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        match fs::remove_dir_all(parent.join(stem)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let _ = fs::remove_file(&path);
    }
    Ok(())
}

fn libc_nofollow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_build_keeps_its_folder_and_a_dead_one_loses_it() {
        let parent = tempfile::tempdir().unwrap();
        let living = Workspace::new(parent.path()).unwrap();
        let kept = living.step("copy").unwrap();
        fs::create_dir(parent.path().join("build-dead")).unwrap();
        fs::write(parent.path().join("build-dead/file"), "x").unwrap();
        fs::write(parent.path().join("build-dead.lock"), "").unwrap();
        let second = Workspace::new(parent.path()).unwrap();
        assert!(kept.is_dir());
        assert!(!parent.path().join("build-dead").exists());
        assert!(!parent.path().join("build-dead.lock").exists());
        drop((living, second));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
