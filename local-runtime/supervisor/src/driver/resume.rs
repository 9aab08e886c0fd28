//! The beginning of a supervisor: what an earlier one has left is taken over where it runs, and cleared where it does not.

use std::collections::BTreeSet;
use std::fs;

use super::{DriverError, Platform};
use crate::machine::{ContainerKey, Event, Pod, Process, State};
use crate::spec::Kind;
use crate::storage;

impl Platform {
    /// Leaves the state as the world is, and begins what is missing.
    pub(super) async fn resume(&mut self) -> Result<(), DriverError> {
        if self.state == State::default() {
            return Ok(());
        }
        if let Some(network) = &self.state.network {
            self.network.create(Some(network.subnet))?;
        }
        if !self.same_boot {
            self.clear_after_reboot()?;
            self.take(Event::Rebooted).await;
            return Ok(());
        }
        let alive = self.take_over().await;
        self.clear_forgotten_pods()?;
        self.take(Event::Resumed { alive }).await;
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

    async fn take_over(&self) -> BTreeSet<(u64, String)> {
        let mut alive = BTreeSet::new();
        for (key, process) in known_containers(&self.state) {
            match process.map(|process| self.containers.take_over(key.clone(), process)) {
                Some(Ok(())) => {
                    alive.insert((key.pod, key.name));
                }
                _ => self.containers.remove(&key).await,
            }
        }
        tracing::info!(count = alive.len(), "containers are taken over");
        alive
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
