//! One try of one probe.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::containers::Containers;
use super::http;
use crate::error::chain;
use crate::logs::last_lines;
use crate::machine::{ContainerKey, Event, ProbeKind};
use crate::spec::{Check, ContainerSpec};

pub(super) struct Probing {
    pub key: ContainerKey,
    pub start: u32,
    pub probe: ProbeKind,
    pub check: Check,
    pub address: Ipv4Addr,
    pub timeout: Duration,
    pub spec: Option<Box<ContainerSpec>>,
}

impl Probing {
    pub async fn run(self, containers: Containers, events: mpsc::UnboundedSender<Event>) {
        let tried = timeout(self.timeout, self.attempt(&containers)).await;
        let late = || Err(format!("no answer within {} s", self.timeout.as_secs_f64()));
        let result = tried
            .unwrap_or_else(|_| late())
            .map_err(|why| format!("{} probe, {}: {why}", self.name(), self.subject()));
        let tail = match result {
            Ok(()) => vec![],
            Err(_) => last_lines(&containers.log(&self.key), super::containers::TAIL_LINES),
        };
        let (pod, container) = (self.key.pod, self.key.name);
        let _ = events.send(Event::Probed {
            pod,
            container,
            start: self.start,
            probe: self.probe,
            result,
            tail,
        });
    }

    async fn attempt(&self, containers: &Containers) -> Result<(), String> {
        match &self.check {
            Check::Tcp { port } => TcpStream::connect((self.address, *port))
                .await
                .map(drop)
                .map_err(|error| error.to_string()),
            Check::Http { port, path } => match http::get_status(self.address, *port, path).await {
                Ok(200..=399) => Ok(()),
                Ok(status) => Err(format!("status {status}")),
                Err(error) => Err(error.to_string()),
            },
            Check::Exec { command } => {
                let Some(spec) = &self.spec else {
                    return Err("the container is gone".into());
                };
                match containers.run_in(&self.key, spec, command).await {
                    Ok((0, _)) => Ok(()),
                    Ok((code, output)) => Err(format!("exit code {code}{}", shown(&output))),
                    Err(error) => Err(chain(&error)),
                }
            }
        }
    }

    fn name(&self) -> &'static str {
        match self.probe {
            ProbeKind::Startup => "startup",
            ProbeKind::Ready => "ready",
            ProbeKind::Live => "live",
        }
    }

    fn subject(&self) -> String {
        match &self.check {
            Check::Tcp { port } => format!("tcp port {port}"),
            Check::Http { port, path } => format!("http port {port} path {path}"),
            Check::Exec { command } => format!("command `{}`", command.join(" ")),
        }
    }
}

/// The last line that the command said.
fn shown(output: &str) -> String {
    output
        .trim()
        .lines()
        .last()
        .map(|line| format!(", it said: {line}"))
        .unwrap_or_default()
}
