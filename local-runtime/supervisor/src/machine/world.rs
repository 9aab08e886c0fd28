//! A world around the step function for tests: containers that behave as their image's name says, and a clock moved by hand.
//!
//! Images: `server` runs and passes its probes, `unready` runs and fails them, `crash` ends with 1 at once, `done` with 0,
//! `broken` cannot be started, `stubborn` is a server that only SIGKILL ends. Every effect is checked against what may
//! never happen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::*;
use crate::protocol::{ObjectState, Observed, ServiceStatus};

pub struct World {
    pub state: State,
    pub now: Millis,
    /// Effects that are not answered yet.
    pub pending: VecDeque<Effect>,
    /// What was asked for so far, in short words with their time.
    pub told: Vec<(u64, String)>,
    /// Open connections of replicas, told when routes have changed.
    pub open: BTreeMap<u64, u32>,
    routes: Vec<Route>,
    /// Revisions of jobs whose success was made durable.
    pub recorded: Vec<(String, String)>,
    wake_at: Option<Millis>,
    alive: BTreeMap<(u64, String), String>,
    sandboxes: BTreeSet<u64>,
    removed: BTreeSet<u64>,
    next_pid: u32,
}

impl World {
    /// With a network and a volume `data`.
    pub fn new() -> World {
        let mut world = World {
            state: State::default(),
            now: Millis(1_000_000),
            pending: VecDeque::new(),
            told: vec![],
            open: BTreeMap::new(),
            routes: vec![],
            recorded: vec![],
            wake_at: None,
            alive: BTreeMap::new(),
            sandboxes: BTreeSet::new(),
            removed: BTreeSet::new(),
            next_pid: 1,
        };
        let [network, volume] = ["network", "volume"].map(|kind| {
            let name = if kind == "network" { "app" } else { "data" };
            serde_json::from_value(serde_json::json!({"kind": kind, "name": name})).unwrap()
        });
        world.put(network);
        world.put(volume);
        world
    }

    pub fn put(&mut self, object: Object) {
        admit_put(&self.state, &object).expect("the test's object is admitted");
        let subnet = Some(Subnet("10.1.2.0".parse().unwrap()));
        let done = matches!(&object, Object::Job(spec) if self.has_recorded(&spec.name, &spec.revision));
        let object = Box::new(object);
        self.event(Event::Put { object, subnet, done });
    }

    pub fn put_if_admitted(&mut self, object: Object) {
        if admit_put(&self.state, &object).is_ok() {
            self.put(object);
        }
    }

    pub fn delete(&mut self, kind: Kind, name: &str) {
        self.event(Event::Delete {
            kind,
            name: name.into(),
        });
    }

    pub fn event(&mut self, event: Event) {
        let now = Now {
            at: self.now,
            unix_ms: self.now.0,
        };
        let outcome = step(&mut self.state, event, now);
        self.wake_at = outcome.wake_at;
        for effect in outcome.effects {
            self.take(effect);
        }
    }

