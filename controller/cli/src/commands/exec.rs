//! `portolan exec`: a command inside a container, with this terminal if there is one.

use std::io::{self, IsTerminal, Write};

use portolan_provider_api::operations::{ExecRequest, ExecSession};
use rustix::termios::{self, OptionalActions, Termios};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::args::ExecArgs;
use crate::failure::{CommandResult, Failure};
use crate::manifests::select_one;
use crate::output::Output;
use crate::session::Session;

/// What a command could not be started is told by, as `portolan-runtime` does.
const NOT_STARTED: u8 = 125;

pub async fn exec(arguments: ExecArgs, output: Output) -> CommandResult {
    let session = Session::open(output)?;
    let deployed = session.deployed(select_one(&arguments.one)?)?;
    let Some(exec) = &deployed.provider.exec else {
        return Err(super::unsupported("exec", &deployed));
    };
    let terminal = (io::stdin().is_terminal() && io::stdout().is_terminal()).then(window_size);
    let request = ExecRequest {
        workload: arguments.service,
        replica: arguments.replica,
        container: arguments.container,
        argv: arguments.argv,
        terminal,
    };
    let running = exec.exec(&session.scope(&deployed).await?, request).await?;
    let raw = terminal.and_then(|_| RawTerminal::enter());
    let code = attach(running, terminal.is_some()).await;
    drop(raw);
    code
}

/// Copies the streams until the command has ended and its output is told.
async fn attach(session: ExecSession, terminal: bool) -> CommandResult {
    let ExecSession {
        mut stdin,
        stdout,
        stderr,
        resize,
        exit,
    } = session;
    let input = tokio::spawn(async move {
        _ = tokio::io::copy(&mut tokio::io::stdin(), &mut stdin).await;
        _ = stdin.shutdown().await;
    });
    let sizes = tokio::spawn(follow_size(resize, terminal));
    let out = tokio::spawn(copy(stdout, false));
    let err = stderr.map(|stderr| tokio::spawn(copy(stderr, true)));
    let code = exit
        .await
        .map_err(|_| Failure::new("ExecLost", "the target went away before the command ended"))?;
    _ = out.await;
    if let Some(err) = err {
        _ = err.await;
    }
    input.abort();
    sizes.abort();
    match code {
        Ok(code) => Ok(code.clamp(0, 255) as u8),
        Err(failure) if failure.code == "StartFailed" => Err(Failure {
            exit: NOT_STARTED,
            ..failure.into()
        }),
        Err(failure) => Err(failure.into()),
    }
}

/// Keeps the channel open to the end: a closed one means that no size will come any more.
async fn follow_size(resize: mpsc::Sender<(u16, u16)>, terminal: bool) {
    if let Ok(mut changes) = signal(SignalKind::window_change()) {
        while terminal && changes.recv().await.is_some() {
            if resize.send(window_size()).await.is_err() {
                return;
            }
        }
    }
    std::future::pending::<()>().await;
}

async fn copy(mut from: Box<dyn AsyncRead + Send + Unpin>, to_stderr: bool) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        let bytes = &buffer[..count];
        let written = match to_stderr {
            true => io::stderr().write_all(bytes),
            false => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
        };
        if written.is_err() {
            return;
        }
    }
}

/// Columns and rows of our terminal; 80 by 24 where it does not say.
fn window_size() -> (u16, u16) {
    match termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        _ => (80, 24),
    }
}

/// Our terminal passes every key on while this lives, and is as before afterwards.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> Option<Self> {
        let before = termios::tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Flush, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        _ = termios::tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
