//! One pod (a replica of a service, an attempt of a job): a network namespace and the containers in it, in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::container::{OnEnd, backoff, effective_health, must_settle};
use super::{Container, ContainerKey, Effect, Millis, Turn};
use crate::protocol::ExitStatus;
use crate::spec::{ContainerSpec, Kind, PodSpec, StopSpec};

/// What pods of one kind are made from. Never changed: an update makes a new one beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    pub revision: String,
    pub pod: PodSpec,
    pub stop: StopSpec,
    pub role: Role,
}

impl Template {
    /// True if pods of `other` need not be replaced. The revision is a name only: what runs is in the rest.
    pub fn runs_the_same(&self, other: &Template) -> bool {
        self.pod == other.pod && self.stop == other.stop && self.role == other.role
    }
}

/// All templates that pods still refer to, by number.
pub type Templates = BTreeMap<u64, Template>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Service { first_port: Option<u16> },
    Job,
}

impl Role {
    fn kind(&self) -> Kind {
        match self {
            Role::Service { .. } => Kind::Service,
            Role::Job => Kind::Job,
        }
    }

    fn on_main_end(&self) -> OnEnd {
        match self {
            Role::Service { .. } => OnEnd::Restart,
            Role::Job => OnEnd::Stay,
        }
    }

    /// A job counts its attempts itself, so there a failed init container ends the attempt.
    fn on_init_end(&self) -> OnEnd {
        match self {
            Role::Service { .. } => OnEnd::RestartOnFailure,
            Role::Job => OnEnd::Stay,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    pub template: u64,
    pub address: Ipv4Addr,
    pub goal: Goal,
    pub sandbox: Sandbox,
    pub sandbox_failures: u32,
    pub message: Option<String>,
    pub created: Millis,
    pub containers: BTreeMap<String, Container>,
    /// Takes connections: set by each step.
    pub ready: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    Run,
    /// Out of the balance since `since`; its first signal comes at `signal_at`.
    Stop {
        since: Millis,
        signal_at: Millis,
    },
}

/// The pod's network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sandbox {
    Absent { retry_at: Millis },
    Preparing,
    Ready,
    Removing,
}

impl Pod {
    pub(super) fn new(template: u64, spec: &PodSpec, address: Ipv4Addr, now: Millis) -> Pod {
        Pod {
            template,
            address,
            goal: Goal::Run,
            sandbox: Sandbox::Absent { retry_at: now },
            sandbox_failures: 0,
            message: None,
            created: now,
            containers: spec
                .containers()
                .map(|c| (c.name.clone(), Container::default()))
                .collect(),
            ready: false,
        }
    }

    pub fn is_wanted(&self) -> bool {
        self.goal == Goal::Run
    }

    pub(super) fn sandbox_ready(&mut self) {
        if self.sandbox == Sandbox::Preparing {
            self.sandbox = Sandbox::Ready;
            self.message = None;
        }
    }

    pub(super) fn sandbox_failed(&mut self, message: String, now: Millis) {
        if self.sandbox == Sandbox::Preparing {
            self.sandbox_failures += 1;
            self.message = Some(message);
            self.sandbox = Sandbox::Absent {
                retry_at: now + backoff(self.sandbox_failures),
            };
        }
    }

    /// The namespace lives as long as a container in it does, or as the supervisor that made it.
    pub(super) fn resumed(
        &mut self,
        id: u64,
        alive: &BTreeSet<(u64, String)>,
        ended: &BTreeMap<(u64, String), ExitStatus>,
    ) {
        for (name, container) in &mut self.containers {
            let key = (id, name.clone());
            container.resumed(alive.contains(&key), ended.get(&key).copied().unwrap_or_default());
        }
        let lives = self.containers.values().any(|c| c.process().is_some());
        if !(lives && self.sandbox == Sandbox::Ready) {
            self.sandbox = Sandbox::Absent { retry_at: Millis(0) };
        }
    }

    /// Takes it out of the balance at once; signals follow when its connections have ended, or after `drain`.
    pub(super) fn begin_stop(&mut self, drain: Duration, now: Millis) {
        if self.goal == Goal::Run {
            let signal_at = if self.ready { now + drain } else { now };
            self.goal = Goal::Stop { since: now, signal_at };
            self.ready = false;
        }
    }

    /// It has no open connection left, and gets no new one.
    pub(super) fn drained(&mut self, now: Millis) {
        if let Goal::Stop { signal_at, .. } = &mut self.goal {
            *signal_at = now.min(*signal_at);
        }
    }

