//! Drives the pure machine against a cloud in memory, with a clock that moves only when nothing else can happen, and
//! kills it wherever a test likes.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod bench;
pub mod manifests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portolan_core::plan::{Scope, Verb};
use portolan_core::resource::ResourceId;
use portolan_engine::journal::{Journal, MemoryJournal};
use portolan_engine::machine::{
    Answer, Ask, Effect, EffectId, Event, Input, PhaseName, Policy, State, Timestamp, step,
};
use portolan_engine::{EngineError, EngineEvent, Outcome, OutcomeKind, Work};
use portolan_provider_fake::kinds::Kind;
use portolan_provider_fake::platform::{PLAIN, Platform};
use portolan_provider_fake::{FakeCloud, FakeImages, FakeShape, object};
use serde_json::Value;

/// A cloud, a journal and a clock that outlive every machine.
pub struct Sim {
    now: Arc<AtomicU64>,
    pub cloud: FakeCloud,
    pub images: FakeImages,
    pub journal: MemoryJournal,
    pub policy: Policy,
    pub shape: FakeShape,
    /// What is answered when a plan asks.
    pub approves: bool,
    /// How long every answer takes.
    pub latency_ms: u64,
}

/// Where a run is cut off, counted in asks from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The ask is never carried out.
    CrashBefore(usize),
    /// It is, and nobody hears the answer.
    CrashAfter(usize),
    /// The user wants to stop when it is asked, and says so twice.
    Interrupt(usize),
}

/// What came of one run.
pub struct Run {
    /// `None`: crashed.
    pub result: Option<Result<Outcome, EngineError>>,
    pub events: Vec<EngineEvent>,
    pub phases: Vec<PhaseName>,
    pub asks: usize,
}

impl Run {
    pub fn outcome(self) -> Outcome {
        self.result
            .expect("the run did not crash")
            .expect("the run came to an end")
    }

    pub fn kind(self) -> OutcomeKind {
        self.outcome().kind
    }
}

/// An answer on its way, by when it arrives.
type OnTheirWay = BTreeMap<(u64, EffectId), Answer>;

impl Sim {
    pub fn new() -> Self {
        Self::of(&PLAIN)
    }

    /// On that platform.
    pub fn of(platform: &Platform) -> Self {
        let now = Arc::new(AtomicU64::new(1_000_000));
        let clock = now.clone();
        Self {
            cloud: FakeCloud::of(platform, Arc::new(move || clock.load(Ordering::Relaxed))),
            now,
            images: FakeImages::default(),
            journal: MemoryJournal::default(),
            policy: Policy::default(),
            shape: FakeShape::of(platform),
            approves: true,
            latency_ms: 10,
        }
    }

    /// Another world in which everything is as it is in this one.
    pub fn fork(&self) -> Self {
        let now = Arc::new(AtomicU64::new(self.now_ms()));
        let clock = now.clone();
        Self {
            now,
            cloud: self.cloud.fork(Arc::new(move || clock.load(Ordering::Relaxed))),
            images: self.images.clone(),
            journal: self.journal.fork(),
            policy: self.policy,
            shape: self.shape.clone(),
            approves: self.approves,
            latency_ms: self.latency_ms,
        }
    }

