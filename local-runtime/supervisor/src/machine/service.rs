//! A service: as many replicas as wanted, of the template that was put, changed one by one without falling below.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::observe::{crash_failure, deadline_failure};
use super::{Addresses, Course, Millis, Pod, Role, Rollout, Template, Templates, Turn};
use crate::spec::{Protocol, ServiceSpec, Strategy};

/// How many replicas there may be above the number wanted while old ones are replaced.
const SURGE: usize = 1;
/// A port of the host that somebody has taken is tried again after this.
const PORT_RETRY: Duration = Duration::from_secs(2);
/// A service goes back at once to one of so many; a rollback reaches no further either.
const PAST_KEPT: usize = 10;

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
    /// Revisions that were complete, each beside the one before it; the last one is that of `stable`.
    #[serde(default)]
    pub past: Vec<String>,
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

/// Two revisions beside each other, each with its part of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// The template of the old revision, of which all replicas stay.
    pub old: u64,
    pub new_replicas: usize,
    /// Percent of new connections for the new revision.
    pub new_weight: u8,
}

impl Service {
    pub(super) fn new(spec: ServiceSpec, address: Ipv4Addr, now: Millis) -> Service {
        let templates = Templates::from([(1, template_of(&spec))]);
        let (since, best, course) = (now, 0, Course::Taking);
        let rollout = Rollout::Progressing { since, best, course };
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
            past: vec![],
            rollout,
            pods,
        }
    }

    /// Takes another spec. One that runs the same as a template still known goes back to that template: a rollback.
    pub(super) fn update(&mut self, spec: ServiceSpec, now: Millis) {
        let before = self.current;
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
        match self.current == before {
            true => self.retry(now),
            false => self.begin_rollout(now),
        }
    }

    /// One that has come as far as a step goes on from there.
    pub(super) fn retry(&mut self, now: Millis) {
        match &mut self.rollout {
            Rollout::Progressing { since, course, .. } if *course != Course::Taking => *since = now,
            _ => self.begin_rollout(now),
        }
    }

    fn begin_rollout(&mut self, now: Millis) {
        let replaces = self.stable.is_some_and(|stable| stable != self.current);
        let course = match Course::begin(&self.spec.rollout, replaces) {
            course if self.goes_back() => course.in_full(),
            course => course,
        };
        let (since, best) = (now, 0);
        self.rollout = Rollout::Progressing { since, best, course };
    }

    /// Nobody has to be shown in steps what has served everybody before.
    fn goes_back(&self) -> bool {
        self.past.contains(&self.templates[&self.current].revision)
    }

    /// What it has come back from is past no longer: going forward again takes every step.
    fn complete(&mut self) {
        self.rollout = Rollout::Done;
        self.stable = Some(self.current);
        let revision = &self.templates[&self.current].revision;
        match self.past.iter().position(|past| past == revision) {
            Some(place) => self.past.truncate(place + 1),
            None => self.past.push(revision.clone()),
        }
        let surplus = self.past.len().saturating_sub(PAST_KEPT);
        self.past.drain(..surplus);
    }

    /// New replicas take the place of the old ones, which are gone. A rollout under way begins anew, a failed one stays so.
    pub(super) fn rebooted(&mut self, now: Millis) {
        self.pods.clear();
        if !matches!(self.rollout, Rollout::Failed(_)) {
            self.begin_rollout(now);
        }
    }

    /// Leaves the step at which it pauses, or all steps. Said twice it is said once while the next step has yet to get ready.
    pub(super) fn promote(&mut self, full: bool, now: Millis) {
        let Rollout::Progressing { since, course, .. } = &mut self.rollout else {
            return;
        };
        let next = match *course {
            course if full => course.in_full(),
            course if course.is_paused() => course.promoted(&self.spec.rollout),
            _ => return,
        };
        (*since, *course) = (now, next);
    }

    /// Missing unless an old and a new revision stand beside each other.
    pub fn shares(&self) -> Option<Shares> {
        let Rollout::Progressing { course, .. } = &self.rollout else {
            return None;
        };
        let old = self.stable.filter(|stable| *stable != self.current)?;
        (*course != Course::Taking).then(|| Shares {
            old,
            new_replicas: course.replicas(&self.spec),
            new_weight: course.weight(&self.spec.rollout),
        })
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
        match (self.shares(), self.spec.rollout.strategy) {
            (Some(shares), _) => {
                self.replace_by_the_ready(turn, |pod, goal| ![goal, shares.old].contains(&pod.template))
            }
            (None, Strategy::Recreate) => self.stop_where(turn, |pod, goal| pod.template != goal),
            (None, _) => self.replace_by_the_ready(turn, |pod, goal| pod.template != goal),
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
            self.complete();
        }
        let Rollout::Progressing { since, best, course } = &mut self.rollout else {
            return;
        };
        let before = std::mem::replace(course, course.advance(&self.spec, ready, turn));
        if ready > *best || *course != before {
            (*since, *best) = (turn.now.at, ready.max(*best));
        }
        let overdue = !course.is_paused() && turn.due(*since + self.spec.rollout.deadline);
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
    fn replace_by_the_ready(&mut self, turn: &mut Turn, is_old: impl Fn(&Pod, u64) -> bool) {
        let mut spare = self.count(|p| p.ready).saturating_sub(self.spec.replicas as usize);
        self.stop_where(turn, |pod, goal| {
            let stop = is_old(pod, goal) && (!pod.ready || spare > 0);
            spare -= usize::from(stop && pod.ready);
            stop
        });
    }

    /// How many replicas of which template there should be in the end, or at this step.
    fn wanted(&self) -> Vec<(u64, usize)> {
        let all = self.spec.replicas as usize;
        match self.shares() {
            Some(shares) => vec![(shares.old, all), (self.current, shares.new_replicas)],
            None => vec![(self.goal(), all)],
        }
    }

    /// After scaling down: the ones that are not ready first, then the youngest.
    fn stop_surplus(&mut self, turn: &mut Turn) {
        for (template, wanted) in self.wanted() {
            let mut running: Vec<(bool, u64)> = self.pods_of(template).map(|(id, p)| (p.ready, id)).collect();
            running.sort_by_key(|(ready, id)| (*ready, std::cmp::Reverse(*id)));
            let surplus = running.len().saturating_sub(wanted);
            for (_, id) in running.into_iter().take(surplus) {
                self.stop_pod(id, turn);
            }
        }
    }

    fn create_missing(&mut self, addresses: &mut Addresses, turn: &mut Turn) -> bool {
        let before = self.pods.len();
        for (template, wanted) in self.wanted() {
            let missing = wanted.saturating_sub(self.pods_of(template).count());
            let missing = missing.min(self.room_for(template));
            for (id, address) in std::iter::from_fn(|| addresses.take()).take(missing) {
                let pod = Pod::new(template, &self.templates[&template].pod, address, turn.now.at);
                self.pods.insert(id, pod);
            }
        }
        self.pods.len() > before
    }

    /// How many more there may be now.
    fn room_for(&self, template: u64) -> usize {
        let all = self.count(|_| true);
        let others = self.pods.values().any(|p| p.template != template);
        match self.spec.rollout.strategy {
            _ if self.shares().is_some() => usize::MAX,
            Strategy::Recreate if others => 0,
            _ if all > self.pods_of(template).count() => (self.spec.replicas as usize + SURGE).saturating_sub(all),
            _ => usize::MAX,
        }
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
            pod.begin_stop(template.stop.drain, turn.now.at);
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
