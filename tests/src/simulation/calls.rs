//! What becomes of a call: it waits for its turn, leaves, arrives, is answered, and may go wrong on each of these ways.

use std::time::Duration;

use portolan_engine::journal::{Journal, JournalError};
use portolan_engine::machine::{Answer, Ask, Event};
use portolan_provider_api::{CallError, ErrorClass, ImageError};
use portolan_provider_fake::{self as fake, answer_lost, throttled};

use super::agenda::{FlightId, Token};
use super::catalogue::REALMS;
use super::controllers::Share;
use super::fault::Fault;
use super::scenario::Faults;
use super::site::Site;
use super::world::{LARGEST_SKEW_MS, Place, World};

/// A call on its way.
pub struct Flight {
    pub id: FlightId,
    pub app: usize,
    pub controller: usize,
    /// Where its run works.
    pub account: usize,
    pub ask: Ask,
    pub site: Site,
    pub phase: Phase,
    pub fault: Option<Fault>,
    /// Whether anybody still waits for the answer.
    pub is_heard: bool,
}

#[expect(clippy::large_enum_variant, reason = "a handful of them are under way at a time")]
pub enum Phase {
    /// For a token of the account's budget.
    Waiting,
    Sent,
    Answered(Answer),
}

impl Flight {
    /// What changes something outside arrives, whether or not anybody waits for it.
    pub fn outlives_its_run(&mut self) -> bool {
        let arrives = matches!(self.phase, Phase::Sent) && self.site.changes_something();
        self.is_heard = false;
        arrives
    }
}

/// The process has ended while it did this.
pub struct Crashed;

