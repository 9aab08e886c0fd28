//! One app that is kept: its assignment, its orders, and how its last turns went.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use portolan_core::plan::Plan;
use portolan_core::status::Status;
use portolan_provider_api::Provider;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::pace::{Pace, Went};
use super::room::{Room, Seat};
use super::{Assignment, Board, Ended, GATHERING, Listener};
use crate::driver::requests_per_second;
use crate::engine::{Audience, Engine};
use crate::error::EngineError;
use crate::event::EngineEvent;
use crate::journal::{AppKey, Orders, Promoted};
use crate::machine::PhaseName;
use crate::outcome::{Outcome, OutcomeKind};
use crate::promotion::PromoteHow;
use crate::work::{Wish, Work};

pub struct Kept {
    assignment: Assignment,
    intent: String,
    orders: Orders,
    /// Whether images are to be looked up and built anew on the next turn.
    afresh: bool,
    /// Whether another manifest or an order came while it was at work.
    again: bool,
    pause: Duration,
    failures: u32,
    running: Option<Running>,
    awaits: Option<Approval>,
    /// Whether a change is looked at, and no sooner than then: what was just written comes back as one.
    heeds_from: Option<Instant>,
}

struct Running {
    stop: watch::Sender<bool>,
    changed: Arc<Changed>,
    asked: Arc<Mutex<Option<Approval>>>,
}

/// What a turn is told of: that something has changed at its target.
#[derive(Default)]
struct Changed {
    is_unheard: AtomicBool,
    told: Notify,
}

impl Changed {
    fn tell(&self) {
        self.is_unheard.store(true, Ordering::Relaxed);
        self.told.notify_one();
    }

    /// Ends once it is told.
    async fn hear(&self) {
        self.told.notified().await;
        self.is_unheard.store(false, Ordering::Relaxed);
    }

    fn is_unheard(&self) -> bool {
        self.is_unheard.load(Ordering::Relaxed)
    }
}

/// A plan that waits for somebody's yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    pub plan: String,
    pub reasons: Vec<String>,
}

impl Kept {
    pub fn new(assignment: Assignment, orders: Orders) -> Self {
        Self {
            intent: assignment.work.intent(),
            assignment,
            orders,
            afresh: false,
            again: false,
            pause: Duration::ZERO,
            failures: 0,
            running: None,
            awaits: None,
            heeds_from: None,
        }
    }

    /// Whether it is the same that is wanted, whoever has put it together.
    pub fn is_for(&self, work: &Arc<Work>) -> bool {
        let one = &self.assignment.work;
        let same = || one.wish == work.wish && one.folder == work.folder && self.intent == work.intent();
        Arc::ptr_eq(one, work) || same()
    }

    /// The same app with another manifest: what is at work for the old one is stopped.
    pub fn for_another(mut self, assignment: Assignment) -> Self {
        self.interrupt();
        Self {
            intent: assignment.work.intent(),
            again: self.running.is_some(),
            running: self.running.take(),
            afresh: self.afresh,
            ..Self::new(assignment, self.orders)
        }
    }

    /// The same manifest, assigned anew; answers whether that suspends it or lets it go on.
    pub fn take_assignment(&mut self, assignment: &Assignment) -> bool {
        let before = self.is_suspended();
        self.assignment = assignment.clone();
        let changed = self.is_suspended() != before;
        self.heed(changed);
        changed
    }

    /// What it is kept by now, if `work` is the same: whoever assigned that knows it by its place.
    pub fn as_assigned(&self, work: Arc<Work>) -> Arc<Work> {
        match self.is_for(&work) {
            true => self.assignment.work.clone(),
            false => work,
        }
    }

    /// Answers whether they change anything.
    pub fn take_orders(&mut self, orders: Orders) -> bool {
        let changed = self.orders != orders;
        self.afresh |= orders.reconcile.is_some() && self.orders.reconcile != orders.reconcile;
        self.orders = orders;
        self.heed(changed);
        changed
    }

