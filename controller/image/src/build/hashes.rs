//! Remembered digests of the context's files. A file whose size, times, inode and device are those of last time has
//! the bytes of last time, so an unchanged context costs a `stat` for each file and no reading.
//!
//! One text file for each context: `hash device inode size mtime ctime path`, a line each. It is only a cache: what
//! cannot be read is forgotten, what cannot be written is not remembered.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::context::Stamp;

/// First line of the file; another one empties it.
const VERSION: &str = "portolan file hashes 1";

/// Nanoseconds for which a change may leave the times of a file as they are: the kernel's clock for files moves in
/// ticks of at most 10 ms, and some file systems keep whole seconds only. What had changed as short before it was
/// hashed is hashed again next time.
const TICK: i128 = 100_000_000;
const COARSE_TICK: i128 = 2_000_000_000;

#[derive(Debug, Default)]
pub(super) struct Hashes {
    path: PathBuf,
    former: HashMap<PathBuf, (Stamp, [u8; 32])>,
    seen: HashMap<PathBuf, (Stamp, [u8; 32])>,
    /// Hashed too soon after their last change to be remembered for another build.
    fresh: HashSet<PathBuf>,
    changed: bool,
}

impl Hashes {
    pub fn load(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines();
        let known = lines.next() == Some(VERSION);
        let former = lines.filter(|_| known).filter_map(parse_line).collect();
        Self {
            path: path.to_owned(),
            former,
            ..Self::default()
        }
    }

    pub fn get(&mut self, path: &Path, stamp: &Stamp) -> Option<[u8; 32]> {
        if let Some((_, hash)) = self.seen.get(path).filter(|(known, _)| known == stamp) {
            return Some(*hash);
        }
        let (known, hash) = self.former.get(path)?;
        if known != stamp {
            return None;
        }
        self.seen.insert(path.to_owned(), (*stamp, *hash));
        Some(*hash)
    }

    pub fn put(&mut self, path: &Path, stamp: Stamp, hash: [u8; 32]) {
        match is_settled(&stamp) {
            true => self.changed = true,
            false => drop(self.fresh.insert(path.to_owned())),
        }
        self.seen.insert(path.to_owned(), (stamp, hash));
    }

    /// Writes what was seen, if there is anything new in it.
    pub fn save(&mut self) {
        if std::mem::take(&mut self.changed) && self.write().is_err() {
            tracing::debug!(path = %self.path.display(), "cannot remember the hashes of the build context");
        }
    }

    fn write(&self) -> std::io::Result<()> {
        let parent = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent)?;
        let mut file = tempfile::NamedTempFile::new_in(parent)?;
        let mut text = format!("{VERSION}\n");
        for (path, (stamp, hash)) in self.seen.iter().filter(|(path, _)| !self.fresh.contains(*path)) {
            text.extend(line(path, stamp, hash));
        }
        file.write_all(text.as_bytes())?;
        file.persist(&self.path)?;
        Ok(())
    }
}

/// Whether any change from now on shows in the times of the file.
fn is_settled(stamp: &Stamp) -> bool {
    let changed = stamp.mtime.max(stamp.ctime);
    let coarse = stamp.ctime % 1_000_000_000 == 0;
    changed < now() - if coarse { COARSE_TICK } else { TICK }
}

/// `None` for names that a line cannot hold.
fn line(path: &Path, stamp: &Stamp, hash: &[u8; 32]) -> Option<String> {
    let name = path.to_str().filter(|name| !name.contains(['\n', '\r']))?;
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let Stamp {
        device,
        inode,
        size,
        mtime,
        ctime,
    } = stamp;
    Some(format!("{hex} {device} {inode} {size} {mtime} {ctime} {name}\n"))
}

fn parse_line(line: &str) -> Option<(PathBuf, (Stamp, [u8; 32]))> {
    let mut fields = line.splitn(7, ' ');
    let hash = parse_hex(fields.next()?)?;
    let stamp = Stamp {
        device: fields.next()?.parse().ok()?,
        inode: fields.next()?.parse().ok()?,
        size: fields.next()?.parse().ok()?,
        mtime: fields.next()?.parse().ok()?,
        ctime: fields.next()?.parse().ok()?,
    };
    Some((PathBuf::from(fields.next()?), (stamp, hash)))
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(hash)
}

fn now() -> i128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_remembered_while_nothing_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/hashes");
        let stamp = Stamp {
            device: 1,
            inode: 2,
            size: 3,
            mtime: 4,
            ctime: 5,
        };
        let mut hashes = Hashes::load(&file);
        hashes.put(Path::new("a b"), stamp, [7; 32]);
        hashes.put(Path::new("fresh"), Stamp { ctime: now(), ..stamp }, [8; 32]);
        hashes.save();
        let mut again = Hashes::load(&file);
        assert_eq!(again.get(Path::new("a b"), &stamp), Some([7; 32]));
        assert_eq!(
            again.get(Path::new("a b"), &Stamp { ctime: 6, ..stamp }),
            None,
            "it was written to"
        );
        assert!(again.former.len() == 1, "what changed just now is hashed again");
        fs::write(&file, "something else\n").unwrap();
        assert_eq!(Hashes::load(&file).get(Path::new("a b"), &stamp), None);
    }
}
