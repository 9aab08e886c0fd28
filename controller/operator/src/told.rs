//! What one target says of an App, as conditions: how its last turn ended, or why it has none. Pure.
//!
//! Ready says that this generation serves: while one is held, what serves in its place does not make the App ready. Stalled
//! says that somebody has to do something; what is tried again by itself is Reconciling.

use portolan_core::observation::Failure;
use portolan_core::plan::Problem;
use portolan_core::resource::ResourceId;
use portolan_core::status::{ConditionKind, ROLLOUT_PAUSED, ResourceStatus, StateWord, Status};
use portolan_engine::{EngineError, EngineEvent, Outcome, OutcomeKind};
use portolan_provider_api::{CallError, ErrorClass};
use serde_json::{Value, json};

use crate::intent::{Refusal, path_of};
use crate::object::PROMOTE;

/// No message is longer: a condition holds 32 KiB, and people read one line.
const MESSAGE: usize = 1_000;

#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub ready: Verdict,
    pub reconciling: Verdict,
    pub stalled: Verdict,
    pub drifted: Verdict,
    /// The engine's, of what it applied.
    pub generation: u64,
    /// The plan that waits for a yes.
    pub plan: Option<String>,
    /// The word for the pause that is to be promoted.
    pub promotion: Option<String>,
    /// Those that need somebody first.
    pub resources: Vec<ResourceStatus>,
    pub news: Option<News>,
    /// Whether the target has nothing of the App any more.
    pub is_gone: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub is: bool,
    pub reason: String,
    pub message: String,
}

/// What an Event is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub reason: String,
    pub note: String,
    pub is_warning: bool,
}

impl Verdict {
    pub fn new(is: bool, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            is,
            reason: reason.into(),
            message: cut(message.into()),
        }
    }
}

impl Told {
    fn new(ready: Verdict) -> Self {
        Self {
            ready,
            reconciling: Verdict::new(false, "Settled", ""),
            stalled: Verdict::new(false, "NotHeld", ""),
            drifted: Verdict::new(false, "AsApplied", ""),
            generation: 0,
            plan: None,
            promotion: None,
            resources: Vec::new(),
            news: None,
            is_gone: false,
        }
    }

    /// With what was told of the target before, where this says nothing of it: a turn that goes on, or cannot, has not looked.
    pub fn after(mut self, before: Option<Self>) -> Self {
        let Some(before) = before else { return self };
        if self.generation == 0 {
            (self.generation, self.plan, self.promotion) = (before.generation, before.plan, before.promotion);
        }
        if self.resources.is_empty() {
            self.resources = before.resources;
        }
        self
    }

    /// Nothing was heard yet.
    pub fn waiting() -> Self {
        let mut told = Self::new(Verdict::new(false, "Progressing", "it has had no turn yet"));
        told.reconciling = Verdict::new(true, "Progressing", "it has had no turn yet");
        told
    }

    /// Of a Target that says what a Target has to.
    pub fn usable() -> Self {
        Self::new(Verdict::new(true, "Ready", ""))
    }

    /// The manifest, or the way to its target, is not good: nobody tries again by himself.
    pub fn refused(refusals: &[Refusal]) -> Self {
        let code = refusals.first().map_or("Invalid", |first| first.code.as_str());
        let lines: Vec<&str> = refusals.iter().map(|refusal| refusal.message.as_str()).collect();
        Self::stalled(code, lines.join("\n"))
    }

    fn stalled(reason: &str, message: String) -> Self {
        let mut told = Self::new(Verdict::new(false, reason, message.clone()));
        told.stalled = Verdict::new(true, reason, message.clone());
        told.with_news(reason, message, true)
    }

    fn retried(reason: &str, message: String) -> Self {
        let mut told = Self::new(Verdict::new(false, reason, message.clone()));
        told.reconciling = Verdict::new(true, reason, message.clone());
        told.with_news(reason, message, true)
    }

    fn with_news(mut self, reason: &str, note: String, is_warning: bool) -> Self {
        self.news = Some(News {
            reason: reason.to_string(),
            note: cut(note),
            is_warning,
        });
        self
    }
}

/// What a turn that finds something to do says of it, once it has begun to.
pub fn planned(event: &EngineEvent) -> Option<Told> {
    let (generation, what) = match event {
        EngineEvent::Planned {
            generation,
            creates,
            updates,
            deletes,
            ..
        } if creates + updates + deletes > 0 => (*generation, event.what()),
        _ => return None,
    };
    let mut told = Told::new(Verdict::new(false, "Progressing", &*what));
    told.reconciling = Verdict::new(true, "Applying", &*what);
    told.generation = generation;
    Some(told.with_news("Applying", what, false))
}

