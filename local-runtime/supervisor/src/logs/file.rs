//! The file of a container's lines, with a record beside the fifos that tells after a kill what of them is in it.
//!
//! Lines are looked at, appended, recorded, and only then taken from their fifo. A supervisor that is killed between two
//! of these steps leaves either lines in the file that the record does not know, which are cut off again, or lines in
//! the fifo that are in the file already, which the record tells by their number and hash.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{MAX_FILE_BYTES, rotated};

pub struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    record: File,
}

/// Bytes at the head of a fifo that may be in the file already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubtful {
    /// `o` or `e`.
    pub stream: u8,
    pub length: u64,
    pub hash: u64,
}

impl LogFile {
    /// Goes on where the last process was killed, or begins. What is doubtful is to be compared, and then `settle`d.
    pub fn open(path: &Path, record: &Path) -> io::Result<(LogFile, Option<Doubtful>)> {
        let (file, bytes) = open_append(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let record = options.open(record)?;
        let mut log = LogFile {
            path: path.into(),
            file,
            bytes,
            record,
        };
        let doubtful = log.undo()?;
        Ok((log, doubtful))
    }

    /// Lines that were formatted from `taken`, what is at the head of a stream's fifo.
    pub fn append(&mut self, lines: &[u8], stream: u8, taken: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + lines.len() as u64 > MAX_FILE_BYTES {
            fs::rename(&self.path, rotated(&self.path))?;
            (self.file, self.bytes) = open_append(&self.path)?;
            self.settle()?;
        }
        let written = self.file.write_all(lines);
        // After a failure a part of them may be there.
        self.bytes = self.file.metadata()?.len();
        written?;
        self.write_record(&Doubtful {
            stream,
            length: taken.len() as u64,
            hash: hash(taken),
        })
    }

    /// Nothing is doubtful any more.
    pub fn settle(&mut self) -> io::Result<()> {
        self.write_record(&Doubtful {
            stream: 0,
            length: 0,
            hash: 0,
        })
    }

    fn undo(&mut self) -> io::Result<Option<Doubtful>> {
        let mut bytes = [0; 32];
        if self.record.read_exact_at(&mut bytes, 0).is_err() {
            self.settle()?;
            return Ok(None);
        }
        let [known, stream, length, hash] = [0, 1, 2, 3].map(|at| {
            let word = bytes[8 * at..8 * at + 8].try_into().expect("a slice of eight");
            u64::from_ne_bytes(word)
        });
        if self.bytes > known {
            self.file.set_len(known)?;
            self.bytes = known;
        }
        let stream = stream as u8;
        Ok((length > 0).then_some(Doubtful { stream, length, hash }))
    }

    /// In one write, which a kill does not divide.
    fn write_record(&mut self, doubtful: &Doubtful) -> io::Result<()> {
        let words = [self.bytes, doubtful.stream.into(), doubtful.length, doubtful.hash];
        self.record.write_all_at(&words.map(u64::to_ne_bytes).concat(), 0)
    }
}

impl Doubtful {
    pub fn is(&self, seen: &[u8]) -> bool {
        let head = seen.get(..self.length as usize);
        head.is_some_and(|head| hash(head) == self.hash)
    }
}

fn open_append(path: &Path) -> io::Result<(File, u64)> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// FNV-1a, 64 bits.
fn hash(bytes: &[u8]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325;
    bytes.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_full_becomes_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let [path, record] = ["1.main.log", "record"].map(|name| folder.path().join(name));
        let (mut file, _) = LogFile::open(&path, &record).unwrap();
        file.bytes = MAX_FILE_BYTES;
        file.append(b"1 o new\n", b'o', b"new\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"1 o new\n");
        assert!(rotated(&path).exists());
    }

    #[test]
    fn a_kill_between_two_steps_loses_and_doubles_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [path, record] = ["1.main.log", "record"].map(|name| folder.path().join(name));
        let (mut file, doubtful) = LogFile::open(&path, &record).unwrap();
        assert_eq!(doubtful, None, "a new one");
        file.append(b"1 o one\n", b'o', b"one\n").unwrap();
        let (mut file, doubtful) = LogFile::open(&path, &record).unwrap();
        let doubtful = doubtful.expect("it was not taken from the fifo yet, or it was and nobody says so");
        assert!(doubtful.is(b"one\ntwo\n") && !doubtful.is(b"two\n") && doubtful.stream == b'o');
        file.settle().unwrap();
        // Written, or half written, and not recorded.
        file.file.write_all(b"2 o tw").unwrap();
        let (_, doubtful) = LogFile::open(&path, &record).unwrap();
        assert_eq!(
            (doubtful, fs::read(&path).unwrap().as_slice()),
            (None, &b"1 o one\n"[..])
        );
    }
}
