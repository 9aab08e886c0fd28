//! One container: started, restarted with backoff, probed, stopped.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ContainerKey, Effect, Millis, Role, Turn};
use crate::protocol::ExitStatus;
use crate::spec::{Check, ContainerSpec, Health, Probe, StopSpec};

/// The first restart comes after this, each further one after twice the time before.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// A container that ran this long has forgotten its failures.
const STABLE: Duration = Duration::from_secs(30);
/// So many failures in a row are reported as a failure of the workload (about two seconds after the first).
pub(super) const CRASH_LOOP: u32 = 4;
/// A main container without ports and probes is ready when it has run this long.
const SETTLED: Duration = Duration::from_secs(1);
/// Startup and ready probes begin at this pace and slow down to their interval.
const FIRST_PROBE_DELAY: Duration = Duration::from_millis(50);
/// A probe of ours where the spec has none.
const OWN_PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A process that cannot be mistaken for another one that got the same pid later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    /// Field 22 of /proc/PID/stat, clock ticks since boot.
    pub start_ticks: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerStatus {
    #[default]
    Waiting,
    Starting,
    Running {
        process: Process,
        since: Millis,
    },
    /// Was told to end; SIGKILL follows at `kill_at`.
    Stopping {
        process: Process,
        kill_at: Millis,
        killed: bool,
    },
    Backoff {
        until: Millis,
    },
    /// Has ended and stays so.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    Startup,
    Ready,
    Live,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub status: ContainerStatus,
    /// Counts starts, so that an answer about an earlier one is known as such.
    pub starts: u32,
    /// Ends in a row that came too early.
    pub failures: u32,
    pub startup_passed: bool,
    /// What the ready probe says; without one true from the start.
    pub ready: bool,
    pub last_exit: Option<ExitStatus>,
    /// The last lines of its log when it last failed.
    pub tail: Vec<String>,
    /// The last failed start or probe.
    pub message: Option<String>,
    /// A failed live or startup probe wants it restarted.
    #[serde(default)]
    restart_wanted: bool,
    #[serde(skip)]
    startup: ProbeState,
    #[serde(skip)]
    readiness: ProbeState,
    #[serde(skip)]
    liveness: ProbeState,
    /// An end that `settle` has yet to judge.
    #[serde(default)]
    unjudged_end: bool,
    #[serde(default)]
    last_ran: Duration,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct ProbeState {
    next_at: Option<Millis>,
    in_flight: bool,
    successes: u32,
    failures: u32,
    passed_once: bool,
    delay: Duration,
    /// The last answer is not judged yet.
    answered: bool,
}

/// How a probe's interval is taken before it has first passed.
enum Pace {
    QuickUntilPassed,
    Even,
}

/// What the end of a container means to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnEnd {
    /// Starts again, whatever the code.
    Restart,
    /// Starts again unless it ended with 0.
    RestartOnFailure,
    Stay,
}

impl Container {
    pub fn process(&self) -> Option<Process> {
        match self.status {
            ContainerStatus::Running { process, .. } | ContainerStatus::Stopping { process, .. } => Some(process),
            _ => None,
        }
    }

    pub fn is_running(&self) -> bool {
        matches!(self.status, ContainerStatus::Running { .. })
    }

    /// No process of it is there, and none is on the way.
    pub fn is_down(&self) -> bool {
        use ContainerStatus::{Backoff, Ended, Waiting};
        matches!(self.status, Waiting | Backoff { .. } | Ended)
    }

    pub fn has_succeeded(&self) -> bool {
        self.status == ContainerStatus::Ended && self.last_exit.is_some_and(|exit| exit.code == Some(0))
    }

    pub fn is_crash_looping(&self) -> bool {
        self.failures >= CRASH_LOOP
    }

    pub(super) fn started(&mut self, process: Process, now: Millis) {
        if self.status == ContainerStatus::Starting {
            self.status = ContainerStatus::Running { process, since: now };
            self.startup_passed = false;
            self.ready = false;
            self.startup = ProbeState::first_at(now);
            self.readiness = ProbeState::first_at(now);
            self.liveness = ProbeState::default();
        }
    }

    pub(super) fn start_failed(&mut self, message: String) {
        if self.status == ContainerStatus::Starting {
            self.message = Some(message);
            self.last_exit = None;
            self.tail.clear();
            self.end(Duration::ZERO);
        }
    }

    pub(super) fn exited(&mut self, status: ExitStatus, tail: Vec<String>, now: Millis) {
        let ran = match self.status {
            ContainerStatus::Running { since, .. } => Duration::from_millis(now.0.saturating_sub(since.0)),
            _ => Duration::ZERO,
        };
        if self.process().is_some() {
            if self.is_running() {
                self.message = None;
            }
            self.last_exit = Some(status);
            self.tail = tail;
            self.end(ran);
        }
    }

