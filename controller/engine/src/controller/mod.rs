//! The continuous mode: keeps any number of apps as their manifests say, until it is told to stop.
//!
//! There is no second engine in here. For whoever's turn it is ([`queue`]) the loop below starts the same reconcile as
//! `portolan apply`, and when it comes to its end [`pace`] says when the next one is due. What users want of it in between
//! (suspend, resume, reconcile now, approve) reaches it through the journal. [`Board`] shows how everything stands.

mod board;
mod changes;
mod kept;
mod pace;
mod queue;
mod roll;
mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{error, info};

pub use board::{AppReport, Board, Counts, Standing, ToldEvent};
pub use changes::Changes;
pub use pace::Pace;
pub use roll::{Reassigned, Roll};

use crate::driver::{Stop, blocking, random};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::event::EngineEvent;
use crate::journal::{AppKey, JournalError, Orders};
use crate::outcome::Outcome;
use crate::work::Work;
use kept::Kept;
use portolan_provider_api::Provider;
use queue::Queue;
use room::Room;

/// An app that is to be kept, and the way to its target.
#[derive(Clone)]
pub struct Assignment {
    pub provider: Provider,
    /// With [`crate::Wish::Keep`]; or with [`crate::Wish::Delete`], which is made again until the app is assigned no more.
    pub work: Arc<Work>,
    /// Left alone for as long as it is assigned so, whatever the wish; as by [`crate::journal::Order::Suspend`], for whoever
    /// remembers it elsewhere.
    pub suspended: bool,
}

/// Everything that is to be kept. Whoever watches the manifests sends another set whenever they change.
pub type Assignments = Arc<BTreeMap<AppKey, Assignment>>;

/// Whoever wants to know at once.
pub trait Listener: Send + Sync {
    fn event(&self, key: &AppKey, event: &EngineEvent);

    /// A reconcile has come to its end: that of `work`, as it was assigned, which another may have followed since. Where what
    /// has followed is the same in another place, it is told of the newer.
    fn ended(&self, key: &AppKey, work: &Arc<Work>, result: &Result<Outcome, EngineError>);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub pace: Pace,
    /// Apps that are worked on at the same time, but that a few of each target always are.
    pub at_once: usize,
    /// Apps that have their turn, those counted in that only watch what they have begun: each holds a file.
    pub most: usize,
    /// How soon an order that came through the journal is heard.
    pub orders: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pace: Pace::default(),
            at_once: 16,
            most: 500,
            orders: Duration::from_millis(500),
        }
    }
}

pub struct Controller {
    name: String,
    engine: Arc<Engine>,
    settings: Settings,
    board: Arc<Board>,
    changes: Arc<Changes>,
    roll: Arc<Roll>,
    listener: Arc<dyn Listener>,
}

/// What changes together is looked at together.
const GATHERING: Duration = Duration::from_millis(200);

/// Apps of one target that are worked on at the same time whatever others do: one that does not answer keeps nobody else
/// from his turn.
const OWN: usize = 4;

/// How many are worked on at that target.
fn at_work(turns: &BTreeMap<String, usize>, room: &Room, target: &str) -> usize {
    let turns = turns.get(target).copied().unwrap_or_default();
    turns.saturating_sub(room.watching_at(target))
}

type Ended = (AppKey, Arc<Work>, Result<Outcome, EngineError>);

/// What the loop holds while it runs.
#[derive(Default)]
struct Loop {
    kept: BTreeMap<AppKey, Kept>,
    queue: Queue,
    running: JoinSet<Ended>,
    room: Arc<Room>,
    /// How many go to each target.
    apps: BTreeMap<String, usize>,
    orders: BTreeMap<AppKey, Orders>,
    /// Turns that are under way, by target.
    turns: BTreeMap<String, usize>,
    /// Of the journal, when the orders were read.
    version: Option<i64>,
}

impl Controller {
    pub fn new(engine: Arc<Engine>, settings: Settings, listener: Arc<dyn Listener>) -> Self {
        Self {
            name: String::new(),
            engine,
            settings,
            board: Arc::default(),
            changes: Arc::default(),
            roll: Arc::default(),
            listener,
        }
    }

