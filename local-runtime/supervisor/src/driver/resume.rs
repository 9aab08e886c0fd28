//! The beginning of a supervisor: what an earlier one has left is taken over where it runs, and cleared where it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use tokio::time::Instant;

use super::{DriverError, Platform};
use crate::machine::{ContainerKey, Event, Pod, Process, State};
use crate::process::start_ticks;
use crate::protocol::ExitStatus;
use crate::spec::Kind;
use crate::storage;

/// Processes that are about to end are waited for so long, all together,
const ENDING: Duration = Duration::from_millis(500);
/// and looked at after each of these.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Platform {
    /// Leaves the state as the world is, and begins what is missing.
    pub(super) async fn resume(&mut self) -> Result<(), DriverError> {
        if self.state == State::default() {
            return Ok(());
        }
        if let Some(network) = &self.state.network {
            self.network.create(Some(network.subnet))?;
            self.network.set_egress(network.subnet, network.spec.egress);
        }
        self.follow_log_rules();
        if !self.same_boot {
            self.clear_after_reboot()?;
            self.take(Event::Rebooted).await;
            return Ok(());
        }
        let (alive, ended) = self.take_over().await;
        self.clear_forgotten_pods()?;
        self.take(Event::Resumed { alive, ended }).await;
        Ok(())
    }

    /// Nothing of before runs, and ids of pods are never used again: all that was theirs may go.
    fn clear_after_reboot(&self) -> Result<(), DriverError> {
        let paths = &self.settings.paths;
        for folder in [paths.pods(), paths.runtime_root(), paths.all_layers()] {
            storage::remove_folder(&folder)?;
        }
        Ok(())
    }

    /// Those that still run, and how others have ended as far as it is known.
    async fn take_over(&mut self) -> (BTreeSet<(u64, String)>, BTreeMap<(u64, String), ExitStatus>) {
        let (mut alive, mut ended) = (BTreeSet::new(), BTreeMap::new());
        let until = Instant::now() + ENDING;
        for (key, process) in known_containers(&self.state) {
            let taken = process.map(|process| (process, self.containers.take_over(key.clone(), process)));
            if let Some((_, Ok(()))) = taken {
                alive.insert((key.pod, key.name));
                continue;
            }
            if let Some((process, Err(_))) = taken {
                let code = self.code_of(process, until).await;
                let limit = self.containers.reached_limit(&key, code);
                ended.insert((key.pod, key.name.clone()), ExitStatus { code, limit });
            }
            self.containers.remove(&key).await;
        }
        tracing::info!(count = alive.len(), "containers are taken over");
        (alive, ended)
    }

    /// By the keeper, which has reaped it; or has not yet, while the kernel takes its namespaces down.
    async fn code_of(&mut self, process: Process, until: Instant) -> Option<i32> {
        loop {
            // In this order: what was gone before the keeper is asked is known to it.
            let gone = start_ticks(process.pid).ok() != Some(process.start_ticks);
            let ended = self.keeper.ended().await;
            let reaped = ended.iter().find(|reaped| reaped.process == process);
            if reaped.is_some() || gone || Instant::now() > until {
                return reaped.map(|reaped| reaped.code);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Folders of pods that were removed from the state, but not yet from the disk.
    fn clear_forgotten_pods(&self) -> Result<(), DriverError> {
        let paths = &self.settings.paths;
        for folder in [paths.pods(), paths.all_layers()] {
            let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
            let pods = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
            for pod in pods.filter(|pod| self.state.pod(*pod).is_none()) {
                storage::remove_folder(&paths.pod(pod))?;
                storage::remove_folder(&paths.layers(pod))?;
            }
        }
        Ok(())
    }
}

/// Every container there should be, with its process if it had one when the state was saved.
fn known_containers(state: &State) -> Vec<(ContainerKey, Option<Process>)> {
    let services = state
        .services
        .iter()
        .flat_map(|(name, s)| containers(Kind::Service, name, s.pods.iter()));
    let jobs = state
        .jobs
        .iter()
        .flat_map(|(name, j)| containers(Kind::Job, name, j.pods.iter()));
    services.chain(jobs).collect()
}

fn containers<'a>(
    kind: Kind,
    workload: &str,
    pods: impl Iterator<Item = (&'a u64, &'a Pod)>,
) -> Vec<(ContainerKey, Option<Process>)> {
    let of_pod = |(id, pod): (&'a u64, &'a Pod)| {
        let key = move |name: &String| ContainerKey {
            kind,
            workload: workload.into(),
            pod: *id,
            name: name.clone(),
        };
        pod.containers
            .iter()
            .map(move |(name, container)| (key(name), container.process()))
    };
    pods.flat_map(of_pod).collect()
}
