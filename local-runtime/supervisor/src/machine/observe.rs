//! What the state says about each object, in the words of the protocol; and how failures are told.

use std::net::SocketAddrV4;

use crate::protocol::{
    self, Endpoint, Failure, JobStatus, NetworkStatus, ObjectState, Observed, ReplicaStatus, ServiceStatus,
    SharesStatus, WaitsFor,
};
use crate::spec::{Object, PortSpec, ServiceSpec};

use super::{
    Container, ContainerStatus, Course, Goal, Job, JobPhase, Network, Pod, PortFailure, Rollout, Sandbox, Service,
    State, Subnet,
};

/// Lines of evidence beside a failure.
const EVIDENCE_LINES: usize = 10;

/// All objects but the volumes' folders, which the driver adds.
pub fn observe(state: &State) -> Vec<Observed> {
    let network = state.network.iter().map(observe_network);
    let volumes = state
        .volumes
        .values()
        .map(|spec| observed(Object::Volume(spec.clone()), false, ObjectState::Ready));
    let services = state.services.values().map(observe_service);
    let jobs = state.jobs.values().map(observe_job);
    network.chain(volumes).chain(services).chain(jobs).collect()
}

fn observed(object: Object, deleting: bool, state: ObjectState) -> Observed {
    Observed {
        object,
        deleting,
        state,
        network: None,
        volume: None,
        service: None,
        job: None,
    }
}

fn observe_network(network: &Network) -> Observed {
    let status = NetworkStatus {
        bridge: String::new(),
        subnet: format!("{}/{}", network.subnet.0, Subnet::PREFIX_LENGTH),
        gateway: network.subnet.gateway(),
        no_egress: None,
    };
    Observed {
        network: Some(status),
        ..observed(Object::Network(network.spec.clone()), false, ObjectState::Ready)
    }
}

fn observe_service(service: &Service) -> Observed {
    let status = service_status(service);
    let object = Object::Service(service.spec.clone());
    Observed {
        service: Some(status),
        ..observed(object, service.deleting, service_state(service))
    }
}

fn service_state(service: &Service) -> ObjectState {
    if service.deleting {
        return ObjectState::Progressing {
            message: format!("{} replicas are stopping", service.pods.len()),
        };
    }
    if let Rollout::Failed(failure) = &service.rollout {
        return ObjectState::Failed(failure.clone());
    }
    if let Some(failure) = crash_failure(service.pods_of(service.current)) {
        return ObjectState::Failed(failure);
    }
    if let Some(failure) = &service.port_failure {
        return ObjectState::Failed(port_failure(failure));
    }
    let wanted = service.spec.replicas as usize;
    let ready = service.count(|p| p.template == service.current && p.ready);
    let old = service.count(|p| p.template != service.current);
    if ready == wanted && old == 0 && service.count(|_| true) == wanted {
        return ObjectState::Ready;
    }
    ObjectState::Progressing {
        message: progress_message(service, ready, old),
    }
}

/// Of the service as a whole, whatever its replicas do.
fn port_failure(failure: &PortFailure) -> Failure {
    Failure {
        reason: failure.reason.clone(),
        message: failure.message.clone(),
        replica: None,
        container: None,
        evidence: vec![],
    }
}

fn progress_message(service: &Service, ready: usize, old: usize) -> String {
    let shares = shares(service);
    let wanted = service
        .shares()
        .map_or(service.spec.replicas as usize, |s| s.new_replicas);
    let mut message = match &shares {
        Some(shares) if shares.waits_for.is_some() => shares_message(shares),
        Some(shares) => format!(
            "{}; {ready} of {wanted} replicas of it are ready",
            shares_message(shares)
        ),
        None => format!("{ready} of {wanted} replicas are ready"),
    };
    if old > 0 && shares.is_none() {
        message.push_str(&format!(", {old} of an older revision serve"));
    }
    let waiting = service
        .pods_of(service.current)
        .filter(|(_, p)| !p.ready)
        .find_map(|(id, p)| pod_message(p).map(|m| (id, m)));
    if let Some((id, why)) = waiting {
        message.push_str(&format!("; replica {id}: {why}"));
    }
    message
}

fn shares_message(shares: &SharesStatus) -> String {
    let place = shares.step.map(|step| format!(" (step {step} of {})", shares.steps));
    let waits = match shares.waits_for {
        Some(WaitsFor::Promotion) => ", which waits for its promotion",
        Some(WaitsFor::Time) => ", which pauses there",
        None => "",
    };
    let place = place.unwrap_or_default();
    format!(
        "{}% of new connections go to the new revision{place}{waits}",
        shares.new_weight
    )
}

