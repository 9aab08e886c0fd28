//! The one check that ECS makes of a container: `live`, or where it is not said `ready`, or `startup`.
//!
//! It is a command inside the container, with bounds of its own; the first time of it is the grace that `startup` gives.

use portolan_core::desired::{DesiredProbe, ProbeCheck};

use super::container::Running;
use super::{Renderer, seconds};
use crate::requests::task::HealthCheck;

/// Bounds of ECS, in seconds and times.
pub(crate) const INTERVAL: std::ops::RangeInclusive<u64> = 5..=300;
pub(crate) const TIMEOUT: std::ops::RangeInclusive<u64> = 2..=60;
pub(crate) const RETRIES: std::ops::RangeInclusive<u32> = 1..=10;
pub(crate) const START_PERIOD: std::ops::RangeInclusive<u64> = 0..=300;

impl Renderer<'_> {
    pub(super) fn health_check(&mut self, running: &Running<'_>) -> Option<HealthCheck> {
        let probes = &running.probes;
        let asked = probes
            .live
            .as_ref()
            .or(probes.ready.as_ref())
            .or(probes.startup.as_ref())?;
        Some(HealthCheck {
            command: command(&asked.check),
            interval: seconds(asked.interval).max(*INTERVAL.start()),
            timeout: seconds(asked.timeout).max(*TIMEOUT.start()),
            retries: asked.threshold,
            start_period: probes.startup.as_ref().map(patience),
        })
    }
}

/// How long a start may take.
pub(super) fn patience(startup: &DesiredProbe) -> u64 {
    seconds(startup.interval * startup.threshold)
}

/// What the container's own programs ask, where there are such; a shell has to be there.
fn command(check: &ProbeCheck) -> Vec<String> {
    let shell = |text: String| vec!["CMD-SHELL".to_string(), text];
    match check {
        ProbeCheck::Exec { command } => std::iter::once("CMD".to_string())
            .chain(command.iter().cloned())
            .collect(),
        ProbeCheck::Http { path, port } => {
            let url = format!("'http://127.0.0.1:{port}{}'", path.replace('\'', "%27"));
            shell(format!(
                "curl -fsS -o /dev/null {url} || wget -q -O /dev/null {url} || exit 1"
            ))
        }
        ProbeCheck::Tcp { port } => shell(format!(
            "nc -z 127.0.0.1 {port} || bash -c '</dev/tcp/127.0.0.1/{port}' || exit 1"
        )),
    }
}
