//! The file of a container's lines, with a record beside the fifos that tells after a kill what of them is in it.
//!
//! Lines are looked at, appended, recorded, and only then taken from their fifo. A supervisor that is killed between two
//! of these steps leaves either lines in the file that the record does not know, which are cut off again, or lines in
//! the fifo that are in the file already, which the record tells by their number and hash.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::old::remove_surplus;
use super::{Rule, Written, numbered, parse_line};
use crate::clock;

pub struct LogFile {
    path: PathBuf,
    file: File,
    inode: u64,
    bytes: u64,
    /// The time of its first line.
    begun: Option<u64>,
    lost: Lost,
    record: File,
    rule: Rule,
    written: Written,
}

/// Bytes at the head of a fifo that may be in the file already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubtful {
    /// `o` or `e`.
    pub stream: u8,
    pub length: u64,
    pub hash: u64,
}

/// What could not be written since the last line that could.
#[derive(Clone, Copy, Default)]
struct Lost {
    lines: u64,
    bytes: u64,
}

/// No line about [`Lost`] is longer.
const LONGEST_WORD_OF_LOSS: u64 = 160;

impl LogFile {
    /// Goes on where the last process was killed, or begins. What is doubtful is to be compared, and then `settle`d.
    pub fn open(path: &Path, record: &Path, rule: Rule, written: Written) -> io::Result<(LogFile, Option<Doubtful>)> {
        let (file, metadata) = open_append(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let record = options.open(record)?;
        let mut log = LogFile {
            path: path.into(),
            file,
            inode: metadata.ino(),
            bytes: metadata.len(),
            begun: None,
            lost: Lost::default(),
            record,
            rule,
            written,
        };
        let doubtful = log.undo()?;
        log.begun = File::open(path).ok().and_then(|file| first_time(&file));
        Ok((log, doubtful))
    }

    /// Lines that were formatted from `taken`, what is at the head of a stream's fifo. Those that cannot be written are
    /// lost, and told of in their place once something can.
    pub fn append(&mut self, lines: &[u8], stream: u8, taken: &[u8]) -> io::Result<()> {
        let written = self.write(lines);
        if written.is_err() {
            self.lost.lines += lines.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.lost.bytes += taken.len() as u64;
        }
        self.write_record(&Doubtful {
            stream,
            length: taken.len() as u64,
            hash: hash(taken),
        })?;
        written
    }

    pub fn has_lost(&self) -> bool {
        self.lost.lines > 0
    }

    /// Says what is lost, although no line comes.
    pub fn tell_lost(&mut self) -> io::Result<()> {
        self.write(&[])?;
        self.settle()
    }

    /// All or nothing.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.file.metadata()?.nlink() == 0 {
            // Somebody has removed it.
            self.begin()?;
        }
        let mut all = self.lost.line();
        all.extend_from_slice(lines);
        if self.bytes > 0 && self.bytes + all.len() as u64 > self.full() {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all(&all) {
            // A part of them may be there.
            let cut_off = self.file.set_len(self.bytes);
            self.bytes = self.file.metadata()?.len();
            return cut_off.and(Err(error));
        }
        self.bytes += all.len() as u64;
        self.begun = self.begun.or_else(|| time_of(&all));
        self.lost = Lost::default();
        Ok(())
    }

    /// How many bytes may be appended at once.
    pub fn room(&self) -> u64 {
        let kept_free = if self.has_lost() { LONGEST_WORD_OF_LOSS } else { 0 };
        self.full().saturating_sub(kept_free)
    }

    fn full(&self) -> u64 {
        self.rule.now().max_size_bytes
    }

    /// Keeps to the rule, also where nothing is written.
    pub fn keep(&mut self) -> io::Result<()> {
        let age = self.begun.map(|begun| clock::unix_ms().saturating_sub(begun));
        let is_old =
            (age.zip(self.rule.now().file_age())).is_some_and(|(age, most)| Duration::from_millis(age) >= most);
        if is_old || self.bytes > self.full() {
            self.rotate()?;
        }
        self.remove_surplus();
        Ok(())
    }

