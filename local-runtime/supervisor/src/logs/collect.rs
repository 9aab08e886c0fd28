//! From two fifos into one file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{MAX_FILE_BYTES, MAX_LINE_BYTES, rotated};

/// Reads one container's output until `finish`.
pub struct Collector {
    streams: Vec<JoinHandle<()>>,
    end: watch::Sender<bool>,
}

impl Collector {
    /// Opens both fifos and begins. `written` is poked after each write, for those who follow.
    ///
    /// The fifos are opened for reading and writing: that never blocks, and never meets an end of file.
    pub fn start(stdout: &Path, stderr: &Path, log: &Path, written: watch::Sender<u64>) -> io::Result<Collector> {
        let file = Arc::new(Mutex::new(LogFile::open(log)?));
        let (end, ended) = watch::channel(false);
        let mut streams = vec![];
        for (path, letter) in [(stdout, 'o'), (stderr, 'e')] {
            let fifo = pipe::OpenOptions::new().read_write(true).open_receiver(path)?;
            let lines = Lines {
                letter,
                partial: vec![],
                file: file.clone(),
                written: written.clone(),
            };
            streams.push(tokio::spawn(collect(fifo, lines, ended.clone())));
        }
        Ok(Collector { streams, end })
    }

    /// Takes what is left in the fifos, then ends. To be called once the container is gone.
    pub async fn finish(self) {
        self.end.send_replace(true);
        for stream in self.streams {
            if stream.await.is_err() {
                tracing::error!("a log collector has ended early");
            }
        }
    }
}

async fn collect(fifo: pipe::Receiver, mut lines: Lines, mut ended: watch::Receiver<bool>) {
    let mut buffer = vec![0; 8 << 10];
    let mut last_round = false;
    loop {
        // tokio answers from what it knows to be readable; at the end the kernel itself is asked.
        let read = if last_round {
            nix::unistd::read(&fifo, &mut buffer).map_err(io::Error::from)
        } else {
            fifo.try_read(&mut buffer)
        };
        match read {
            Ok(read) if read > 0 => lines.add(&buffer[..read]),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                tracing::error!(%error, "cannot read a container's output");
                break;
            }
            _ if last_round => break,
            _ => tokio::select! {
                _ = fifo.readable() => {}
                // The sender lives in the collector: an error means the same as its word.
                _ = ended.wait_for(|ended| *ended) => last_round = true,
            },
        }
    }
    lines.finish();
}

struct Lines {
    letter: char,
    partial: Vec<u8>,
    file: Arc<Mutex<LogFile>>,
    written: watch::Sender<u64>,
}

impl Lines {
    /// All whole lines of a piece are written at once.
    fn add(&mut self, bytes: &[u8]) {
        let mut out = vec![];
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, whole) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            self.partial.extend_from_slice(text);
            while self.partial.len() > MAX_LINE_BYTES {
                let rest = self.partial.split_off(MAX_LINE_BYTES);
                let line = std::mem::replace(&mut self.partial, rest);
                self.format(&line, &mut out);
            }
            if whole {
                let line = std::mem::take(&mut self.partial);
                self.format(&line, &mut out);
            }
        }
        self.write(&out);
    }

    /// A last line without its newline is a line too.
    fn finish(mut self) {
        if !self.partial.is_empty() {
            let mut out = vec![];
            let line = std::mem::take(&mut self.partial);
            self.format(&line, &mut out);
            self.write(&out);
        }
    }

    fn format(&self, line: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{} {} ", crate::clock::unix_ms(), self.letter).as_bytes());
        out.extend_from_slice(line);
        out.push(b'\n');
    }

    fn write(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let result = self.file.lock().unwrap_or_else(PoisonError::into_inner).append(bytes);
        if let Err(error) = result {
            // A full disk must not stop the container: its output is lost, its work is not.
            tracing::error!(%error, "cannot write a log");
        }
        self.written.send_modify(|count| *count = count.wrapping_add(1));
    }
}

struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<LogFile> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(LogFile {
            path: path.into(),
            file,
            bytes,
        })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + bytes.len() as u64 > MAX_FILE_BYTES {
            fs::rename(&self.path, rotated(&self.path))?;
            *self = LogFile::open(&self.path)?;
        }
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::last_lines;

    #[tokio::test]
    async fn output_becomes_lines_and_none_is_lost_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let [out, err, log] = ["out", "err", "logs/1.main.log"].map(|name| folder.path().join(name));
        for fifo in [&out, &err] {
            nix::unistd::mkfifo(fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        let (written, _) = watch::channel(0);
        let collector = Collector::start(&out, &err, &log, written).unwrap();
        let mut writer = OpenOptions::new().read(true).write(true).open(&out).unwrap();
        writer.write_all(b"one\ntwo\nlast without newline").unwrap();
        drop(writer);
        collector.finish().await;
        assert_eq!(last_lines(&log, 10), ["one", "two", "last without newline"]);
    }

    #[test]
    fn a_file_that_is_full_becomes_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.main.log");
        let mut file = LogFile::open(&path).unwrap();
        file.bytes = MAX_FILE_BYTES;
        file.append(b"1 o new\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"1 o new\n");
        assert!(rotated(&path).exists());
    }
}
