//! A command in a container of a pod, as the contract's streams: an API server carries them over a WebSocket.
//!
//! Replica and container are looked up first, so that a wrong name is told before anything is entered.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{Sink, SinkExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, AttachedProcess, TerminalSize};
use portolan_core::plan::Scope;
use portolan_provider_api::operations::{ExecRequest, ExecSession};
use portolan_provider_api::{CallError, Exec};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::client::{Cluster, KubeCluster};
use crate::error;
use crate::kinds::POD;
use crate::names::selector_of;
use crate::read::{items, text};
use crate::render::KubernetesShape;
use crate::replicas::{chosen, name_of};

pub struct KubernetesExec {
    cluster: Arc<KubeCluster>,
    shape: Arc<KubernetesShape>,
}

/// Where the command runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    pod: String,
    container: String,
}

impl KubernetesExec {
    pub fn new(cluster: Arc<KubeCluster>, shape: Arc<KubernetesShape>) -> Self {
        Self { cluster, shape }
    }
}

#[async_trait]
impl Exec for KubernetesExec {
    async fn exec(&self, scope: &Scope, request: ExecRequest) -> Result<ExecSession, CallError> {
        let kube_namespace = self.shape.kube_namespace(&scope.namespace);
        let pods = self.cluster.list(&POD, kube_namespace, &selector_of(scope)).await?;
        let pod = chosen(&pods, scope, &request.workload, request.replica.as_deref())?;
        let place = place(pod, &request)?;
        let streams = streams(&place.container, request.terminal.is_some());
        let running = self.cluster.exec(kube_namespace, &place.pod, &request.argv, &streams);
        Ok(session(running.await?, place, request))
    }
}

/// The service's own container, unless another one is named.
fn place(pod: &Value, request: &ExecRequest) -> Result<Place, CallError> {
    let container = request.container.as_ref().unwrap_or(&request.workload);
    let all = items(pod, "/spec/containers").chain(items(pod, "/spec/initContainers"));
    let names: Vec<&str> = all.filter_map(|one| text(one, "/name")).collect();
    match names.contains(&container.as_str()) {
        true => Ok(Place {
            pod: name_of(pod).to_string(),
            container: container.clone(),
        }),
        false => Err(error::unknown_container(name_of(pod), container, &names)),
    }
}

const PIPE_BYTES: usize = 64 << 10;

/// With a terminal all output is in one stream.
fn streams(container: &str, terminal: bool) -> AttachParams {
    AttachParams::default()
        .container(container)
        .stdin(true)
        .stdout(true)
        .stderr(!terminal)
        .tty(terminal)
        .max_stdin_buf_size(PIPE_BYTES)
        .max_stdout_buf_size(PIPE_BYTES)
        .max_stderr_buf_size(PIPE_BYTES)
}

fn session(mut running: AttachedProcess, place: Place, request: ExecRequest) -> ExecSession {
    let stdin = running.stdin().expect("it was asked for");
    let (stdout, copies_out) = told(running.stdout().expect("it was asked for"));
    let stderr = running.stderr().map(told);
    let (stderr, copies_err) = stderr.map_or((None, None), |(stream, copies)| (Some(stream), Some(copies)));
    let (resize, sizes) = mpsc::channel(4);
    if let (Some(first), Some(terminal)) = (request.terminal, running.terminal_size()) {
        tokio::spawn(resized(first, sizes, terminal));
    }
    let (sender, exit) = oneshot::channel();
    let copies = [Some(copies_out), copies_err].into_iter().flatten().collect();
    tokio::spawn(ended(running, copies, place, request.argv, sender));
    ExecSession {
        stdin: Box::new(stdin),
        stdout: Box::new(stdout),
        stderr: stderr.map(|stderr| Box::new(stderr) as _),
        resize,
        exit,
    }
}

/// What a reader that went away does not take is dropped: the command goes on, and its exit code is told.
fn told(mut from: impl AsyncRead + Send + Unpin + 'static) -> (DuplexStream, JoinHandle<()>) {
    let (reader, mut writer) = tokio::io::duplex(PIPE_BYTES);
    let copies = tokio::spawn(async move {
        let mut buffer = vec![0; PIPE_BYTES];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            _ = writer.write_all(&buffer[..count]).await;
        }
    });
    (reader, copies)
}

async fn resized(
    first: (u16, u16),
    mut sizes: mpsc::Receiver<(u16, u16)>,
    mut terminal: impl Sink<TerminalSize> + Unpin,
) {
    let mut next = Some(first);
    while let Some((width, height)) = next {
        if terminal.send(TerminalSize { width, height }).await.is_err() {
            return;
        }
        next = sizes.recv().await;
    }
}

/// Until the command has ended and its output is told, or nobody waits for that any more.
async fn ended(
    mut running: AttachedProcess,
    copies: Vec<JoinHandle<()>>,
    place: Place,
    argv: Vec<String>,
    mut exit: oneshot::Sender<Result<i32, CallError>>,
) {
    let status = running.take_status().expect("nobody has taken it");
    let status = tokio::select! {
        status = status => status,
        () = exit.closed() => return,
    };
    let lost = running.join().await.err();
    let code = match &status {
        Some(status) => exit_code(status, &place, &argv),
        None => Err(error::exec_lost(lost.as_ref().map(|lost| lost as _))),
    };
    if status.is_none() {
        // A connection that broke ends none of its streams.
        copies.iter().for_each(JoinHandle::abort);
    }
    _ = exit.send(code);
}

/// As the kubelet tells it when the command has ended, or could not begin.
fn exit_code(status: &Status, place: &Place, argv: &[String]) -> Result<i32, CallError> {
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.as_ref().and_then(|details| details.causes.as_ref());
    let mut causes = causes.into_iter().flatten();
    let code = causes.find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    let code = code.and_then(|cause| cause.message.as_ref()?.parse().ok());
    code.ok_or_else(|| {
        let words = status.message.as_deref().unwrap_or("it does not say why");
        error::not_started(argv.first().map_or("", String::as_str), &place.container, words)
    })
}

#[cfg(test)]
mod tests;
