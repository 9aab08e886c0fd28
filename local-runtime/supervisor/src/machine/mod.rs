//! Every decision of the supervisor, as one pure function: `step(state, event, now)` gives effects.
//!
//! No I/O, no clock, no randomness in here. Facts come in as events, what is to be done goes out as effects, and the time
//! is an argument. The function is level-triggered: an event only notes a fact, then every workload is led one step on
//! from what is known. So a lost or doubled event costs time, never correctness. Read `service` for rollouts, `pod` for
//! the order of containers, `container` for restarts and probes.

mod addresses;
mod admit;
mod container;
mod job;
mod observe;
mod pod;
mod rollout;
mod routing;
mod service;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
pub mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::protocol::ExitStatus;
use crate::spec::{Check, ContainerSpec, Kind, NetworkSpec, Object, VolumeSpec};

use addresses::Addresses;
pub use addresses::Subnet;
pub(crate) use admit::refusal;
pub use admit::{admit_delete, admit_put};
pub use container::{Container, ContainerStatus, ProbeKind, Process};
pub use job::{Job, JobPhase};
pub use observe::observe;
pub use pod::{Goal, Pod, Role, Sandbox, Template, Templates};
pub use rollout::{Course, Rollout};
pub use routing::{Group, Route, RoutePort, pod_hostname, routes, service_names};
pub use service::{PortFailure, Service, Shares};

/// Milliseconds since the machine's boot, sleep included (CLOCK_BOOTTIME): steps of the wall clock change nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl std::ops::Add<Duration> for Millis {
    type Output = Millis;

    fn add(self, by: Duration) -> Millis {
        Millis(self.0.saturating_add(by.as_millis().min(u64::MAX as u128) as u64))
    }
}

/// The moment of a step, by both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    pub at: Millis,
    /// For people alone.
    pub unix_ms: u64,
}

/// Everything the supervisor knows; written to disk after each step that changed it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub network: Option<Network>,
    pub volumes: BTreeMap<String, VolumeSpec>,
    pub services: BTreeMap<String, Service>,
    pub jobs: BTreeMap<String, Job>,
    /// The last id given to a pod; ids are never used again.
    pub last_pod: u64,
}

/// The app's network with what was chosen for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    pub spec: NetworkSpec,
    pub subnet: Subnet,
    /// Addresses of services of other apps, by the name that this app gives them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub uses: BTreeMap<String, Ipv4Addr>,
}

impl Network {
    fn new(spec: NetworkSpec, subnet: Subnet) -> Self {
        let uses = BTreeMap::new();
        Self { spec, subnet, uses }
    }
}

/// Which container of which pod; its parts name folders, logs and cgroups.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerKey {
    pub kind: Kind,
    /// The service or job.
    pub workload: String,
    pub pod: u64,
    pub name: String,
}

/// Something that has happened outside.
#[derive(Clone, Debug)]
pub enum Event {
    /// Accepted by [`admit_put`]. `subnet` comes with a new network; `done` says that the records know this revision
    /// of a job as succeeded.
    Put {
        object: Box<Object>,
        subnet: Option<Subnet>,
        done: bool,
    },
    /// Accepted by [`admit_delete`].
    Delete {
        kind: Kind,
        name: String,
    },
    RunJob {
        name: String,
    },
    Retry {
        name: String,
    },
    Promote {
        name: String,
        full: bool,
    },
    SandboxReady {
        pod: u64,
    },
    SandboxFailed {
        pod: u64,
        message: String,
    },
    SandboxRemoved {
        pod: u64,
    },
    Started {
        pod: u64,
        container: String,
        process: Process,
    },
    /// Nothing of it is left.
    StartFailed {
        pod: u64,
        container: String,
        message: String,
    },
    /// Ended, reaped and removed. `tail`: the last lines of its log.
    Exited {
        pod: u64,
        container: String,
        status: ExitStatus,
        tail: Vec<String>,
    },
    Probed {
        pod: u64,
        container: String,
        start: u32,
        probe: ProbeKind,
        result: Result<(), String>,
        tail: Vec<String>,
    },
    /// The success of this revision is durable.
    JobRecorded {
        job: String,
        revision: String,
    },
    /// Which services have a port that could not be listened on when it was last tried; all others have theirs.
    Listening {
        failures: BTreeMap<String, PortFailure>,
    },
    /// Open connections of replicas that are out of the routes; one that is not named has none.
    Connections {
        open: BTreeMap<u64, u32>,
    },
    /// A new supervisor process has read this state. Only what `alive` names still runs; all effects under way are lost.
    /// `ended`: how others have ended, as far as it is known.
    Resumed {
        alive: BTreeSet<(u64, String)>,
        ended: BTreeMap<(u64, String), ExitStatus>,
    },
    /// The machine was started again since this state was written: no process, namespace or moment in it is there.
    Rebooted,
    Tick,
}

