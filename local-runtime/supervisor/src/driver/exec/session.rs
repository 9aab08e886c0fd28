//! Frames of one client to and from one command.

use std::io;
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::terminal::{Console, Terminal};
use super::{ExecError, Prepared, Running};
use crate::error::chain;
use crate::frames::{Frame, read_frame, write_frame};
use crate::protocol::WindowSize;

/// Output that is still to come when the command has ended is waited for so long: a process that the command left in the
/// background may hold its streams for ever.
const LAST_OUTPUT: Duration = Duration::from_secs(1);
/// A client that went away while nothing was said is noticed within this time.
const PRESENCE: Duration = Duration::from_millis(500);
const BUFFER_BYTES: usize = 16 << 10;

type Reader = BufReader<OwnedReadHalf>;

/// To the command's end, or until the client is gone, which ends the command.
pub(super) async fn carry(reader: Reader, writer: OwnedWriteHalf, prepared: Prepared, tty: Option<WindowSize>) {
    let (frames, outgoing) = mpsc::channel(16);
    let mut sending = tokio::spawn(send(writer, outgoing));
    tokio::select! {
        last = run(reader, prepared, tty, frames.clone()) => {
            let last = last.unwrap_or_else(|error| Frame::Error(chain(&error)));
            _ = frames.send(last).await;
        }
        _ = &mut sending => return,
    }
    drop(frames);
    _ = sending.await;
}

async fn run(
    reader: Reader,
    prepared: Prepared,
    tty: Option<WindowSize>,
    frames: mpsc::Sender<Frame>,
) -> Result<Frame, ExecError> {
    match tty {
        None => run_with_pipes(reader, prepared, frames).await,
        Some(size) => run_with_terminal(reader, prepared, size, frames).await,
    }
}

async fn run_with_pipes(reader: Reader, prepared: Prepared, frames: mpsc::Sender<Frame>) -> Result<Frame, ExecError> {
    let mut running = prepared.spawn(None, |command| {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    })?;
    let (stdin, stdout, stderr) = streams(&mut running);
    let _feeding = Task(tokio::spawn(feed(reader, stdin)));
    let mut pumps = tokio::task::JoinSet::new();
    pumps.spawn(pump(stdout, Frame::Stdout, frames.clone()));
    pumps.spawn(pump(stderr, Frame::Stderr, frames));
    let code = running.wait().await?;
    // Late output beyond this time is dropped with the tasks.
    _ = tokio::time::timeout(LAST_OUTPUT, async { while pumps.join_next().await.is_some() {} }).await;
    Ok(Frame::Exit(code))
}

fn streams(
    running: &mut Running,
) -> (
    tokio::process::ChildStdin,
    tokio::process::ChildStdout,
    tokio::process::ChildStderr,
) {
    let child = &mut running.child;
    let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = streams else {
        unreachable!("all three were asked for as pipes")
    };
    (stdin, stdout, stderr)
}

async fn run_with_terminal(
    reader: Reader,
    prepared: Prepared,
    size: WindowSize,
    frames: mpsc::Sender<Frame>,
) -> Result<Frame, ExecError> {
    let console = Console::listen(&prepared.folder)?;
    let mut running = prepared.spawn(Some(console.path()), |command| {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
    })?;
    let terminal = match receive(&console, &mut running).await {
        Ok(terminal) => terminal,
        // It could not be begun: the runtime's last words are all there is to tell.
        Err(error) => match tokio::time::timeout(LAST_OUTPUT, running.wait()).await {
            Ok(code) => {
                send_complaint(&mut running, &frames).await;
                return code.map(Frame::Exit);
            }
            Err(_) => return Err(error),
        },
    };
    terminal.resize(size);
    let _feeding = Task(tokio::spawn(feed(reader, terminal.clone())));
    let mut pump = tokio::spawn(pump(terminal, Frame::Stdout, frames.clone()));
    let code = running.wait().await?;
    _ = tokio::time::timeout(LAST_OUTPUT, &mut pump).await;
    pump.abort();
    send_complaint(&mut running, &frames).await;
    Ok(Frame::Exit(code))
}

/// A command may be over before its terminal is seen, which holds what it said all the same.
async fn receive(console: &Console, running: &mut Running) -> Result<Terminal, ExecError> {
    let receiving = console.receive();
    tokio::pin!(receiving);
    tokio::select! {
        terminal = &mut receiving => return terminal,
        _ = running.wait() => console.end().await,
    }
    receiving.await
}

/// What a runtime that has ended said itself: why there is no command.
async fn send_complaint(running: &mut Running, frames: &mpsc::Sender<Frame>) {
    let Some(stderr) = &mut running.child.stderr else {
        return;
    };
    let mut complaint = vec![];
    _ = tokio::time::timeout(LAST_OUTPUT, stderr.read_to_end(&mut complaint)).await;
    if !complaint.is_empty() {
        _ = frames.send(Frame::Stderr(complaint)).await;
    }
}

/// Ends with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a client's input goes into.
trait Input: AsyncWrite + Unpin {
    fn resize(&self, _size: WindowSize) {}
}

impl Input for tokio::process::ChildStdin {}

impl Input for Terminal {
    fn resize(&self, size: WindowSize) {
        Terminal::resize(self, size);
    }
}

/// Until the client says no more. A pipe is closed then; a terminal has no end of input but what is typed.
async fn feed(mut reader: Reader, mut input: impl Input) {
    while let Ok(Some(frame)) = read_frame(&mut reader).await {
        match frame {
            Frame::Stdin(bytes) if bytes.is_empty() => break,
            // A command that has closed its input may run on.
            Frame::Stdin(bytes) => _ = input.write_all(&bytes).await,
            Frame::Resize(size) => input.resize(size),
            _ => break,
        }
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, frame: impl Fn(Vec<u8>) -> Frame, frames: mpsc::Sender<Frame>) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if frames.send(frame(buffer[..read].to_vec())).await.is_err() {
            return;
        }
    }
}

/// Ends when there is no more to send, or nobody to send it to.
async fn send(mut writer: OwnedWriteHalf, mut outgoing: mpsc::Receiver<Frame>) {
    loop {
        let sent = match tokio::time::timeout(PRESENCE, outgoing.recv()).await {
            Ok(Some(frame)) => write_frame(&mut writer, &frame).await,
            Ok(None) => return,
            Err(_) if is_gone(&writer) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Ok(()),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Both directions are closed. A client that only says no more input still listens (POLLRDHUP, not POLLHUP).
fn is_gone(writer: &OwnedWriteHalf) -> bool {
    let stream = writer.as_ref().as_fd();
    let mut watched = [PollFd::from_borrowed_fd(stream, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut watched, Some(&now)).is_ok() && watched[0].revents().contains(PollFlags::HUP)
}