    /// Everything that happens within this time, answered at once.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..100_000 {
            if routes(&self.state) != self.routes {
                self.tell_connections();
            } else if let Some(effect) = self.pending.pop_front() {
                self.answer(effect);
            } else if let Some(at) = self.wake_at.filter(|at| *at <= end) {
                self.now = self.now.max(at);
                self.event(Event::Tick);
            } else {
                self.now = end;
                return;
            }
        }
        panic!("the machine never rests: {:?}", self.state);
    }

    /// What comes with the acknowledgement of new routes.
    pub fn tell_connections(&mut self) {
        self.routes = routes(&self.state);
        let routed = self
            .routes
            .iter()
            .flat_map(|r| &r.groups)
            .flat_map(|g| g.targets.keys());
        let routed: BTreeSet<u64> = routed.copied().collect();
        let draining = self.open.iter().filter(|(id, _)| !routed.contains(id));
        let open = draining.map(|(id, count)| (*id, *count)).collect();
        self.event(Event::Connections { open });
    }

    pub fn answer(&mut self, effect: Effect) {
        match effect {
            Effect::PrepareSandbox { pod, .. } => {
                self.sandboxes.insert(pod);
                self.event(Event::SandboxReady { pod });
            }
            Effect::RemoveSandbox { pod, .. } => {
                self.sandboxes.remove(&pod);
                self.event(Event::SandboxRemoved { pod });
            }
            Effect::Start { key, spec, .. } => self.begin(key, &spec.image),
            Effect::Signal { key, signal } => self.signal(&key, &signal),
            Effect::Probe { key, start, probe, .. } => {
                let image = self.alive.get(&(key.pod, key.name.clone()));
                let passes = image.is_some_and(|image| image != "unready");
                let result = if passes { Ok(()) } else { Err("refused".to_string()) };
                let (pod, container, tail) = (key.pod, key.name, vec![]);
                self.event(Event::Probed {
                    pod,
                    container,
                    start,
                    probe,
                    result,
                    tail,
                });
            }
            Effect::RecordJob { job, revision, .. } => {
                self.recorded.push((job.clone(), revision.clone()));
                self.event(Event::JobRecorded { job, revision });
            }
            Effect::ListenAgain | Effect::RemoveNetwork | Effect::Forget { .. } => {}
        }
    }

    /// The process ends by itself, or by somebody's hand.
    pub fn end(&mut self, pod: u64, container: &str, code: i32) {
        if self.alive.remove(&(pod, container.to_string())).is_some() {
            let status = ExitStatus {
                code: Some(code),
                limit: None,
            };
            let (container, tail) = (container.to_string(), vec!["last words".to_string()]);
            self.event(Event::Exited {
                pod,
                container,
                status,
                tail,
            });
        }
    }

    /// The process ends while no supervisor looks.
    pub fn lose(&mut self, pod: u64, container: &str) {
        self.alive.remove(&(pod, container.to_string()));
    }

    /// A new supervisor process: what was under way is lost.
    pub fn resume(&mut self) {
        self.pending.clear();
        let known = |id: &(u64, String)| {
            let pod = self.state.pod(id.0)?;
            pod.containers.get(&id.1)?.process()
        };
        let alive: BTreeSet<_> = self.alive.keys().filter(|id| known(id).is_some()).cloned().collect();
        self.alive.retain(|id, _| alive.contains(id));
        self.removed.clear();
        self.event(Event::Resumed {
            alive,
            ended: BTreeMap::new(),
        });
    }

    pub fn reboot(&mut self) {
        self.pending.clear();
        self.alive.clear();
        self.sandboxes.clear();
        self.now = Millis(10);
        self.event(Event::Rebooted);
    }

    pub fn alive(&self) -> Vec<(u64, String)> {
        self.alive.keys().cloned().collect()
    }

    /// Words of what was asked for since the last call, without their times.
    pub fn words(&mut self) -> Vec<String> {
        self.told.drain(..).map(|(_, word)| word).collect()
    }

    pub fn observed(&self, kind: Kind, name: &str) -> Option<Observed> {
        let all = observe(&self.state);
        all.into_iter()
            .find(|seen| seen.object.kind() == kind && seen.object.name() == name)
    }

    pub fn state_of(&self, kind: Kind, name: &str) -> ObjectState {
        self.observed(kind, name).expect("the object is there").state
    }

    pub fn service(&self, name: &str) -> ServiceStatus {
        self.observed(Kind::Service, name)
            .and_then(|seen| seen.service)
            .expect("the service is there")
    }

    /// What the state is called when a test asks.
    pub fn verdict(&self, kind: Kind, name: &str) -> String {
        match self.state_of(kind, name) {
            ObjectState::Progressing { .. } => "Progressing".into(),
            ObjectState::Ready => "Ready".into(),
            ObjectState::Failed(failure) => failure.reason,
        }
    }

    fn has_recorded(&self, job: &str, revision: &str) -> bool {
        self.recorded
            .iter()
            .any(|(name, known)| name == job && known == revision)
    }

    fn take(&mut self, effect: Effect) {
        let word = match &effect {
            Effect::Start { key, .. } => {
                let id = (key.pod, key.name.clone());
                assert!(!self.alive.contains_key(&id), "{id:?} is started while it runs");
                assert!(
                    self.sandboxes.contains(&key.pod),
                    "{id:?} is started without a namespace"
                );
                format!("start {}/{}", key.pod, key.name)
            }
            Effect::Signal { key, signal } => format!("{signal} {}/{}", key.pod, key.name),
            Effect::RemoveSandbox { pod, .. } => {
                assert!(self.removed.insert(*pod), "pod {pod} is removed twice");
                assert!(
                    self.alive.keys().all(|(other, _)| other != pod),
                    "pod {pod} is removed while it runs"
                );
                format!("remove {pod}")
            }
            Effect::RecordJob { job, revision, .. } => {
                format!("record {job} {revision}")
            }
            Effect::Forget { kind, workload } => format!("forget {kind} {workload}"),
            Effect::ListenAgain => "listen again".into(),
            Effect::RemoveNetwork => "remove network".into(),
            Effect::PrepareSandbox { .. } | Effect::Probe { .. } => String::new(),
        };
        if !word.is_empty() {
            self.told.push((self.now.0, word));
        }
        self.pending.push_back(effect);
    }

    fn begin(&mut self, key: ContainerKey, image: &str) {
        let (pod, container) = (key.pod, key.name);
        if image == "broken" {
            let message = "no such program".to_string();
            return self.event(Event::StartFailed {
                pod,
                container,
                message,
            });
        }
        self.next_pid += 1;
        let process = Process {
            pid: self.next_pid,
            start_ticks: 1,
        };
        self.alive.insert((pod, container.clone()), image.to_string());
        self.event(Event::Started {
            pod,
            container: container.clone(),
            process,
        });
        match image {
            "crash" => self.end(pod, &container, 1),
            "done" => self.end(pod, &container, 0),
            _ => {}
        }
    }

    fn signal(&mut self, key: &ContainerKey, signal: &str) {
        let stubborn = self
            .alive
            .get(&(key.pod, key.name.clone()))
            .is_some_and(|image| image == "stubborn");
        match signal {
            "SIGKILL" => self.end(key.pod, &key.name, 137),
            _ if !stubborn => self.end(key.pod, &key.name, 143),
            _ => {}
        }
    }
}