/// Something that is to be done. Each is carried out once; its end comes back as an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A network namespace with this address. Answered by `SandboxReady` or `SandboxFailed`.
    PrepareSandbox {
        kind: Kind,
        workload: String,
        pod: u64,
        address: Ipv4Addr,
    },
    /// The pod's namespace and folders go. Answered by `SandboxRemoved`.
    RemoveSandbox {
        kind: Kind,
        workload: String,
        pod: u64,
    },
    /// Answered by `Started` or `StartFailed`, and after `Started` at last by `Exited`.
    Start {
        key: ContainerKey,
        start: u32,
        spec: Box<ContainerSpec>,
    },
    /// Not answered by itself.
    Signal {
        key: ContainerKey,
        signal: String,
    },
    /// Answered by `Probed`.
    Probe {
        key: ContainerKey,
        start: u32,
        probe: ProbeKind,
        check: Check,
        address: Ipv4Addr,
        timeout: Duration,
    },
    /// Makes durable that this revision has succeeded, and before that the state that knows it. Answered by `JobRecorded`;
    /// asked for again until it is.
    RecordJob {
        job: String,
        revision: String,
        unix_ms: u64,
    },
    /// Ports that could not be listened on are tried once more. Answered by `Listening` if that has changed anything.
    ListenAgain,
    RemoveNetwork,
    /// The workload is gone; its logs may go.
    Forget {
        kind: Kind,
        workload: String,
    },
}

/// What a step asks for.
#[derive(Debug, Default)]
pub struct Outcome {
    pub effects: Vec<Effect>,
    /// When `Tick` is due, if nothing else happens before.
    pub wake_at: Option<Millis>,
}

/// Notes the event, then leads every workload on.
pub fn step(state: &mut State, event: Event, now: Now) -> Outcome {
    let mut turn = Turn {
        now,
        outcome: Outcome::default(),
    };
    state.note(event, &mut turn);
    state.reconcile(&mut turn);
    turn.outcome
}

/// Whether the state after this event is to be on the disk before whoever asked for it is answered. What has happened by
/// itself is found out again, or begun again, by whoever reads an older state; a success of a job alone is not, and
/// [`Effect::RecordJob`] sees to that.
///
/// A network that is new has nothing in it, and is gone with the machine's power itself: the first object that uses it
/// makes it durable.
pub fn outlives_power(before: &State, event: &Event) -> bool {
    match event {
        Event::Put { object, .. } if object.kind() == Kind::Network => before.network.is_some(),
        Event::Put { .. }
        | Event::Delete { .. }
        | Event::RunJob { .. }
        | Event::Retry { .. }
        | Event::Promote { .. } => true,
        _ => false,
    }
}

/// One step under way: its time, and what it has asked for so far.
struct Turn {
    now: Now,
    outcome: Outcome,
}

impl Turn {
    fn emit(&mut self, effect: Effect) {
        self.outcome.effects.push(effect);
    }

    /// True once `at` has come; otherwise asks to be woken then.
    fn due(&mut self, at: Millis) -> bool {
        if self.now.at >= at {
            return true;
        }
        let earliest = self.outcome.wake_at.map_or(at, |other| other.min(at));
        self.outcome.wake_at = Some(earliest);
        false
    }
}

