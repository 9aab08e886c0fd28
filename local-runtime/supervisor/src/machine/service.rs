//! A service: as many replicas as wanted, of the template that was put, changed one by one without falling below.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::observe::{crash_failure, deadline_failure};
use super::{Addresses, Millis, Pod, Role, Template, Templates, Turn};
use crate::protocol::Failure;
use crate::spec::{Protocol, ServiceSpec, Strategy};

/// How many replicas there may be above the number wanted while old ones are replaced.
const SURGE: usize = 1;
/// A port of the host that somebody has taken is tried again after this.
const PORT_RETRY: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub spec: ServiceSpec,
    pub deleting: bool,
    /// Stable for the life of the service.
    pub address: Ipv4Addr,
    /// A port that it should answer on and does not.
    #[serde(default)]
    pub port_failure: Option<PortFailure>,
    /// When that port is tried again.
    #[serde(default)]
    port_retry_at: Millis,
    pub templates: Templates,
    /// The template of the spec.
    pub current: u64,
    /// The last template whose rollout was completed.
    pub stable: Option<u64>,
    pub rollout: Rollout,
    pub pods: BTreeMap<u64, Pod>,
}

/// Why nothing listens where a service should answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortFailure {
    /// CamelCase: `PortInUse`, `PortDenied`, `PortUnusable`.
    pub reason: String,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rollout {
    /// `since`: when a further replica last became ready; `best`: how many of the current template were.
    Progressing {
        since: Millis,
        best: usize,
    },
    Done,
    /// Held until another spec or `retry`. If there is a stable template, it is what runs.
    Failed(Failure),
}

impl Service {
    pub(super) fn new(spec: ServiceSpec, address: Ipv4Addr, now: Millis) -> Service {
        let templates = Templates::from([(1, template_of(&spec))]);
        let rollout = Rollout::Progressing { since: now, best: 0 };
        let pods = BTreeMap::new();
        Service {
            spec,
            deleting: false,
            address,
            port_failure: None,
            port_retry_at: now,
            templates,
            current: 1,
            stable: None,
            rollout,
            pods,
        }
    }

    /// Takes another spec. One that runs the same as a template still known goes back to that template: a rollback.
    pub(super) fn update(&mut self, spec: ServiceSpec, now: Millis) {
        let template = template_of(&spec);
        let known = self
            .templates
            .iter_mut()
            .find(|(_, other)| other.runs_the_same(&template));
        self.current = match known {
            Some((number, known)) => {
                known.revision = template.revision;
                *number
            }
            None => {
                let number = self.templates.keys().next_back().unwrap_or(&0) + 1;
                self.templates.insert(number, template);
                number
            }
        };
        self.spec = spec;
        self.retry(now);
    }

    pub(super) fn retry(&mut self, now: Millis) {
        self.rollout = Rollout::Progressing { since: now, best: 0 };
    }

    /// New replicas take the place of the old ones, which are gone. A rollout under way begins anew, a failed one stays so.
    pub(super) fn rebooted(&mut self, now: Millis) {
        self.pods.clear();
        if !matches!(self.rollout, Rollout::Failed(_)) {
            self.retry(now);
        }
    }

    pub(super) fn note_port_failure(&mut self, failure: Option<PortFailure>, now: Millis) {
        self.port_failure = failure;
        self.port_retry_at = now + PORT_RETRY;
    }

    /// True when a port that failed is to be tried again now.
    pub(super) fn wants_its_port(&mut self, turn: &mut Turn) -> bool {
        let due = self.port_failure.is_some() && !self.deleting && turn.due(self.port_retry_at);
        if due {
            self.port_retry_at = turn.now.at + PORT_RETRY;
            turn.due(self.port_retry_at);
        }
        due
    }

    /// The template whose replicas are wanted now.
    pub fn goal(&self) -> u64 {
        match (&self.rollout, self.stable) {
            (Rollout::Failed(_), Some(stable)) => stable,
            _ => self.current,
        }
    }

    pub(super) fn reconcile(&mut self, addresses: &mut Addresses, turn: &mut Turn) {
        if self.deleting {
            self.stop_where(turn, |_, _| true);
            return self.advance_pods(turn);
        }
        self.advance_pods(turn);
        self.follow_rollout(turn);
        match self.spec.rollout.strategy {
            Strategy::Rolling => self.replace_one_by_one(turn),
            Strategy::Recreate => self.stop_where(turn, |pod, goal| pod.template != goal),
        }
        self.stop_surplus(turn);
        if self.create_missing(addresses, turn) {
            self.advance_pods(turn);
        }
        self.drop_unused_templates();
    }

    fn advance_pods(&mut self, turn: &mut Turn) {
        for (id, pod) in &mut self.pods {
            pod.advance(*id, &self.spec.name, &self.templates[&pod.template], turn);
        }
    }

