//! Requests, answered by the task that owns the state.

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::clock;
use crate::error::chain;
use crate::machine::{self, ContainerKey, Event, admit_delete, admit_put};
use crate::protocol::{
    Class, DeleteOutcome, ErrorBody, ExecRequest, Observation, PutOutcome, Request, VolumeStatus, Workload,
};
use crate::spec::{ContainerSpec, Kind, Object};
use crate::storage::StorageError;

use super::{Platform, usage};

pub(super) type Answer = Result<Value, ErrorBody>;

/// A request on its way to the state's owner, with the place for its answer.
pub(super) enum Command {
    Request(Request, oneshot::Sender<Answer>),
    /// Which container an exec goes into.
    FindContainer(
        ExecRequest,
        oneshot::Sender<Result<(ContainerKey, Box<ContainerSpec>), ErrorBody>>,
    ),
}

impl Platform {
    pub(super) async fn answer(&mut self, command: Command) {
        // A client that is gone needs no answer.
        match command {
            Command::FindContainer(request, to) => drop(to.send(self.find_container(&request))),
            Command::Request(request, to) => {
                let answer = self.answer_request(request).await;
                match self.durable.wait() {
                    None => drop(to.send(answer)),
                    Some(durable) => drop(tokio::spawn(async move { to.send(durable.await.and(answer)) })),
                }
            }
        }
    }

    async fn answer_request(&mut self, request: Request) -> Answer {
        match request {
            Request::Observe => Ok(json!(self.observe())),
            Request::Put { object } => self.put(*object).await.map(|outcome| json!(outcome)),
            Request::Delete { kind, name, erase } => {
                self.delete(kind, &name, erase).await.map(|outcome| json!(outcome))
            }
            Request::RunJob { name } => {
                self.must_run(Kind::Job, &name)?;
                self.take_request(Event::RunJob { name }).await.map(|()| Value::Null)
            }
            Request::Retry { name } => {
                self.must_run(Kind::Service, &name)?;
                self.take_request(Event::Retry { name }).await.map(|()| Value::Null)
            }
            Request::Promote { name, full } => {
                self.must_run(Kind::Service, &name)?;
                let event = Event::Promote { name, full };
                self.take_request(event).await.map(|()| Value::Null)
            }
            Request::Stats => Ok(json!(usage::of_all(
                &self.state,
                &self.settings.instance,
                clock::now().at
            ))),
            // Whether any of them is there; the lines are read elsewhere.
            Request::Logs(request) => self.one_must_run(&request.workloads).map(|()| Value::Null),
            // Is a command of its own, `FindContainer`.
            Request::Exec(_) => Ok(Value::Null),
        }
    }

    pub(super) fn observe(&self) -> Observation {
        let mut objects = machine::observe(&self.state);
        for observed in &mut objects {
            if let Some(network) = &mut observed.network {
                network.bridge = self.network.bridge().into();
                network.no_egress = self.network.closed_because();
            }
            if observed.object.kind() == Kind::Volume {
                observed.volume = Some(VolumeStatus {
                    path: self.settings.paths.volume(observed.object.name()),
                });
            }
        }
        let mut kept_volumes = self.records.volume_folders();
        kept_volumes.retain(|name| !self.state.volumes.contains_key(name));
        let mut kept_job_records = self.records.recorded_jobs();
        kept_job_records.retain(|name| !self.state.jobs.contains_key(name));
        Observation {
            objects,
            kept_volumes,
            kept_job_records,
        }
    }

    async fn put(&mut self, object: Object) -> Result<PutOutcome, ErrorBody> {
        let outcome = admit_put(&self.state, &object)?;
        if outcome == PutOutcome::Unchanged {
            return Ok(outcome);
        }
        let event = self.prepare(object).await?;
        let taken = self.take_request(event).await;
        if taken.is_err() {
            self.keeper.release().await;
        }
        taken.map(|()| outcome)
    }

    /// Does and asks what must have succeeded before the object is taken: once it is, the same put again does nothing.
    async fn prepare(&mut self, object: Object) -> Result<Event, ErrorBody> {
        let (mut subnet, mut done) = (None, false);
        match &object {
            Object::Network(spec) => {
                let known = self.state.network.as_ref().map(|network| network.subnet);
                let made = known.map_or_else(|| self.network.create(None), Ok);
                let made = made.map_err(|e| refusal("NetworkFailed", Class::Retry, &e))?;
                self.network.set_egress(made, spec.egress);
                subnet = Some(made);
            }
            Object::Service(spec) => self.keeper.reserve(spec).await?,
            Object::Job(spec) => {
                let found = self.records.has_succeeded(&spec.name, &spec.revision);
                done = found.map_err(|e| storage_refusal(&e))?;
            }
            Object::Volume(spec) => {
                let mut volumes = self.state.volumes.clone();
                volumes.insert(spec.name.clone(), spec.clone());
                self.records.set_volumes(&volumes).map_err(|e| storage_refusal(&e))?;
            }
        }
        let object = Box::new(object);
        Ok(Event::Put { object, subnet, done })
    }

