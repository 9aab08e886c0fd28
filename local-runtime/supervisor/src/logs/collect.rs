//! From two fifos into one file, each line once, whatever is killed in between.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::fifo::Fifo;
use super::file::{Doubtful, LogFile};
use super::{MAX_LINE_BYTES, Rule, Rules, Written};

/// The record of what was taken, beside the fifos.
const RECORD: &str = "taken";
/// What was lost is tried to be told so often.
const TELL_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// Reads one container's output until `finish`.
pub struct Collector {
    /// One for each stream, and one for the log's age.
    tasks: Vec<JoinHandle<()>>,
    end: watch::Sender<bool>,
    file: Arc<Mutex<LogFile>>,
}

impl Collector {
    /// Opens both fifos and begins, or goes on. `written` is told of each write, for those who read.
    pub fn start([stdout, stderr]: [&Path; 2], log: &Path, rules: &Rules, written: Written) -> io::Result<Collector> {
        let rule = rules.of(log.parent().unwrap_or(log));
        let (file, doubtful) = LogFile::open(log, &stdout.with_file_name(RECORD), rule.clone(), written.clone())?;
        let file = Arc::new(Mutex::new(file));
        let (end, ended) = watch::channel(false);
        let lost = Arc::new(Notify::new());
        let mut tasks = vec![];
        for (path, letter) in [(stdout, b'o'), (stderr, b'e')] {
            let fifo = settled(Fifo::open(path)?, letter, doubtful)?;
            let stream = Stream {
                letter,
                file: file.clone(),
                written: written.clone(),
                lost: lost.clone(),
            };
            // SAFETY: a `Fifo` owns its descriptor and never puts another one in its place, so it stays open and the same.
            let fifo = unsafe { AsyncFd::register_with_interest(fifo, Interest::READABLE) }?;
            tasks.push(tokio::spawn(collect(fifo, stream, ended.clone())));
        }
        file.lock().unwrap_or_else(PoisonError::into_inner).settle()?;
        let keeping = Keeping {
            file: file.clone(),
            written,
            lost,
        };
        tasks.push(tokio::spawn(keeping.keep(rule, ended)));
        Ok(Collector { tasks, end, file })
    }

    /// Takes what is left in the fifos, then ends. To be called once the container is gone.
    pub async fn finish(self) {
        self.end.send_replace(true);
        for task in self.tasks {
            if task.await.is_err() {
                tracing::error!("a log collector has ended early");
            }
        }
        // The container may have been what filled the disk.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.has_lost() && file.tell_lost().is_err() {
            tracing::error!("what is missing at the end of a log is told nowhere else");
        }
    }
}

/// Without what the process before us has written, and could not take any more.
fn settled(mut fifo: Fifo, letter: u8, doubtful: Option<Doubtful>) -> io::Result<Fifo> {
    if let Some(doubtful) = doubtful.filter(|doubtful| doubtful.stream == letter)
        && fifo.look().is_ok_and(|seen| doubtful.is(seen))
    {
        fifo.take(doubtful.length as usize)?;
    }
    Ok(fifo)
}

async fn collect(mut fifo: AsyncFd<Fifo>, stream: Stream, mut ended: watch::Receiver<bool>) {
    let outcome = loop {
        tokio::select! {
            ready = fifo.readable_mut() => {
                let Ok(mut ready) = ready else { break Ok(()) };
                match stream.carry_whole_lines(ready.get_inner_mut()) {
                    Ok(true) => {}
                    // What waits is no line yet: the next write wakes us.
                    Ok(false) => ready.clear_ready(),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                    Err(error) => break Err(error),
                }
            }
            // The sender lives in the collector: an error means the same as its word.
            _ = ended.wait_for(|ended| *ended) => break stream.carry_the_rest(fifo.get_mut()),
        }
    };
    if let Err(error) = outcome {
        tracing::error!(%error, "cannot read a container's output");
    }
}

