//! Paths inside a root file system that somebody else filled: resolved by the kernel beneath one descriptor, so that no
//! link, no `..` and no magic link of /proc leads out of it (openat2(2)).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// The root folder of a container, held open.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    pub fn open(path: &Path) -> Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        fs::openat(CWD, path, flags, Mode::empty())
            .map(Root)
            .map_err(Error::system("open", path.display()))
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Opens what is there for use as a mount point or a source, links inside the root followed.
    pub fn at(&self, path: &Path) -> Result<OwnedFd> {
        self.open_at(path, OFlags::PATH)
            .map_err(Error::system("open in the container", path.display()))
    }

    /// As [`Root::at`]; `None` if nothing is there.
    pub fn find(&self, path: &Path) -> Result<Option<OwnedFd>> {
        match self.open_at(path, OFlags::PATH) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(Error::system("open in the container", path.display())(error)),
        }
    }

    /// The folder at `path`, made with all above it if it is not there. A link anywhere on the way is refused: an image
    /// that makes /dev or /proc a link has the runtime's mounts and nodes land elsewhere (CVE-2019-16884, CVE-2026-41579).
    pub fn folder(&self, path: &Path) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let relative: PathBuf = names(path).collect();
        // Mostly it is there, and the kernel walks the way at once.
        if let Ok(folder) = fs::openat2(&self.0, &relative, flags, Mode::empty(), PLAIN) {
            return Ok(folder);
        }
        let mut folder = self.reopened()?;
        for name in names(path) {
            folder = open_or_make(folder, name).map_err(|error| misplaced(error, path, "folder"))?;
        }
        Ok(folder)
    }

    /// The plain file at `path` (or the node: a bind mount takes any), made empty if it is not there.
    pub fn file(&self, path: &Path) -> Result<OwnedFd> {
        let folder = self.folder(path.parent().unwrap_or(Path::new("/")))?;
        let name = path.file_name().ok_or_else(|| Error::Invalid {
            what: format!("{} is no file", path.display()),
        })?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::openat(&folder, name, flags, Mode::from_raw_mode(0o644)) {
            Ok(_) | Err(Errno::EXIST) => {}
            Err(error) => return Err(Error::system("make", path.display())(error)),
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&folder, name, flags, Mode::empty()).map_err(Error::system("open", path.display()))?;
        let kind = fs::fstat(&file)
            .map_err(Error::system("look at", path.display()))?
            .st_mode;
        match FileType::from_raw_mode(kind) {
            FileType::Symlink | FileType::Directory => Err(Error::Misplaced {
                path: path.display().to_string(),
                wanted: "file",
            }),
            _ => Ok(file),
        }
    }

    fn reopened(&self) -> Result<OwnedFd> {
        self.0.try_clone().map_err(Error::system("duplicate", "the root"))
    }

    fn open_at(&self, path: &Path, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let open = || fs::openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
        // The kernel gives up on a `..` while anything on the machine is renamed or mounted, and says "again". Somebody
        // who renames without end may make this fail, never stay.
        const ATTEMPTS: usize = 1000;
        let mut answers = std::iter::repeat_with(open).take(ATTEMPTS);
        let settled = answers.find(|answer| !matches!(answer, Err(Errno::AGAIN)));
        settled.unwrap_or(Err(Errno::AGAIN))
    }
}

/// The named parts of an absolute path; `.` and `..` are dropped, as at the root of a file system.
fn names(path: &Path) -> impl Iterator<Item = &std::ffi::OsStr> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

/// No links, and nothing above.
const PLAIN: ResolveFlags = ResolveFlags::NO_SYMLINKS.union(ResolveFlags::BENEATH);

fn open_or_make(parent: OwnedFd, name: &std::ffi::OsStr) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || fs::openat2(&parent, name, flags, Mode::empty(), PLAIN);
    match open() {
        Err(Errno::NOENT) => match fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => open(),
            Err(error) => Err(error),
        },
        found => found,
    }
}

fn misplaced(error: Errno, path: &Path, wanted: &'static str) -> Error {
    match error {
        Errno::LOOP | Errno::NOTDIR => Error::Misplaced {
            path: path.display().to_string(),
            wanted,
        },
        error => Error::system("make", path.display())(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn nothing_leads_out_of_the_root() {
        let outer = tempfile::tempdir().unwrap();
        let inside = outer.path().join("root");
        std::fs::create_dir_all(inside.join("etc")).unwrap();
        std::fs::create_dir(outer.path().join("canary")).unwrap();
        symlink(outer.path().join("canary"), inside.join("dev")).unwrap();
        symlink("../canary", inside.join("up")).unwrap();
        symlink("/etc", inside.join("own")).unwrap();
        let root = Root::open(&inside).unwrap();
        assert!(
            matches!(root.folder(Path::new("/dev")), Err(Error::Misplaced { .. })),
            "an absolute link"
        );
        assert!(
            matches!(root.folder(Path::new("/up/new")), Err(Error::Misplaced { .. })),
            "a relative link"
        );
        assert!(
            matches!(root.file(Path::new("/dev")), Err(Error::Misplaced { .. })),
            "a link in place of a file"
        );
        assert!(root.find(Path::new("/up")).unwrap().is_none(), "`..` stops at the root");
        assert!(
            root.find(Path::new("/own")).unwrap().is_some(),
            "a link within the root is followed for reading"
        );
        root.folder(Path::new("/../../a/b")).unwrap();
        assert!(inside.join("a/b").is_dir(), "`..` at the front is the root itself");
        root.file(Path::new("/etc/hosts")).unwrap();
        assert!(inside.join("etc/hosts").is_file());
        assert_eq!(
            std::fs::read_dir(outer.path().join("canary")).unwrap().count(),
            0,
            "the canary is untouched"
        );
    }

    #[test]
    fn a_path_that_climbs_is_found_while_files_are_renamed() {
        let outer = tempfile::tempdir().unwrap();
        let inside = outer.path().join("root");
        std::fs::create_dir_all(inside.join("a/b")).unwrap();
        let (one, two) = (outer.path().join("one"), outer.path().join("two"));
        std::fs::create_dir(&one).unwrap();
        let root = Root::open(&inside).unwrap();
        let enough = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    std::fs::rename(&one, &two).unwrap();
                    std::fs::rename(&two, &one).unwrap();
                }
            });
            let found = (0..2000).map(|_| {
                root.find(Path::new("/a/../a/b/../../a/b"))
                    .is_ok_and(|found| found.is_some())
            });
            let missed = found.filter(|found| !found).count();
            enough.store(true, Ordering::Relaxed);
            assert_eq!(missed, 0);
        });
    }
}
