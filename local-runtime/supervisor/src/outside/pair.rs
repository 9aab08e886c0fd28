//! The process outside is two, each of which starts the other again: nobody else could, for all others of the app are in
//! its network, and no way leads out. Both hold the same namespace and take from the same socket, so that nobody waits
//! where one is killed.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use super::{PATIENCE, Request, Word, answer, may_speak};
use crate::balance::{SocketAnswer, listen_here};
use crate::descriptors;
use crate::error::chain;

/// A program that cannot run is not started again more often.
const START_AGAIN: Duration = Duration::from_millis(500);

pub struct One {
    pub listener: UnixListener,
    pub network: OwnedFd,
    pub socket: PathBuf,
    /// Of this program.
    pub arguments: Vec<OsString>,
}

/// The line to the other one: it breaks when that is gone, and says one byte where both shall end.
struct Other {
    line: UnixStream,
    child: Option<Child>,
}

/// What the second one is handed, each with its descriptor.
#[derive(Serialize, Deserialize)]
enum Handed {
    Listener,
    Network,
}

/// The first one.
pub fn serve(one: One) -> io::Result<()> {
    one.serve(None)
}

/// The second one, at the end of a line.
pub fn serve_beside(line: UnixStream, socket: PathBuf, arguments: Vec<OsString>) -> io::Result<()> {
    let (mut listener, mut network) = (None, None);
    while listener.is_none() || network.is_none() {
        match descriptors::receive(&line)? {
            (Handed::Listener, descriptor) => listener = descriptor,
            (Handed::Network, descriptor) => network = descriptor,
        }
    }
    let (Some(listener), Some(network)) = (listener, network) else {
        unreachable!("neither is missing any more");
    };
    let one = One {
        listener: listener.into(),
        network,
        socket,
        arguments,
    };
    one.serve(Some(Other { line, child: None }))
}

impl One {
    fn serve(&self, mut other: Option<Other>) -> io::Result<()> {
        // The other one may be faster.
        self.listener.set_nonblocking(true)?;
        let mut started: Option<Instant> = None;
        loop {
            let wait = started.map_or(Duration::ZERO, |at| START_AGAIN.saturating_sub(at.elapsed()));
            if other.is_none() && wait.is_zero() {
                started = Some(Instant::now());
                other = self.start_other();
            }
            let (asked, heard) = self.look(other.as_ref(), wait)?;
            if let Some(one) = other.take_if(|_| heard) {
                if one.says_end() {
                    return Ok(());
                }
                tracing::warn!("the other process outside is gone");
            }
            if asked && self.take(&mut other)? {
                return Ok(());
            }
        }
    }

    fn start_other(&self) -> Option<Other> {
        let started = UnixStream::pair().and_then(|(line, end)| {
            let mut command = Command::new("/proc/self/exe");
            command.arg0("portolan-supervisor").args(&self.arguments);
            command.arg("--outside-beside").current_dir("/");
            command.stdin(OwnedFd::from(end)).stdout(Stdio::null());
            let child = Some(command.spawn()?);
            let listener = OwnedFd::from(self.listener.try_clone()?);
            descriptors::send(&line, &Handed::Listener, Some(&listener))?;
            descriptors::send(&line, &Handed::Network, Some(&self.network))?;
            Ok(Other { line, child })
        });
        if let Err(error) = &started {
            tracing::error!(error = chain(error), "cannot start the other process outside");
        }
        started.ok()
    }

    /// Whether somebody asks, and whether the other one says something or is gone.
    fn look(&self, other: Option<&Other>, wait: Duration) -> io::Result<(bool, bool)> {
        let mut watched = vec![PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        watched.extend(other.map(|other| PollFd::new(other.line.as_fd(), PollFlags::POLLIN)));
        let timeout = match other {
            Some(_) => PollTimeout::NONE,
            None => PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX),
        };
        poll(&mut watched, timeout)?;
        let woken = |at: usize| watched.get(at).is_some_and(|one| one.any().unwrap_or(false));
        Ok((woken(0), woken(1)))
    }

    /// True at the end.
    fn take(&self, other: &mut Option<Other>) -> io::Result<bool> {
        let stream = match self.listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            accepted => accepted?.0,
        };
        if !may_speak(&stream) {
            tracing::warn!("a connection of another user is refused");
            return Ok(false);
        }
        stream.set_read_timeout(Some(PATIENCE))?;
        match descriptors::receive(&stream) {
            Ok((Request::Word(Word::End), _)) => {
                fs::remove_file(&self.socket)?;
                other.take().into_iter().for_each(Other::end);
                return descriptors::send(&stream, &SocketAnswer::Ok, None).map(|()| true);
            }
            Ok((Request::Word(Word::Network), _)) => answer(&stream, self.network.try_clone()),
            Ok((Request::Socket(request), _)) => answer(&stream, listen_here(request)),
            Err(error) => tracing::debug!(%error, "a request that cannot be read"),
        }
        Ok(false)
    }
}

impl Other {
    /// False if it has ended otherwise.
    fn says_end(mut self) -> bool {
        if matches!(self.line.read(&mut [0]), Ok(1)) {
            return true;
        }
        if let Some(child) = &mut self.child {
            // Its line breaks only with it; it may be about to be reaped.
            _ = child.wait();
        }
        false
    }

    /// Returns once it has, or does not listen.
    fn end(mut self) {
        _ = self.line.set_read_timeout(Some(PATIENCE));
        if self.line.write_all(b"e").is_ok() {
            _ = self.line.read(&mut [0]);
        }
    }
}