/// Looks after a file, whatever is written.
struct Keeping {
    file: Arc<Mutex<LogFile>>,
    written: Written,
    lost: Arc<Notify>,
}

impl Keeping {
    async fn keep(self, mut rule: Rule, mut ended: watch::Receiver<bool>) {
        loop {
            let has_lost = self.keep_now();
            tokio::select! {
                () = rule.may_matter() => {}
                () = self.lost.notified() => {}
                () = tokio::time::sleep(TELL_AGAIN), if has_lost => {}
                _ = ended.wait_for(|ended| *ended) => return,
            }
        }
    }

    /// True if something is lost that cannot be told yet.
    fn keep_now(&self) -> bool {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.keep() {
            tracing::error!(%error, "cannot remove what is too old of a log");
        }
        if file.has_lost() && file.tell_lost().is_ok() {
            self.written.poke();
        }
        file.has_lost()
    }
}

struct Stream {
    letter: u8,
    file: Arc<Mutex<LogFile>>,
    written: Written,
    /// Told when lines are.
    lost: Arc<Notify>,
}

impl Stream {
    /// False if there is none.
    fn carry_whole_lines(&self, fifo: &mut Fifo) -> io::Result<bool> {
        let length = whole_lines(fifo.look()?);
        match length {
            0 if fifo.is_full() => self.carry_all(fifo).map(|()| true),
            0 => Ok(false),
            _ => self.carry(fifo, length).map(|()| true),
        }
    }