impl World<'_> {
    pub(super) fn asked(&mut self, id: FlightId, from: Place, ask: Ask) -> Result<(), Crashed> {
        let site = Site::of(&ask);
        let mut flight = Flight {
            id,
            app: from.app,
            controller: from.controller,
            account: from.account,
            ask,
            site: site.unwrap_or(Site::Preflight),
            phase: Phase::Waiting,
            fault: None,
            is_heard: true,
        };
        if site.is_none() {
            // A person says yes, after a while.
            flight.phase = Phase::Answered(Answer::Approve(true));
            self.agenda.plan(self.now + 1_000, Token::Flight(id));
            self.flights.push(flight);
            return Ok(());
        }
        let now = self.time_of(flight.controller);
        let wait = match flight.site.is_budgeted() {
            true => self.share(&flight).budget.take(now),
            false => Duration::ZERO,
        };
        if wait.is_zero() {
            return self.send(flight);
        }
        self.agenda.plan(self.now + millis(wait), Token::Flight(id));
        self.flights.push(flight);
        Ok(())
    }

    /// What the flight's controller may ask of its account.
    fn share(&mut self, flight: &Flight) -> &mut Share {
        &mut self.controllers[flight.controller].shares[flight.account]
    }

    pub(super) fn abandon(&mut self, id: FlightId) {
        if let Some(at) = self.flights.iter().position(|flight| flight.id == id)
            && !self.flights[at].outlives_its_run()
        {
            self.flights.swap_remove(at);
        }
    }

    /// Whatever comes next for that call.
    pub(super) fn flight(&mut self, id: FlightId) {
        let Some(at) = self.flights.iter().position(|flight| flight.id == id) else {
            return;
        };
        let at_home = !matches!(self.flights[at].phase, Phase::Sent);
        if at_home && let Some(until) = self.is_stalled(self.flights[at].controller) {
            self.agenda.plan(until, Token::Flight(id));
            return;
        }
        let flight = self.flights.swap_remove(at);
        match flight.phase {
            Phase::Waiting => drop(self.leave(flight)),
            Phase::Sent => self.arrive(flight),
            Phase::Answered(_) => self.deliver(flight),
        }
    }

    /// Its turn has come, unless somebody was told meanwhile to leave the platform alone.
    fn leave(&mut self, flight: Flight) -> Result<(), Crashed> {
        let now = self.time_of(flight.controller);
        let pause = self.share(&flight).budget.pause(now);
        if pause.is_zero() {
            return self.send(flight);
        }
        self.agenda.plan(self.now + millis(pause), Token::Flight(flight.id));
        self.flights.push(flight);
        Ok(())
    }

    fn send(&mut self, mut flight: Flight) -> Result<(), Crashed> {
        let now = self.time_of(flight.controller);
        let lease = self.controllers[flight.controller].lease;
        if flight.site.changes_something() && lease.is_some_and(|until| now >= until) {
            flight.phase = Phase::Answered(failed(&flight.ask, not_sent()));
            self.agenda.plan(self.now, Token::Flight(flight.id));
            self.flights.push(flight);
            return Ok(());
        }
        self.check_send(&flight);
        flight.fault = self.strike(&flight);
        self.mix(flight.site.index() as u64 ^ (flight.fault.map_or(0, |fault| fault.index() as u64 + 1) << 8));
        self.note(|_| match flight.fault {
            Some(fault) => format!("app {}: {}: {fault}", flight.app, told(&flight.ask)),
            None => format!("app {}: {}", flight.app, told(&flight.ask)),
        });
        match flight.fault {
            Some(Fault::CrashBeforeSend | Fault::CrashInWriteLost) => {
                self.crash(flight.controller, None);
                return Err(Crashed);
            }
            Some(Fault::ClockSkewed) => {
                let skew = LARGEST_SKEW_MS.cast_signed() - self.chance.below(2 * LARGEST_SKEW_MS).cast_signed();
                self.crash(flight.controller, Some(skew));
                return Err(Crashed);
            }
            Some(Fault::CrashInWriteKept) => {
                self.append(&flight);
                self.crash(flight.controller, None);
                return Err(Crashed);
            }
            _ => {}
        }
        flight.phase = Phase::Sent;
        let at = self.now + self.takes();
        let at = match flight.site {
            Site::Observe | Site::Write(..) | Site::Note => self.accounts[flight.account].arrival(at),
            _ => at,
        };
        self.agenda.plan(at, Token::Flight(flight.id));
        self.flights.push(flight);
        Ok(())
    }

    /// How long one way takes.
    pub(super) fn takes(&mut self) -> u64 {
        match self.latency.below(64) {
            0 => 20 + self.latency.below(480),
            _ => self.latency.below(20),
        }
    }

    /// The fault that strikes the call, if one does.
    fn strike(&mut self, flight: &Flight) -> Option<Fault> {
        let number = self.result.calls.len() as u64;
        self.result.calls.push(flight.site);
        if self.quiet {
            return None;
        }
        let fault = match &self.scenario.faults {
            Faults::Listed(faults) => {
                let struck = faults.binary_search_by_key(&number, |(at, _)| *at).ok()?;
                faults[struck].1
            }
            Faults::Random { .. } => self.drawn(flight.site)?,
        };
        if !self.stand.can_meet(fault, flight.site) {
            return None;
        }
        self.result.met.push((number, fault));
        self.result.coverage.met(flight.site, fault);
        self.apps[flight.app].excused |= fault.may_fail_a_generation();
        if fault == Fault::FailedLate && self.stand.is_local {
            // It ends, and is started again.
            let state = &mut self.apps[flight.app];
            state.by_hand_until = state.by_hand_until.max(self.now + 60_000);
        }
        Some(fault)
    }

    /// One fault is kept for what is aimed at.
    fn drawn(&mut self, site: Site) -> Option<Fault> {
        if let Some(aim) = self.aim.filter(|aim| aim.site == site)
            && self.chance.chance(500)
        {
            self.aim = None;
            self.faults_left -= 1;
            return Some(aim.fault);
        }
        if self.faults_left <= usize::from(self.aim.is_some()) || !self.chance.chance(likely(site)) {
            return None;
        }
        self.faults_left -= 1;
        Some(*self.chance.one_of(self.stand.possible(site)))
    }

    /// The other side does what it was asked for.
    fn arrive(&mut self, mut flight: Flight) {
        let away = self.now < self.accounts[flight.account].away_until
            && flight.site != Site::Journal
            && flight.site != Site::Pin;
        let answer = match away {
            true => failed(&flight.ask, answer_lost()),
            false => self.answer(&flight),
        };
        self.check_target(flight.account);
        if !flight.is_heard || flight.fault == Some(Fault::AnswerLost) {
            return;
        }
        let late = match flight.fault {
            Some(Fault::SlowAnswer) => 5_000 + self.chance.below(50_000),
            _ => 0,
        };
        flight.phase = Phase::Answered(answer);
        let after = self.takes() + late;
        self.agenda.plan(self.now + after, Token::Flight(flight.id));
        self.flights.push(flight);
    }

    fn answer(&mut self, flight: &Flight) -> Answer {
        let fault = flight.fault.and_then(|fault| self.at_the_platform(fault, flight.site));
        let cloud = &mut self.accounts[flight.account].cloud;
        match &flight.ask {
            Ask::Realm => Answer::Realm(refusal(fault).map_or(Ok(REALMS[flight.account].to_string()), Err)),
            Ask::Pin(request) => Answer::Pin(match refusal(fault) {
                Some(error) => Err(image_error(error)),
                None => Ok(self.images.pin_now(request)),
            }),
            Ask::Preflight { .. } => Answer::Preflight(refusal(fault).map_or(Ok(Vec::new()), Err)),
            Ask::Observe { scope, wanted, open } => Answer::Observe(cloud.observe(scope, wanted, open, fault.as_ref())),
            Ask::Call { scope, request } => Answer::Call(cloud.write(scope, request, fault.as_ref())),
            Ask::Note { scope, held } => Answer::Note(cloud.note(scope, held.as_ref(), fault.as_ref())),
            Ask::Write(_) => Answer::Write(self.record(flight)),
            Ask::Approve { .. } => Answer::Approve(true),
        }
    }

    fn record(&mut self, flight: &Flight) -> Result<(), JournalError> {
        if !self.may_record(flight.controller) {
            let key = self.apps[flight.app].key.clone();
            return Err(JournalError::Busy { key, pid: None });
        }
        if flight.fault != Some(Fault::ServerErrorNotApplied) {
            self.append(flight);
        }
        match flight.fault {
            Some(Fault::ServerErrorNotApplied | Fault::ServerErrorApplied) => Err(JournalError::Access {
                operation: "write",
                key: self.apps[flight.app].key.clone(),
                source: "no space left on device".into(),
            }),
            _ => Ok(()),
        }
    }

    /// One transaction becomes durable.
    pub(super) fn append(&mut self, flight: &Flight) {
        if let Ask::Write(entries) = &flight.ask
            && self.may_record(flight.controller)
        {
            let key = self.apps[flight.app].key.clone();
            self.journal.append(&key, entries).expect("memory can be written");
            self.check_entries(flight.app, flight.account, entries);
        }
    }

    /// The fault as the platform knows it; `None` for what happens on this side, or on the way.
    fn at_the_platform(&mut self, fault: Fault, site: Site) -> Option<fake::Fault> {
        let code = self.stand.rules.throttle.map_or("Throttled", |throttle| throttle.code);
        let stale = self.scenario.lag.longest() + 500;
        let span = |random: &mut super::random::Random, least: u64, most: u64| least + random.below(most - least);
        Some(match fault {
            Fault::Throttled => fake::Fault::Refuse(throttled(code, None)),
            Fault::ThrottledUntil => {
                let after = span(&mut self.chance, 500, 30_000);
                fake::Fault::Refuse(throttled(code, Some(after)))
            }
            Fault::ServerErrorNotApplied => fake::Fault::Refuse(server_error()),
            Fault::ServerErrorApplied => fake::Fault::DoAndRefuse(server_error()),
            Fault::OtherWriter => fake::Fault::OtherWriter,
            Fault::StaleRead => fake::Fault::Stale { ms: stale },
            Fault::NotFoundAfterCreate => fake::Fault::NotFound { ms: stale },
            Fault::PartialList => fake::Fault::Partial,
            Fault::EmptyList => fake::Fault::Empty,
            Fault::OperationSlow => fake::Fault::Slow {
                ms: span(&mut self.chance, 1_000, 60_000),
            },
            Fault::HandleLost => fake::Fault::HandleLost,
            Fault::FailedLate => fake::Fault::FailLate {
                ms: span(&mut self.chance, 200, 8_000),
            },
            Fault::SucceededAfterTimeOut => fake::Fault::TimeOut {
                ms: span(&mut self.chance, 200, 8_000),
            },
            Fault::CredentialsExpired => fake::Fault::Refuse(CallError::new(
                ErrorClass::Denied,
                "ExpiredToken",
                "the credentials have expired",
            )),
            Fault::Truncated if site == Site::Observe && !self.stand.is_local => fake::Fault::Partial,
            Fault::Truncated if site.changes_something() => fake::Fault::DoAndRefuse(truncated()),
            Fault::Truncated => fake::Fault::Refuse(truncated()),
            Fault::Reordered => fake::Fault::Reordered,
            Fault::Oversize => fake::Fault::Refuse(oversize(site)),
            _ => return None,
        })
    }

    /// The answer is there.
    fn deliver(&mut self, flight: Flight) {
        if flight.fault == Some(Fault::CrashAfterAnswer) {
            self.note(|_| format!("app {}: {} was answered", flight.app, told(&flight.ask)));
            self.crash(flight.controller, None);
            return;
        }
        let now = self.time_of(flight.controller);
        let share = &mut self.controllers[flight.controller].shares[flight.account];
        let Phase::Answered(answer) = flight.phase else { return };
        if let Some(after) = retry_after(&answer) {
            let until = now.plus(after);
            share.budget.pause_until(until);
            share.limits.told_to_wait(until);
        }
        if matches!(answer, Answer::Realm(Ok(_))) {
            share.budget.take(now);
        }
        if flight.is_heard {
            self.advance(flight.app, flight.controller, Event::Done(flight.id.effect, answer));
        }
    }
}

