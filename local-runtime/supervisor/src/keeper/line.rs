//! One end of the connection between keeper and supervisor.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

pub struct Line {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

impl Line {
    pub fn new(stream: UnixStream) -> Line {
        let (reader, writer) = stream.into_split();
        let lines = BufReader::new(reader).lines();
        Line { lines, writer }
    }

    pub async fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(message)?;
        bytes.push(b'\n');
        self.writer.write_all(&bytes).await
    }

    /// The next message; an error once the other side is gone. May be dropped half-way and called again.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let line = self.lines.next_line().await?;
        let line = line.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(serde_json::from_str(&line)?)
    }
}
