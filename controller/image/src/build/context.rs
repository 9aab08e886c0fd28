//! The build context: a folder of the user's, seen through `.dockerignore`. Whatever is read of it is opened beneath
//! one descriptor, with no link followed by the kernel: a link named by a source is followed here, inside the context
//! or not at all, and a link found in a folder is copied as a link.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::error::{BuildError, StepError};
use super::hashes::Hashes;
use super::workspace::Stop;
use crate::dockerfile::glob;
use crate::ignore::{Ignore, MAX_IGNORE_FILE};

/// Links followed on one way, as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// An open context.
#[derive(Debug)]
pub(super) struct Context {
    root: PathBuf,
    directory: OwnedFd,
    ignore: Ignore,
    hashes: Mutex<Hashes>,
}

/// What tells that a file is still the one that was hashed: a write changes the time of change, which no program sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    /// Nanoseconds since the epoch.
    pub mtime: i128,
    pub ctime: i128,
}

/// One thing of the context.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Relative to the context, without links in it.
    pub path: PathBuf,
    pub kind: FoundKind,
    /// The twelve permission bits.
    pub mode: u32,
    pub stamp: Stamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FoundKind {
    File,
    Directory,
    Symlink(Vec<u8>),
    /// A socket, pipe or device, which is refused once it is to be copied.
    Special(&'static str),
}

const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

impl Context {
    /// Opens the folder `root` and reads the ignore file that goes with `dockerfile`: `<dockerfile>.dockerignore` if
    /// there is one, else the context's `.dockerignore`. `hashes` is the file in which hashes of files are remembered.
    pub fn open(root: &Path, dockerfile: &Path, hashes: &Path) -> Result<Self, BuildError> {
        let failed = |source: io::Error| BuildError::ContextRead {
            path: root.to_owned(),
            source,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(root, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        let mut own = dockerfile.as_os_str().to_owned();
        own.push(".dockerignore");
        let ignore = match read_ignore(Path::new(&own))? {
            Some(ignore) => ignore,
            None => read_ignore(&root.join(".dockerignore"))?.unwrap_or_default(),
        };
        Ok(Self {
            root: root.to_owned(),
            directory,
            ignore,
            hashes: Mutex::new(Hashes::load(hashes)),
        })
    }

    /// What the source `pattern` names, in the order of the names. A name without wildcards that is not there gives
    /// nothing, as a wildcard that matches nothing does.
    pub fn find(&self, pattern: &str) -> Result<Vec<(PathBuf, Found)>, StepError> {
        let mut named = vec![PathBuf::new()];
        for part in pattern.split('/').filter(|part| !matches!(*part, "" | ".")) {
            let mut next = Vec::new();
            for path in named {
                match glob::is_pattern(part) {
                    true => next.extend(self.matching(&path, part)?),
                    false => next.push(path.join(part)),
                }
            }
            named = next;
        }
        let mut found = Vec::new();
        for name in named {
            let resolved = self.resolve(&name)?;
            found.extend(resolved.filter(|found| self.is_seen(found)).map(|found| (name, found)));
        }
        Ok(found)
    }

    /// Everything the build sees below the folder `top`, parents first, names sorted by their bytes. Folders that are
    /// ignored themselves appear only for what is taken in again below them.
    pub fn walk(&self, top: &Path, stop: &Stop) -> Result<Vec<Found>, StepError> {
        let mut found = Vec::new();
        self.walk_into(top, &mut found, stop)?;
        Ok(found)
    }

    /// The file and line of the pattern that hides `pattern`, for a message.
    pub fn hidden_by(&self, pattern: &str) -> Option<String> {
        let (path, line) = self.ignore.reason(pattern.trim_start_matches("./").trim_matches('/'))?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        Some(format!("it is excluded by {}:{line}", name.to_string_lossy()))
    }

    /// The name beside `missing` that a typing error away could have been meant.
    pub fn nearest(&self, missing: &str) -> Option<String> {
        let path = Path::new(missing);
        let parent = self.resolve(path.parent()?).ok()??.path;
        let names = self.names(&parent).ok()?;
        let names: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
        let word = path.file_name()?.to_str()?;
        crate::dockerfile::nearest(word, names.iter().map(String::as_str))
    }

    /// Opens the regular file `path`, of which no part is a link.
    pub fn open_file(&self, path: &Path) -> Result<File, StepError> {
        // Not blocking: opening a pipe that took the file's place must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(self.open_at(path, flags).map_err(self.failed(path))?);
        match file.metadata().map_err(StepError::file("read", path))?.is_file() {
            true => Ok(file),
            false => Err(StepError::Changed { path: path.to_owned() }),
        }
    }

    /// The digest of the file `found`, from memory where nothing has changed since.
    pub fn sha256(&self, found: &Found) -> Result<[u8; 32], StepError> {
        let known = self
            .hashes
            .lock()
            .expect("no holder panics")
            .get(&found.path, &found.stamp);
        if let Some(known) = known {
            return Ok(known);
        }
        let mut file = self.open_file(&found.path)?;
        let failed = || StepError::file("read", self.root.join(&found.path));
        let hash = sha256_of(&mut file).map_err(failed())?;
        if Stamp::of(&file).map_err(failed())? != found.stamp {
            return Err(StepError::Changed {
                path: found.path.clone(),
            });
        }
        self.hashes
            .lock()
            .expect("no holder panics")
            .put(&found.path, found.stamp, hash);
        Ok(hash)
    }

    /// Makes the hashes of this build known to the next one. A cache that cannot be written is no error.
    pub fn remember(&self) {
        self.hashes.lock().expect("no holder panics").save();
    }

    fn walk_into(&self, top: &Path, found: &mut Vec<Found>, stop: &Stop) -> Result<(), StepError> {
        stop.check()?;
        for name in self.names(top)? {
            let path = top.join(&name);
            let ignored = self.ignore.ignores(&text_of(&path));
            let Some(child) = self.look(&path)? else {
                return Err(StepError::Changed { path });
            };
            let is_dir = child.kind == FoundKind::Directory;
            let before = found.len();
            match ignored {
                true if !(is_dir && self.ignore.may_take_in_below(&text_of(&path))) => continue,
                _ => found.push(child),
            }
            if is_dir {
                self.walk_into(&path, found, stop)?;
                if ignored && found.len() == before + 1 {
                    found.pop();
                }
            }
        }
        Ok(())
    }

    fn is_seen(&self, found: &Found) -> bool {
        let path = text_of(&found.path);
        let ignored = !path.is_empty() && self.ignore.ignores(&path);
        !ignored || (found.kind == FoundKind::Directory && self.ignore.may_take_in_below(&path))
    }

    fn matching(&self, parent: &Path, pattern: &str) -> Result<Vec<PathBuf>, StepError> {
        let parent_found = self.resolve(parent)?.filter(|found| found.kind == FoundKind::Directory);
        let Some(directory) = parent_found else {
            return Ok(Vec::new());
        };
        let mut matching = Vec::new();
        for name in self.names(&directory.path)? {
            let matches = glob::matches_component(pattern, &name.to_string_lossy());
            if matches.map_err(|_| StepError::invalid(format!("{pattern} is no valid pattern")))? {
                matching.push(parent.join(name));
            }
        }
        Ok(matching)
    }

    /// Follows `path` through the links of the context; `None` where nothing is.
    fn resolve(&self, path: &Path) -> Result<Option<Found>, StepError> {
        let mut here = PathBuf::new();
        let mut todo: Vec<OsString> = names_of(path).ok_or_else(|| self.leaves(path, path))?;
        todo.reverse();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                if !here.pop() {
                    return Err(self.leaves(path, path));
                }
                continue;
            }
            let next = here.join(&name);
            match self.look(&next)? {
                None => return Ok(None),
                Some(Found {
                    kind: FoundKind::Symlink(target),
                    ..
                }) => {
                    links += 1;
                    let target = PathBuf::from(std::ffi::OsStr::from_bytes(&target));
                    let names = names_of(&target).ok_or_else(|| self.leaves(&next, &target))?;
                    if links > MAX_LINKS || depth_below(&here, &names) {
                        return Err(self.leaves(&next, &target));
                    }
                    todo.extend(names.into_iter().rev());
                }
                Some(found) if found.kind != FoundKind::Directory && !todo.is_empty() => return Ok(None),
                Some(_) => here = next,
            }
        }
        self.look(&here)
    }

    fn leaves(&self, link: &Path, target: &Path) -> StepError {
        StepError::LinkLeavesContext {
            path: link.to_owned(),
            target: target.display().to_string(),
        }
    }

    fn look(&self, path: &Path) -> Result<Option<Found>, StepError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match self.open_at(path, flags) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            other => other.map_err(self.failed(path))?,
        };
        let stat = rustix::fs::statat(&opened, "", AtFlags::EMPTY_PATH).map_err(self.failed(path))?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => FoundKind::File,
            FileType::Directory => FoundKind::Directory,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&opened, "", Vec::new()).map_err(self.failed(path))?;
                FoundKind::Symlink(target.into_bytes())
            }
            FileType::Socket => FoundKind::Special("socket"),
            FileType::Fifo => FoundKind::Special("named pipe"),
            _ => FoundKind::Special("device"),
        };
        Ok(Some(Found {
            path: path.to_owned(),
            kind,
            mode: stat.st_mode & 0o7777,
            stamp: Stamp::from(&stat),
        }))
    }

    fn names(&self, path: &Path) -> Result<Vec<OsString>, StepError> {
        let read = || -> Result<Vec<OsString>, Errno> {
            let directory = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
            let mut names = Vec::new();
            for entry in Dir::new(directory)? {
                let name = entry?.file_name().to_bytes().to_vec();
                if !matches!(name.as_slice(), b"." | b"..") {
                    names.push(std::os::unix::ffi::OsStringExt::from_vec(name));
                }
            }
            names.sort();
            Ok(names)
        };
        read().map_err(self.failed(path))
    }

    /// One look for a whole path: the kernel walks it, and refuses links and ways out.
    fn open_at(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        loop {
            match rustix::fs::openat2(&self.directory, path, flags, Mode::empty(), BENEATH) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    fn failed(&self, path: &Path) -> impl Fn(Errno) -> StepError {
        let path = self.root.join(path);
        move |error| StepError::ContextFile {
            path: path.clone(),
            source: error.into(),
        }
    }
}

impl Stamp {
    pub fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(&rustix::fs::fstat(file)?))
    }
}

impl From<&Stat> for Stamp {
    fn from(stat: &Stat) -> Self {
        let nanoseconds =
            |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size as u64,
            mtime: nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64),
            ctime: nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64),
        }
    }
}

/// The digest of all that `reader` gives.
pub(super) fn sha256_of(reader: &mut impl Read) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(length) => hash.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The parts of a relative path; `None` for an absolute one.
fn names_of(path: &Path) -> Option<Vec<OsString>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => names.push(OsString::from("..")),
            Component::Normal(name) => names.push(name.to_owned()),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(names)
}

/// Whether `names`, followed from `here`, pass above the context.
fn depth_below(here: &Path, names: &[OsString]) -> bool {
    let mut depth = here.components().count() as i64;
    names.iter().any(|name| {
        depth += if name == ".." { -1 } else { 1 };
        depth < 0
    })
}

fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn read_ignore(path: &Path) -> Result<Option<Ignore>, BuildError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(MAX_IGNORE_FILE as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    let bytes = read().map_err(|source| BuildError::IgnoreRead {
        path: path.to_owned(),
        source,
    })?;
    Ok(Some(Ignore::parse(path, &bytes)?))
}
