//! The wire between a provider and the supervisor: a socket in the place of the supervisor's that hands on what comes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

/// What went over the wire. Clones are the same wire.
#[derive(Clone, Default)]
pub struct Wire {
    requests: Arc<Mutex<Vec<String>>>,
    loses: Arc<Mutex<Option<Loss>>>,
}

/// Whose answer is lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    OfALook,
    OfAWrite,
}

impl Wire {
    /// Takes the place of the socket; the supervisor goes on listening at `aside`. Who has connected before is not heard.
    pub fn tap(&self, socket: &Path, aside: PathBuf) {
        if aside.exists() {
            return;
        }
        std::fs::rename(socket, &aside).unwrap();
        let listener = UnixListener::bind(socket).unwrap();
        let wire = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (wire, aside) = (wire.clone(), aside.clone());
                tokio::spawn(async move { wire.carry(client, &aside).await });
            }
        });
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub fn lose_next_answer(&self, of: Loss) {
        *self.loses.lock().unwrap() = Some(of);
    }

    /// Each line of the one side is answered by a line of the other, the first by a welcome.
    async fn carry(self, client: UnixStream, supervisor: &Path) -> Option<()> {
        let (mut asking, mut answer_to) = ends(client);
        let (mut answering, mut ask) = ends(UnixStream::connect(supervisor).await.ok()?);
        let mut greeted = false;
        while let Some(request) = asking.next_line().await.ok()? {
            let lost = greeted && self.note(&request);
            greeted = true;
            send(&mut ask, &request).await?;
            let answer = answering.next_line().await.ok()??;
            if lost {
                return None;
            }
            send(&mut answer_to, &answer).await?;
        }
        Some(())
    }

    /// Whether its answer is to be lost.
    fn note(&self, request: &str) -> bool {
        self.requests.lock().unwrap().push(request.to_string());
        let method: Value = serde_json::from_str(request).unwrap();
        let loss = match method["method"] == "observe" {
            true => Loss::OfALook,
            false => Loss::OfAWrite,
        };
        self.loses.lock().unwrap().take_if(|of| *of == loss).is_some()
    }
}

fn ends(stream: UnixStream) -> (Lines<BufReader<OwnedReadHalf>>, OwnedWriteHalf) {
    let (reader, writer) = stream.into_split();
    (BufReader::new(reader).lines(), writer)
}

async fn send(writer: &mut OwnedWriteHalf, line: &str) -> Option<()> {
    writer.write_all(format!("{line}\n").as_bytes()).await.ok()
}
