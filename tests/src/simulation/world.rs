//! The world: accounts, a journal, controllers with their clocks, and the agenda of what is to come. Every
//! decision is the engine's own step machine's; the world carries its effects out, well or not, and looks at what it does.
//!
//! Read [`World::run`] first; `calls.rs` says what becomes of a call, `controllers.rs` and `lease.rs` who makes it,
//! `invariants.rs` what must never happen, and `ending.rs` what an app must have come to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portolan_core::resource::ResourceId;
use portolan_engine::journal::{AppKey, Journal, MemoryJournal};
use portolan_engine::machine::{Effect, Event, Input, Policy, State, Timestamp, step};
use portolan_engine::{EngineError, EngineEvent, Outcome, OutcomeKind, Work};
use portolan_provider_api::Shape;
use portolan_provider_fake::{FakeImages, Tally};

use super::accounts::Account;
use super::agenda::{Agenda, FlightId, Token};
use super::aim::Aim;
use super::calls::Flight;
use super::catalogue::Wanted;
use super::controllers::Controller;
use super::ending::Stage;
use super::fault::Fault;
use super::invariants::Broken;
use super::lease::LeaseRecord;
use super::random::Random;
use super::report::Coverage;
use super::scenario::{Faults, Outside, Scenario, Start};
use super::secrets;
use super::site::Site;
use super::stand::Stand;

/// Reads show a write after the platform's lag and this, at the latest: calls take their time as well.
pub const MARGIN_MS: u64 = 1_500;

/// What fails late does so within this time, and what is slow has ended: how an operation ends is written down once.
const LATEST_MS: u64 = 70_000;

/// Clocks of two machines differ by no more than this from the time, either way.
pub const LARGEST_SKEW_MS: u64 = 7_200_000;

/// More than any scenario needs: one that takes more never ends.
const MOST_STEPS: u64 = 100_000;

pub struct World<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) stand: &'a Stand,
    pub(super) shape: Arc<dyn Shape>,
    pub(super) policy: Policy,
    pub(super) now: u64,
    clock: Arc<AtomicU64>,
    pub(super) agenda: Agenda,
    pub(super) accounts: Vec<Account>,
    pub(super) images: FakeImages,
    pub(super) journal: MemoryJournal,
    pub(super) controllers: Vec<Controller>,
    pub(super) apps: Vec<AppState>,
    pub(super) flights: Vec<Flight>,
    pub(super) lease: LeaseRecord,
    pub(super) latency: Random,
    pub(super) chance: Random,
    pub(super) watches_secrets: bool,
    /// Nothing goes wrong any more.
    pub(super) quiet: bool,
    /// From when on apps are judged.
    judged_from: u64,
    /// No controller begins before then.
    pub(super) nobody_until: u64,
    outside_left: usize,
    pub(super) faults_left: usize,
    /// What is aimed at and was not met yet.
    pub(super) aim: Option<Aim>,
    runs: u64,
    pub(super) result: Run,
    pub(super) trace: Option<Vec<String>>,
}

/// What came of a scenario.
#[derive(Debug, Default)]
pub struct Run {
    pub steps: u64,
    /// Of the supervisors' machines.
    pub supervisor_steps: u64,
    /// The calls that were asked for, each a place for a fault.
    pub calls: Vec<Site>,
    /// Over everything that has happened, in order.
    pub hash: u64,
    /// The faults that struck, by the number of the call.
    pub met: Vec<(u64, Fault)>,
    pub broken: Option<Broken>,
    pub coverage: Coverage,
    /// What was done at the first account.
    pub tally: Tally,
    /// What somebody has removed by hand, and how often.
    pub removed: BTreeMap<ResourceId, u32>,
    /// How often a generation failed, or was left for the one before.
    pub failed: u32,
    /// The generations that failed, in the order in which that was written down, and whether the one before came back.
    pub held: Vec<(u64, bool)>,
    pub trace: Vec<String>,
}