/// What is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tried {
    Read,
    Step(ResourceId),
}

/// What a turn says of a call that has failed, while it is tried again.
pub fn retrying(event: &EngineEvent) -> Option<(Tried, Told)> {
    let (tried, error) = match event {
        EngineEvent::StepRetrying { step, error, .. } => (Tried::Step(step.id.clone()), error),
        EngineEvent::ReadRetrying { error, .. } => (Tried::Read, error),
        _ => return None,
    };
    Some((tried, Told::retried(&error.code, message_of(error))))
}

/// What is not tried again any more.
pub fn answered(event: &EngineEvent) -> Option<Tried> {
    match event {
        EngineEvent::ReadSucceeded => Some(Tried::Read),
        EngineEvent::StepDone { step } => Some(Tried::Step(step.id.clone())),
        _ => None,
    }
}

/// What a turn says that goes on, where it was told that it does not.
pub fn going_on(event: &EngineEvent) -> Told {
    let mut told = Told::new(Verdict::new(false, "Progressing", event.what()));
    told.reconciling = Verdict::new(true, "Progressing", event.what());
    told
}

/// What is told beside: by an Event alone.
pub fn news(event: &EngineEvent) -> Option<News> {
    match event {
        EngineEvent::RollingBack { failure, .. } => Some(News {
            reason: "RollingBack".into(),
            note: cut(format!("{event} ({})", failure.reason)),
            is_warning: true,
        }),
        _ => None,
    }
}

/// A turn that has ended; `None` where it says nothing of the App.
pub fn ended(result: &Result<Outcome, EngineError>, is_delete: bool) -> Option<Told> {
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(EngineError::Busy { .. } | EngineError::LeaseLost) => return None,
        Err(error) => return Some(failed(error)),
    };
    let mut told = match &outcome.kind {
        OutcomeKind::Interrupted | OutcomeKind::Applied => return None,
        OutcomeKind::Converged if is_delete => gone(outcome),
        OutcomeKind::Converged => settled(outcome),
        OutcomeKind::Paused => paused(outcome),
        OutcomeKind::Held(failure) | OutcomeKind::RolledBack { failure, .. } => held(outcome, failure),
        OutcomeKind::Refused(problems) => refused(problems),
        OutcomeKind::Declined => awaiting(outcome),
    };
    told.generation = outcome.generation;
    if let Some(status) = &outcome.status {
        told.resources = status.resources.clone();
        told.resources
            .sort_by_key(|resource| (urgency(resource), resource.id.to_string()));
    }
    Some(told)
}

fn gone(outcome: &Outcome) -> Told {
    let mut told = Told::new(Verdict::new(
        false,
        "Deleted",
        "nothing of it is left but what holds data",
    ));
    told.is_gone = true;
    match outcome.changed {
        true => told.with_news("Deleted", "everything but what holds data is deleted".into(), false),
        false => told,
    }
}

fn settled(outcome: &Outcome) -> Told {
    let mut told = of_status(outcome.status.as_ref());
    if outcome.changed {
        let note = format!("generation {} is as it shall be", outcome.generation);
        told = told.with_news("Converged", note, false);
    }
    told
}

/// What waits, and by which word it goes on.
fn paused(outcome: &Outcome) -> Told {
    let mut told = of_status(outcome.status.as_ref());
    let pause = outcome
        .status
        .as_ref()
        .and_then(|status| Some((status, status.pause()?)));
    let Some((status, pause)) = pause else { return told };
    let message = format!(
        "{}; hint: `kubectl annotate --overwrite app -n {} {} {PROMOTE}={pause}` takes it to the next step, {pause}/full to the last",
        told.reconciling.message, status.namespace, status.app,
    );
    told.ready.message = cut(message.clone());
    told.reconciling.message = cut(message.clone());
    told.promotion = Some(pause);
    match outcome.changed {
        true => told.with_news(ROLLOUT_PAUSED, message, false),
        false => told,
    }
}

fn held(outcome: &Outcome, failure: &Failure) -> Told {
    let mut message = format!("generation {}: {}", outcome.generation, failure.message);
    if let OutcomeKind::RolledBack { to_generation, .. } = outcome.kind {
        message = format!("{message}; generation {to_generation} serves again");
    }
    if let Some(hint) = &failure.hint {
        message = format!("{message}; hint: {hint}");
    }
    Told {
        drifted: of_status(outcome.status.as_ref()).drifted,
        ..Told::stalled(&failure.reason, message)
    }
}