/// How many times of a thousand a fault strikes there. Rare calls are struck more often, so that each pair is met.
fn likely(site: Site) -> u64 {
    match site {
        Site::Observe => 12,
        Site::Journal => 20,
        Site::Realm | Site::Pin | Site::Preflight => 25,
        Site::Write(portolan_core::plan::Verb::Create, "Service" | "Network") => 60,
        Site::Write(portolan_core::plan::Verb::Update, "Service") => 100,
        Site::Write(..) | Site::Note => 400,
    }
}

fn told(ask: &Ask) -> String {
    match ask {
        Ask::Realm => "asks whose account it is".into(),
        Ask::Pin(request) => format!("pins {}", request.container),
        Ask::Observe { .. } => "observes".into(),
        Ask::Preflight { .. } => "asks whether it may".into(),
        Ask::Call { request, .. } => format!("{:?} {}", request.verb, request.id).to_lowercase(),
        Ask::Note { held: Some(held), .. } => format!("notes that {} is held", held.generation),
        Ask::Note { held: None, .. } => "notes that nothing is held".into(),
        Ask::Write(entries) => {
            let names = entries.iter().map(|entry| {
                let text = format!("{entry:?}");
                text.split(['(', ' ', '{']).next().unwrap_or_default().to_string()
            });
            format!("writes down {}", names.collect::<Vec<_>>().join(", "))
        }
        Ask::Approve { .. } => "asks somebody".into(),
    }
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    let error = match answer {
        Answer::Realm(Err(error))
        | Answer::Observe(Err(error))
        | Answer::Preflight(Err(error))
        | Answer::Note(Err(error))
        | Answer::Call(Err(error)) => error,
        _ => return None,
    };
    match error.class {
        ErrorClass::Retry { after } => after,
        _ => None,
    }
}