pub struct AppState {
    pub key: AppKey,
    /// What stands behind its target.
    pub account: usize,
    /// Which version of the script is wanted.
    pub position: usize,
    /// The last version that is, or will be, asked for at a time that is known.
    pub announced: usize,
    pub stage: Stage,
    pub runs: Vec<Option<AppRun>>,
    /// A run is wanted and none could begin.
    pub waits: bool,
    pub at_rest: bool,
    /// Something went wrong for which a generation may fail.
    pub excused: bool,
    /// Until when what somebody did by hand may explain what is seen.
    pub by_hand_until: u64,
    pub rollbacks: u32,
    /// The generation that was told last, and of which account.
    pub told: Option<(usize, u64)>,
    /// The hash of what failed last, and where.
    pub held: Option<(usize, String)>,
    /// The way back from it has failed too.
    pub is_stuck: bool,
    pub removed_by_hand: u32,
    pub writes_before_silence: u64,
}

/// One run of the engine for one app.
pub struct AppRun {
    pub number: u64,
    state: Option<State>,
    turn: u64,
    pub position: usize,
    pub account: usize,
    pub retry: bool,
    pub rolling_back: bool,
}

/// Which app, by which controller, is worked on where.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub app: usize,
    pub controller: usize,
    pub account: usize,
}

impl<'a> World<'a> {
    pub fn new(scenario: &'a Scenario, stand: &'a Stand) -> Self {
        let now = 1_000_000_000;
        let clock = Arc::new(AtomicU64::new(now));
        let accounts = (0..scenario.accounts).map(|_| Account::of(scenario, &clock)).collect();
        let shape = stand.shape(scenario.lag.longest() + MARGIN_MS);
        let rate = shape.requests_per_second();
        let controllers = (0..scenario.controllers).map(|_| Controller::new(scenario.accounts, rate));
        let apps = (0..scenario.scripts.len()).map(|app| AppState::new(stand, scenario, app));
        let mut world = Self {
            policy: Policy {
                poll_longest: Duration::from_secs(10),
                ..Policy::default()
            },
            now,
            clock,
            agenda: Agenda::default(),
            accounts,
            images: FakeImages::default(),
            journal: MemoryJournal::default(),
            controllers: controllers.collect(),
            apps: apps.collect(),
            flights: Vec::new(),
            lease: LeaseRecord::default(),
            latency: Random::of(scenario.seed, 1),
            chance: Random::of(scenario.seed, 2),
            watches_secrets: secrets::are_watched(scenario.seed),
            quiet: false,
            judged_from: 0,
            nobody_until: 0,
            outside_left: scenario.outside.len(),
            faults_left: match scenario.faults {
                Faults::Listed(_) => 0,
                Faults::Random { most, .. } => most,
            },
            aim: match scenario.faults {
                Faults::Listed(_) => None,
                Faults::Random { aim, .. } => Some(aim),
            },
            runs: 0,
            result: Run::default(),
            trace: None,
            scenario,
            stand,
            shape,
        };
        world.set_out();
        world
    }

    pub fn traced(mut self) -> Self {
        self.trace = Some(Vec::new());
        self
    }

    pub fn with_secrets_told(mut self) -> Self {
        self.accounts
            .iter_mut()
            .for_each(|account| account.cloud.repeat_secrets());
        self
    }

    fn set_out(&mut self) {
        for controller in 0..self.controllers.len() {
            if self.has_lease() {
                let skew = self.latency.below(2 * LARGEST_SKEW_MS);
                let one = &mut self.controllers[controller];
                one.skew_ms = skew.cast_signed() - LARGEST_SKEW_MS.cast_signed();
                one.lease = Some(Timestamp(0));
                self.agenda
                    .plan(self.now + controller as u64, Token::Lease { controller });
            }
        }
        for app in 0..self.apps.len() {
            self.agenda.plan(self.now + 10, Token::Script { app, position: 0 });
        }
        for (index, (at, _)) in self.scenario.outside.iter().enumerate() {
            self.agenda.plan(self.now + at, Token::Outside { index });
        }
    }