fn shares(service: &Service) -> Option<SharesStatus> {
    let new_weight = service.shares()?.new_weight;
    let steps = &service.spec.rollout.steps;
    let number = match &service.rollout {
        Rollout::Progressing {
            course: Course::Step { number, reached },
            ..
        } => Some((*number, reached.is_some())),
        _ => None,
    };
    let waits_for = |(number, reached): (usize, bool)| match steps[number].pause {
        Some(_) if reached => Some(WaitsFor::Time),
        None if reached => Some(WaitsFor::Promotion),
        _ => None,
    };
    Some(SharesStatus {
        new_weight,
        step: number.map(|(number, _)| number as u32 + 1),
        steps: steps.len() as u32,
        waits_for: number.and_then(waits_for),
    })
}

fn service_status(service: &Service) -> ServiceStatus {
    let mut serving: Vec<String> = vec![];
    for pod in service.pods.values().filter(|p| p.ready) {
        let revision = &service.templates[&pod.template].revision;
        if !serving.contains(revision) {
            serving.push(revision.clone());
        }
    }
    let restarts = service
        .pods
        .values()
        .flat_map(|p| p.containers.values())
        .map(restarts)
        .sum();
    ServiceStatus {
        wanted: service.spec.replicas,
        ready: service.count(|p| p.ready) as u32,
        updated: service.count(|p| p.template == service.current) as u32,
        updated_ready: service.count(|p| p.template == service.current && p.ready) as u32,
        restarts,
        serving_revisions: serving,
        shares: shares(service),
        address: service.address,
        endpoints: endpoints(service),
        replicas: service
            .pods
            .iter()
            .map(|(id, p)| replica(*id, p, &service.templates[&p.template].revision))
            .collect(),
    }
}

fn endpoints(service: &Service) -> Vec<Endpoint> {
    let endpoint = |port: &PortSpec| Endpoint {
        name: port.name.clone(),
        internal: format!("{}:{}", service.spec.name, port.port),
        published: port
            .publish
            .map(|publish| SocketAddrV4::new(publish.address, publish.port)),
    };
    service.spec.ports.iter().map(endpoint).collect()
}

fn observe_job(job: &Job) -> Observed {
    let state = match &job.phase {
        _ if job.deleting => ObjectState::Progressing {
            message: "the attempt is stopping".into(),
        },
        JobPhase::Pending { .. } => ObjectState::Progressing {
            message: format!("attempt {} is due", job.attempts + 1),
        },
        JobPhase::Running { pod } => {
            let why = job
                .pods
                .get(pod)
                .and_then(pod_message)
                .map(|m| format!(": {m}"))
                .unwrap_or_default();
            ObjectState::Progressing {
                message: format!("attempt {} runs{why}", job.attempts),
            }
        }
        JobPhase::Succeeded if job.record_due.is_some() => ObjectState::Progressing {
            message: "its success is not recorded yet".into(),
        },
        JobPhase::Succeeded => ObjectState::Ready,
        JobPhase::Failed(failure) => ObjectState::Failed(failure.clone()),
    };
    let status = JobStatus {
        attempts: job.attempts,
        exit_code: job.last_exit.and_then(|exit| exit.code),
        finished_unix_ms: job.finished_unix_ms,
        attempt: job
            .attempt()
            .map(|(id, pod)| replica(id, pod, &job.templates[&pod.template].revision)),
    };
    Observed {
        job: Some(status),
        ..observed(Object::Job(job.spec.clone()), job.deleting, state)
    }
}

fn replica(id: u64, pod: &Pod, revision: &str) -> ReplicaStatus {
    ReplicaStatus {
        id,
        revision: revision.into(),
        phase: phase(pod).into(),
        ready: pod.ready,
        address: pod.address,
        containers: pod.containers.iter().map(|(name, c)| container(name, c)).collect(),
    }
}

fn phase(pod: &Pod) -> &'static str {
    match (pod.goal, pod.sandbox) {
        (Goal::Stop { since, signal_at }, _)
            if signal_at > since && pod.containers.values().any(Container::is_running) =>
        {
            "draining"
        }
        (Goal::Stop { .. }, _) => "stopping",
        (Goal::Run, Sandbox::Ready) => "running",
        (Goal::Run, _) => "preparing",
    }
}

