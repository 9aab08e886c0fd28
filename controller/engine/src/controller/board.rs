//! How everything stands that is kept: for pages, metrics and health checks. Nothing depends on what it says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use portolan_core::status::Status;
use serde::Serialize;
use tokio::time::Instant;

use super::kept::Approval;
use crate::error::EngineError;
use crate::event::EngineEvent;
use crate::journal::AppKey;
use crate::machine::Timestamp;
use crate::outcome::{Outcome, OutcomeKind};

/// Events that are kept, the newest.
const EVENTS: usize = 1_000;

/// Without a beat for so long a loop is not well.
const PULSE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Board(Mutex<Shown>);

#[derive(Default)]
struct Shown {
    apps: BTreeMap<AppKey, AppReport>,
    events: VecDeque<ToldEvent>,
    counts: Counts,
    /// Of each loop, when it went round last.
    beats: BTreeMap<String, Instant>,
}

/// One app, as it was seen last.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppReport {
    pub namespace: String,
    pub app: String,
    pub target: String,
    pub standing: Standing,
    /// Why, where it is not as it shall be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Digest of the plan that waits for `portolan approve`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    pub generation: u64,
    /// When its next turn comes; absent while it has one, and where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// When its last turn ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// Where an app stands with its controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// It has had no turn yet.
    #[default]
    Pending,
    Reconciling,
    Converged,
    /// A rollout waits for its promotion.
    Paused,
    /// The generation has failed, and waits for another one or for `portolan retry`.
    Held,
    AwaitingApproval,
    /// The plan may not be carried out.
    Refused,
    /// The target, an image or the journal could not be used; it is tried again.
    Failing,
    Suspended,
}

impl Standing {
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Reconciling,
        Self::Converged,
        Self::Paused,
        Self::Held,
        Self::AwaitingApproval,
        Self::Refused,
        Self::Failing,
        Self::Suspended,
    ];

    /// As it stands in JSON, and in a metric's label.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Reconciling => "reconciling",
            Self::Converged => "converged",
            Self::Paused => "paused",
            Self::Held => "held",
            Self::AwaitingApproval => "awaitingApproval",
            Self::Refused => "refused",
            Self::Failing => "failing",
            Self::Suspended => "suspended",
        }
    }
}

/// Since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Turns that came to their end.
    pub reconciles: u64,
    /// Of those, in which something was written at the target.
    pub changes: u64,
    /// Of those, that ended with an error.
    pub errors: u64,
    /// Writes that were sent to targets.
    pub writes: u64,
    /// Calls that were tried again.
    pub retries: u64,
}

/// An event, and whose.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToldEvent {
    pub at: Timestamp,
    pub namespace: String,
    pub app: String,
    pub target: String,
    #[serde(flatten)]
    pub event: EngineEvent,
}

impl Board {
    pub fn apps(&self) -> Vec<AppReport> {
        self.shown().apps.values().cloned().collect()
    }

    /// The newest last.
    pub fn events(&self) -> Vec<ToldEvent> {
        self.shown().events.iter().cloned().collect()
    }

    pub fn counts(&self) -> Counts {
        self.shown().counts
    }

    /// Whether each loop goes round.
    pub fn is_alive(&self) -> bool {
        let shown = self.shown();
        !shown.beats.is_empty() && shown.beats.values().all(|beat| beat.elapsed() < PULSE)
    }

    /// Whether every app has had its first turn.
    pub fn is_ready(&self) -> bool {
        let shown = self.shown();
        !shown.beats.is_empty() && shown.apps.values().all(|app| app.last.is_some() || is_left_alone(app))
    }

    /// The loop of that name goes round; also that of a process which waits for its turn to write.
    pub fn beat(&self, name: &str) {
        let mut shown = self.shown();
        match shown.beats.get_mut(name) {
            Some(beat) => *beat = Instant::now(),
            None => {
                shown.beats.insert(name.to_string(), Instant::now());
            }
        }
    }

    /// The loop of that name has ended, and somebody else keeps its apps.
    pub fn leave(&self, name: &str, is_its: impl Fn(&AppKey) -> bool) {
        let mut shown = self.shown();
        shown.beats.remove(name);
        shown.apps.retain(|key, _| !is_its(key));
    }

    pub(super) fn forget(&self, key: &AppKey) {
        self.shown().apps.remove(key);
    }

    pub(super) fn due(&self, key: &AppKey, after: Duration) {
        let at = now().plus(after);
        self.of(key, |app| {
            app.next = Some(at);
            if app.standing == Standing::Suspended {
                app.standing = Standing::Pending;
            }
        });
    }

    pub(super) fn suspended(&self, key: &AppKey) {
        self.of(key, |app| {
            app.standing = Standing::Suspended;
            app.next = None;
        });
    }