    /// One of several on the same board.
    pub fn called(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// On a board that there is already: of a process that has shown something before its turn to write came.
    pub fn on(self, board: Arc<Board>) -> Self {
        Self { board, ..self }
    }

    /// With somebody who tells what changes at targets.
    pub fn told_of(self, changes: Arc<Changes>) -> Self {
        Self { changes, ..self }
    }

    /// With somebody who assigns app by app, beside the sets that come to [`Self::run`].
    pub fn assigned_by(self, roll: Arc<Roll>) -> Self {
        Self { roll, ..self }
    }

    pub fn board(&self) -> Arc<Board> {
        self.board.clone()
    }

    /// Keeps what is assigned. Once `stop` is true no new call is made; what is under way is awaited and recorded, so that
    /// whoever comes next goes on from there.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn run(
        &self,
        mut assignments: watch::Receiver<Assignments>,
        stop: watch::Receiver<bool>,
    ) -> Result<(), JournalError> {
        let mut stop = Stop::new(stop);
        let mut hear = interval(self.settings.orders);
        hear.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut state = Loop::default();
        self.hear_orders(&mut state).await?;
        let first = assignments.borrow_and_update().clone();
        self.assign(&first, &mut state);
        loop {
            let wake = self.start_those_due(&mut state);
            self.board.beat(&self.name);
            tokio::select! {
                biased;
                () = stop.wished() => break,
                Ok(()) = assignments.changed() => {
                    let now = assignments.borrow_and_update().clone();
                    self.assign(&now, &mut state);
                }
                changed = self.roll.next() => self.reassign(changed, &mut state),
                Some(ended) = state.running.join_next() => self.ended(ended, &mut state),
                changed = self.changes.next() => self.heed(changed, &mut state),
                () = state.room.made() => {}
                _ = hear.tick() => self.hear_orders(&mut state).await?,
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
        self.hand_over(state).await;
        Ok(())
    }

    /// Takes up what is new or another, and lets go of what is not there any more: nothing is deleted for that.
    fn assign(&self, assignments: &BTreeMap<AppKey, Assignment>, state: &mut Loop) {
        let gone = state.kept.keys().filter(|key| !assignments.contains_key(*key));
        let gone: Vec<AppKey> = gone.cloned().collect();
        gone.iter().for_each(|key| self.let_go(key, state));
        for (key, assignment) in assignments {
            self.take_up(key, assignment, state);
        }
    }

    /// The same, of those alone.
    fn reassign(&self, changed: Reassigned, state: &mut Loop) {
        for (key, assignment) in changed {
            match assignment {
                Some(assignment) => self.take_up(&key, &assignment, state),
                None => self.let_go(&key, state),
            }
        }
    }

    fn let_go(&self, key: &AppKey, state: &mut Loop) {
        let Some(kept) = state.kept.remove(key) else { return };
        kept.interrupt();
        state.queue.remove(key);
        self.board.forget(key);
        if let Some(apps) = state.apps.get_mut(&key.target) {
            *apps = apps.saturating_sub(1);
        }
    }

    fn take_up(&self, key: &AppKey, assignment: &Assignment, state: &mut Loop) {
        if let Some(kept) = state.kept.get_mut(key)
            && kept.is_for(&assignment.work)
            && !kept.take_assignment(assignment)
        {
            return;
        }
        let kept = match state.kept.remove(key) {
            Some(kept) if kept.is_for(&assignment.work) => kept,
            Some(kept) => kept.for_another(assignment.clone()),
            None => {
                *state.apps.entry(key.target.clone()).or_default() += 1;
                Kept::new(assignment.clone(), state.orders.get(key).cloned().unwrap_or_default())
            }
        };
        self.schedule(key, &kept, Duration::ZERO, state);
        state.kept.insert(key.clone(), kept);
    }

    fn schedule(&self, key: &AppKey, kept: &Kept, after: Duration, state: &mut Loop) {
        match kept.is_suspended() {
            true => {
                state.queue.remove(key);
                self.board.suspended(key);
            }
            false => {
                state.queue.set(key.clone(), Instant::now() + after);
                self.board.due(key, after);
            }
        }
    }

    /// Whoever has its turn looks at what has changed. Of the others those have one that have come to rest, but no sooner than a
    /// while after they have written; what could not be written is looked at when its time comes, however much changes.
    fn heed(&self, changed: BTreeSet<AppKey>, state: &mut Loop) {
        for key in changed {
            let Some(kept) = state.kept.get(&key) else { continue };
            if kept.is_running() {
                kept.something_changed();
            } else if let Some(from) = kept.heeds_from() {
                let at = from.max(Instant::now() + GATHERING);
                if state.queue.hurry(&key, at) {
                    self.board.due(&key, at.saturating_duration_since(Instant::now()));
                }
            }
        }
    }

    /// Starts as many as may run at once; answers when the next one is due that there is room for.
    fn start_those_due(&self, state: &mut Loop) -> Option<Instant> {
        loop {
            if state.running.len() >= self.settings.most {
                return None;
            }
            let is_full = state.running.len().saturating_sub(state.room.watching()) >= self.settings.at_once;
            let (turns, room) = (&state.turns, &state.room);
            let has_room = |target: &str| !is_full || at_work(turns, room, target) < OWN.min(self.settings.at_once);
            let Some(key) = state.queue.pop_due(Instant::now(), has_room) else {
                return state.queue.earliest(has_room);
            };
            let Some(kept) = state.kept.get_mut(&key) else { continue };
            // Whoever is due again while at work has its turn when that has ended.
            if !kept.is_running() {
                let run = kept.start(&key, &self.engine, &self.board, &self.listener, &state.room);
                state.running.spawn(run);
                *state.turns.entry(key.target).or_default() += 1;
            }
        }
    }

    fn ended(&self, ended: Result<Ended, tokio::task::JoinError>, state: &mut Loop) {
        let (key, work, result) = match ended {
            Ok(ended) => ended,
            Err(failure) => std::panic::resume_unwind(failure.into_panic()),
        };
        if let Some(turns) = state.turns.get_mut(&key.target) {
            *turns = turns.saturating_sub(1);
        }
        let kept = state.kept.remove(&key);
        let work = kept.as_ref().map_or(work.clone(), |kept| kept.as_assigned(work));
        self.listener.ended(&key, &work, &result);
        let Some(mut kept) = kept else { return };
        let apps = state.apps.get(kept.target()).copied().unwrap_or_default();
        let floor = match kept.is_told_of_changes() {
            true => Duration::ZERO,
            false => self.settings.pace.floor(apps, kept.requests_per_second()),
        };
        let after = kept.ended(&result, &self.settings.pace, floor, random());
        self.board.ended(&key, &result, kept.awaits_approval());
        self.schedule(&key, &kept, after, state);
        state.kept.insert(key, kept);
    }

    /// Looks whether another process has written, and if so reads the orders.
    async fn hear_orders(&self, state: &mut Loop) -> Result<(), JournalError> {
        let (journal, known) = (self.engine.journal_handle(), state.version);
        let heard = blocking(move || {
            let version = journal.version()?;
            match known == Some(version) {
                true => Ok(None),
                false => Ok(Some((version, journal.orders()?))),
            }
        });
        let Some((version, orders)) = heard.await? else {
            return Ok(());
        };
        state.version = Some(version);
        let keys: Vec<AppKey> = state.kept.keys().cloned().collect();
        for key in keys {
            let Some(mut kept) = state.kept.remove(&key) else {
                continue;
            };
            if kept.take_orders(orders.get(&key).cloned().unwrap_or_default()) {
                info!(app = %key, suspended = kept.is_suspended(), "an order was heard");
                self.schedule(&key, &kept, Duration::ZERO, state);
            }
            state.kept.insert(key, kept);
        }
        state.orders = orders;
        Ok(())
    }

    async fn hand_over(&self, mut state: Loop) {
        for kept in state.kept.values() {
            kept.interrupt();
        }
        while let Some(ended) = state.running.join_next().await {
            match ended {
                Ok((key, work, result)) => self.listener.ended(&key, &work, &result),
                Err(failure) => error!(%failure, "a reconcile broke off"),
            }
        }
    }
}
