//! One app's supervisor: its machine in a world whose answers take their time. It may be killed and is resumed, by its keeper
//! or by the next write; a reboot leaves it what was on disk.

use std::collections::BTreeMap;

use portolan_supervisor::machine::world::World;
use portolan_supervisor::machine::{Effect, Event, Millis, State};
use portolan_supervisor::protocol::Observation;
use portolan_supervisor::spec::Kind;

use super::super::random::Random;

pub struct Supervised {
    pub world: World,
    life: Life,
    /// When the machine's clock was at 0.
    booted_at: u64,
    due: BTreeMap<(u64, u64), Due>,
    count: u64,
    /// Answers to effects do not come before then.
    slow_until: u64,
    asked_at: u64,
    chance: Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Up,
    /// Its keeper, if it has one still, sees how containers end.
    Killed {
        has_keeper: bool,
    },
    /// The machine was started again since.
    Rebooted,
    /// There is nothing to supervise.
    Left,
}

/// What comes by itself.
enum Due {
    Answer(Effect),
    /// That very process ends.
    Ends {
        pod: u64,
        container: String,
        pid: u32,
        code: i32,
    },
    /// A container of it ends, if one runs.
    Crashes {
        kind: Kind,
        workload: String,
    },
    Restart,
}

/// A supervisor without anything to supervise goes, once nobody has spoken to it for so long.
const IDLE_MS: u64 = 60_000;

impl Supervised {
    pub fn new(booted_at: u64, chance: Random) -> Self {
        Self {
            world: World::default(),
            life: Life::Left,
            booted_at,
            due: BTreeMap::new(),
            count: 0,
            slow_until: 0,
            asked_at: 0,
            chance,
        }
    }

    /// All that happens by itself until then.
    pub fn catch_up(&mut self, now: u64) {
        loop {
            let due = self.due.first_key_value().map(|((at, _), _)| *at);
            let wake = self.wake_at();
            let next = due.into_iter().chain(wake).min();
            let Some(at) = next.filter(|at| *at <= now) else { break };
            self.world.now = self.millis(at);
            match self.due.first_entry().filter(|_| due == Some(at)) {
                Some(first) => {
                    let due = first.remove();
                    self.happens(due, at);
                }
                None => self.world.event(Event::Tick),
            }
            self.follow(at);
        }
        self.world.now = self.millis(now);
        let idle = now.saturating_sub(self.asked_at) > IDLE_MS;
        if self.is_up() && idle && self.world.state.is_empty() {
            self.world.leave();
            self.forget_answers();
            self.life = Life::Left;
        }
    }

    /// The supervisor's own words, or the last ones of one that is gone.
    pub fn words(&mut self, now: u64) -> (Observation, bool) {
        match self.is_up() {
            true => {
                self.asked_at = now;
                (self.world.observation(), true)
            }
            false => (self.world.last_known(), false),
        }
    }

    /// Somebody asks for a change: a supervisor is started if there is none.
    pub fn ask<T>(&mut self, now: u64, change: impl FnOnce(&mut World) -> T) -> T {
        self.start(now);
        self.asked_at = now;
        let answer = change(&mut self.world);
        self.follow(now);
        answer
    }

    fn start(&mut self, now: u64) {
        let before = std::mem::replace(&mut self.life, Life::Up);
        match before {
            Life::Up => return,
            Life::Rebooted => self.world.resume_after_reboot(),
            Life::Left if self.world.state == State::default() => {}
            Life::Left | Life::Killed { .. } => self.world.resume(),
        }
        self.follow(now);
    }

    /// Nothing that is under way now, or begins until then, comes sooner.
    pub fn slow_down(&mut self, until: u64) {
        self.slow_until = self.slow_until.max(until);
    }

    pub fn crash_later(&mut self, kind: Kind, workload: String, at: u64) {
        self.plan(at, Due::Crashes { kind, workload });
    }

    pub fn kill(&mut self, keeper_too: bool, now: u64) {
        if !self.is_up() {
            return;
        }
        self.world.kill();
        self.forget_answers();
        let has_keeper = !keeper_too;
        self.life = Life::Killed { has_keeper };
        if has_keeper {
            let after = 20 + self.chance.below(500);
            self.plan(now + after, Due::Restart);
        }
    }

    pub fn reboot(&mut self, now: u64) {
        self.world.stop_all();
        self.due.clear();
        self.booted_at = now;
        self.world.now = Millis(0);
        if self.life != Life::Left {
            self.life = Life::Rebooted;
        }
    }

