//! Typed calls on a supervisor's socket. One connection each; `logs` and `exec` use it up.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::error::ClientError;
use crate::frames::{Frame, read_frame, write_frame};
use crate::protocol::{
    DeleteOutcome, ExecRequest, Hello, LogId, LogLine, LogPlace, LogsRequest, MAX_MESSAGE_BYTES, Observation,
    PROTOCOL_VERSION, Place, PutOutcome, Reply, Request, Usage, Welcome, WindowSize, socket_path,
};
use crate::spec::{Kind, Object};

/// A connection on which hello has been said.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    welcome: Welcome,
}

impl Client {
    /// Connects to the supervisor whose runtime directory this is.
    ///
    /// Errors: `NotRunning` if no process answers there, `Refused` with the code `UnknownVersion` if it speaks another
    /// protocol.
    pub async fn connect(run_dir: &Path) -> Result<Client, ClientError> {
        let path = socket_path(run_dir);
        let stream = UnixStream::connect(&path).await.map_err(|source| match source.kind() {
            // Reset: it ended before it had taken us.
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
                ClientError::NotRunning { path: path.clone() }
            }
            _ => ClientError::Connect {
                path: path.clone(),
                source,
            },
        })?;
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        send(
            &mut writer,
            &Hello {
                version: PROTOCOL_VERSION,
            },
        )
        .await?;
        let welcome = receive(&mut reader).await?;
        Ok(Client {
            reader,
            writer,
            welcome,
        })
    }

    /// Who answered.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Returns when the supervisor is gone.
    pub async fn closed(mut self) {
        // It says nothing that it is not asked for.
        _ = self.reader.fill_buf().await;
    }

    pub async fn observe(&mut self) -> Result<Observation, ClientError> {
        self.call(&Request::Observe).await
    }

    pub async fn put(&mut self, object: Object) -> Result<PutOutcome, ClientError> {
        self.call(&Request::Put {
            object: Box::new(object),
        })
        .await
    }

    pub async fn delete(&mut self, kind: Kind, name: &str, erase: bool) -> Result<DeleteOutcome, ClientError> {
        self.call(&Request::Delete {
            kind,
            name: name.into(),
            erase,
        })
        .await
    }

    /// Runs a job again, whatever its records say.
    pub async fn run_job(&mut self, name: &str) -> Result<(), ClientError> {
        self.call(&Request::RunJob { name: name.into() }).await
    }

    /// Tries a failed rollout again.
    pub async fn retry(&mut self, service: &str) -> Result<(), ClientError> {
        self.call(&Request::Retry { name: service.into() }).await
    }

    /// Ends the pause of a rollout, or all of them.
    pub async fn promote(&mut self, service: &str, full: bool) -> Result<(), ClientError> {
        let name = service.into();
        self.call(&Request::Promote { name, full }).await
    }

    /// What runs uses now.
    pub async fn stats(&mut self) -> Result<Vec<Usage>, ClientError> {
        self.call(&Request::Stats).await
    }

    pub async fn logs(mut self, request: LogsRequest) -> Result<LogStream, ClientError> {
        let places: Vec<LogPlace> = self.call(&Request::Logs(request)).await?;
        Ok(LogStream {
            places: places.into_iter().map(|at| (at.log, at.place)).collect(),
            reader: self.reader,
            _writer: self.writer,
        })
    }

    pub async fn exec(mut self, request: ExecRequest) -> Result<ExecSession, ClientError> {
        self.call::<()>(&Request::Exec(request)).await?;
        Ok(ExecSession {
            output: ExecOutput { reader: self.reader },
            input: ExecInput { writer: self.writer },
        })
    }

    async fn call<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        send(&mut self.writer, request).await?;
        receive(&mut self.reader).await
    }
}

/// The lines asked for, in the order of their times as far as they are known.
#[derive(Debug)]
pub struct LogStream {
    places: BTreeMap<LogId, Place>,
    reader: BufReader<OwnedReadHalf>,
    _writer: OwnedWriteHalf,
}