    /// What is at work does not know of a change: it is stopped for a suspension, and has another turn after it otherwise.
    fn heed(&mut self, changed: bool) {
        self.again |= changed && self.running.is_some();
        if changed && self.is_suspended() {
            self.interrupt();
        }
    }

    /// By whoever assigns it, or by an order.
    pub fn is_suspended(&self) -> bool {
        self.assignment.suspended || self.orders.suspended
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub fn is_told_of_changes(&self) -> bool {
        self.assignment.provider.calls.is_told_of_changes()
    }

    /// When a change may be looked at, if it may.
    pub fn heeds_from(&self) -> Option<Instant> {
        self.heeds_from
    }

    /// At the target, while it has its turn.
    pub fn something_changed(&self) {
        if let Some(running) = &self.running {
            running.changed.tell();
        }
    }

    pub fn awaits_approval(&self) -> Option<&Approval> {
        self.awaits.as_ref()
    }

    pub fn target(&self) -> &str {
        &self.assignment.work.target.metadata.name
    }

    pub fn requests_per_second(&self) -> u32 {
        requests_per_second(&self.assignment.provider, &self.assignment.work)
    }

    pub fn interrupt(&self) {
        if let Some(running) = &self.running {
            running.stop.send_replace(true);
        }
    }

    /// One turn.
    pub fn start(
        &mut self,
        key: &AppKey,
        engine: &Arc<Engine>,
        board: &Arc<Board>,
        listener: &Arc<dyn Listener>,
        room: &Arc<Room>,
    ) -> impl Future<Output = Ended> + Send + 'static {
        let (stop, stopped) = watch::channel(false);
        let (asked, changed) = (Arc::default(), Arc::<Changed>::default());
        let audience = Arc::new(Follower {
            key: key.clone(),
            board: board.clone(),
            listener: listener.clone(),
            approved: self.orders.approved.clone(),
            asked: Arc::clone(&asked),
            changed: changed.clone(),
            seat: Seat::in_room(room, &key.target),
        });
        self.running = Some(Running { stop, changed, asked });
        let assigned = self.assignment.work.clone();
        let mut work = Work::clone(&assigned);
        if std::mem::take(&mut self.afresh) && !work.is_delete() {
            work.wish = Wish::Apply;
        }
        board.begun(key);
        let turn = Turn {
            engine: engine.clone(),
            provider: self.assignment.provider.clone(),
            audience,
            stop: stopped,
        };
        let (key, promoted) = (key.clone(), self.orders.promoted.clone());
        async move {
            let result = turn.run(work, promoted).await;
            (key, assigned, result)
        }
    }

    /// Answers when its next turn comes.
    pub fn ended(
        &mut self,
        result: &Result<Outcome, EngineError>,
        pace: &Pace,
        floor: Duration,
        random: u64,
    ) -> Duration {
        let running = self.running.take();
        let is_overtaken = self.is_overtaken(running.as_ref(), result);
        let asked = running.and_then(|running| guard(&running.asked).take());
        self.awaits = asked.filter(|_| matches!(result, Ok(outcome) if outcome.kind == OutcomeKind::Declined));
        let went = match std::mem::take(&mut self.again) {
            true => Went::Superseded,
            false => self.went(result),
        };
        self.failures = match went {
            Went::Failed(times) => times,
            Went::Busy | Went::Superseded => self.failures,
            Went::Moving | Went::Quiet => 0,
        };
        // Where changes are told nobody has to find out how seldom they come.
        let before = match self.is_told_of_changes() {
            true => pace.longest,
            false => self.pause,
        };
        let pause = pace.after(went, before, floor, random);
        if !matches!(went, Went::Busy | Went::Superseded) {
            self.pause = pause;
        }
        let has_arrived = went == Went::Moving && self.is_told_of_changes() && is_converged(result);
        self.heeds_from = match went {
            Went::Quiet => Some(Instant::now()),
            Went::Moving if has_arrived => Some(Instant::now() + pause),
            _ => None,
        };
        match has_arrived {
            // Nobody has to find out whether it stays so.
            true if !is_overtaken => pace.after(Went::Quiet, pace.longest, floor, random),
            _ if went == Went::Quiet && is_overtaken => GATHERING,
            _ => pause,
        }
    }