    /// Answers whether one runs that could.
    pub fn end_some(&mut self, nth: usize, code: i32, now: u64) -> bool {
        let alive = self.world.alive();
        let Some((pod, container)) = alive.get(nth) else {
            return false;
        };
        self.end(*pod, container, code);
        self.follow(now);
        true
    }

    pub fn is_up(&self) -> bool {
        self.life == Life::Up
    }

    fn wake_at(&self) -> Option<u64> {
        let at = self.world.wake_at.filter(|_| self.is_up())?;
        Some(at.0 + self.booted_at)
    }

    fn millis(&self, now: u64) -> Millis {
        Millis(now.saturating_sub(self.booted_at)).max(self.world.now)
    }

    fn happens(&mut self, due: Due, at: u64) {
        match due {
            Due::Answer(Effect::RecordJob { job, revision, .. }) => {
                self.world.event(Event::JobRecorded { job, revision });
            }
            Due::Answer(effect) => self.world.answer(effect),
            Due::Ends {
                pod,
                container,
                pid,
                code,
            } => {
                if self.world.runs(pod, &container, pid) {
                    self.end(pod, &container, code);
                }
            }
            Due::Crashes { kind, workload } => self.crash(kind, &workload),
            Due::Restart => self.start(at),
        }
    }

    fn end(&mut self, pod: u64, container: &str, code: i32) {
        match self.life {
            Life::Up => self.world.end(pod, container, code),
            Life::Killed { has_keeper: true } => self.world.end_unseen(pod, container, Some(code)),
            _ => self.world.end_unseen(pod, container, None),
        }
    }

    fn crash(&mut self, kind: Kind, workload: &str) {
        let state = &self.world.state;
        let pods = match kind {
            Kind::Service => state.services.get(workload).map(|service| &service.pods),
            _ => state.jobs.get(workload).map(|job| &job.pods),
        };
        let theirs = |pod: &u64| pods.is_some_and(|pods| pods.contains_key(pod));
        let mut alive = self.world.alive().into_iter();
        if let Some((pod, container)) = alive.find(|(pod, _)| theirs(pod)) {
            self.end(pod, &container, 1);
        }
    }

    /// Routes first, then what the steps have asked for, as the driver does it.
    fn follow(&mut self, now: u64) {
        loop {
            if self.world.follow_routes() {
                continue;
            }
            let Some(effect) = self.world.pending.pop_front() else {
                break;
            };
            self.carry_out(effect, now);
        }
        for (pod, container, pid) in std::mem::take(&mut self.world.tasks) {
            let at = now + 100 + self.chance.below(1_500);
            let code = 0;
            self.plan(
                at,
                Due::Ends {
                    pod,
                    container,
                    pid,
                    code,
                },
            );
        }
        self.world.told.clear();
    }

    fn carry_out(&mut self, effect: Effect, now: u64) {
        // A record is written at once, and only heard of later.
        if let Effect::RecordJob { job, revision, .. } = &effect {
            self.world.record(job, revision);
        }
        self.check_start(&effect);
        let at = self.comes_at(now);
        let due = match effect {
            Effect::ListenAgain | Effect::RemoveNetwork | Effect::Forget { .. } => return,
            // A signal is sent at once, to the process that runs now.
            Effect::Signal { key, signal } => {
                let Some((pid, code)) = self.world.ends_by(&key, &signal) else {
                    return;
                };
                let (pod, container) = (key.pod, key.name);
                Due::Ends {
                    pod,
                    container,
                    pid,
                    code,
                }
            }
            other => Due::Answer(other),
        };
        self.plan(at, due);
    }

    /// A job that has run is not run again: nobody asks for that here.
    fn check_start(&mut self, effect: &Effect) {
        let Effect::Start { key, .. } = effect else { return };
        let job = self.world.state.jobs.get(&key.workload);
        let job = job.filter(|_| key.kind == Kind::Job);
        let has_run = job.is_some_and(|job| self.world.has_recorded(&key.workload, &job.spec.revision));
        if has_run {
            self.world.must_not(format!("{} is run again", key.workload));
        }
    }

    /// Most answers are quick, some come after others that were asked for later.
    fn comes_at(&mut self, now: u64) -> u64 {
        let after = match self.chance.below(32) {
            0 => 200 + self.chance.below(2_000),
            _ => 1 + self.chance.below(60),
        };
        now.max(self.slow_until) + after
    }

    fn plan(&mut self, at: u64, due: Due) {
        self.count += 1;
        self.due.insert((at, self.count), due);
    }

    fn forget_answers(&mut self) {
        self.due.retain(|_, due| !matches!(due, Due::Answer(_)));
    }
}