impl State {
    /// Nothing that would need a supervisor: volumes and records lie still without one.
    pub fn is_empty(&self) -> bool {
        self.network.is_none() && self.services.is_empty() && self.jobs.is_empty()
    }

    pub fn pod(&self, id: u64) -> Option<&Pod> {
        let mut services = self.services.values().filter_map(|s| s.pods.get(&id));
        services
            .next()
            .or_else(|| self.jobs.values().find_map(|j| j.pods.get(&id)))
    }

    fn note(&mut self, event: Event, turn: &mut Turn) {
        let now = turn.now.at;
        match event {
            Event::Put { object, subnet, done } => self.note_put(*object, subnet, done, turn),
            Event::Delete { kind, name } => self.note_delete(kind, &name, turn),
            Event::RunJob { name } => {
                if let Some(job) = self.jobs.get_mut(&name) {
                    job.run_again(now);
                }
            }
            Event::Retry { name } => {
                if let Some(service) = self.services.get_mut(&name) {
                    service.retry(now);
                }
            }
            Event::Promote { name, full } => {
                if let Some(service) = self.services.get_mut(&name) {
                    service.promote(full, now);
                }
            }
            Event::SandboxReady { pod } => self.with_pod(pod, |pod| pod.sandbox_ready()),
            Event::SandboxFailed { pod, message } => self.with_pod(pod, |pod| pod.sandbox_failed(message, now)),
            Event::SandboxRemoved { pod } => self.remove_pod(pod),
            Event::Started {
                pod,
                container,
                process,
            } => self.with_container(pod, &container, |c| c.started(process, now)),
            Event::StartFailed {
                pod,
                container,
                message,
            } => {
                self.with_container(pod, &container, |c| c.start_failed(message));
            }
            Event::Exited {
                pod,
                container,
                status,
                tail,
            } => {
                self.with_container(pod, &container, |c| c.exited(status, tail, now));
            }
            Event::Probed {
                pod,
                container,
                start,
                probe,
                result,
                tail,
            } => {
                self.with_container(pod, &container, |c| c.probed(start, probe, result, tail, now));
            }
            Event::JobRecorded { job, revision } => {
                if let Some(job) = self.jobs.get_mut(&job) {
                    job.recorded(&revision);
                }
            }
            Event::Listening { failures } => {
                for (name, service) in &mut self.services {
                    service.note_port_failure(failures.get(name).cloned(), now);
                }
            }
            Event::Connections { open } => {
                let idle = self.all_pods().filter(|(id, _)| !open.contains_key(id));
                idle.for_each(|(_, pod)| pod.drained(now));
            }
            Event::Resumed { alive, ended } => {
                self.all_pods().for_each(|(id, pod)| pod.resumed(id, &alive, &ended));
                self.jobs.values_mut().for_each(|job| job.resumed(now));
            }
            Event::Rebooted => {
                self.services.values_mut().for_each(|service| service.rebooted(now));
                self.jobs.values_mut().for_each(|job| job.rebooted(now));
            }
            Event::Tick => {}
        }
    }

    fn note_put(&mut self, object: Object, subnet: Option<Subnet>, done: bool, turn: &Turn) {
        match object {
            Object::Network(spec) => {
                match (&mut self.network, subnet) {
                    (Some(network), _) => network.spec = spec,
                    (none, Some(subnet)) => *none = Some(Network::new(spec, subnet)),
                    (None, None) => {}
                }
                self.give_addresses_to_uses();
            }
            Object::Volume(spec) => drop(self.volumes.insert(spec.name.clone(), spec)),
            Object::Service(spec) => match self.services.get_mut(&spec.name) {
                Some(service) => service.update(spec, turn.now.at),
                None => {
                    if let Some(address) = self.free_service_address() {
                        let service = Service::new(spec, address, turn.now.at);
                        self.services.insert(service.spec.name.clone(), service);
                    }
                }
            },
            Object::Job(spec) => match self.jobs.get_mut(&spec.name) {
                Some(job) => job.update(spec, done, turn.now.at),
                None => drop(self.jobs.insert(spec.name.clone(), Job::new(spec, done, turn.now.at))),
            },
        }
    }