    async fn delete(&mut self, kind: Kind, name: &str, erase: bool) -> Result<DeleteOutcome, ErrorBody> {
        let outcome = admit_delete(&self.state, kind, name)?;
        if outcome == DeleteOutcome::Deleted {
            self.take_request(Event::Delete {
                kind,
                name: name.into(),
            })
            .await?;
        }
        if kind == Kind::Volume {
            let kept = self.records.set_volumes(&self.state.volumes);
            kept.map_err(|e| storage_refusal(&e))?;
        }
        let erased = match (erase, kind) {
            (true, Kind::Volume) => self.records.erase_volume(name).map_err(|e| storage_refusal(&e))?,
            (true, Kind::Job) => self.records.erase_job(name).map_err(|e| storage_refusal(&e))?,
            _ => false,
        };
        if erased {
            self.records.remove_empty_folders();
        }
        Ok(if erased { DeleteOutcome::Deleted } else { outcome })
    }

    fn find_container(&self, request: &ExecRequest) -> Result<(ContainerKey, Box<ContainerSpec>), ErrorBody> {
        self.must_run(Kind::Service, &request.service)?;
        let service = self.state.services.get(&request.service);
        let candidates = service.into_iter().flat_map(|s| &s.pods);
        let running =
            |pod: &machine::Pod, name: &str| pod.containers.get(name).is_some_and(machine::Container::is_running);
        let found = candidates
            .filter(|(id, _)| request.replica.is_none_or(|wanted| wanted == **id))
            .filter_map(|(id, pod)| {
                let template = &service?.templates[&pod.template];
                let name = request
                    .container
                    .clone()
                    .unwrap_or_else(|| template.pod.main.name.clone());
                let spec = template.pod.container(&name)?.clone();
                running(pod, &name).then_some((pod.ready, *id, name, spec))
            })
            .max_by_key(|(ready, id, ..)| (*ready, std::cmp::Reverse(*id)));
        match found {
            Some((_, pod, name, spec)) => {
                let key = ContainerKey {
                    kind: Kind::Service,
                    workload: request.service.clone(),
                    pod,
                    name,
                };
                Ok((key, Box::new(spec)))
            }
            None => {
                let what = format!(
                    "no running container of service `{}` is what was asked for",
                    request.service
                );
                Err(machine::refusal("NotRunning", Class::Conflict, what))
            }
        }
    }

    /// The spec that a container was started with.
    pub(super) fn container_spec(&self, key: &ContainerKey) -> Option<Box<ContainerSpec>> {
        let pod = self.state.pod(key.pod)?;
        let templates = match key.kind {
            Kind::Service => &self.state.services.get(&key.workload)?.templates,
            _ => &self.state.jobs.get(&key.workload)?.templates,
        };
        templates
            .get(&pod.template)?
            .pod
            .container(&key.name)
            .cloned()
            .map(Box::new)
    }

    /// There is a service or job of this name.
    /// One that went away since it was listed keeps no other's lines back.
    fn one_must_run(&self, workloads: &[Workload]) -> Result<(), ErrorBody> {
        let mut refused = Ok(());
        for Workload { kind, name } in workloads {
            refused = self.must_run(*kind, name);
            if refused.is_ok() {
                break;
            }
        }
        refused
    }

    fn must_run(&self, kind: Kind, name: &str) -> Result<(), ErrorBody> {
        let there = match kind {
            Kind::Service => self.state.services.contains_key(name),
            Kind::Job => self.state.jobs.contains_key(name),
            Kind::Network | Kind::Volume => false,
        };
        if there {
            return Ok(());
        }
        Err(machine::refusal(
            "NotFound",
            Class::Invalid,
            format!("there is no {kind} `{name}` that runs here"),
        ))
    }
}

pub(super) fn storage_refusal(error: &StorageError) -> ErrorBody {
    refusal("StorageFailed", Class::Retry, error)
}

fn refusal(code: &str, class: Class, error: &dyn std::error::Error) -> ErrorBody {
    machine::refusal(code, class, chain(error))
}
