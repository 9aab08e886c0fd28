//! A world around the step function, without a machine under it: containers that behave as their image's name says, a clock
//! that is moved by hand, and the records that outlive an app. This crate's tests run it, and the simulation of the engine
//! (`tests/src/simulation/local`) has it for its other side; no program does.
//!
//! Images, by the last part of their name: `unready` runs and fails its probes, `crash` ends with 1 at once, `done` with 0,
//! `task` whenever whoever drives the world says so, `broken` cannot be started, `stubborn` is a server that only SIGKILL
//! ends, and any other is a server, which runs and passes its probes. Every event and every effect is looked at: what must
//! never happen, and did, is kept in [`World::broken`].

#[cfg(test)]
mod stories;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;
use crate::protocol::{DeleteOutcome, ErrorBody, Observation, PutOutcome, VolumeStatus};
use watch::Before;

#[derive(Default)]
pub struct World {
    pub state: State,
    pub now: Millis,
    /// Effects that are not answered yet.
    pub pending: VecDeque<Effect>,
    pub wake_at: Option<Millis>,
    /// What was asked for so far, in short words with their time.
    pub told: Vec<(u64, String)>,
    /// Open connections of replicas, told when routes have changed.
    pub open: BTreeMap<u64, u32>,
    /// Revisions of jobs whose success was made durable.
    pub recorded: Vec<(String, String)>,
    /// Processes of the image `task` that have begun.
    pub tasks: Vec<(u64, String, u32)>,
    /// What must never happen, and did first.
    pub broken: Option<String>,
    pub steps: u64,
    /// The state that a loss of power leaves for certain.
    durable: State,
    /// Folders of volumes, also of those that are no object any more.
    folders: BTreeSet<String>,
    routes: Vec<Route>,
    alive: BTreeMap<(u64, String), Running>,
    /// How containers have ended that no supervisor saw end.
    ended: BTreeMap<(u64, String), ExitStatus>,
    sandboxes: BTreeSet<u64>,
    removed: BTreeSet<u64>,
    next_pid: u32,
}

struct Running {
    image: String,
    pid: u32,
}

/// The subnet of the one app there is.
const SUBNET: Subnet = Subnet(Ipv4Addr::new(10, 1, 2, 0));

/// What a request asks for, as the driver answers it where disks take every write and every port is free.
impl World {
    pub fn put(&mut self, object: Object) -> Result<PutOutcome, ErrorBody> {
        let outcome = admit_put(&self.state, &object)?;
        if outcome != PutOutcome::Unchanged {
            self.put_admitted(object);
        }
        Ok(outcome)
    }

    fn put_admitted(&mut self, object: Object) {
        if let Object::Volume(spec) = &object {
            self.folders.insert(spec.name.clone());
        }
        let done = matches!(&object, Object::Job(spec) if self.has_recorded(&spec.name, &spec.revision));
        let object = Box::new(object);
        let subnet = Some(SUBNET);
        self.event(Event::Put { object, subnet, done });
    }

    pub fn delete(&mut self, kind: Kind, name: &str, erase: bool) -> Result<DeleteOutcome, ErrorBody> {
        let outcome = admit_delete(&self.state, kind, name)?;
        if outcome == DeleteOutcome::Deleted {
            let name = name.to_string();
            self.event(Event::Delete { kind, name });
        }
        let erased = match (erase, kind) {
            (true, Kind::Volume) => self.folders.remove(name),
            (true, Kind::Job) => self.forget_job(name),
            _ => false,
        };
        Ok(if erased { DeleteOutcome::Deleted } else { outcome })
    }

    fn forget_job(&mut self, name: &str) -> bool {
        let before = self.recorded.len();
        self.recorded.retain(|(job, _)| job != name);
        self.recorded.len() < before
    }

    /// As a supervisor that runs tells it.
    pub fn observation(&self) -> Observation {
        self.observation_of(&self.state)
    }

    /// As its files tell it while none runs: volumes alone are what a delete has kept.
    pub fn last_known(&self) -> Observation {
        match self.state.is_empty() {
            true => self.observation_of(&State::default()),
            false => self.observation_of(&self.state),
        }
    }

