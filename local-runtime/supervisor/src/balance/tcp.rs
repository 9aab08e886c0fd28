//! One TCP connection, carried to a replica.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::backends::{Backends, Opened};

/// A replica on this machine accepts at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Per direction of a connection.
const BUFFER_BYTES: usize = 8 << 10;

/// Carries one connection to its end. Without a ready replica it is closed at once.
pub async fn serve(mut client: impl AsyncRead + AsyncWrite + Unpin, backends: Backends, port: u16) {
    let Some((mut server, _opened)) = connect(&backends, port).await else {
        return;
    };
    // Half-closed connections go on in the other direction; an error of one side ends both.
    if let Err(error) = carry(&mut client, &mut server).await {
        tracing::trace!(%error, "a connection broke");
    }
}

async fn connect(backends: &Backends, port: u16) -> Option<(TcpStream, Opened)> {
    let mut tried = vec![];
    while let Some(((id, address), opened)) = backends.take(&tried) {
        if let Ok(Ok(stream)) = timeout(CONNECT_TIMEOUT, TcpStream::connect((address, port))).await {
            // Bytes go on as they come; one that is gone already is seen to be by the copying.
            _ = stream.set_nodelay(true);
            return Some((stream, opened));
        }
        tried.push(id);
    }
    None
}

pub async fn carry(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    server: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<()> {
    copy_bidirectional_with_sizes(client, server, BUFFER_BYTES, BUFFER_BYTES)
        .await
        .map(drop)
}