    /// To the end, or to what must never happen.
    pub fn run(mut self) -> Run {
        let mut happened = 0;
        while self.result.broken.is_none() && !self.is_over() {
            let Some((at, token)) = self.agenda.next() else {
                self.broken("I1", "nothing is to come, and not everything is at its end".to_string());
                break;
            };
            self.now = self.now.max(at);
            self.clock.store(self.now, Ordering::Relaxed);
            for account in &mut self.accounts {
                account.cloud.catch_up(self.now);
            }
            self.happens(token);
            happened += 1;
            if happened > MOST_STEPS {
                self.broken("I1", format!("no end after {MOST_STEPS} steps of the agenda"));
            }
        }
        (0..self.accounts.len()).for_each(|account| self.check_target(account));
        if self.result.broken.is_none() {
            self.count_creates();
        }
        self.result.tally = self.accounts[0].cloud.tally();
        self.result.supervisor_steps = self.accounts.iter().map(|account| account.cloud.steps()).sum();
        self.result.trace = self.trace.unwrap_or_default();
        self.result
    }

    fn is_over(&self) -> bool {
        self.apps.iter().all(|app| app.stage == Stage::Done)
    }

    fn happens(&mut self, token: Token) {
        match token {
            Token::Flight(id) => self.flight(id),
            Token::Wake {
                app,
                controller,
                run,
                turn,
            } => {
                let runs = self.apps[app].runs[controller].as_ref();
                if !runs.is_some_and(|one| one.number == run && one.turn == turn) {
                    return;
                }
                match self.is_stalled(controller) {
                    Some(until) => self.agenda.plan(until, token),
                    None => self.advance(app, controller, Event::Wake),
                }
            }
            Token::Begin { app } => self.begin(app),
            Token::Script { app, position } => self.ask_for(app, position),
            Token::Outside { index } => self.outside(self.scenario.outside[index].1),
            Token::Restart { controller } => self.restart(controller),
            Token::Lease { controller } => self.ask_for_lease(controller),
            Token::LeaseAsked(ask) => self.lease_asked(ask),
            Token::LeaseGiven(ask) => self.lease_given(ask),
        }
    }

    // What happens without the engine's doing.

    fn outside(&mut self, outside: Outside) {
        self.outside_left -= 1;
        self.note(|_| format!("{outside:?}"));
        match outside {
            Outside::RemovedByHand { app, nth } => self.by_hand(app, nth, true),
            Outside::ChangedByHand { app, nth } => self.by_hand(app, nth, false),
            Outside::NameTaken { app, nth } => self.take_name(app, nth),
            Outside::NameFreed { app, nth } => self.free_name(app, nth),
            Outside::TargetAway { account, ms } => {
                self.accounts[account].away_until = self.now + ms;
                self.apps.iter_mut().for_each(|app| app.excused = true);
            }
            Outside::Moved { app } => self.moves(app),
            Outside::LeaseAway { ms } => self.lease.away_until = self.now + ms,
            Outside::Stalled { controller, ms } => {
                self.controllers[controller].stalled_until = self.now + ms;
                // Its own calls may be late for their deadlines then.
                self.apps.iter_mut().for_each(|app| app.excused = true);
            }
            Outside::Killed { controller } => {
                if self.controllers[controller].alive {
                    self.crash(controller, None);
                }
            }
            Outside::JournalLost => self.lose_the_journal(),
            Outside::SupervisorKilled { app, .. } | Outside::ContainerEnds { app, .. } => self.befalls(app, outside),
            Outside::Rebooted => self.reboot(),
        }
        self.end_if_all_rest();
    }

