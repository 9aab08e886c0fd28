//! Effects begun, and what follows the state kept in step: routes, names, addresses.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::balance::Table;
use crate::error::chain;
use crate::logs::{self, Writer};
use crate::machine::{self, Effect, Event, Outcome, State};
use crate::network::hosts_file;
use crate::sharing;
use crate::spec::Kind;
use crate::storage;

use super::Platform;
use super::probes;

impl Platform {
    /// Effects come after the routes: what is signalled gets no connection any more.
    pub(super) async fn follow(&mut self, outcome: Outcome) {
        self.wake_at = outcome.wake_at;
        self.follow_routes().await;
        self.follow_names();
        self.follow_log_rules();
        for effect in outcome.effects {
            tracing::debug!(?effect, "effect");
            self.carry_out(effect).await;
        }
    }

    async fn follow_routes(&mut self) {
        let routes = machine::routes(&self.state);
        let addresses = machine::service_names(&self.state).into_values().collect();
        if self.state.network.is_some()
            && let Err(error) = self.network.set_service_addresses(addresses)
        {
            tracing::error!(error = chain(&error), "services' addresses are not all there");
        }
        let bridge = self.state.network.is_some().then(|| self.settings.bridge());
        let run_dir = &self.settings.paths.run;
        let table = Table {
            bridge,
            routes,
            shares: sharing::shares(&self.state, run_dir),
            uses: sharing::uses(&self.state, run_dir),
        };
        self.keeper.set(table).await;
    }

    pub(super) fn follow_log_rules(&self) {
        let paths = &self.settings.paths;
        let services = self.state.services.iter();
        let services = services.map(|(name, service)| (paths.logs(Kind::Service, name), service.spec.logs));
        let jobs = self.state.jobs.iter();
        let jobs = jobs.map(|(name, job)| (paths.logs(Kind::Job, name), job.spec.logs));
        if self.log_rules.set(services.chain(jobs).collect()) {
            self.prune_logs();
        }
    }

    /// Written in place, because containers have the file itself mounted.
    fn follow_names(&mut self) {
        let names = machine::service_names(&self.state);
        if names == self.service_names {
            return;
        }
        self.service_names = names;
        for (id, workload, address) in pods(&self.state) {
            self.write_hosts(id, &workload, address);
        }
    }