    pub fn now_ms(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Lets time pass.
    pub fn sleep_ms(&self, millis: u64) {
        self.now.fetch_add(millis, Ordering::Relaxed);
    }

    pub fn run(&self, work: &Work) -> Run {
        self.drive(work, None)
    }

    pub fn drive(&self, work: &Work, cut: Option<Cut>) -> Run {
        self.carry_on(work, cut, &mut |_| {})
    }

    /// As `run`, but with something that happens outside just before an ask is answered.
    pub fn drive_with(&self, work: &Work, before: &mut dyn FnMut(&Ask)) -> Run {
        self.carry_on(work, None, before)
    }

    fn carry_on(&self, work: &Work, cut: Option<Cut>, before: &mut dyn FnMut(&Ask)) -> Run {
        let record = self.journal.load(&work.key()).expect("the memory can be read");
        let mut state = State::new(
            Arc::new(work.clone()),
            Arc::new(self.shape.clone()),
            self.policy,
            record,
        );
        let mut run = Run {
            result: None,
            events: Vec::new(),
            phases: Vec::new(),
            asks: 0,
        };
        let mut on_their_way = OnTheirWay::new();
        let mut event = Event::Start;
        let mut interrupts = 0u32;
        for turn in 0..20_000u64 {
            let input = Input {
                now: Timestamp(self.now_ms()),
                random: turn,
                lease: None,
                event,
            };
            let (next, effects) = step(state, input);
            state = next;
            run.note_phase(state.phase());
            let mut wake = None;
            for effect in effects {
                match effect {
                    Effect::Ask(id, ask) => {
                        let number = run.asks;
                        run.asks += 1;
                        if cut == Some(Cut::CrashBefore(number)) {
                            return run;
                        }
                        before(&ask);
                        let answer = self.answer(work, ask);
                        if cut == Some(Cut::CrashAfter(number)) {
                            return run;
                        }
                        if cut == Some(Cut::Interrupt(number)) {
                            interrupts = 2;
                        }
                        on_their_way.insert((self.now_ms() + self.latency_ms, id), answer);
                    }
                    Effect::Abandon(id) => on_their_way.retain(|(_, other), _| *other != id),
                    Effect::WakeAt(at) => wake = Some(at.0),
                    Effect::Publish(event) => run.events.push(event),
                }
            }
            if state.is_finished() {
                run.result = state.into_result();
                return run;
            }
            event = match interrupts {
                0 => self.next_event(&mut on_their_way, wake),
                _ => Event::Interrupt,
            };
            interrupts = interrupts.saturating_sub(1);
        }
        panic!(
            "no end in sight; last events: {:#?}",
            run.events.iter().rev().take(5).collect::<Vec<_>>()
        );
    }

    /// Whatever comes first: an answer or the time. With neither the machine has forgotten to ask.
    fn next_event(&self, on_their_way: &mut OnTheirWay, wake: Option<u64>) -> Event {
        let first = on_their_way.keys().next().copied();
        match (first, wake) {
            (Some((at, _)), wake) if wake.is_none_or(|wake| at <= wake) => {
                let ((at, id), answer) = on_their_way.pop_first().expect("there is a first");
                self.now.fetch_max(at, Ordering::Relaxed);
                Event::Done(id, answer)
            }
            (_, Some(wake)) => {
                self.now.fetch_max(wake, Ordering::Relaxed);
                Event::Wake
            }
            (_, None) => panic!("the machine waits for nothing"),
        }
    }

    fn answer(&self, work: &Work, ask: Ask) -> Answer {
        match ask {
            Ask::Realm => Answer::Realm(self.cloud.realm()),
            Ask::Pin(request) => Answer::Pin(Ok(self.images.pin_now(&request))),
            Ask::Observe { scope, wanted, open } => Answer::Observe(self.cloud.observe(&scope, &wanted, &open)),
            Ask::Preflight { writes, .. } => Answer::Preflight(self.cloud.preflight(&writes)),
            Ask::Call { scope, request } => Answer::Call(self.cloud.write(&scope, &request)),
            Ask::Note { scope, held } => Answer::Note(self.cloud.note(&scope, held.as_ref())),
            Ask::Write(entries) => Answer::Write(self.journal.append(&work.key(), &entries)),
            Ask::Approve { .. } => Answer::Approve(self.approves),
        }
    }

    /// The cloud as a test compares it: what there is, in which revision, with which body.
    pub fn shown(&self) -> BTreeMap<ResourceId, (Option<String>, Value)> {
        let objects = self.cloud.objects().into_iter();
        objects
            .map(|(id, object)| (id, (object.revision, object.body)))
            .collect()
    }

    /// `create Service/web` and so on, since the last time.
    pub fn writes_since(&self, before: usize) -> Vec<String> {
        let writes = self.cloud.writes();
        let writes = writes[before..].iter();
        writes
            .map(|write| format!("{} {}", verb(write.verb), plain(&write.id)))
            .collect()
    }

    /// The object that stands for `name` of the shop.
    pub fn shops(&self, kind: Kind, name: &str) -> ResourceId {
        object(&self.scope(&manifests::apply(manifests::shop())), kind, name)
    }

    pub fn scope(&self, work: &Work) -> Scope {
        portolan_core::resolve::scope_of(&work.resolve_input("fake-account"))
    }
}

/// `Service/web` for `Service/default-shop-local-web-` and a hash.
pub fn plain(id: &ResourceId) -> String {
    let name = id.name.rsplit_once('-').map_or(id.name.as_str(), |(name, _)| name);
    let name = name.splitn(4, '-').nth(3).unwrap_or(name);
    format!("{}/{name}", id.kind)
}

impl Run {
    fn note_phase(&mut self, phase: PhaseName) {
        if self.phases.last() != Some(&phase) {
            self.phases.push(phase);
        }
    }
}

fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "create",
        Verb::Update => "update",
        Verb::Delete => "delete",
    }
}