    /// From the oldest on, so that a kill in between leaves a gap and no two of one number.
    fn rotate(&mut self) -> io::Result<()> {
        let last = self.rule.now().max_files.saturating_sub(1);
        for number in (1..=last).rev() {
            if_there(fs::rename(
                numbered(&self.path, number - 1),
                numbered(&self.path, number),
            ))?;
        }
        if last == 0 {
            if_there(fs::remove_file(&self.path))?;
        }
        self.begin()?;
        self.remove_surplus();
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        let (file, metadata) = open_append(&self.path)?;
        (self.file, self.inode, self.bytes) = (file, metadata.ino(), metadata.len());
        self.begun = None;
        self.settle()
    }

    fn remove_surplus(&self) {
        remove_surplus(&self.path, 1, &self.rule.now(), SystemTime::now());
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
        let mut bytes = [0; 48];
        if self.record.read_exact_at(&mut bytes, 0).is_err() {
            self.settle()?;
            return Ok(None);
        }
        let [known, stream, length, hash, lost_lines, lost_bytes] = [0, 1, 2, 3, 4, 5].map(|at| {
            let word = bytes[8 * at..8 * at + 8].try_into().expect("a slice of eight");
            u64::from_ne_bytes(word)
        });
        if self.bytes > known {
            self.file.set_len(known)?;
            self.bytes = known;
        }
        self.lost = Lost {
            lines: lost_lines,
            bytes: lost_bytes,
        };
        let stream = stream as u8;
        Ok((length > 0).then_some(Doubtful { stream, length, hash }))
    }

    /// In one write, which a kill does not divide.
    fn write_record(&mut self, doubtful: &Doubtful) -> io::Result<()> {
        let Doubtful { stream, length, hash } = *doubtful;
        let Lost { lines, bytes } = self.lost;
        let words = [self.bytes, stream.into(), length, hash, lines, bytes];
        self.record.write_all_at(&words.map(u64::to_ne_bytes).concat(), 0)?;
        self.written.settle(&self.path, self.inode, self.bytes);
        Ok(())
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        self.written.forget(&self.path);
    }
}

impl Lost {
    /// As it is in the file; nothing where nothing is lost.
    fn line(&self) -> Vec<u8> {
        let Lost { lines, bytes } = *self;
        let (now, lines) = match lines {
            0 => return vec![],
            1 => (clock::unix_ms(), "1 line".to_string()),
            _ => (clock::unix_ms(), format!("{lines} lines")),
        };
        let reason = "could not be written, as on a full disk";
        format!("{now} e portolan: here {lines} ({bytes} bytes) are missing, which {reason}\n").into_bytes()
    }
}

impl Doubtful {
    pub fn is(&self, seen: &[u8]) -> bool {
        let head = seen.get(..self.length as usize);
        head.is_some_and(|head| hash(head) == self.hash)
    }
}

fn open_append(path: &Path) -> io::Result<(File, Metadata)> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