    fn observation_of(&self, state: &State) -> Observation {
        let mut objects = observe(state);
        for seen in objects.iter_mut().filter(|seen| seen.object.kind() == Kind::Volume) {
            let path = format!("/volumes/{}", seen.object.name()).into();
            seen.volume = Some(VolumeStatus { path });
        }
        let folders = self.folders.iter().filter(|name| !state.volumes.contains_key(*name));
        let jobs: BTreeSet<&String> = self.recorded.iter().map(|(job, _)| job).collect();
        let jobs = jobs.into_iter().filter(|name| !state.jobs.contains_key(*name));
        Observation {
            objects,
            kept_volumes: folders.cloned().collect(),
            kept_job_records: jobs.cloned().collect(),
        }
    }

    pub fn has_recorded(&self, job: &str, revision: &str) -> bool {
        self.recorded
            .iter()
            .any(|(name, known)| name == job && known == revision)
    }
}

/// Events in, effects out.
impl World {
    pub fn event(&mut self, event: Event) {
        let before = Before::of(&self.state, &event);
        let is_durable = outlives_power(&self.state, &event);
        let now = Now {
            at: self.now,
            unix_ms: self.now.0,
        };
        let outcome = step(&mut self.state, event, now);
        self.steps += 1;
        self.wake_at = outcome.wake_at;
        if is_durable {
            self.durable = self.state.clone();
        }
        if let Some(wrong) = before.broken_by(&self.state) {
            self.must_not(wrong);
        }
        for effect in outcome.effects {
            self.take(effect);
        }
    }

    /// What comes with the acknowledgement of new routes. Answers whether there were new ones.
    pub fn follow_routes(&mut self) -> bool {
        let routes = routes(&self.state);
        let are_new = routes != self.routes;
        if are_new {
            self.routes = routes;
            self.tell_connections();
        }
        are_new
    }

