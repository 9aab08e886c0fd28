//! Day two: exec, promotion and jobs run again; the supervisor's streams as the contract's.

use std::sync::Arc;

use async_trait::async_trait;
use portolan_core::plan::Scope;
use portolan_provider_api::operations::{ExecRequest, ExecSession};
use portolan_provider_api::{CallError, Exec, Promote, RunJob};
use portolan_supervisor::client::{ExecInput, ExecOutput};
use portolan_supervisor::frames::Frame;
use portolan_supervisor::protocol::{self, WindowSize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, oneshot};

use crate::client::Supervisors;
use crate::error;

pub struct LocalRunJob {
    platform: Arc<Supervisors>,
}

impl LocalRunJob {
    pub fn new(platform: Arc<Supervisors>) -> Self {
        Self { platform }
    }
}

#[async_trait]
impl RunJob for LocalRunJob {
    async fn run_job(&self, scope: &Scope, job: &str) -> Result<(), CallError> {
        if !self.platform.is_known(scope)? {
            return Err(error::not_running(scope));
        }
        let mut held = self.platform.connection(scope).await?;
        held.client.run_job(job).await.map_err(error::client)?;
        held.give_back();
        Ok(())
    }
}

pub struct LocalPromote {
    platform: Arc<Supervisors>,
}

impl LocalPromote {
    pub fn new(platform: Arc<Supervisors>) -> Self {
        Self { platform }
    }
}

#[async_trait]
impl Promote for LocalPromote {
    async fn promote(&self, scope: &Scope, service: &str, full: bool) -> Result<(), CallError> {
        if !self.platform.is_known(scope)? {
            return Err(error::not_running(scope));
        }
        let mut held = self.platform.connection(scope).await?;
        held.client.promote(service, full).await.map_err(error::client)?;
        held.give_back();
        Ok(())
    }
}

pub struct LocalExec {
    platform: Arc<Supervisors>,
}

impl LocalExec {
    pub fn new(platform: Arc<Supervisors>) -> Self {
        Self { platform }
    }
}

#[async_trait]
impl Exec for LocalExec {
    async fn exec(&self, scope: &Scope, request: ExecRequest) -> Result<ExecSession, CallError> {
        let replica = request.replica.as_deref();
        let replica = replica.map(|text| replica_id(&request.workload, text)).transpose()?;
        let terminal = request.terminal;
        let request = protocol::ExecRequest {
            service: request.workload,
            replica,
            container: request.container,
            argv: request.argv,
            tty: terminal.map(|(columns, rows)| WindowSize { rows, columns }),
        };
        let session = self
            .platform
            .connect(scope)
            .await?
            .exec(request)
            .await
            .map_err(error::client)?;
        Ok(pipes(session.input, session.output, terminal.is_some()))
    }
}

/// `web-1`, as `logs` and `status` call it, or `1`.
fn replica_id(service: &str, text: &str) -> Result<u64, CallError> {
    let number = text
        .strip_prefix(service)
        .and_then(|rest| rest.strip_prefix('-'))
        .unwrap_or(text);
    number.parse().map_err(|_| {
        error::invalid(format!("`{text}` is no replica of `{service}`")).with_hint(format!(
            "they are called {service}-NUMBER; `portolan logs {service}` shows which there are"
        ))
    })
}

const PIPE_BYTES: usize = 64 << 10;

/// Frames as byte streams: one task feeds input and sizes, one sorts output.
fn pipes(input: ExecInput, output: ExecOutput, terminal: bool) -> ExecSession {
    let (stdin, stdin_end) = tokio::io::duplex(PIPE_BYTES);
    let (stdout, stdout_end) = tokio::io::duplex(PIPE_BYTES);
    let (stderr, stderr_end) = tokio::io::duplex(PIPE_BYTES);
    let (resize, sizes) = mpsc::channel(4);
    let (exit_sender, exit) = oneshot::channel();
    tokio::spawn(feed(input, stdin_end, sizes));
    tokio::spawn(async move {
        _ = exit_sender.send(sort(output, stdout_end, stderr_end).await);
    });
    ExecSession {
        stdin: Box::new(stdin),
        stdout: Box::new(stdout),
        stderr: (!terminal).then_some(Box::new(stderr) as _),
        resize,
        exit,
    }
}

async fn feed(mut input: ExecInput, mut stdin: DuplexStream, mut sizes: mpsc::Receiver<(u16, u16)>) {
    let mut buffer = vec![0; PIPE_BYTES];
    let mut open = true;
    loop {
        tokio::select! {
            read = stdin.read(&mut buffer), if open => match read {
                Ok(0) | Err(_) => {
                    open = false;
                    if input.close().await.is_err() {
                        return;
                    }
                }
                Ok(count) => if input.write(&buffer[..count]).await.is_err() {
                    return;
                },
            },
            size = sizes.recv() => match size {
                Some((columns, rows)) => if input.resize(WindowSize { rows, columns }).await.is_err() {
                    return;
                },
                None if !open => return,
                // No more sizes will come; input still may.
                None => {
                    while let Ok(count) = stdin.read(&mut buffer).await {
                        let sent = if count == 0 { input.close().await } else { input.write(&buffer[..count]).await };
                        if count == 0 || sent.is_err() {
                            return;
                        }
                    }
                    return;
                }
            },
        }
    }
}

/// Ends with the command's exit code. A reader that went away loses its output, not the exit code.
async fn sort(mut output: ExecOutput, mut stdout: DuplexStream, mut stderr: DuplexStream) -> Result<i32, CallError> {
    loop {
        match output.next().await.map_err(error::client)? {
            Some(Frame::Stdout(bytes)) => _ = stdout.write_all(&bytes).await,
            Some(Frame::Stderr(bytes)) => _ = stderr.write_all(&bytes).await,
            Some(Frame::Exit(code)) => return Ok(code),
            Some(Frame::Error(message)) => return Err(error::invalid(message)),
            Some(Frame::Stdin(_) | Frame::Resize(_)) => {
                return Err(error::bug("the supervisor sent a client's frame".into()));
            }
            None => return Err(error::lost("the supervisor went away during exec")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_called_as_logs_calls_it() {
        for (reason, service, text, expected) in [
            ("its whole name", "web", "web-7", Some(7)),
            ("its number", "web", "7", Some(7)),
            ("a name that ends in a number itself", "web-1", "web-1-7", Some(7)),
            ("the number, of such a one", "web-1", "7", Some(7)),
            ("another service's", "web", "api-7", None),
            ("no number", "web", "web-", None),
            ("the service", "web", "web", None),
            ("a number below nought", "web", "web--7", None),
        ] {
            assert_eq!(replica_id(service, text).ok(), expected, "{reason}");
        }
    }
}
