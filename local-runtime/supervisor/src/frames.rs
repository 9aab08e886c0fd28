//! The binary frames of an exec session: one byte of type, four bytes of length (big endian), then the payload.
//!
//! Client to server: `Stdin` (an empty one means end of input) and `Resize`. Server to client: `Stdout`, `Stderr`, and one
//! `Exit` as the last frame. A terminal's output comes as `Stdout`. No payload is longer than [`MAX_PAYLOAD_BYTES`].

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::protocol::WindowSize;

pub const MAX_PAYLOAD_BYTES: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Stdin(Vec<u8>),
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    Resize(WindowSize),
    /// The command's exit code, 128 + N after signal N.
    Exit(i32),
    /// The command could not be run; instead of `Exit`.
    Error(String),
}

/// The next frame; `None` at a clean end of the stream.
pub async fn read_frame<R: AsyncRead + Unpin>(from: &mut R) -> io::Result<Option<Frame>> {
    let mut head = [0u8; 5];
    if from.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut head[1..]).await?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length > MAX_PAYLOAD_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {length} bytes"),
        ));
    }
    let mut payload = vec![0; length];
    from.read_exact(&mut payload).await?;
    decode(head[0], payload).map(Some)
}

pub async fn write_frame<W: AsyncWrite + Unpin>(to: &mut W, frame: &Frame) -> io::Result<()> {
    let (kind, payload) = encode(frame);
    let mut bytes = Vec::with_capacity(5 + payload.len());
    bytes.push(kind);
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&payload);
    to.write_all(&bytes).await
}

fn encode(frame: &Frame) -> (u8, Vec<u8>) {
    match frame {
        Frame::Stdin(bytes) => (0, bytes.clone()),
        Frame::Stdout(bytes) => (1, bytes.clone()),
        Frame::Stderr(bytes) => (2, bytes.clone()),
        Frame::Resize(size) => (3, [size.rows.to_be_bytes(), size.columns.to_be_bytes()].concat()),
        Frame::Exit(code) => (4, code.to_be_bytes().to_vec()),
        Frame::Error(message) => (5, message.as_bytes().to_vec()),
    }
}

fn decode(kind: u8, payload: Vec<u8>) -> io::Result<Frame> {
    match (kind, payload.as_slice()) {
        (0, _) => Ok(Frame::Stdin(payload)),
        (1, _) => Ok(Frame::Stdout(payload)),
        (2, _) => Ok(Frame::Stderr(payload)),
        (3, &[a, b, c, d]) => Ok(Frame::Resize(WindowSize {
            rows: u16::from_be_bytes([a, b]),
            columns: u16::from_be_bytes([c, d]),
        })),
        (4, &[a, b, c, d]) => Ok(Frame::Exit(i32::from_be_bytes([a, b, c, d]))),
        (5, _) => Ok(Frame::Error(String::from_utf8_lossy(&payload).into_owned())),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of unknown type {kind}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_survive_the_wire() {
        let frames = [
            Frame::Stdin(vec![]),
            Frame::Stdout(vec![0, 255, 10]),
            Frame::Resize(WindowSize { rows: 24, columns: 80 }),
            Frame::Exit(-1),
            Frame::Error("no such file".into()),
        ];
        let mut wire = vec![];
        for frame in &frames {
            write_frame(&mut wire, frame).await.unwrap();
        }
        let mut from = wire.as_slice();
        for frame in &frames {
            assert_eq!(read_frame(&mut from).await.unwrap().as_ref(), Some(frame));
        }
        assert_eq!(read_frame(&mut from).await.unwrap(), None);
    }

    #[tokio::test]
    async fn hostile_frames_are_refused() {
        for (reason, wire) in [
            ("a length beyond the limit", vec![1, 0xff, 0xff, 0xff, 0xff]),
            ("an unknown type", vec![9, 0, 0, 0, 0]),
            ("a torn frame", vec![1, 0, 0, 0, 9, 1]),
            ("a window size of one byte", vec![3, 0, 0, 0, 1, 1]),
        ] {
            assert!(read_frame(&mut wire.as_slice()).await.is_err(), "{reason}");
        }
    }
}
