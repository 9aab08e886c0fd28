//! `portolan logs` and `portolan exec`.

use std::io::{self, IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use portolan_core::manifest::HumanDuration;
use portolan_provider_api::operations::{ExecRequest, ExecSession, LogLine, LogQuery};
use rustix::termios::{self, OptionalActions, Termios};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{ExecArgs, LogsArgs, OutputFormat};
use crate::failure::{CommandResult, Failure, exit};
use crate::interrupt;
use crate::manifests::select_one;
use crate::output::{Output, print};
use crate::session::Session;

pub async fn logs(arguments: LogsArgs, output: Output) -> CommandResult {
    let deployment = select_one(&arguments.one)?;
    let session = Session::open(output)?;
    let provider = session.provider(&deployment)?;
    let logs = provider.logs.clone().ok_or_else(|| unsupported("logs", provider.shape.name()))?;
    let scope = session.scope(&deployment, &provider).await?;
    let query = LogQuery {
        workloads: arguments.workloads,
        container: arguments.container,
        follow: arguments.follow,
        tail: arguments.tail,
        since: arguments.since.as_deref().map(since).transpose()?,
    };
    let mut lines = logs.logs(&scope, query).await?;
    let stop = interrupt::interrupted(interrupt::listen());
    tokio::pin!(stop);
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) => print(&log_line(&line, output)),
                None => return Ok(exit::DONE),
            },
            _ = &mut stop => return Ok(exit::INTERRUPTED),
        }
    }
}

fn since(text: &str) -> Result<SystemTime, Failure> {
    let duration: HumanDuration = text.parse().map_err(|_| Failure {
        exit: exit::USAGE,
        ..Failure::new("DurationInvalid", format!("`{text}` is not a duration")).hint("write it as 30s, 5m or 1h")
    })?;
    Ok(SystemTime::now() - std::time::Duration::from(duration))
}

fn log_line(line: &LogLine, output: Output) -> String {
    if output.format == OutputFormat::Human {
        return format!("{}-{} {}  {}\n", line.workload, line.replica, line.container, line.text);
    }
    let millis = line.time.duration_since(UNIX_EPOCH).map(|since| since.as_millis() as u64).unwrap_or(0);
    let stream = if line.stderr { "stderr" } else { "stdout" };
    let value = json!({"timeUnixMs": millis, "workload": line.workload, "replica": line.replica, "container": line.container,
        "stream": stream, "text": line.text});
    format!("{value}\n")
}

pub async fn exec(arguments: ExecArgs, output: Output) -> CommandResult {
    let deployment = select_one(&arguments.one)?;
    let session = Session::open(output)?;
    let provider = session.provider(&deployment)?;
    let exec = provider.exec.clone().ok_or_else(|| unsupported("exec", provider.shape.name()))?;
    let scope = session.scope(&deployment, &provider).await?;
    let terminal = (io::stdin().is_terminal() && io::stdout().is_terminal()).then(window_size);
    let request = ExecRequest {
        workload: arguments.service,
        replica: arguments.replica,
        container: arguments.container,
        argv: arguments.argv,
        terminal,
    };
    let running = exec.exec(&scope, request).await?;
    let raw = terminal.and_then(|_| RawTerminal::enter());
    let code = attach(running, terminal.is_some()).await;
    drop(raw);
    code
}

/// Copies the streams until the command has ended and its output is told.
async fn attach(session: ExecSession, terminal: bool) -> CommandResult {
    let ExecSession { mut stdin, stdout, stderr, resize, exit } = session;
    let input = tokio::spawn(async move {
        _ = tokio::io::copy(&mut tokio::io::stdin(), &mut stdin).await;
        _ = stdin.shutdown().await;
    });
    let sizes = tokio::spawn(async move {
        let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
        while terminal && changes.recv().await.is_some() {
            if resize.send(window_size()).await.is_err() {
                return;
            }
        }
        // Kept open: a closed channel means that no size will come any more.
        std::future::pending::<()>().await;
    });
    let out = tokio::spawn(copy(stdout, false));
    let err = stderr.map(|stderr| tokio::spawn(copy(stderr, true)));
    let code = exit.await.map_err(|_| Failure::new("ExecLost", "the target went away before the command ended"))?;
    _ = out.await;
    if let Some(err) = err {
        _ = err.await;
    }
    input.abort();
    sizes.abort();
    Ok(code?.clamp(0, 255) as u8)
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

fn unsupported(what: &'static str, provider: &str) -> Failure {
    Failure::new("Unsupported", format!("the provider `{provider}` has no {what}"))
}
