//! An API server of the tests: it answers what it is told to, or nothing at all.

use std::sync::Arc;

use kube::Config;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A status and a body for a method and a body; with none the request is left waiting.
pub trait Answer: Fn(&str, &Value) -> Option<(u16, Value)> + Send + Sync + 'static {}

impl<F: Fn(&str, &Value) -> Option<(u16, Value)> + Send + Sync + 'static> Answer for F {}

/// The way to one, which lives as long as the test's runtime.
pub async fn answering(answer: impl Answer) -> Config {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, answer.clone()));
        }
    });
    let mut config = Config::new(url.parse().unwrap());
    config.default_retry = false;
    config
}

/// One request.
async fn converse(mut stream: TcpStream, answer: Arc<impl Answer>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    let method = head.split(' ').next().unwrap_or_default();
    let said = serde_json::from_slice(&body).unwrap_or_default();
    let Some((status, body)) = answer(method, &said) else {
        return std::future::pending().await;
    };
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 {status} so\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
}