fn container(name: &str, container: &Container) -> protocol::ContainerStatus {
    protocol::ContainerStatus {
        name: name.into(),
        state: match container.status {
            ContainerStatus::Waiting => "waiting",
            ContainerStatus::Starting => "starting",
            ContainerStatus::Running { .. } => "running",
            ContainerStatus::Stopping { .. } => "stopping",
            ContainerStatus::Backoff { .. } => "backoff",
            ContainerStatus::Ended => "exited",
        }
        .into(),
        ready: container.is_running() && container.startup_passed && container.ready,
        restarts: restarts(container),
        pid: container.process().map(|p| p.pid),
        last_exit: container.last_exit,
        message: container.message.clone(),
    }
}

fn restarts(container: &Container) -> u32 {
    container.starts.saturating_sub(1)
}

/// Why a pod is not further, in one clause.
fn pod_message(pod: &Pod) -> Option<String> {
    let of_container = |(name, c): (&String, &Container)| match (&c.message, c.last_exit) {
        _ if c.ready => None,
        (Some(message), _) => Some(format!("container `{name}`: {message}")),
        (None, Some(exit)) if !c.has_succeeded() => Some(format!("container `{name}` ended with {exit}")),
        _ => None,
    };
    pod.message
        .clone()
        .or_else(|| pod.containers.iter().find_map(of_container))
}

/// The first container that keeps failing.
pub(super) fn crash_failure<'a>(mut pods: impl Iterator<Item = (u64, &'a Pod)>) -> Option<Failure> {
    pods.find_map(|(id, pod)| {
        let (name, c) = pod.containers.iter().find(|(_, c)| c.is_crash_looping())?;
        if let Some(limit) = c.last_exit.and_then(|exit| exit.limit) {
            return Some(Failure {
                reason: limit.reason().into(),
                message: format!("{name} {limit} (replica {id}, {} times in a row)", c.failures),
                replica: Some(id),
                container: Some(name.clone()),
                evidence: c.tail.clone(),
            });
        }
        let (reason, what) = match (c.last_exit, &c.message) {
            (None, Some(message)) => ("StartFailed", format!("did not start: {message}")),
            (Some(exit), Some(message)) => ("CrashLoopBackOff", format!("ended with {exit} ({message})")),
            (Some(exit), None) => ("CrashLoopBackOff", format!("ended with {exit}")),
            (None, None) => ("CrashLoopBackOff", "ended".to_string()),
        };
        Some(Failure {
            reason: reason.into(),
            message: format!(
                "container `{name}` of replica {id} {what}, {} times in a row",
                c.failures
            ),
            replica: Some(id),
            container: Some(name.clone()),
            evidence: c.tail.clone(),
        })
    })
}

/// What is told when a rollout has used up its time.
pub(super) fn deadline_failure<'a>(spec: &ServiceSpec, pods: impl Iterator<Item = (u64, &'a Pod)>) -> Failure {
    let late = pods
        .filter(|(_, pod)| !pod.ready)
        .min_by_key(|(_, pod)| pod_message(pod).is_none());
    let why = late
        .and_then(|(id, pod)| pod_message(pod).map(|m| format!("; replica {id}: {m}")))
        .unwrap_or_default();
    let seconds = spec.rollout.deadline.as_secs_f64();
    let culprit = late.and_then(|(_, pod)| {
        pod.containers
            .iter()
            .find(|(_, c)| !c.ready)
            .map(|(name, _)| name.clone())
    });
    Failure {
        reason: "ProgressDeadlineExceeded".into(),
        message: format!(
            "no further replica of `{}` got ready within {seconds} s{why}",
            spec.name
        ),
        replica: late.map(|(id, _)| id),
        evidence: late
            .map(|(_, pod)| tail_of(pod, culprit.as_deref()))
            .unwrap_or_default(),
        container: culprit,
    }
}

/// The last log lines of the container named, or of the first that has any.
pub(super) fn tail_of(pod: &Pod, container: Option<&str>) -> Vec<String> {
    let named = container
        .and_then(|name| pod.containers.get(name))
        .filter(|c| !c.tail.is_empty());
    let tail = named
        .or_else(|| pod.containers.values().find(|c| !c.tail.is_empty()))
        .map(|c| c.tail.as_slice());
    let tail = tail.unwrap_or_default();
    tail[tail.len().saturating_sub(EVIDENCE_LINES)..].to_vec()
}