    fn note_delete(&mut self, kind: Kind, name: &str, turn: &mut Turn) {
        match kind {
            Kind::Network => {
                if self.network.take().is_some() {
                    turn.emit(Effect::RemoveNetwork);
                }
            }
            Kind::Volume => drop(self.volumes.remove(name)),
            Kind::Service => drop(self.services.get_mut(name).map(|service| service.deleting = true)),
            Kind::Job => drop(self.jobs.get_mut(name).map(|job| job.deleting = true)),
        }
    }

    fn reconcile(&mut self, turn: &mut Turn) {
        let mut addresses = Addresses::of(self);
        for service in self.services.values_mut() {
            service.reconcile(&mut addresses, turn);
        }
        for job in self.jobs.values_mut() {
            job.reconcile(&mut addresses, turn);
        }
        self.last_pod = addresses.last_pod;
        self.retry_ports(turn);
        self.forget_the_deleted(turn);
    }

    fn retry_ports(&mut self, turn: &mut Turn) {
        let mut any = false;
        for service in self.services.values_mut() {
            any |= service.wants_its_port(turn);
        }
        if any {
            turn.emit(Effect::ListenAgain);
        }
    }

    /// Every port that is known to fail, by service.
    pub fn port_failures(&self) -> BTreeMap<String, PortFailure> {
        let failing = |(name, service): (&String, &Service)| Some((name.clone(), service.port_failure.clone()?));
        self.services.iter().filter_map(failing).collect()
    }

    fn forget_the_deleted(&mut self, turn: &mut Turn) {
        self.services.retain(|name, service| {
            let gone = service.deleting && service.pods.is_empty();
            if gone {
                turn.emit(Effect::Forget {
                    kind: Kind::Service,
                    workload: name.clone(),
                });
            }
            !gone
        });
        self.jobs.retain(|name, job| {
            let gone = job.deleting && job.pods.is_empty();
            if gone {
                turn.emit(Effect::Forget {
                    kind: Kind::Job,
                    workload: name.clone(),
                });
            }
            !gone
        });
    }

    fn all_pods(&mut self) -> impl Iterator<Item = (u64, &mut Pod)> {
        let services = self.services.values_mut().flat_map(|s| s.pods.iter_mut());
        services
            .chain(self.jobs.values_mut().flat_map(|j| j.pods.iter_mut()))
            .map(|(id, pod)| (*id, pod))
    }

    fn with_pod(&mut self, id: u64, change: impl FnOnce(&mut Pod)) {
        if let Some((_, pod)) = self.all_pods().find(|(other, _)| *other == id) {
            change(pod);
        }
    }

    fn with_container(&mut self, pod: u64, name: &str, change: impl FnOnce(&mut Container)) {
        self.with_pod(pod, |pod| {
            if let Some(container) = pod.containers.get_mut(name) {
                change(container);
            }
        });
    }

    fn remove_pod(&mut self, id: u64) {
        self.services.values_mut().for_each(|s| drop(s.pods.remove(&id)));
        self.jobs.values_mut().for_each(|j| drop(j.pods.remove(&id)));
    }

    fn free_service_address(&self) -> Option<Ipv4Addr> {
        let network = self.network.as_ref()?;
        let own = self.services.values().map(|s| s.address);
        let used = own.chain(network.uses.values().copied()).collect();
        network.subnet.free(Subnet::SERVICES, &used)
    }

    /// Those that are named already keep theirs.
    fn give_addresses_to_uses(&mut self) {
        let Some(network) = &mut self.network else { return };
        let wanted: Vec<String> = network.spec.uses.iter().map(|one| one.name.clone()).collect();
        network.uses.retain(|name, _| wanted.contains(name));
        for name in wanted {
            let address = self.free_service_address();
            if let (Some(network), Some(address)) = (&mut self.network, address) {
                network.uses.entry(name).or_insert(address);
            }
        }
    }
}
