//! The master side of a pseudo terminal, as the runtime hands it over a console socket.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{UnixListener, UnixStream};

use super::ExecError;
use crate::protocol::WindowSize;
use crate::storage;

/// A socket on which one terminal is awaited.
pub(super) struct Console {
    listener: UnixListener,
    path: PathBuf,
}

impl Console {
    pub fn listen(folder: &Path) -> Result<Console, ExecError> {
        storage::create_folder(folder)?;
        let path = folder.join("tty");
        let listener = UnixListener::bind(&path).map_err(|source| failed("listen for a terminal", source))?;
        Ok(Console { listener, path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The terminal, or that none will come: `end` was called, or who connected is gone.
    pub async fn receive(&self) -> Result<Terminal, ExecError> {
        let receive = async {
            let (stream, _) = self.listener.accept().await?;
            stream
                .async_io(Interest::READABLE, || receive_descriptor(&stream))
                .await
        };
        let master = receive.await.and_then(Terminal::new);
        master.map_err(|source| failed("receive a terminal", source))
    }

    /// The runtime is gone. Whoever still waits gets the terminal that it has sent before; the next in the queue sends none.
    pub async fn end(&self) {
        _ = UnixStream::connect(&self.path).await;
    }
}

fn failed(doing: &'static str, source: io::Error) -> ExecError {
    ExecError::System { doing, source }
}

/// The one descriptor of the message (SCM_RIGHTS in unix(7)).
fn receive_descriptor(stream: &UnixStream) -> io::Result<OwnedFd> {
    let mut name = [0; 256];
    let mut parts = [IoSliceMut::new(&mut name)];
    let mut space = nix::cmsg_space!(std::os::fd::RawFd);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let received = message.cmsgs()?.find_map(|one| match one {
        ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
        _ => None,
    });
    let number =
        received.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a message without a descriptor"))?;
    // SAFETY: the kernel has just made this descriptor for us, there was room for one alone, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Reads what the command prints, writes what is typed. Clones are one terminal.
#[derive(Clone)]
pub(super) struct Terminal(Arc<AsyncFd<OwnedFd>>);

impl Terminal {
    fn new(master: OwnedFd) -> io::Result<Terminal> {
        rustix::io::ioctl_fionbio(&master, true)?;
        // SAFETY: the descriptor is owned by what is handed over, so it stays open and the same.
        let registered = unsafe { AsyncFd::register(master) }?;
        Ok(Terminal(Arc::new(registered)))
    }

    /// A size that cannot be set leaves the old one, which is no reason to end the command.
    pub fn resize(&self, size: WindowSize) {
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        if let Err(error) = tcsetwinsize(self.0.get_ref().as_fd(), size) {
            tracing::debug!(%error, "a terminal keeps its size");
        }
    }
}

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            let read = guard.try_io(|fd| Ok(nix::unistd::read(fd.get_ref(), buffer.initialize_unfilled())?));
            match read {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // So a master says that the last one has closed the other side (pty(7)).
                Ok(Err(error)) if error.raw_os_error() == Some(nix::libc::EIO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            if let Ok(written) = guard.try_io(|fd| Ok(nix::unistd::write(fd.get_ref(), bytes)?)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::os::unix::net::UnixStream;

    use nix::sys::socket::{ControlMessage, sendmsg};

    use super::*;

    #[tokio::test]
    async fn a_terminal_of_a_runtime_that_is_gone_is_received() {
        for (reason, sends, connects) in [
            ("it was sent", true, true),
            ("it was not", false, true),
            ("nobody came", false, false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let console = Console::listen(folder.path()).unwrap();
            let runtime = connects.then(|| UnixStream::connect(console.path()).unwrap());
            if sends {
                let master = std::fs::File::open("/dev/ptmx").unwrap();
                let descriptors = [master.as_raw_fd()];
                let message = [ControlMessage::ScmRights(&descriptors)];
                let parts = [IoSlice::new(b"/dev/ptmx")];
                let runtime = runtime.as_ref().unwrap().as_raw_fd();
                sendmsg::<()>(runtime, &parts, &message, MsgFlags::empty(), None).unwrap();
            }
            drop(runtime);
            console.end().await;
            assert_eq!(console.receive().await.is_ok(), sends, "{reason}");
        }
    }
}
