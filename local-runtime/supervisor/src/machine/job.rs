//! A job: attempts one after the other until one succeeds, once per revision.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::container::backoff;
use super::observe::tail_of;
use super::{Addresses, Effect, Goal, Millis, Pod, Role, Template, Templates, Turn};
use crate::protocol::{ExitStatus, Failure};
use crate::spec::JobSpec;

/// A record that could not be written, on a full disk for instance, is tried again after this.
const RECORD_RETRY: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub spec: JobSpec,
    pub deleting: bool,
    pub templates: Templates,
    pub current: u64,
    pub phase: JobPhase,
    /// Begun for this revision.
    pub attempts: u32,
    pub last_exit: Option<ExitStatus>,
    pub finished_unix_ms: Option<u64>,
    /// The success is not known to be in the records; they are asked again then.
    #[serde(default)]
    pub record_due: Option<Millis>,
    /// At most one runs; a stopped one of an older revision may still be on its way out.
    pub pods: BTreeMap<u64, Pod>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobPhase {
    /// Waits for its next attempt.
    Pending {
        until: Millis,
    },
    Running {
        pod: u64,
    },
    Succeeded,
    /// All attempts are used up.
    Failed(Failure),
}

impl Job {
    pub(super) fn new(spec: JobSpec, done: bool, now: Millis) -> Job {
        let templates = Templates::from([(1, template_of(&spec))]);
        let phase = if done {
            JobPhase::Succeeded
        } else {
            JobPhase::Pending { until: now }
        };
        let pods = BTreeMap::new();
        Job {
            spec,
            deleting: false,
            templates,
            current: 1,
            phase,
            attempts: 0,
            last_exit: None,
            finished_unix_ms: None,
            record_due: None,
            pods,
        }
    }

    /// Another revision runs (unless its records say it has); another spec of the same revision is only noted.
    pub(super) fn update(&mut self, spec: JobSpec, done: bool, now: Millis) {
        let same_revision = spec.revision == self.spec.revision;
        self.spec = spec;
        if same_revision {
            return;
        }
        self.current = self.templates.keys().next_back().unwrap_or(&0) + 1;
        self.templates.insert(self.current, template_of(&self.spec));
        self.begin_again(now);
        if done {
            self.phase = JobPhase::Succeeded;
        }
    }

    /// For a job that has ended; one that runs is left alone.
    pub(super) fn run_again(&mut self, now: Millis) {
        if matches!(self.phase, JobPhase::Succeeded | JobPhase::Failed(_)) {
            self.begin_again(now);
        }
    }

    /// The supervisor before may have ended between the success and its record.
    pub(super) fn resumed(&mut self, now: Millis) {
        self.record_due = self.record_due.map(|_| now);
    }

    /// An attempt that the reboot cut off is not counted; it is made again.
    pub(super) fn rebooted(&mut self, now: Millis) {
        self.pods.clear();
        self.resumed(now);
        if matches!(self.phase, JobPhase::Running { .. }) {
            self.attempts = self.attempts.saturating_sub(1);
        }
        if matches!(self.phase, JobPhase::Running { .. } | JobPhase::Pending { .. }) {
            self.phase = JobPhase::Pending { until: now };
        }
    }

    fn begin_again(&mut self, now: Millis) {
        self.phase = JobPhase::Pending { until: now };
        self.attempts = 0;
        self.last_exit = None;
        self.finished_unix_ms = None;
        self.record_due = None;
    }

    pub(super) fn reconcile(&mut self, addresses: &mut Addresses, turn: &mut Turn) {
        self.stop_unwanted(turn);
        self.advance_pods(turn);
        if !self.deleting {
            self.judge_attempt(turn);
            self.record_success(turn);
            if self.begin_attempt(addresses, turn) {
                self.advance_pods(turn);
            }
        }
        let (current, pods) = (self.current, &self.pods);
        self.templates
            .retain(|n, _| *n == current || pods.values().any(|p| p.template == *n));
    }

    fn advance_pods(&mut self, turn: &mut Turn) {
        for (id, pod) in &mut self.pods {
            pod.advance(*id, &self.spec.name, &self.templates[&pod.template], turn);
        }
    }

    fn stop_unwanted(&mut self, turn: &mut Turn) {
        let wanted = match self.phase {
            JobPhase::Running { pod } if !self.deleting => Some(pod),
            _ => None,
        };
        for (id, pod) in &mut self.pods {
            if Some(*id) != wanted {
                // Nothing connects to a job.
                pod.begin_stop(Duration::ZERO, turn.now.at);
            }
        }
    }

    /// An attempt begins when the time has come and the one before is gone altogether.
    fn begin_attempt(&mut self, addresses: &mut Addresses, turn: &mut Turn) -> bool {
        let JobPhase::Pending { until } = self.phase else {
            return false;
        };
        if !turn.due(until) || !self.pods.is_empty() {
            return false;
        }
        let Some((id, address)) = addresses.take() else {
            return false;
        };
        self.pods.insert(
            id,
            Pod::new(self.current, &self.templates[&self.current].pod, address, turn.now.at),
        );
        self.phase = JobPhase::Running { pod: id };
        self.attempts += 1;
        true
    }