    /// Who works on it there is interrupted. What there is stays, and is nobody's business any more.
    fn moves(&mut self, app: usize) {
        let state = &mut self.apps[app];
        state.account = (state.account + 1) % self.accounts.len();
        state.at_rest = false;
        self.work_on(app);
    }

    fn by_hand(&mut self, app: usize, nth: usize, remove: bool) {
        let account = self.apps[app].account;
        let scope = self.scope(app, account);
        let cloud = &mut self.accounts[account].cloud;
        let mut theirs = cloud.owned(scope);
        if theirs.is_empty() {
            return;
        }
        let id = theirs.swap_remove(nth % theirs.len());
        let done = match remove {
            true => cloud.remove_by_hand(scope, &id),
            false => cloud.change_by_hand(scope, &id),
        };
        if !done {
            return;
        }
        self.apps[app].by_hand_until = self.now + 7_200_000;
        if remove {
            self.apps[app].removed_by_hand += 1;
            *self
                .result
                .removed
                .entry(cloud.counted(scope, &id).into_owned())
                .or_default() += 1;
            let held = self.journal.read(&self.apps[app].key, |record| record.held.is_some());
            if held != Some(true) {
                self.forget_unnoted(app);
            }
        }
    }

    fn name_of(&self, app: usize, nth: usize) -> ResourceId {
        let resources = &self.wanted(app, 0).resources;
        let id = resources.keys().nth(nth % resources.len());
        id.expect("the remainder is less than the length").clone()
    }

    fn take_name(&mut self, app: usize, nth: usize) {
        let (id, account) = (self.name_of(app, nth), self.apps[app].account);
        let scope = self.scope(app, account);
        self.accounts[account].cloud.take_name(scope, &id);
    }

    fn free_name(&mut self, app: usize, nth: usize) {
        let (id, account) = (self.name_of(app, nth), self.apps[app].account);
        let scope = self.scope(app, account);
        self.accounts[account].cloud.free_name(scope, &id);
    }

    /// The controllers of a machine go down with it.
    fn reboot(&mut self) {
        (0..self.apps.len()).for_each(|app| self.befalls(app, Outside::Rebooted));
        self.crash_all();
    }

    /// At the platform itself, without anybody's call.
    fn befalls(&mut self, app: usize, outside: Outside) {
        let account = self.apps[app].account;
        let scope = self.scope(app, account);
        if let Some(befallen) = self.accounts[account].cloud.befalls(scope, outside) {
            let state = &mut self.apps[app];
            state.by_hand_until = state.by_hand_until.max(self.now + befallen.explains_ms);
            state.excused |= befallen.may_fail;
        }
    }

    // Scripts.