fn refused(problems: &[Problem]) -> Told {
    let code = problems.first().map_or("Refused", |problem| problem.code.as_str());
    let line = |problem: &Problem| match &problem.hint {
        Some(hint) => format!("{}; hint: {hint}", problem.message),
        None => problem.message.clone(),
    };
    Told::stalled(code, problems.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn awaiting(outcome: &Outcome) -> Told {
    let plan = outcome.plan.as_ref();
    let reasons = plan.map(|plan| plan.approval.join("; "));
    let digest = plan.map(portolan_core::plan::Plan::digest);
    let mut message = format!("the plan waits for a yes: {}", reasons.unwrap_or_default());
    if let Some(digest) = &digest {
        message = format!("{message}; hint: annotate the App with portolan.dev/approve={digest}");
    }
    Told {
        plan: digest,
        ..Told::retried("AwaitingApproval", message)
    }
}

fn failed(error: &EngineError) -> Told {
    match error {
        EngineError::Faults(faults) => {
            let refusals: Vec<Refusal> = faults
                .iter()
                .map(|fault| Refusal {
                    code: fault.code.clone(),
                    message: format!(
                        "{}: {}{}",
                        path_of(&fault.pointer),
                        fault.message,
                        hinted(fault.hint.as_deref())
                    ),
                })
                .collect();
            Told::refused(&refusals)
        }
        EngineError::Images(faults) => {
            let refusals: Vec<Refusal> = faults
                .iter()
                .map(|fault| Refusal {
                    code: fault.error.code.clone(),
                    message: format!("{}{}", fault.error.message, hinted(fault.error.hint.as_deref())),
                })
                .collect();
            classed(error.class(), Told::refused(&refusals))
        }
        EngineError::Call(call) => {
            let told = Told::stalled(&call.code, message_of(call));
            classed(error.class(), told)
        }
        EngineError::Journal(_) => Told::retried("JournalUnusable", error.explained()),
        _ => Told::stalled("Unsupported", error.explained()),
    }
}

/// What is tried again by itself is not stalled.
fn classed(class: ErrorClass, told: Told) -> Told {
    match class {
        ErrorClass::Retry { .. } | ErrorClass::Conflict => Told::retried(&told.ready.reason, told.ready.message),
        _ => told,
    }
}

fn of_status(status: Option<&Status>) -> Told {
    let verdict = |kind| {
        let condition = status.and_then(|status| status.condition(kind));
        condition.map(|found| Verdict::new(found.status, &*found.reason, &*found.message))
    };
    let mut told = Told::new(Verdict::new(true, "Ready", ""));
    for (kind, place) in [
        (ConditionKind::Ready, &mut told.ready),
        (ConditionKind::Reconciling, &mut told.reconciling),
        (ConditionKind::Stalled, &mut told.stalled),
        (ConditionKind::Drifted, &mut told.drifted),
    ] {
        if let Some(found) = verdict(kind) {
            *place = found;
        }
    }
    told
}

fn urgency(resource: &ResourceStatus) -> u8 {
    match resource.state {
        _ if resource.failure.is_some() => 0,
        StateWord::Failed => 0,
        StateWord::Absent | StateWord::Progressing | StateWord::Deleting => 1,
        StateWord::Ready | StateWord::Completed => 2,
    }
}

/// One resource, as it stands in the status.
pub fn resource(resource: &ResourceStatus) -> Value {
    let mut value = json!({
        "name": resource.id.to_string(),
        "state": resource.state,
    });
    if let Some(replicas) = resource.replicas {
        value["ready"] = json!(format!("{}/{}", replicas.ready, replicas.wanted));
    }
    if let Some(revision) = &resource.revision {
        value["revision"] = json!(revision);
    }
    if !resource.endpoints.is_empty() {
        value["endpoints"] = json!(resource.endpoints);
    }
    let message = match &resource.failure {
        Some(failure) => Some(format!("{}: {}", failure.reason, failure.message)),
        None => resource.message.clone(),
    };
    if let Some(message) = message {
        value["message"] = json!(cut(message));
    }
    value
}

fn message_of(call: &CallError) -> String {
    format!("{}{}", call.message, hinted(call.hint.as_deref()))
}

fn hinted(hint: Option<&str>) -> String {
    hint.map_or(String::new(), |hint| format!("; hint: {hint}"))
}

fn cut(text: String) -> String {
    match text.char_indices().nth(MESSAGE) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}