fn refusal(fault: Option<fake::Fault>) -> Option<CallError> {
    match fault? {
        fake::Fault::Refuse(error) | fake::Fault::DoAndRefuse(error) => Some(error),
        _ => None,
    }
}

fn image_error(error: CallError) -> ImageError {
    ImageError {
        class: error.class,
        code: error.code,
        message: error.message,
        places: Vec::new(),
        hint: None,
        evidence: error.evidence,
    }
}

fn failed(ask: &Ask, error: CallError) -> Answer {
    match ask {
        Ask::Realm => Answer::Realm(Err(error)),
        Ask::Observe { .. } => Answer::Observe(Err(error)),
        Ask::Preflight { .. } => Answer::Preflight(Err(error)),
        Ask::Note { .. } => Answer::Note(Err(error)),
        _ => Answer::Call(Err(error)),
    }
}

/// As the driver answers for a call that it did not send.
fn not_sent() -> CallError {
    CallError::new(ErrorClass::Retry { after: None }, "LeaseLost", "the lease has passed")
}

fn server_error() -> CallError {
    CallError::new(
        ErrorClass::Retry { after: None },
        "InternalError",
        "something went wrong",
    )
}

fn truncated() -> CallError {
    let message = "the answer ends in the middle";
    CallError::new(ErrorClass::Retry { after: None }, "AnswerTruncated", message)
}

/// Far more than anybody wants to keep.
fn oversize(site: Site) -> CallError {
    let class = match site.changes_something() {
        true => ErrorClass::Denied,
        false => ErrorClass::Retry { after: None },
    };
    let line = "x".repeat(1024);
    CallError::new(class, "TooMuch", "it says more than anybody reads").with_evidence(vec![line; 256])
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