    fn judge_attempt(&mut self, turn: &mut Turn) {
        let JobPhase::Running { pod: id } = self.phase else {
            return;
        };
        let Some(verdict) = self.verdict(id, turn) else { return };
        self.finished_unix_ms = Some(turn.now.unix_ms);
        self.phase = match verdict {
            Ok(()) => {
                self.record_due = Some(turn.now.at);
                JobPhase::Succeeded
            }
            Err(_) if self.attempts <= self.spec.retries => JobPhase::Pending {
                until: turn.now.at + backoff(self.attempts),
            },
            Err(failure) => JobPhase::Failed(failure),
        };
        self.record_success(turn);
        self.stop_unwanted(turn);
        self.advance_pods(turn);
    }

    /// Asked for until it is confirmed: a success that is forgotten would run again.
    fn record_success(&mut self, turn: &mut Turn) {
        let Some(due) = self.record_due else { return };
        if turn.due(due) {
            let next = turn.now.at + RECORD_RETRY;
            self.record_due = Some(next);
            turn.due(next);
            turn.emit(Effect::RecordJob {
                job: self.spec.name.clone(),
                revision: self.spec.revision.clone(),
                unix_ms: self.finished_unix_ms.unwrap_or(turn.now.unix_ms),
            });
        }
    }

    pub(super) fn recorded(&mut self, revision: &str) {
        if self.spec.revision == revision {
            self.record_due = None;
        }
    }

    /// How the attempt has ended, if it has.
    fn verdict(&mut self, id: u64, turn: &mut Turn) -> Option<Result<(), Failure>> {
        let Some(pod) = self.pods.get(&id) else {
            return Some(Err(self.failure("JobFailed", "was lost", id, None)));
        };
        let ended = |c: &super::Container| c.status == super::ContainerStatus::Ended;
        let spec = &self.templates[&pod.template].pod;
        if ended(&pod.containers[&spec.main.name]) {
            let exit = pod.containers[&spec.main.name].last_exit;
            self.last_exit = exit;
            return Some(self.exit_verdict(id, &spec.main.name.clone(), exit));
        }
        if let Some(init) = spec
            .init
            .iter()
            .find(|c| ended(&pod.containers[&c.name]) && !pod.containers[&c.name].has_succeeded())
        {
            let (name, exit) = (init.name.clone(), pod.containers[&init.name].last_exit);
            return Some(self.exit_verdict(id, &name, exit));
        }
        self.timeout_verdict(id, turn)
    }

    fn exit_verdict(&self, id: u64, container: &str, exit: Option<ExitStatus>) -> Result<(), Failure> {
        match exit {
            Some(ExitStatus { code: Some(0), .. }) => Ok(()),
            Some(exit) => {
                let (reason, what) = exit.limit.map_or_else(
                    || ("JobFailed", format!("ended with {exit}")),
                    |limit| (limit.reason(), limit.to_string()),
                );
                Err(self.failure(reason, &what, id, Some(container)))
            }
            None => {
                let message = self.pods[&id].containers[container].message.clone().unwrap_or_default();
                Err(self.failure("StartFailed", &format!("did not start: {message}"), id, Some(container)))
            }
        }
    }

    fn timeout_verdict(&self, id: u64, turn: &mut Turn) -> Option<Result<(), Failure>> {
        let timeout = self.spec.timeout?;
        let began = self.pods[&id].created;
        turn.due(began + timeout).then(|| {
            let main = self.templates[&self.pods[&id].template].pod.main.name.clone();
            let said = format!("did not end within {}", seconds(timeout));
            Err(self.failure("Timeout", &said, id, Some(&main)))
        })
    }

    fn failure(&self, reason: &str, what: &str, id: u64, container: Option<&str>) -> Failure {
        let subject = container.map_or(format!("attempt {}", self.attempts), |name| {
            format!("container `{name}`")
        });
        let of = if self.spec.retries > 0 {
            format!(", attempt {} of {}", self.attempts, self.spec.retries + 1)
        } else {
            String::new()
        };
        Failure {
            reason: reason.into(),
            message: format!("{subject} of job `{}` {what}{of}", self.spec.name),
            replica: Some(id),
            container: container.map(str::to_string),
            evidence: self
                .pods
                .get(&id)
                .map(|pod| tail_of(pod, container))
                .unwrap_or_default(),
        }
    }

    /// The attempt that is not on its way out.
    pub fn attempt(&self) -> Option<(u64, &Pod)> {
        self.pods
            .iter()
            .find(|(_, pod)| pod.goal == Goal::Run)
            .map(|(id, pod)| (*id, pod))
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

fn template_of(spec: &JobSpec) -> Template {
    Template {
        revision: spec.revision.clone(),
        pod: spec.pod.clone(),
        stop: spec.stop.clone(),
        role: Role::Job,
    }
}
