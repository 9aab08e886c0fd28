//! A command in a running container: to its end for a probe, or with its streams over a client's connection.

mod session;
mod terminal;

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command as Program};

use super::bundle::{self, BundleError};
use super::commands::Command;
use super::connection::{ask, send_answer};
use super::pidfd::Pidfd;
use super::runtime::{Runtime, RuntimeError};
use super::server::Shared;
use crate::protocol::ExecRequest;
use crate::storage;
use serde_json::Value;

#[derive(Debug, thiserror::Error)]
pub(super) enum ExecError {
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Storage(#[from] storage::StorageError),
    #[error("cannot {doing}")]
    System { doing: &'static str, source: io::Error },
}

/// Answers the request, then carries frames until the command has ended or the client is gone.
pub(super) async fn serve(
    reader: tokio::io::BufReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
    request: ExecRequest,
    shared: Shared,
) -> io::Result<()> {
    let found = ask(&shared, |to| Command::FindContainer(request.clone(), to)).await;
    let (key, spec) = match found {
        Ok(found) => found,
        Err(body) => return send_answer(&mut writer, Err(body)).await,
    };
    send_answer(&mut writer, Ok(Value::Null)).await?;
    let prepared = shared.containers.exec(&key, &spec, &request.argv, request.tty);
    session::carry(reader, writer, prepared, request.tty).await;
    Ok(())
}

/// A command that is about to run: a folder of its own beside the container's bundle, with the process in a file.
pub(super) struct Prepared {
    runtime: Runtime,
    container: String,
    folder: PathBuf,
    process: Result<Vec<u8>, BundleError>,
}

/// Removes the folder when the command is over, however that came about.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = storage::remove_folder(&self.0) {
            tracing::error!(error = crate::error::chain(&error), "files of an exec are left over");
        }
    }
}

/// The runtime's process, which ends as the command does. The command is killed if this is dropped before.
struct Running {
    child: Child,
    pid_file: PathBuf,
    ended: bool,
    _folder: Folder,
}

impl Prepared {
    pub fn new(
        runtime: Runtime,
        container: String,
        folder: PathBuf,
        process: Result<Vec<u8>, BundleError>,
    ) -> Prepared {
        Prepared {
            runtime,
            container,
            folder,
            process,
        }
    }

    /// Runs it without input. Its exit code, and the end of what it said on either stream.
    pub async fn output(self) -> Result<(i32, String), ExecError> {
        let mut running = self.spawn(None, |command| {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
        })?;
        let (mut stdout, mut stderr) = (running.child.stdout.take(), running.child.stderr.take());
        let (mut said, mut complained) = (vec![], vec![]);
        let (code, _, _) = tokio::join!(
            running.wait(),
            read_some(stdout.as_mut(), &mut said),
            read_some(stderr.as_mut(), &mut complained)
        );
        said.extend(complained);
        Ok((code?, String::from_utf8_lossy(&said).into_owned()))
    }

    fn spawn(
        self,
        console: Option<&std::path::Path>,
        streams: impl FnOnce(&mut Program),
    ) -> Result<Running, ExecError> {
        storage::create_folder(&self.folder)?;
        let folder = Folder(self.folder.clone());
        let (process, pid_file) = (self.folder.join("process.json"), self.folder.join("pid"));
        bundle::write_file(&process, &self.process?, 0o600)?;
        let mut command = self.runtime.exec(&self.container, &process, &pid_file, console);
        streams(&mut command);
        let child = command.spawn().map_err(|source| self.runtime.not_started(source))?;
        Ok(Running {
            child,
            pid_file,
            ended: false,
            _folder: folder,
        })
    }
}

impl Running {
    async fn wait(&mut self) -> Result<i32, ExecError> {
        let status = self.child.wait().await.map_err(|source| ExecError::System {
            doing: "wait for the runtime",
            source,
        })?;
        self.ended = true;
        Ok(code(status))
    }

    /// The command, not the runtime: the runtime then reaps it and ends by itself. Nothing else reaps it, and a container
    /// whose processes are not all reaped does not end.
    fn kill(&mut self) {
        let killed = bundle::read_pid(&self.pid_file)
            .and_then(Pidfd::open_child)
            .and_then(|(pidfd, _)| pidfd.signal(nix::libc::SIGKILL));
        if killed.is_err() {
            // The command is not there yet, or not any more.
            _ = self.child.start_kill();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.kill();
        }
    }
}

/// 128 + N after signal N, which the runtime itself met then.
fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// At most so much of a probe's output is kept; the rest is read and dropped, so that nothing waits.
const OUTPUT_BYTES: usize = 4 << 10;

async fn read_some(from: Option<&mut (impl tokio::io::AsyncRead + Unpin)>, into: &mut Vec<u8>) {
    use tokio::io::AsyncReadExt;
    let Some(from) = from else { return };
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        into.extend_from_slice(&buffer[..read]);
        let surplus = into.len().saturating_sub(OUTPUT_BYTES);
        into.drain(..surplus);
    }
}
