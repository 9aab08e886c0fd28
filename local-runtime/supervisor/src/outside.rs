//! An app of an unprivileged user lives in a network namespace of its own, in which that user may make the bridge and the
//! links that root makes in the machine's. One process of the app stays outside ([`pair`] says why it is two): it holds
//! the namespace, so that all others of the app may be killed, and makes listening sockets of the machine for those inside.
//!
//! It is this same program with `--outside`. `--keep` starts it before anything else, and enters the namespace; the last
//! supervisor ends it.

mod pair;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::{Deserialize, Serialize};

use crate::balance::{SocketAnswer, SocketRequest};
use crate::descriptors;
use crate::error::chain;
use crate::network;

/// It has nothing else to do than to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// One line of JSON a connection; the answer is a [`SocketAnswer`], with a descriptor if one was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Request {
    Socket(SocketRequest),
    Word(Word),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    /// The namespace, as a descriptor.
    Network,
    /// Nothing is left of the app.
    End,
}

/// Where the process outside listens, if the app needs one: where nobody who may do so asks us to make links.
pub fn needed(run_dir: &Path) -> Option<PathBuf> {
    let owns = portolan_oci::userns::owns_network();
    (!owns.unwrap_or(true)).then(|| run_dir.join("ports.sock"))
}

/// Moves this process, which must have one thread, into the app's network namespace; with the first of an app this makes
/// it, and answers true. `run_dir` is there.
pub fn enter(socket: &Path, run_dir: &Path, start: impl FnOnce() -> io::Result<()>) -> io::Result<bool> {
    // One at a time; the lock ends with the descriptor.
    let _lock = Flock::lock(File::open(run_dir)?, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    let (network, made) = match ask(socket, Word::Network) {
        Ok(network) => (network, false),
        Err(_) => {
            start()?;
            (ask_patiently(socket)?, true)
        }
    };
    let network = network.ok_or_else(|| io::Error::other("no namespace came with the answer"))?;
    setns(network, CloneFlags::CLONE_NEWNET)?;
    Ok(made)
}

/// Starts the process outside, with the arguments that this one was given.
#[allow(clippy::zombie_processes)]
pub fn start<S: AsRef<std::ffi::OsStr>>(arguments: &[S], log: &File) -> io::Result<()> {
    let mut command = Command::new("/proc/self/exe");
    command.args(arguments).arg("--outside").current_dir("/");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.try_clone()?);
    command.spawn().map(drop)
}

/// Returns once it has ended, and its socket is gone.
pub fn end(socket: &Path) {
    if let Err(error) = ask(socket, Word::End) {
        tracing::warn!(error = chain(&error), "the process outside did not end in good order");
        // It was killed: then nobody else takes this away.
        _ = fs::remove_file(socket);
    }
}

fn ask_patiently(socket: &Path) -> io::Result<Option<OwnedFd>> {
    let begun = Instant::now();
    loop {
        match ask(socket, Word::Network) {
            Err(_) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(2)),
            answer => return answer,
        }
    }
}

fn ask(socket: &Path, word: Word) -> io::Result<Option<OwnedFd>> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    descriptors::send(&stream, &word, None)?;
    match descriptors::receive(&stream)? {
        (SocketAnswer::Ok, descriptor) => Ok(descriptor),
        (SocketAnswer::Error(errno), _) => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// The process outside, until it is told to end.
pub fn serve(socket: &Path, arguments: Vec<OsString>) -> io::Result<()> {
    let network = network::apart().map_err(io::Error::other)?;
    // Whoever starts us has asked whether another one answers, and nobody else starts one meanwhile.
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    pair::serve(pair::One {
        listener,
        network,
        socket: socket.into(),
        arguments,
    })
}

/// The other one of the two, whose standard input is a line to the first.
pub fn serve_beside(socket: &Path, arguments: Vec<OsString>) -> io::Result<()> {
    let line = io::stdin().as_fd().try_clone_to_owned()?;
    pair::serve_beside(line.into(), socket.into(), arguments)
}

/// One that has not waited for its answer has given up.
fn answer(stream: &UnixStream, made: io::Result<OwnedFd>) {
    let sent = match made {
        Ok(descriptor) => descriptors::send(stream, &SocketAnswer::Ok, Some(&descriptor)),
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(nix::libc::EIO);
            descriptors::send(stream, &SocketAnswer::Error(errno), None)
        }
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "nobody waits for an answer");
    }
}

fn may_speak(stream: &UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    getsockopt(stream, PeerCredentials).is_ok_and(|peer| peer.uid() == own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Protocol;
    use crate::testing::loopback;

    #[test]
    fn requests_are_told_apart() {
        let socket = SocketRequest {
            protocol: Protocol::Tcp,
            address: loopback(),
        };
        for request in [
            Request::Socket(socket),
            Request::Word(Word::Network),
            Request::Word(Word::End),
        ] {
            let line = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request, "{line}");
        }
    }
}