    fn write_hosts(&self, pod: u64, workload: &str, address: Ipv4Addr) {
        let path = self.settings.paths.hosts(pod);
        let text = hosts_file((&machine::pod_hostname(workload, pod), address), &self.service_names);
        let written = storage::create_folder(&self.settings.paths.pod(pod))
            .and_then(|()| storage::write_in_place(&path, text.as_bytes()));
        if let Err(error) = written {
            tracing::error!(error = chain(&error), "names are not up to date in replica {pod}");
        }
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::PrepareSandbox {
                workload, pod, address, ..
            } => self.prepare_sandbox(&workload, pod, address),
            Effect::RemoveSandbox { kind, workload, pod } => self.remove_sandbox(kind, &workload, pod),
            Effect::Start { key, spec, .. } => self.containers.start(key, *spec),
            Effect::Signal { key, signal } => self.containers.signal(&key, &signal),
            Effect::Probe {
                key,
                start,
                probe,
                check,
                address,
                timeout,
            } => {
                let spec = self.container_spec(&key);
                let task = probes::Probing {
                    key,
                    start,
                    probe,
                    check,
                    address,
                    timeout,
                    spec,
                };
                tokio::spawn(task.run(self.containers.clone(), self.events.clone()));
            }
            Effect::RecordJob { job, revision, unix_ms } => self.record_job(job, revision, unix_ms),
            Effect::ListenAgain => self.keeper.try_again().await,
            Effect::RemoveNetwork => {
                if let Err(error) = self.network.remove() {
                    tracing::error!(error = chain(&error), "the network is left over");
                }
            }
            Effect::Forget { kind, workload } => {
                if let Err(error) = storage::remove_folder(&self.settings.paths.logs(kind, &workload)) {
                    tracing::error!(error = chain(&error), "logs of {kind} `{workload}` are left over");
                }
                // Who follows it is done.
                self.log_written.poke();
            }
        }
    }

    /// The state goes to the disk first: an older one, found beside the record after a loss of power, would run the job
    /// again.
    fn record_job(&mut self, job: String, revision: String, unix_ms: u64) {
        let recorded = self
            .save_durably()
            .and_then(|()| self.records.record_success(&job, &revision, unix_ms));
        match recorded {
            // The receiver is gone only when the supervisor ends; the next one records it again.
            Ok(()) => _ = self.events.send(Event::JobRecorded { job, revision }),
            Err(error) => tracing::error!(error = chain(&error), "the success of job `{job}` is not recorded"),
        }
    }

    fn prepare_sandbox(&self, workload: &str, pod: u64, address: Ipv4Addr) {
        self.write_hosts(pod, workload, address);
        let (network, events) = (self.network.clone(), self.events.clone());
        std::thread::spawn(move || {
            // The receiver is gone only when the supervisor ends; the next one begins anew.
            let begun = || _ = events.send(Event::SandboxReady { pod });
            match network.add_pod(pod, address, begun) {
                Ok(()) => {}
                // What has begun in it is told why, and the link is mended.
                Err(error) if network.pod_namespace(pod).is_some() => {
                    tracing::error!(error = chain(&error), "replica {pod} has no link yet");
                }
                Err(error) => {
                    let message = chain(&error);
                    _ = events.send(Event::SandboxFailed { pod, message });
                }
            }
        });
    }

    /// Off the event loop: there may be many.
    pub(super) fn prune_logs(&self) {
        let (rules, writer) = (self.log_rules.all(), self.writers(None));
        tokio::task::spawn_blocking(move || {
            for (folder, keep) in rules {
                logs::prune(&folder, &keep, &writer);
            }
        });
    }

    /// Who writes which log now; `leaving` is a pod on its way out.
    fn writers(&self, leaving: Option<u64>) -> impl Fn(u64, &str) -> Writer + Send + 'static {
        let pods = pods(&self.state).map(|(id, ..)| id);
        let there: BTreeSet<u64> = pods.filter(|id| Some(*id) != leaving).collect();
        let running = self.containers.all_running();
        move |pod, container| match there.contains(&pod) {
            true if running.contains(&(pod, container.to_string())) => Writer::Running,
            true => Writer::Ended,
            false => Writer::Gone,
        }
    }

    fn remove_sandbox(&self, kind: Kind, workload: &str, pod: u64) {
        let (network, events, paths) = (self.network.clone(), self.events.clone(), self.settings.paths.clone());
        let logs = paths.logs(kind, workload);
        let keep = self.log_rules.of(&logs).now();
        let writer = self.writers(Some(pod));
        std::thread::spawn(move || {
            if let Err(error) = network.remove_pod(pod) {
                tracing::error!(error = chain(&error), "replica {pod} leaves a link");
            }
            for folder in [paths.pod(pod), paths.layers(pod)] {
                if let Err(error) = storage::remove_folder(&folder) {
                    tracing::error!(error = chain(&error), "replica {pod} leaves files");
                }
            }
            logs::prune(&logs, &keep, writer);
            let _ = events.send(Event::SandboxRemoved { pod });
        });
    }
}

pub(super) fn pods(state: &State) -> impl Iterator<Item = (u64, String, Ipv4Addr)> {
    let services = state
        .services
        .values()
        .flat_map(|s| s.pods.iter().map(|(id, p)| (*id, s.spec.name.clone(), p.address)));
    services.chain(
        state
            .jobs
            .values()
            .flat_map(|j| j.pods.iter().map(|(id, p)| (*id, j.spec.name.clone(), p.address))),
    )
}