    /// A last line without its newline is a line too.
    fn carry_the_rest(&self, fifo: &mut Fifo) -> io::Result<()> {
        loop {
            match self.carry_whole_lines(fifo) {
                Ok(true) => {}
                Ok(false) => return self.carry_all(fifo),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn carry_all(&self, fifo: &mut Fifo) -> io::Result<()> {
        let length = fifo.look()?.len();
        self.carry(fifo, length)
    }

    /// So much of what was seen, or what of it a file has room for: into the file, then out of the fifo.
    fn carry(&self, fifo: &mut Fifo, length: usize) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (lines, length) = self.format(&fifo.seen()[..length], file.room());
        let had_lost = file.has_lost();
        let written = file.append(&lines, self.letter, &fifo.seen()[..length]);
        // A full disk must not stop the container: its output is lost, its work is not. Once it is said, for a flood of
        // lines would be one of words about them.
        if let (Err(error), false) = (written, had_lost) {
            tracing::error!(%error, "cannot write a log");
            self.lost.notify_one();
        }
        fifo.take(length)?;
        if let Err(error) = file.settle() {
            tracing::error!(%error, "cannot record what of a log is written");
        }
        self.written.poke();
        Ok(())
    }

    /// Lines as they are in a file, up to `room` bytes of them but at least one, and how much of what was seen they are.
    fn format(&self, seen: &[u8], room: u64) -> (Vec<u8>, usize) {
        let start = format!("{} {} ", crate::clock::unix_ms(), self.letter as char);
        let (mut out, mut length) = (vec![], 0);
        for line in seen.split_inclusive(|byte| *byte == b'\n') {
            let before = out.len();
            format_line(&mut out, start.as_bytes(), line);
            if before > 0 && out.len() as u64 > room {
                out.truncate(before);
                break;
            }
            length += line.len();
        }
        (out, length)
    }
}

/// In several where it is too long. An empty line is one piece too.
fn format_line(out: &mut Vec<u8>, start: &[u8], line: &[u8]) {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    for piece in text.chunks(MAX_LINE_BYTES).chain(text.is_empty().then_some(text)) {
        out.extend_from_slice(start);
        out.extend_from_slice(piece);
        out.push(b'\n');
    }
}

/// The length up to the last newline, or of a piece of a line that is too long; 0 if there is neither.
fn whole_lines(seen: &[u8]) -> usize {
    match seen.iter().rposition(|byte| *byte == b'\n') {
        Some(last) => last + 1,
        None if seen.len() >= MAX_LINE_BYTES => MAX_LINE_BYTES,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::last_lines;
    use crate::spec::LogSpec;
    use std::fs::{File, OpenOptions};
    use std::io::Write;
    use std::path::PathBuf;

    struct Outputs {
        folder: tempfile::TempDir,
        writer: File,
        rules: Rules,
    }

    impl Outputs {
        fn new() -> Outputs {
            let folder = tempfile::tempdir().unwrap();
            for name in ["out", "err"] {
                nix::unistd::mkfifo(&folder.path().join(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
            }
            let out = folder.path().join("out");
            let writer = OpenOptions::new().read(true).write(true).open(out).unwrap();
            let rules = Rules::default();
            Outputs { folder, writer, rules }
        }

        fn log(&self) -> PathBuf {
            self.folder.path().join("logs/1.main.log")
        }

        fn collector(&self) -> Collector {
            let [out, err] = ["out", "err"].map(|name| self.folder.path().join(name));
            Collector::start([&out, &err], &self.log(), &self.rules, Written::default()).unwrap()
        }
    }

    #[tokio::test]
    async fn output_becomes_lines_and_none_is_lost_at_the_end() {
        let mut outputs = Outputs::new();
        let collector = outputs.collector();
        outputs.writer.write_all(b"one\n\ntwo\nlast without newline").unwrap();
        collector.finish().await;
        assert_eq!(
            last_lines(&outputs.log(), 10),
            ["one", "", "two", "last without newline"]
        );
    }

    #[tokio::test]
    async fn a_line_that_comes_in_pieces_is_one_and_one_without_end_is_cut() {
        let mut outputs = Outputs::new();
        let collector = outputs.collector();
        for piece in ["first ", "second\n"] {
            outputs.writer.write_all(piece.as_bytes()).unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(last_lines(&outputs.log(), 10), ["first second"]);
        outputs.writer.write_all(&vec![b'x'; MAX_LINE_BYTES + 10]).unwrap();
        collector.finish().await;
        let log = std::fs::read_to_string(outputs.log()).unwrap();
        let lengths: Vec<usize> = log.lines().skip(1).map(|line| line.len() - 16).collect();
        assert_eq!(lengths, [MAX_LINE_BYTES, 10]);
    }

    #[tokio::test]
    async fn a_flood_of_short_lines_keeps_to_the_size_of_a_file() {
        let mut outputs = Outputs::new();
        let max_size_bytes = LogSpec::SMALLEST_FILE_BYTES;
        let keep = LogSpec {
            max_size_bytes,
            ..LogSpec::default()
        };
        outputs
            .rules
            .set([(outputs.log().parent().unwrap().into(), keep)].into());
        let collector = outputs.collector();
        for _ in 0..4 {
            // Each line becomes seventeen bytes.
            outputs.writer.write_all(&[b'\n'; 16 << 10]).unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        collector.finish().await;
        let files: Vec<_> = std::fs::read_dir(outputs.log().parent().unwrap()).unwrap().collect();
        assert_eq!(files.len(), 3);
        for file in files {
            let bytes = file.unwrap().metadata().unwrap().len();
            assert!(bytes <= max_size_bytes, "{bytes}");
        }
    }

    #[tokio::test]
    async fn what_was_written_and_not_taken_is_not_written_again() {
        let mut outputs = Outputs::new();
        outputs.writer.write_all(b"one\ntwo\n").unwrap();
        let (mut file, _) = LogFile::open(
            &outputs.log(),
            &outputs.folder.path().join(RECORD),
            outputs.rules.of(outputs.folder.path()),
            Written::default(),
        )
        .unwrap();
        file.append(b"1 o one\n", b'o', b"one\n").unwrap();
        drop(file);
        let collector = outputs.collector();
        collector.finish().await;
        assert_eq!(last_lines(&outputs.log(), 10), ["one", "two"]);
    }
}
