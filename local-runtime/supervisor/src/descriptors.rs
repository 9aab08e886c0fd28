//! One line of JSON and perhaps one descriptor, over a Unix socket that blocks.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Serialize, de::DeserializeOwned};

/// No message is longer.
const MAX_BYTES: usize = 4096;

/// The descriptor goes with the line's bytes, in one sendmsg(2).
pub fn send<T: Serialize>(stream: &UnixStream, message: &T, descriptor: Option<&OwnedFd>) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let raw: Vec<_> = descriptor.iter().map(|d| d.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    let sent = sendmsg::<()>(
        stream.as_raw_fd(),
        &[IoSlice::new(&line)],
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    match sent == line.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// Errors: `UnexpectedEof` when the other side is gone, `InvalidData` when it says something else than a `T`.
pub fn receive<T: DeserializeOwned>(stream: &UnixStream) -> io::Result<(T, Option<OwnedFd>)> {
    let mut bytes = vec![0; MAX_BYTES];
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let mut pieces = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg::<()>(
        stream.as_raw_fd(),
        &mut pieces,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let descriptor = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmRights(raw) => raw.first().copied(),
        _ => None,
    });
    // SAFETY: the kernel has just made this descriptor for us, and nothing else knows its number.
    let descriptor = descriptor.map(|raw| unsafe { OwnedFd::from_raw_fd(raw) });
    let length = received.bytes;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((serde_json::from_slice(&bytes[..length])?, descriptor))
}