    /// Leads the pod one step on towards its goal.
    pub(super) fn advance(&mut self, id: u64, workload: &str, template: &Template, turn: &mut Turn) {
        let place = Place { id, workload, template };
        match self.goal {
            Goal::Run => self.go_up(&place, turn),
            Goal::Stop { signal_at, .. } => {
                if turn.due(signal_at) {
                    self.go_down(&place, turn);
                } else {
                    self.run_containers(&place, turn);
                }
                self.ready = false;
            }
        }
    }

    fn go_up(&mut self, place: &Place, turn: &mut Turn) {
        // A supervisor that takes over may find the namespace gone.
        self.ready &= self.sandbox == Sandbox::Ready;
        match self.sandbox {
            Sandbox::Absent { retry_at } if turn.due(retry_at) => {
                self.sandbox = Sandbox::Preparing;
                let (kind, workload) = (place.kind(), place.workload.to_string());
                turn.emit(Effect::PrepareSandbox {
                    kind,
                    workload,
                    pod: place.id,
                    address: self.address,
                });
            }
            Sandbox::Ready => self.run_containers(place, turn),
            _ => {}
        }
    }

    fn run_containers(&mut self, place: &Place, turn: &mut Turn) {
        self.ready = false;
        let spec = &place.template.pod;
        for init in &spec.init {
            self.run_container(place, init, place.template.role.on_init_end(), turn);
            if !self.containers[&init.name].has_succeeded() {
                return;
            }
        }
        let mut all_ready = true;
        let mut all_started = true;
        for sidecar in &spec.sidecars {
            self.run_container(place, sidecar, OnEnd::Restart, turn);
            all_started &= self.containers[&sidecar.name].is_started(false, turn);
            all_ready &= self.containers[&sidecar.name].ready;
        }
        let main_began = self.containers[&spec.main.name].starts > 0;
        if all_started || main_began {
            self.run_container(place, &spec.main, place.template.role.on_main_end(), turn);
            let settle = must_settle(&effective_health(&spec.main, true, &place.template.role), true);
            let main = &self.containers[&spec.main.name];
            self.ready = main.is_started(settle, turn) && main.ready && all_started && all_ready;
        }
    }

    fn run_container(&mut self, place: &Place, spec: &ContainerSpec, on_end: OnEnd, turn: &mut Turn) {
        let key = place.key(&spec.name);
        let health = effective_health(spec, spec.name == place.template.pod.main.name, &place.template.role);
        let address = self.address;
        let container = self.container_mut(&spec.name);
        container.run(key.clone(), spec, on_end, turn);
        container.probe(&key, &health, &place.template.stop, address, turn);
        container.kill_when_due(&key, turn);
    }

    /// Main first, then the sidecars, then an init container that still runs, then the namespace.
    fn go_down(&mut self, place: &Place, turn: &mut Turn) {
        let spec = &place.template.pod;
        let down = self.stop_all(place, std::slice::from_ref(&spec.main), turn)
            && self.stop_all(place, &spec.sidecars, turn)
            && self.stop_all(place, &spec.init, turn);
        if down && !matches!(self.sandbox, Sandbox::Preparing | Sandbox::Removing) {
            self.sandbox = Sandbox::Removing;
            let (kind, workload) = (place.kind(), place.workload.to_string());
            turn.emit(Effect::RemoveSandbox {
                kind,
                workload,
                pod: place.id,
            });
        }
    }

    fn stop_all(&mut self, place: &Place, specs: &[ContainerSpec], turn: &mut Turn) -> bool {
        for spec in specs.iter().rev() {
            let container = self.container_mut(&spec.name);
            container.stop(&place.key(&spec.name), &place.template.stop, turn);
        }
        specs.iter().all(|spec| self.containers[&spec.name].is_down())
    }

    fn container_mut(&mut self, name: &str) -> &mut Container {
        self.containers
            .get_mut(name)
            .expect("a pod is made with every container of its template")
    }
}

/// Where a pod stands; handed down instead of four arguments.
struct Place<'a> {
    id: u64,
    workload: &'a str,
    template: &'a Template,
}

impl Place<'_> {
    fn kind(&self) -> Kind {
        self.template.role.kind()
    }

    fn key(&self, name: &str) -> ContainerKey {
        ContainerKey {
            kind: self.kind(),
            workload: self.workload.into(),
            pod: self.id,
            name: name.into(),
        }
    }
}
