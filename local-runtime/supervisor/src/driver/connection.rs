//! One client: hello, then its requests in order, until it goes or asks for a stream.

use std::io;

use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;

use super::commands::{Answer, Command};
use super::exec;
use super::server::Shared;
use crate::logs::LogReader;
use crate::machine::refusal;
use crate::protocol::{
    Class, ErrorBody, Hello, LogLine, LogsRequest, MAX_MESSAGE_BYTES, PROTOCOL_VERSION, Reply, Request, Welcome,
    Workload,
};

type Reader = BufReader<OwnedReadHalf>;

pub(super) async fn serve(stream: UnixStream, shared: Shared) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    if !greet(&mut reader, &mut writer, &shared).await? {
        return Ok(());
    }
    while let Some(line) = read_line(&mut reader).await? {
        match serde_json::from_slice(&line) {
            Err(error) => {
                let body = refusal(
                    "BadRequest",
                    Class::Invalid,
                    format!("the request cannot be understood: {error}"),
                );
                send(&mut writer, &Reply::<Value>::Error(body)).await?;
            }
            Ok(Request::Logs(request)) => return serve_logs(reader, writer, request, &shared).await,
            Ok(Request::Exec(request)) => return exec::serve(reader, writer, request, shared).await,
            Ok(request) => {
                let answer = ask(&shared, |to| Command::Request(request, to)).await;
                send_answer(&mut writer, answer).await?;
            }
        }
    }
    Ok(())
}

async fn greet(reader: &mut Reader, writer: &mut OwnedWriteHalf, shared: &Shared) -> io::Result<bool> {
    let Some(line) = read_line(reader).await? else {
        return Ok(false);
    };
    match serde_json::from_slice::<Hello>(&line) {
        Ok(Hello {
            version: PROTOCOL_VERSION,
        }) => {
            let welcome = Welcome {
                version: PROTOCOL_VERSION,
                app: shared.settings.app.clone(),
                pid: std::process::id(),
                program_version: env!("CARGO_PKG_VERSION").into(),
            };
            send(writer, &Reply::Ok(welcome)).await?;
            Ok(true)
        }
        other => {
            let said = other.map_or("no hello".to_string(), |hello| format!("version {}", hello.version));
            let message =
                format!("this supervisor speaks version {PROTOCOL_VERSION} of the protocol, the client {said}");
            send(
                writer,
                &Reply::<Value>::Error(refusal("UnknownVersion", Class::Conflict, message)),
            )
            .await?;
            Ok(false)
        }
    }
}

/// Asks the owner of the state.
pub(super) async fn ask<T>(
    shared: &Shared,
    command: impl FnOnce(oneshot::Sender<Result<T, ErrorBody>>) -> Command,
) -> Result<T, ErrorBody> {
    let (to, answer) = oneshot::channel();
    let ending = || refusal("Ending", Class::Retry, "the supervisor is about to end".into());
    shared.commands.send(command(to)).await.map_err(|_| ending())?;
    answer.await.map_err(|_| ending())?
}

async fn serve_logs(
    mut reader: Reader,
    mut writer: OwnedWriteHalf,
    request: LogsRequest,
    shared: &Shared,
) -> io::Result<()> {
    let known = async || ask(shared, |to| Command::Request(Request::Logs(request.clone()), to)).await;
    if let Err(refused) = known().await {
        return send_answer(&mut writer, Err(refused)).await;
    }
    let mut written = shared.log_written.subscribe();
    let follow = request.follow;
    // A workload that has not run has no folder yet: there is nothing to tell so far.
    let folder = |workload: &Workload| shared.settings.paths.logs(workload.kind, &workload.name);
    let log = LogReader::new(request.clone(), shared.log_written.clone(), folder);
    let (mut log, places) = read_logs(log, LogReader::begin).await?;
    send(&mut writer, &Reply::Ok(places)).await?;
    loop {
        let lines;
        (log, lines) = read_logs(log, LogReader::more).await?;
        send_lines(&mut writer, &lines).await?;
        if !lines.is_empty() {
            continue;
        }
        if !follow || !log.has_folders() && known().await.is_err() {
            return send(&mut writer, &Value::Null).await;
        }
        tokio::select! {
            changed = written.changed() => changed.map_err(io::Error::other)?,
            // Whatever the client says now, it is done with this stream.
            _ = reader.fill_buf() => return Ok(()),
        }
    }
}

/// Off the event loop: a log may be long, and the disk slow.
async fn read_logs<T: Send + 'static>(
    mut log: LogReader,
    how: impl FnOnce(&mut LogReader) -> T + Send + 'static,
) -> io::Result<(LogReader, T)> {
    let read = move || {
        let answer = how(&mut log);
        (log, answer)
    };
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)
}

async fn send_lines(writer: &mut OwnedWriteHalf, lines: &[LogLine]) -> io::Result<()> {
    for piece in lines.chunks(100) {
        let mut bytes = vec![];
        for line in piece {
            serde_json::to_writer(&mut bytes, line)?;
            bytes.push(b'\n');
        }
        writer.write_all(&bytes).await?;
    }
    Ok(())
}

pub(super) async fn send_answer(writer: &mut OwnedWriteHalf, answer: Answer) -> io::Result<()> {
    match answer {
        Ok(value) => send(writer, &Reply::Ok(value)).await,
        Err(body) => send(writer, &Reply::<Value>::Error(body)).await,
    }
}

async fn send<T: Serialize>(writer: &mut OwnedWriteHalf, message: &T) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.push(b'\n');
    writer.write_all(&bytes).await
}

async fn read_line(reader: &mut Reader) -> io::Result<Option<Vec<u8>>> {
    let mut line = vec![];
    let read = reader
        .take(MAX_MESSAGE_BYTES as u64)
        .read_until(b'\n', &mut line)
        .await?;
    match line.last() {
        _ if read == 0 => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a message without end")),
    }
}
