//! One output of a container: looked at, and taken only once what was seen is safe.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, tee};

/// The room of a pipe: nobody sees more at once.
const ROOM: usize = 64 << 10;

pub struct Fifo {
    file: File,
    /// Where tee(2) puts a copy; always empty between two looks.
    copies: (File, OwnedFd),
    seen: Vec<u8>,
}

impl Fifo {
    /// Opened for reading and writing: that never blocks, and never meets an end of file.
    pub fn open(path: &Path) -> io::Result<Fifo> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(nix::libc::O_NONBLOCK);
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Fifo {
            file: options.open(path)?,
            copies: (read.into(), write),
            seen: Vec::with_capacity(ROOM),
        })
    }

    /// What waits in it, and still does afterwards. Errors: `WouldBlock` if nothing does.
    pub fn look(&mut self) -> io::Result<&[u8]> {
        let length = tee(&self.file, &self.copies.1, ROOM, SpliceFlags::NONBLOCK)?;
        self.seen.resize(length, 0);
        self.copies.0.read_exact(&mut self.seen)?;
        Ok(&self.seen)
    }

    /// What the last look has shown.
    pub fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// Takes away so much of what was seen.
    pub fn take(&mut self, length: usize) -> io::Result<()> {
        self.file.read_exact(&mut self.seen[..length])
    }

    /// The container cannot write on before something is taken. A pipe may be full of few bytes, each in a place of its own.
    pub fn is_full(&self) -> bool {
        let mut asked = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        matches!(poll(&mut asked, PollTimeout::ZERO), Ok(0))
    }
}

impl std::os::fd::AsRawFd for Fifo {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.file.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_seen_stays_until_it_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut fifo = Fifo::open(&path).unwrap();
        assert_eq!(fifo.look().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        writer.write_all(b"one\ntwo\n").unwrap();
        for _ in 0..2 {
            assert_eq!(fifo.look().unwrap(), b"one\ntwo\n");
        }
        fifo.take(4).unwrap();
        assert_eq!(fifo.look().unwrap(), b"two\n");
        assert!(!fifo.is_full());
    }
}