    /// Whether something has changed at the target that its turn has not looked at any more.
    fn is_overtaken(&self, running: Option<&Running>, result: &Result<Outcome, EngineError>) -> bool {
        let unheard = running.is_some_and(|running| running.changed.is_unheard());
        unheard || result.as_ref().is_ok_and(|outcome| outcome.is_overtaken)
    }

    fn went(&self, result: &Result<Outcome, EngineError>) -> Went {
        let failed = Went::Failed(self.failures + 1);
        match result {
            Err(EngineError::Busy { .. }) => Went::Busy,
            Err(_) => failed,
            Ok(outcome) => match outcome.kind {
                OutcomeKind::Converged | OutcomeKind::Held(_) if outcome.changed => Went::Moving,
                // A held generation waits for another one.
                OutcomeKind::Converged | OutcomeKind::Held(_) => Went::Quiet,
                OutcomeKind::Applied
                | OutcomeKind::Paused
                | OutcomeKind::RolledBack { .. }
                | OutcomeKind::Interrupted => Went::Moving,
                OutcomeKind::Refused(_) | OutcomeKind::Declined => failed,
            },
        }
    }
}

fn is_converged(result: &Result<Outcome, EngineError>) -> bool {
    matches!(result, Ok(outcome) if outcome.kind == OutcomeKind::Converged)
}

/// What one turn needs.
struct Turn {
    engine: Arc<Engine>,
    provider: Provider,
    audience: Arc<Follower>,
    stop: watch::Receiver<bool>,
}

impl Turn {
    /// Where it ends in the very pause that somebody has promoted, it goes on from there.
    async fn run(self, work: Work, promoted: Option<Promoted>) -> Result<Outcome, EngineError> {
        let ended = self.reconcile(work.clone()).await?;
        let pause = ended.status.as_ref().and_then(Status::pause);
        let pause = pause.filter(|_| ended.kind == OutcomeKind::Paused && !*self.stop.borrow());
        let Some(promoted) = promoted.filter(|promoted| Some(&promoted.pause) == pause.as_ref()) else {
            return Ok(ended);
        };
        let how = PromoteHow {
            full: promoted.full,
            only: pause,
            dry_run: false,
        };
        match self.engine.promote(&self.provider, &work, None, how).await {
            // Somebody else was sooner.
            Ok(_) | Err(EngineError::NotPaused { .. }) => {}
            Err(error) => return Err(error),
        }
        let work = Work {
            wish: Wish::Keep,
            ..work
        };
        self.reconcile(work).await
    }

    async fn reconcile(&self, work: Work) -> Result<Outcome, EngineError> {
        let (audience, stop) = (self.audience.clone(), self.stop.clone());
        self.engine.reconcile(&self.provider, work, audience, stop).await
    }
}

/// Hears one turn, and answers its questions from the orders.
struct Follower {
    key: AppKey,
    board: Arc<Board>,
    listener: Arc<dyn Listener>,
    approved: Option<String>,
    asked: Arc<Mutex<Option<Approval>>>,
    changed: Arc<Changed>,
    seat: Seat,
}

#[async_trait]
impl Audience for Follower {
    fn event(&self, event: &EngineEvent) {
        self.board.event(&self.key, event);
        self.listener.event(&self.key, event);
    }

    /// Nobody is there to ask: the plan waits, as a step of its own, until somebody has approved it.
    async fn approve(&self, plan: &Plan, reasons: &[String]) -> bool {
        let digest = plan.digest();
        let approved = self.approved.as_ref() == Some(&digest);
        if !approved {
            *guard(&self.asked) = Some(Approval {
                plan: digest,
                reasons: reasons.to_vec(),
            });
        }
        approved
    }

    fn phase(&self, phase: PhaseName) {
        self.seat.phase(phase);
    }

    async fn changed(&self) {
        self.changed.hear().await;
    }
}

fn guard<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