    fn end(&mut self, ran: Duration) {
        self.status = ContainerStatus::Ended;
        self.unjudged_end = true;
        self.last_ran = ran;
        self.ready = false;
        self.restart_wanted = false;
    }

    /// After a new supervisor has taken over: what it does not find alive is down, as far as it is known how.
    pub(super) fn resumed(&mut self, alive: bool, ended: ExitStatus) {
        match self.status {
            ContainerStatus::Starting => self.status = ContainerStatus::Waiting,
            ContainerStatus::Running { .. } | ContainerStatus::Stopping { .. } if !alive => {
                self.last_exit = Some(ended);
                self.end(STABLE);
            }
            // The signal may not have been sent: it is sent again.
            ContainerStatus::Stopping { process, .. } => {
                self.status = ContainerStatus::Running {
                    process,
                    since: Millis(0),
                }
            }
            ContainerStatus::Running { since, .. } => {
                let passed = self.ready;
                self.startup = ProbeState::first_at(since);
                self.readiness = ProbeState {
                    passed_once: passed,
                    ..ProbeState::first_at(since)
                };
                self.liveness = ProbeState::default();
            }
            _ => {}
        }
    }

    pub(super) fn probed(
        &mut self,
        start: u32,
        kind: ProbeKind,
        result: Result<(), String>,
        tail: Vec<String>,
        now: Millis,
    ) {
        if start != self.starts || !self.is_running() {
            return;
        }
        if let Err(message) = &result {
            self.message = Some(message.clone());
            self.tail = tail;
        }
        self.probe_mut(kind).answer(result.is_ok(), now);
    }

    fn probe_mut(&mut self, kind: ProbeKind) -> &mut ProbeState {
        match kind {
            ProbeKind::Startup => &mut self.startup,
            ProbeKind::Ready => &mut self.readiness,
            ProbeKind::Live => &mut self.liveness,
        }
    }

    /// Decides what the last end means, and starts the container when it is due.
    pub(super) fn run(&mut self, key: ContainerKey, spec: &ContainerSpec, on_end: OnEnd, turn: &mut Turn) {
        self.judge_end(on_end, turn.now.at);
        let due = match self.status {
            ContainerStatus::Waiting => true,
            ContainerStatus::Backoff { until } => turn.due(until),
            _ => false,
        };
        if due {
            self.status = ContainerStatus::Starting;
            self.starts += 1;
            turn.emit(Effect::Start {
                key,
                start: self.starts,
                spec: Box::new(spec.clone()),
            });
        }
    }

    fn judge_end(&mut self, on_end: OnEnd, now: Millis) {
        if !std::mem::take(&mut self.unjudged_end) {
            return;
        }
        let succeeded = self.last_exit.is_some_and(|exit| exit.code == Some(0));
        if on_end == OnEnd::Stay || (on_end == OnEnd::RestartOnFailure && succeeded) {
            return;
        }
        // Failures of a container that has run so long are forgotten, also where no step came in between to do it.
        self.failures = if self.last_ran >= STABLE { 1 } else { self.failures + 1 };
        self.status = ContainerStatus::Backoff {
            until: now + backoff(self.failures),
        };
    }

    /// Probes, and restarts when they say so.
    pub(super) fn probe(
        &mut self,
        key: &ContainerKey,
        health: &Health,
        stop: &StopSpec,
        address: Ipv4Addr,
        turn: &mut Turn,
    ) {
        let ContainerStatus::Running { since, .. } = self.status else {
            return;
        };
        if self.failures > 0 && turn.due(since + STABLE) {
            self.failures = 0;
        }
        self.judge_probes(health, since, turn);
        if self.restart_wanted {
            return self.stop(key, stop, turn);
        }
        for (kind, probe) in active_probes(self.startup_passed, health) {
            let start = self.starts;
            let state = self.probe_mut(kind);
            let first = if kind == ProbeKind::Live {
                turn.now.at + probe.interval
            } else {
                turn.now.at
            };
            let next_at = *state.next_at.get_or_insert(first);
            if !state.in_flight && turn.due(next_at) {
                state.in_flight = true;
                let (check, timeout) = (probe.check.clone(), probe.timeout);
                turn.emit(Effect::Probe {
                    key: key.clone(),
                    start,
                    probe: kind,
                    check,
                    address,
                    timeout,
                });
            }
        }
    }