fn if_there(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The time of a file's first line.
pub(super) fn first_time(file: &File) -> Option<u64> {
    let mut head = [0; 32];
    let length = file.read_at(&mut head, 0).ok()?;
    time_of(&head[..length])
}

fn time_of(lines: &[u8]) -> Option<u64> {
    parse_line(lines).map(|line| line.time_unix_ms)
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
    use crate::logs::Rules;
    use crate::spec::LogSpec;

    struct Log {
        folder: tempfile::TempDir,
        rules: Rules,
    }

    impl Log {
        fn new(keep: LogSpec) -> Log {
            let (folder, rules) = (tempfile::tempdir().unwrap(), Rules::default());
            let log = Log { folder, rules };
            log.keep(keep);
            log
        }

        fn keep(&self, keep: LogSpec) {
            self.rules.set([(self.folder.path().into(), keep)].into());
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("1.main.log")
        }

        fn open(&self) -> (LogFile, Option<Doubtful>) {
            let record = self.folder.path().join("record");
            let rule = self.rules.of(self.folder.path());
            LogFile::open(&self.path(), &record, rule, Written::default()).unwrap()
        }

        /// Bytes of each file, the one that is written first.
        fn sizes(&self) -> Vec<u64> {
            let sizes = (0..9).map(|number| fs::metadata(numbered(&self.path(), number)).map(|m| m.len()));
            sizes.filter_map(Result::ok).collect()
        }
    }

    fn write(file: &mut LogFile, line: &str) {
        file.append(line.as_bytes(), b'o', b"x\n").unwrap();
    }

    const SMALL: LogSpec = LogSpec {
        max_size_bytes: 20,
        max_files: 3,
        max_age: None,
    };

    #[test]
    fn files_become_older_ones_and_the_oldest_goes() {
        let log = Log::new(SMALL);
        let (mut file, _) = log.open();
        for line in [
            "1 o first\n",
            "2 o second\n",
            "3 o third\n",
            "4 o fourth\n",
            "5 o fifth\n",
        ] {
            write(&mut file, line);
        }
        assert_eq!(log.sizes(), [10, 11, 10], "each file is full with one of these lines");
        assert_eq!(fs::read(log.path()).unwrap(), b"5 o fifth\n");
        assert_eq!(fs::read(numbered(&log.path(), 2)).unwrap(), b"3 o third\n");
    }

    #[test]
    fn another_rule_holds_at_once_and_without_a_further_line() {
        let log = Log::new(SMALL);
        let (mut file, _) = log.open();
        for second in 1..=4 {
            write(&mut file, &format!("{second} o long enough\n"));
        }
        let max_files = 2;
        log.keep(LogSpec { max_files, ..SMALL });
        file.keep().unwrap();
        assert_eq!(log.sizes().len(), 2);
        fs::remove_file(log.path()).unwrap();
        write(&mut file, "5 o in a file again\n");
        assert_eq!(
            fs::read(log.path()).unwrap(),
            b"5 o in a file again\n",
            "somebody has removed it"
        );
        log.keep(LogSpec { max_files: 1, ..SMALL });
        write(&mut file, "6 o the only one\n");
        assert_eq!(log.sizes(), [17]);
    }

    #[test]
    fn what_is_too_old_goes_though_nothing_is_written() {
        let hour = Duration::from_secs(3600);
        let max_age = Some(hour * 3);
        let log = Log::new(LogSpec { max_age, ..SMALL });
        let (mut file, _) = log.open();
        let ago = |time: Duration| clock::unix_ms() - time.as_millis() as u64;
        write(&mut file, &format!("{} o x\n", ago(hour / 2)));
        file.keep().unwrap();
        assert_eq!(log.sizes(), [18], "a third of three hours is not over");
        drop(file);
        fs::write(log.path(), format!("{} o x\n", ago(hour))).unwrap();
        let (mut file, _) = log.open();
        file.keep().unwrap();
        assert_eq!(log.sizes(), [0, 18], "begun by the supervisor before, and old now");
        let old = File::options().write(true).open(numbered(&log.path(), 1)).unwrap();
        old.set_modified(SystemTime::now() - 2 * hour).unwrap();
        file.keep().unwrap();
        assert_eq!(log.sizes(), [0]);
    }

    #[test]
    fn a_kill_between_two_steps_loses_and_doubles_nothing() {
        let log = Log::new(LogSpec::default());
        let (mut file, doubtful) = log.open();
        assert_eq!(doubtful, None, "a new one");
        file.append(b"1 o one\n", b'o', b"one\n").unwrap();
        let (mut file, doubtful) = log.open();
        let doubtful = doubtful.expect("it was not taken from the fifo yet, or it was and nobody says so");
        assert!(doubtful.is(b"one\ntwo\n") && !doubtful.is(b"two\n") && doubtful.stream == b'o');
        file.settle().unwrap();
        file.lost = Lost { lines: 2, bytes: 9 };
        file.settle().unwrap();
        // Written, or half written, and not recorded.
        file.file.write_all(b"2 o tw").unwrap();
        let (mut file, doubtful) = log.open();
        assert_eq!(
            (doubtful, fs::read(log.path()).unwrap().as_slice()),
            (None, &b"1 o one\n"[..])
        );
        assert!(file.has_lost(), "known by the record");
        file.append(b"2 o two\n", b'o', b"two\n").unwrap();
        let (file, _) = log.open();
        assert!(!file.has_lost(), "told once");
        let told = "portolan: here 2 lines (9 bytes) are missing, which could not be written, as on a full disk";
        assert_eq!(crate::logs::last_lines(&log.path(), 9), ["one", told, "two"]);
    }
}