    fn tell_connections(&mut self) {
        let groups = self.routes.iter().flat_map(|route| &route.groups);
        let routed: BTreeSet<u64> = groups.flat_map(|group| group.targets.keys()).copied().collect();
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
            Effect::Signal { key, signal } => {
                if let Some((_, code)) = self.ends_by(&key, &signal) {
                    self.end(key.pod, &key.name, code);
                }
            }
            Effect::Probe { key, start, probe, .. } => {
                let running = self.alive.get(&(key.pod, key.name.clone()));
                let passes = running.is_some_and(|running| behaviour(&running.image) != "unready");
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
                self.record(&job, &revision);
                self.event(Event::JobRecorded { job, revision });
            }
            Effect::ListenAgain | Effect::RemoveNetwork | Effect::Forget { .. } => {}
        }
    }

    /// The success is durable, and before it the state; the machine has yet to hear of it.
    pub fn record(&mut self, job: &str, revision: &str) {
        self.durable = self.state.clone();
        self.recorded.push((job.to_string(), revision.to_string()));
    }

    /// The process that the signal ends, and its code.
    pub fn ends_by(&self, key: &ContainerKey, signal: &str) -> Option<(u32, i32)> {
        let running = self.alive.get(&(key.pod, key.name.clone()))?;
        match signal {
            "SIGKILL" => Some((running.pid, 137)),
            _ if behaviour(&running.image) == "stubborn" => None,
            _ => Some((running.pid, 143)),
        }
    }

    fn take(&mut self, effect: Effect) {
        let word = match &effect {
            Effect::Start { key, .. } => {
                let id = (key.pod, key.name.clone());
                if self.alive.contains_key(&id) {
                    self.must_not(format!("{id:?} is started while it runs"));
                }
                if !self.sandboxes.contains(&key.pod) {
                    self.must_not(format!("{id:?} is started without a namespace"));
                }
                format!("start {}/{}", key.pod, key.name)
            }
            Effect::Signal { key, signal } => format!("{signal} {}/{}", key.pod, key.name),
            Effect::RemoveSandbox { pod, .. } => {
                if !self.removed.insert(*pod) {
                    self.must_not(format!("pod {pod} is removed twice"));
                }
                if self.alive.keys().any(|(other, _)| other == pod) {
                    self.must_not(format!("pod {pod} is removed while it runs"));
                }
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

    pub fn must_not(&mut self, wrong: String) {
        self.broken.get_or_insert(wrong);
    }

    fn begin(&mut self, key: ContainerKey, image: &str) {
        let (pod, container) = (key.pod, key.name);
        let (behaviour, image) = (behaviour(image), image.to_string());
        if behaviour == "broken" {
            let message = "no such program".to_string();
            return self.event(Event::StartFailed {
                pod,
                container,
                message,
            });
        }
        self.next_pid += 1;
        let pid = self.next_pid;
        let process = Process { pid, start_ticks: 1 };
        let code = match behaviour {
            "crash" => Some(1),
            "done" => Some(0),
            _ => None,
        };
        if behaviour == "task" {
            self.tasks.push((pod, container.clone(), pid));
        }
        self.alive.insert((pod, container.clone()), Running { image, pid });
        self.event(Event::Started {
            pod,
            container: container.clone(),
            process,
        });
        if let Some(code) = code {
            self.end(pod, &container, code);
        }
    }
}

/// What happens without the machine's doing.
impl World {
    /// The process ends by itself, or by somebody's hand.
    pub fn end(&mut self, pod: u64, container: &str, code: i32) {
        if self.alive.remove(&(pod, container.to_string())).is_some() {
            let container = container.to_string();
            let tail = vec!["last words".to_string()];
            let status = exit(code);
            self.event(Event::Exited {
                pod,
                container,
                status,
                tail,
            });
        }
    }

    /// The process ends while no supervisor looks; its keeper may have seen how.
    pub fn end_unseen(&mut self, pod: u64, container: &str, code: Option<i32>) {
        let id = (pod, container.to_string());
        if self.alive.remove(&id).is_some()
            && let Some(code) = code
        {
            self.ended.insert(id, exit(code));
        }
    }

    /// The supervisor's process ends: what was under way is lost.
    pub fn kill(&mut self) {
        self.pending.clear();
        self.wake_at = None;
    }

    /// A new supervisor reads what the one before has written, and takes over what runs.
    pub fn resume(&mut self) {
        self.kill();
        self.state = read_back(&self.state);
        let known = |id: &(u64, String)| {
            let pod = self.state.pod(id.0)?;
            pod.containers.get(&id.1)?.process()
        };
        let alive: BTreeSet<_> = self.alive.keys().filter(|id| known(id).is_some()).cloned().collect();
        self.alive.retain(|id, _| alive.contains(id));
        self.removed.clear();
        let ended = std::mem::take(&mut self.ended);
        self.event(Event::Resumed { alive, ended });
    }

    /// The machine starts again, and with it its clock.
    pub fn reboot(&mut self) {
        self.stop_all();
        self.now = Millis(10);
        self.resume_after_reboot();
    }

    /// Before a reboot: what was written and was not on the disk yet is lost. Which volumes there are is in a record.
    pub fn lose_power(&mut self) {
        let volumes = std::mem::take(&mut self.state.volumes);
        self.state = State {
            volumes,
            ..self.durable.clone()
        };
    }

    /// Nothing runs any more, the supervisor neither.
    pub fn stop_all(&mut self) {
        self.kill();
        self.alive.clear();
        self.ended.clear();
        self.sandboxes.clear();
    }

    /// The first supervisor since the machine was started again.
    pub fn resume_after_reboot(&mut self) {
        self.removed.clear();
        self.state = read_back(&self.state);
        self.event(Event::Rebooted);
    }

    /// A supervisor that has nothing left to supervise goes, and leaves nothing but the data.
    pub fn leave(&mut self) {
        self.kill();
        if !self.alive.is_empty() || !self.sandboxes.is_empty() {
            let left: Vec<_> = self.alive.keys().collect();
            let wrong = format!("{left:?} and the namespaces {:?} are left over", self.sandboxes);
            self.must_not(wrong);
        }
        let volumes = std::mem::take(&mut self.state.volumes);
        self.state = State {
            volumes,
            ..State::default()
        };
        self.removed.clear();
    }

    pub fn alive(&self) -> Vec<(u64, String)> {
        self.alive.keys().cloned().collect()
    }

    /// Whether that very process still runs.
    pub fn runs(&self, pod: u64, container: &str, pid: u32) -> bool {
        let running = self.alive.get(&(pod, container.to_string()));
        running.is_some_and(|running| running.pid == pid)
    }
}

fn exit(code: i32) -> ExitStatus {
    ExitStatus {
        code: Some(code),
        limit: None,
    }
}

/// `crash` of `registry.example/crash:1@sha256:...`.
fn behaviour(image: &str) -> &str {
    let reference = image.split('@').next().unwrap_or_default();
    let last = reference.rsplit('/').next().unwrap_or_default();
    last.split(':').next().unwrap_or_default()
}

/// As it comes back from the disk.
fn read_back(state: &State) -> State {
    let written = serde_json::to_vec(state).expect("the state has string and number keys only");
    serde_json::from_slice(&written).expect("what was written can be read")
}