    fn judge_probes(&mut self, health: &Health, since: Millis, turn: &mut Turn) {
        match &health.startup {
            None => self.startup_passed = true,
            Some(probe) => {
                if let Some(state) = self.startup.take_answer(probe, Pace::QuickUntilPassed, turn.now.at) {
                    self.startup_passed |= state.successes >= probe.success_threshold.max(1);
                    let allowed = probe.interval.saturating_mul(probe.failure_threshold);
                    self.restart_wanted |= !self.startup_passed && turn.now.at >= since + allowed;
                }
            }
        }
        match &health.ready {
            None => self.ready = self.startup_passed,
            Some(probe) => {
                if let Some(state) = self.readiness.take_answer(probe, Pace::QuickUntilPassed, turn.now.at) {
                    self.ready |= state.successes >= probe.success_threshold.max(1);
                    self.ready &= state.failures < probe.failure_threshold;
                }
            }
        }
        if let Some(probe) = &health.live
            && let Some(state) = self.liveness.take_answer(probe, Pace::Even, turn.now.at)
        {
            self.restart_wanted |= state.failures >= probe.failure_threshold;
        }
    }

    /// Runs, has passed its startup probe and, where it must, has run for a moment.
    pub(super) fn is_started(&self, settle: bool, turn: &mut Turn) -> bool {
        match self.status {
            ContainerStatus::Running { since, .. } => self.startup_passed && (!settle || turn.due(since + SETTLED)),
            _ => false,
        }
    }

    /// Signal, then SIGKILL when the grace period is over.
    pub(super) fn stop(&mut self, key: &ContainerKey, stop: &StopSpec, turn: &mut Turn) {
        match self.status {
            ContainerStatus::Running { process, .. } => {
                let kill_at = turn.now.at + stop.grace_period;
                self.status = ContainerStatus::Stopping {
                    process,
                    kill_at,
                    killed: false,
                };
                self.ready = false;
                turn.emit(Effect::Signal {
                    key: key.clone(),
                    signal: stop.signal.clone(),
                });
                turn.due(kill_at);
            }
            ContainerStatus::Stopping { .. } => self.kill_when_due(key, turn),
            _ => {}
        }
    }

    pub(super) fn kill_when_due(&mut self, key: &ContainerKey, turn: &mut Turn) {
        if let ContainerStatus::Stopping {
            process,
            kill_at,
            killed: false,
        } = self.status
            && turn.due(kill_at)
        {
            self.status = ContainerStatus::Stopping {
                process,
                kill_at,
                killed: true,
            };
            turn.emit(Effect::Signal {
                key: key.clone(),
                signal: "SIGKILL".into(),
            });
        }
    }
}

impl ProbeState {
    fn first_at(at: Millis) -> ProbeState {
        ProbeState {
            next_at: Some(at),
            ..Default::default()
        }
    }

    fn answer(&mut self, passed: bool, now: Millis) {
        self.in_flight = false;
        self.answered = true;
        self.next_at = Some(now);
        if passed {
            (self.successes, self.failures, self.passed_once) = (self.successes.saturating_add(1), 0, true);
        } else {
            (self.successes, self.failures) = (0, self.failures.saturating_add(1));
        }
    }

    /// The counts after a new answer, with the next try set.
    fn take_answer(&mut self, probe: &Probe, pace: Pace, now: Millis) -> Option<ProbeState> {
        if !std::mem::take(&mut self.answered) {
            return None;
        }
        self.delay = match pace {
            Pace::QuickUntilPassed if !self.passed_once => (self.delay * 2).max(FIRST_PROBE_DELAY).min(probe.interval),
            _ => probe.interval,
        };
        self.next_at = Some(now + self.delay);
        Some(self.clone())
    }
}

/// The startup probe until it has passed, the others afterwards.
fn active_probes(startup_passed: bool, health: &Health) -> impl Iterator<Item = (ProbeKind, &Probe)> {
    let Health { startup, ready, live } = health;
    [
        (ProbeKind::Startup, startup),
        (ProbeKind::Ready, ready),
        (ProbeKind::Live, live),
    ]
    .into_iter()
    .filter(move |(kind, _)| (*kind == ProbeKind::Startup) != startup_passed)
    .filter_map(|(kind, probe)| probe.as_ref().map(|probe| (kind, probe)))
}

/// The probes of a container, with ours where a service's main container has none that tell when it is ready.
pub(super) fn effective_health(spec: &ContainerSpec, is_main: bool, role: &Role) -> Health {
    let mut health = spec.health.clone();
    if let Role::Service {
        first_port: Some(port), ..
    } = role
        && is_main
        && health.startup.is_none()
        && health.ready.is_none()
    {
        health.startup = Some(Probe {
            check: Check::Tcp { port: *port },
            interval: OWN_PROBE_INTERVAL,
            timeout: OWN_PROBE_INTERVAL,
            success_threshold: 1,
            failure_threshold: u32::MAX,
        });
    }
    health
}

/// True for the one kind of container that nothing but time tells to be ready.
pub(super) fn must_settle(health: &Health, is_main: bool) -> bool {
    is_main && health.startup.is_none() && health.ready.is_none()
}

pub(super) fn backoff(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_BACKOFF * 2u32.pow(doublings)).min(LONGEST_BACKOFF)
}