impl LogStream {
    /// The next line; `None` when all is told. Dropping the stream ends a `follow`. After an error [`LogStream::places`] are
    /// what a further request goes on from.
    pub async fn next(&mut self) -> Result<Option<LogLine>, ClientError> {
        let line = read_line(&mut self.reader).await?.ok_or(ClientError::Closed)?;
        let line: Option<LogLine> = serde_json::from_slice(&line).map_err(|source| ClientError::Decode { source })?;
        if let Some(LogLine { log, place, .. }) = &line {
            match self.places.get_mut(log) {
                Some(known) => *known = *place,
                None => _ = self.places.insert(log.clone(), *place),
            }
        }
        Ok(line)
    }

    /// How far each log has been told.
    pub fn places(&self) -> Vec<LogPlace> {
        let places = self.places.iter();
        let place = |(log, place): (&LogId, &Place)| LogPlace {
            log: log.clone(),
            place: *place,
        };
        places.map(place).collect()
    }
}

/// A running command: split it to feed input and read output at the same time.
#[derive(Debug)]
pub struct ExecSession {
    pub input: ExecInput,
    pub output: ExecOutput,
}

/// What comes for a command that is over goes nowhere, and is no failure: how it ended is in the output.
#[derive(Debug)]
pub struct ExecInput {
    writer: OwnedWriteHalf,
}

impl ExecInput {
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        for chunk in bytes.chunks(crate::frames::MAX_PAYLOAD_BYTES) {
            self.send(&Frame::Stdin(chunk.to_vec())).await?;
        }
        Ok(())
    }

    /// The command reads end of file after what was written.
    pub async fn close(&mut self) -> Result<(), ClientError> {
        self.send(&Frame::Stdin(vec![])).await
    }

    pub async fn resize(&mut self, size: WindowSize) -> Result<(), ClientError> {
        self.send(&Frame::Resize(size)).await
    }

    async fn send(&mut self, frame: &Frame) -> Result<(), ClientError> {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
        match write_frame(&mut self.writer, frame).await {
            Err(error) if [BrokenPipe, ConnectionReset].contains(&error.kind()) => Ok(()),
            sent => sent.map_err(|source| ClientError::Send { source }),
        }
    }
}

#[derive(Debug)]
pub struct ExecOutput {
    reader: BufReader<OwnedReadHalf>,
}

impl ExecOutput {
    /// `Stdout`, `Stderr`, then one `Exit` or `Error`; `None` if the connection ended before that.
    pub async fn next(&mut self) -> Result<Option<Frame>, ClientError> {
        read_frame(&mut self.reader)
            .await
            .map_err(|source| ClientError::Receive { source })
    }
}

async fn send<T: Serialize>(writer: &mut OwnedWriteHalf, message: &T) -> Result<(), ClientError> {
    let mut line = serde_json::to_vec(message).expect("requests have string keys only");
    if line.len() >= MAX_MESSAGE_BYTES {
        return Err(ClientError::TooLong { bytes: line.len() });
    }
    line.push(b'\n');
    writer
        .write_all(&line)
        .await
        .map_err(|source| ClientError::Send { source })
}

async fn receive<T: DeserializeOwned>(reader: &mut BufReader<OwnedReadHalf>) -> Result<T, ClientError> {
    let line = read_line(reader).await?.ok_or(ClientError::Closed)?;
    match serde_json::from_slice(&line).map_err(|source| ClientError::Decode { source })? {
        Reply::Ok(value) => Ok(value),
        Reply::Error(body) => Err(ClientError::Refused(body)),
    }
}

async fn read_line(reader: &mut BufReader<OwnedReadHalf>) -> Result<Option<Vec<u8>>, ClientError> {
    let mut line = vec![];
    let mut bounded = reader.take(MAX_MESSAGE_BYTES as u64);
    let read = bounded
        .read_until(b'\n', &mut line)
        .await
        .map_err(|source| ClientError::Receive { source })?;
    match line.last() {
        _ if read == 0 => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        _ if read == MAX_MESSAGE_BYTES => Err(ClientError::TooLong { bytes: read }),
        _ => Err(ClientError::Closed),
    }
}