    fn follow_rollout(&mut self, turn: &mut Turn) {
        let wanted = self.spec.replicas as usize;
        let (all, ready) = (
            self.count(|_| true),
            self.count(|p| p.template == self.current && p.ready),
        );
        if self.goal() == self.current && all == wanted && ready == wanted {
            self.rollout = Rollout::Done;
            self.stable = Some(self.current);
        }
        let Rollout::Progressing { since, best } = &mut self.rollout else {
            return;
        };
        if ready > *best {
            (*since, *best) = (turn.now.at, ready);
        }
        let overdue = turn.due(*since + self.spec.rollout.deadline);
        let others_serve = self.stable.is_some_and(|stable| stable != self.current);
        let crash = if others_serve {
            crash_failure(self.pods_of(self.current))
        } else {
            None
        };
        let failure = crash.or_else(|| overdue.then(|| deadline_failure(&self.spec, self.pods_of(self.current))));
        if let Some(failure) = failure {
            self.rollout = Rollout::Failed(failure);
        }
    }

    /// Those that are not ready serve nobody and go at once; ready ones go while enough others are ready.
    fn replace_one_by_one(&mut self, turn: &mut Turn) {
        let mut spare = self.count(|p| p.ready).saturating_sub(self.spec.replicas as usize);
        self.stop_where(turn, |pod, goal| {
            let stop = pod.template != goal && (!pod.ready || spare > 0);
            spare -= usize::from(stop && pod.ready);
            stop
        });
    }

    /// After scaling down: the ones that are not ready first, then the youngest.
    fn stop_surplus(&mut self, turn: &mut Turn) {
        let goal = self.goal();
        let mut running: Vec<(bool, u64)> = self
            .pods
            .iter()
            .filter(|(_, p)| p.is_wanted() && p.template == goal)
            .map(|(id, p)| (p.ready, *id))
            .collect();
        running.sort_by_key(|(ready, id)| (*ready, std::cmp::Reverse(*id)));
        let surplus = running.len().saturating_sub(self.spec.replicas as usize);
        let chosen: Vec<u64> = running.into_iter().take(surplus).map(|(_, id)| id).collect();
        for id in chosen {
            self.stop_pod(id, turn);
        }
    }

    fn create_missing(&mut self, addresses: &mut Addresses, turn: &mut Turn) -> bool {
        let goal = self.goal();
        let wanted = self.spec.replicas as usize;
        let current = self.count(|p| p.template == goal);
        let all = self.count(|_| true);
        let room = match self.spec.rollout.strategy {
            Strategy::Recreate if self.pods.values().any(|p| p.template != goal) => 0,
            _ if all > current => (wanted + SURGE).saturating_sub(all),
            _ => usize::MAX,
        };
        let missing = wanted.saturating_sub(current).min(room);
        let made: Vec<_> = std::iter::from_fn(|| addresses.take()).take(missing).collect();
        for (id, address) in &made {
            self.pods
                .insert(*id, Pod::new(goal, &self.templates[&goal].pod, *address, turn.now.at));
        }
        !made.is_empty()
    }

    fn drop_unused_templates(&mut self) {
        let (current, stable, pods) = (self.current, self.stable, &self.pods);
        let used = |number: &u64| {
            *number == current || Some(*number) == stable || pods.values().any(|p| p.template == *number)
        };
        self.templates.retain(|number, _| used(number));
    }

    fn stop_where(&mut self, turn: &mut Turn, mut wanted: impl FnMut(&Pod, u64) -> bool) {
        let goal = self.goal();
        let chosen: Vec<u64> = self
            .pods
            .iter()
            .filter(|(_, pod)| pod.is_wanted() && wanted(pod, goal))
            .map(|(id, _)| *id)
            .collect();
        for id in chosen {
            self.stop_pod(id, turn);
        }
    }

    fn stop_pod(&mut self, id: u64, turn: &mut Turn) {
        if let Some(pod) = self.pods.get_mut(&id) {
            let template = &self.templates[&pod.template];
            pod.begin_stop(turn.now.at);
            pod.advance(id, &self.spec.name, template, turn);
        }
    }

    /// Counts among the pods that are not stopping.
    pub(super) fn count(&self, of: impl Fn(&Pod) -> bool) -> usize {
        self.pods.values().filter(|p| p.is_wanted() && of(p)).count()
    }

    pub(super) fn pods_of(&self, template: u64) -> impl Iterator<Item = (u64, &Pod)> {
        self.pods
            .iter()
            .filter(move |(_, p)| p.is_wanted() && p.template == template)
            .map(|(id, pod)| (*id, pod))
    }
}

fn template_of(spec: &ServiceSpec) -> Template {
    Template {
        revision: spec.revision.clone(),
        pod: spec.pod.clone(),
        stop: spec.stop.clone(),
        role: Role::Service {
            // Only these can be asked whether somebody listens.
            first_port: spec.ports.iter().find(|p| p.protocol == Protocol::Tcp).map(|p| p.port),
        },
    }
}