    pub(super) fn begun(&self, key: &AppKey) {
        self.of(key, |app| app.next = None);
    }

    pub(super) fn event(&self, key: &AppKey, event: &EngineEvent) {
        let mut shown = self.shown();
        match event {
            EngineEvent::StepStarted { .. } => {
                shown.counts.writes += 1;
                let app = shown.apps.entry(key.clone());
                app.or_insert_with(|| AppReport::new(key)).standing = Standing::Reconciling;
            }
            EngineEvent::StepRetrying { .. } | EngineEvent::ReadRetrying { .. } => shown.counts.retries += 1,
            // An empty plan is no news.
            EngineEvent::Planned {
                creates: 0,
                updates: 0,
                deletes: 0,
                ..
            }
            | EngineEvent::Converged { changed: false, .. } => return,
            _ => {}
        }
        while shown.events.len() >= EVENTS {
            shown.events.pop_front();
        }
        shown.events.push_back(ToldEvent {
            at: now(),
            namespace: key.namespace.clone(),
            app: key.app.clone(),
            target: key.target.clone(),
            event: event.clone(),
        });
    }

    pub(super) fn ended(&self, key: &AppKey, result: &Result<Outcome, EngineError>, awaits: Option<&Approval>) {
        let mut shown = self.shown();
        shown.counts.reconciles += 1;
        shown.counts.errors += u64::from(result.is_err());
        shown.counts.changes += u64::from(result.as_ref().is_ok_and(|outcome| outcome.changed));
        let app = shown.apps.entry(key.clone()).or_insert_with(|| AppReport::new(key));
        if matches!(result, Err(EngineError::Busy { .. })) {
            return;
        }
        app.last = Some(now());
        (app.standing, app.message) = standing(result, awaits);
        app.plan = awaits.map(|approval| approval.plan.clone());
        if let Ok(outcome) = result {
            app.generation = outcome.generation;
            app.status = outcome.status.clone().or(app.status.take());
        }
    }

    fn of(&self, key: &AppKey, change: impl FnOnce(&mut AppReport)) {
        let mut shown = self.shown();
        let app = shown.apps.entry(key.clone()).or_insert_with(|| AppReport::new(key));
        change(app);
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        // What is shown is whole after every line of its code.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AppReport {
    fn new(key: &AppKey) -> Self {
        Self {
            namespace: key.namespace.clone(),
            app: key.app.clone(),
            target: key.target.clone(),
            standing: Standing::Pending,
            message: None,
            plan: None,
            generation: 0,
            next: None,
            last: None,
            status: None,
        }
    }
}

fn is_left_alone(app: &AppReport) -> bool {
    app.standing == Standing::Suspended
}

fn standing(result: &Result<Outcome, EngineError>, awaits: Option<&Approval>) -> (Standing, Option<String>) {
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => return (Standing::Failing, Some(error.explained())),
    };
    match &outcome.kind {
        OutcomeKind::Converged => (Standing::Converged, None),
        OutcomeKind::Applied | OutcomeKind::Interrupted => (Standing::Reconciling, None),
        OutcomeKind::Paused => (Standing::Paused, None),
        OutcomeKind::Held(failure) | OutcomeKind::RolledBack { failure, .. } => {
            let message = format!("{}: {}", failure.reason, failure.message);
            (Standing::Held, Some(message))
        }
        OutcomeKind::Refused(problems) => {
            let problems = problems.iter();
            let problems: Vec<String> = problems
                .map(|problem| format!("{}: {}", problem.code, problem.message))
                .collect();
            (Standing::Refused, Some(problems.join("; ")))
        }
        OutcomeKind::Declined => {
            let reasons = awaits.map(|approval| approval.reasons.join("; "));
            (Standing::AwaitingApproval, reasons)
        }
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_is_well_while_each_loop_goes_round_that_has_not_ended() {
        let board = Board::default();
        assert!(!board.is_alive() && !board.is_ready());
        board.beat("one");
        board.beat("two");
        tokio::time::advance(PULSE / 2).await;
        board.beat("one");
        assert!(board.is_alive() && board.is_ready());
        tokio::time::advance(PULSE / 2).await;
        assert!(!board.is_alive(), "the other one stands still");
        board.leave("two", |_| false);
        assert!(board.is_alive());
    }

    #[test]
    fn what_somebody_else_keeps_is_shown_no_more() {
        let board = Board::default();
        for app in ["kept", "gone"] {
            board.suspended(&AppKey {
                namespace: "team".into(),
                app: app.into(),
                target: "here".into(),
            });
        }
        board.leave("one", |key| key.app == "gone");
        let shown: Vec<String> = board.apps().into_iter().map(|app| app.app).collect();
        assert_eq!(shown, ["kept"]);
    }
}
