//! The verbs of the OCI runtime. Those that make a process are a process of `portolan-runtime` each, since a program with
//! threads may not fork by itself; the others are calls of its library.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use portolan_oci::Store;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::process::Command;

use crate::error::chain;

/// A verb of the library that makes no process.
type Verb = fn(&Store, &str) -> portolan_oci::error::Result<()>;

#[derive(Debug, thiserror::Error)]
pub(super) enum RuntimeError {
    #[error("cannot start {}", program.display())]
    Start { program: PathBuf, source: io::Error },
    /// `said` is what the program wrote last; empty where that went into the container's log.
    #[error("the runtime could not {verb} the container: {said}")]
    Failed { verb: &'static str, said: String },
}

#[derive(Clone, Debug)]
pub(super) struct Runtime {
    program: PathBuf,
    root: PathBuf,
    /// Of open files: what the supervisor began with, for it has raised its own since.
    limit: Rlimit,
}

/// Where a container's output goes, each end opened for it alone.
pub(super) struct Output {
    pub stdout: std::fs::File,
    pub stderr: std::fs::File,
}

impl Runtime {
    pub fn new(program: &Path, root: PathBuf, limit: Rlimit) -> Runtime {
        Runtime {
            program: program.into(),
            root,
            limit,
        }
    }

    /// Makes everything but the first instruction of the process. The runtime's own words on a failure go into `output`
    /// too, since the container has its descriptors from it.
    pub async fn create(&self, id: &str, bundle: &Path, pid_file: &Path, output: Output) -> Result<(), RuntimeError> {
        let mut command = self.command();
        command.args(["create", "--bundle"]).arg(bundle);
        command.arg("--pid-file").arg(pid_file).arg(id);
        command.stdout(output.stdout).stderr(output.stderr);
        match self.status(command).await?.success() {
            true => Ok(()),
            false => Err(RuntimeError::Failed {
                verb: "create",
                said: String::new(),
            }),
        }
    }

    pub async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        self.call("start", id, portolan_oci::start::start).await
    }

    /// Ends what still runs and removes cgroups and records; a container that is gone is success.
    pub async fn delete(&self, id: &str) -> Result<(), RuntimeError> {
        let delete = |store: &Store, id: &str| portolan_oci::delete::delete(store, id, true);
        self.call("delete", id, delete).await
    }

    /// A further process in a container, to be completed by the caller and waited for by it: it ends with that process.
    pub fn exec(&self, id: &str, process: &Path, pid_file: &Path, console: Option<&Path>) -> Command {
        let mut command = self.command();
        command.arg("exec").arg("--process").arg(process);
        command.arg("--pid-file").arg(pid_file);
        if let Some(socket) = console {
            command.arg("--tty").arg("--console-socket").arg(socket);
        }
        command.arg(id);
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root).stdin(Stdio::null());
        let limit = self.limit;
        // SAFETY: between fork and exec there is one system call on a value that was copied in: no allocation, no lock.
        unsafe { command.pre_exec(move || Ok(setrlimit(Resource::Nofile, limit)?)) };
        command
    }

    async fn status(&self, mut command: Command) -> Result<ExitStatus, RuntimeError> {
        command.status().await.map_err(|source| self.not_started(source))
    }

    /// Off the event loop: each waits for other processes.
    async fn call(&self, verb: &'static str, id: &str, call: Verb) -> Result<(), RuntimeError> {
        let (store, id) = (Store::at(self.root.clone()), id.to_string());
        let done = tokio::task::spawn_blocking(move || call(&store, &id).map_err(|error| chain(&error)));
        let done = done.await.unwrap_or_else(|_| Err("it panicked".into()));
        done.map_err(|said| RuntimeError::Failed { verb, said })
    }

    pub fn not_started(&self, source: io::Error) -> RuntimeError {
        RuntimeError::Start {
            program: self.program.clone(),
            source,
        }
    }
}

/// The last line without the program's name before it.
pub(super) fn last_words(output: &str) -> String {
    let line = output.trim().lines().last().unwrap_or("it said nothing");
    line.strip_prefix("portolan-runtime: ").unwrap_or(line).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_the_last_line() {
        for (reason, output, expected) in [
            (
                "the program's name is known",
                "portolan-runtime: no such file\n",
                "no such file",
            ),
            ("only the last line", "warning: x\nportolan-runtime: y", "y"),
            ("nothing at all", "", "it said nothing"),
        ] {
            assert_eq!(last_words(output), expected, "{reason}");
        }
    }
}