    pub(super) fn wanted(&self, app: usize, position: usize) -> &'a Wanted {
        let (_, version) = self.scenario.scripts[app][position];
        self.stand.catalogue.get(app, version)
    }

    fn ask_for(&mut self, app: usize, position: usize) {
        let script = &self.scenario.scripts[app];
        self.apps[app].position = position;
        self.apps[app].announced = position;
        self.apps[app].at_rest = false;
        self.note(|_| format!("app {app} shall be {:?}", script[position].1));
        let missed = matches!(script[position].0, Start::Missed(_));
        if let Some((Start::Halfway(ms) | Start::Missed(ms), _)) = script.get(position + 1) {
            let position = position + 1;
            self.agenda.plan(self.now + ms, Token::Script { app, position });
        }
        let under_way = self.apps[app].runs.iter().any(Option::is_some);
        match missed {
            true if under_way => {}
            true => self.agenda.plan(self.now + 300_000, Token::Begin { app }),
            false => self.work_on(app),
        }
    }

    /// Somebody begins with what is wanted now; whoever works on something else is told so.
    fn work_on(&mut self, app: usize) {
        let under_way = (0..self.controllers.len()).find(|controller| self.apps[app].runs[*controller].is_some());
        match under_way {
            Some(controller) if self.is_stalled(controller).is_none() => {
                self.advance(app, controller, Event::Interrupt);
            }
            Some(_) => {}
            None => self.agenda.plan(self.now + 1, Token::Begin { app }),
        }
    }

    fn begin(&mut self, app: usize) {
        let busy = |run: &Option<AppRun>| run.is_some();
        if self.apps[app].at_rest || self.apps[app].stage == Stage::Done || self.now < self.judged_from {
            return;
        }
        let Some(controller) = self.able() else {
            self.apps[app].waits = true;
            let stalled = (0..self.controllers.len()).filter_map(|controller| self.is_stalled(controller));
            if let Some(until) = stalled.min() {
                self.agenda.plan(until, Token::Begin { app });
            }
            return;
        };
        if busy(&self.apps[app].runs[controller]) {
            return;
        }
        self.apps[app].waits = false;
        self.runs += 1;
        let state = &self.apps[app];
        let wanted = self.wanted(app, state.position);
        let retry = matches!(state.stage, Stage::Retrying(_));
        let work = if retry { &wanted.retry } else { &wanted.work };
        let record = self.journal.load(&state.key).expect("memory can be read");
        let run = AppRun {
            number: self.runs,
            state: Some(State::new(work.clone(), self.shape.clone(), self.policy, record)),
            turn: 0,
            position: state.position,
            account: state.account,
            retry,
            rolling_back: false,
        };
        self.note(|_| format!("run {} of app {app} begins at controller {controller}", run.number));
        self.apps[app].runs[controller] = Some(run);
        self.advance(app, controller, Event::Start);
    }

    // One step of the engine.

    pub(super) fn advance(&mut self, app: usize, controller: usize, event: Event) {
        let now = self.time_of(controller);
        let lease = self.controllers[controller].lease;
        let Some(run) = self.apps[app].runs[controller].as_mut() else {
            return;
        };
        let number = run.number;
        let place = Place {
            app,
            controller,
            account: run.account,
        };
        let Some(state) = run.state.take() else { return };
        let input = Input {
            now,
            random: self.latency.next(),
            lease,
            event,
        };
        let (state, effects) = step(state, input);
        run.turn += 1;
        let turn = run.turn;
        let finished = state.is_finished();
        run.state = Some(state);
        self.result.steps += 1;
        self.mix(self.now ^ (number << 40) ^ turn);
        for effect in effects {
            self.check_effect(&effect);
            match effect {
                Effect::Ask(effect, ask) => {
                    self.check_ask(place, &ask);
                    let id = FlightId { run: number, effect };
                    if self.asked(id, place, ask).is_err() {
                        return;
                    }
                }
                Effect::Abandon(effect) => self.abandon(FlightId { run: number, effect }),
                Effect::WakeAt(at) => {
                    let at = at.0.saturating_add_signed(-self.controllers[controller].skew_ms);
                    let token = Token::Wake {
                        app,
                        controller,
                        run: number,
                        turn,
                    };
                    self.agenda.plan(at, token);
                }
                Effect::Publish(event) => self.published(app, controller, &event),
            }
        }
        if finished {
            self.finish(app, controller);
        }
    }

    fn published(&mut self, app: usize, controller: usize, event: &EngineEvent) {
        self.note(|_| format!("app {app}: {event:?}"));
        if let EngineEvent::RollingBack { .. } = event {
            self.apps[app].rollbacks += 1;
            self.result.failed += 1;
        }
        if let EngineEvent::RollingBack { .. } | EngineEvent::Restoring { .. } = event
            && let Some(run) = &mut self.apps[app].runs[controller]
        {
            run.rolling_back = true;
        }
    }

    fn finish(&mut self, app: usize, controller: usize) {
        let Some(mut run) = self.apps[app].runs[controller].take() else {
            return;
        };
        let result = run.state.take().and_then(State::into_result);
        let result = result.expect("the machine has finished");
        self.flights
            .retain_mut(|flight| flight.id.run != run.number || flight.outlives_its_run());
        let told = match &result {
            Ok(outcome) => format!("{:?}", outcome.kind),
            Err(error) => format!("{error:?}"),
        };
        self.note(|_| format!("run {} of app {app}: {told}", run.number));
        self.check_result(&result);
        if let Ok(outcome) = &result {
            // Whoever has been succeeded tells nobody any more.
            if self.may_record(controller) {
                self.check_outcome(app, run.account, outcome);
            }
            self.check_verdict(app, &run, outcome);
        }
        self.ended(app, &run, result);
    }

    /// Whether another run follows, and of what.
    fn ended(&mut self, app: usize, run: &AppRun, result: Result<Outcome, EngineError>) {
        let others = self.apps[app].runs.iter().any(Option::is_some);
        if others {
            return;
        }
        let position = run.position;
        if (self.apps[app].position, self.apps[app].account) != (position, run.account) {
            self.agenda.plan(self.now + 10, Token::Begin { app });
            return;
        }
        if self.apps[app].stage != Stage::Script {
            self.judge(app, run.retry, result);
            return;
        }
        match result.map(|outcome| outcome.kind) {
            Ok(OutcomeKind::Converged | OutcomeKind::Held(_) | OutcomeKind::RolledBack { .. }) => {
                self.apps[app].at_rest = true;
                match self.scenario.scripts[app].get(position + 1) {
                    Some((Start::After(ms), _)) if self.apps[app].announced == position => {
                        let position = position + 1;
                        self.apps[app].announced = position;
                        self.agenda.plan(self.now + ms, Token::Script { app, position });
                    }
                    Some(_) => {}
                    None => self.end_if_all_rest(),
                }
            }
            _ => self.agenda.plan(self.now + 1_000, Token::Begin { app }),
        }
    }

    /// Once every script has come to its end nothing goes wrong any more, and each app is judged.
    fn end_if_all_rest(&mut self) {
        let at_end = |app: usize| {
            let state = &self.apps[app];
            state.at_rest && state.position + 1 == self.scenario.scripts[app].len()
        };
        if self.quiet || self.outside_left > 0 || !(0..self.apps.len()).all(at_end) {
            return;
        }
        self.quiet = true;
        self.note(|_| "nothing goes wrong any more".to_string());
        let away_until = self.accounts.iter().map(|account| account.away_until).max();
        let settled = away_until.unwrap_or_default().max(self.now + LATEST_MS);
        let after = settled + self.scenario.lag.longest() + MARGIN_MS;
        self.judged_from = after;
        for app in 0..self.apps.len() {
            self.apps[app].at_rest = false;
            self.apps[app].stage = Stage::Last(0);
            self.agenda.plan(after, Token::Begin { app });
        }
    }

    // Notes.

    pub(super) fn note(&mut self, text: impl FnOnce(&Self) -> String) {
        if self.trace.is_none() {
            return;
        }
        let line = format!("{:>9} ms  {}", self.now - 1_000_000_000, text(self));
        self.trace.iter_mut().for_each(|lines| lines.push(line.clone()));
    }

    pub(super) fn mix(&mut self, value: u64) {
        self.result.hash = (self.result.hash ^ value)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(23);
    }
}

impl AppState {
    fn new(stand: &Stand, scenario: &Scenario, app: usize) -> Self {
        let (_, version) = scenario.scripts[app][0];
        let work: &Work = &stand.catalogue.get(app, version).work;
        Self {
            key: work.key(),
            account: app % scenario.accounts,
            position: 0,
            announced: 0,
            stage: Stage::Script,
            runs: (0..scenario.controllers).map(|_| None).collect(),
            waits: false,
            at_rest: false,
            excused: false,
            by_hand_until: 0,
            rollbacks: 0,
            told: None,
            held: None,
            is_stuck: false,
            removed_by_hand: 0,
            writes_before_silence: 0,
        }
    }
}
