//! `portolan status` and `portolan wait`.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use portolan_core::observation::Pause;
use portolan_core::plan::PlanOptions;
use portolan_core::status::{ConditionKind, ROLLOUT_PAUSED, ResourceStatus, StateWord, Status};
use portolan_engine::Wish;
use serde::Serialize;
use tokio::time::Instant;

use super::usage::{self, WorkloadUsage};
use crate::args::{SelectArgs, WaitArgs, WaitCondition};
use crate::failure::{self, CommandResult, Failure, exit};
use crate::interrupt;
use crate::manifests;
use crate::moment::duration;
use crate::output::Output;
use crate::session::{AT_ONCE, Deployed, Session};

pub async fn status(arguments: SelectArgs, output: Output) -> CommandResult {
    let deployments = manifests::select(&arguments)?;
    let session = Session::open(output)?;
    let deployed = session.deployed_all(deployments)?;
    let statuses = observe(&session, &deployed).await?;
    let mut reports = Vec::new();
    for (status, deployed) in statuses.into_iter().zip(&deployed) {
        let usage = usage_of(&session, deployed).await;
        reports.push(Report { status, usage });
    }
    output.answer(&reports, || reports.iter().map(Report::human).collect());
    Ok(exit::DONE)
}

/// What `status` alone tells beside where an app stands: what its containers use.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    status: Status,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    usage: BTreeMap<String, WorkloadUsage>,
}

impl Report {
    fn human(&self) -> String {
        text(&self.status, |one| format!("{}{}", self.uses(one), last_words(one)))
    }

    fn uses(&self, one: &ResourceStatus) -> String {
        let of_this = one.replicas.and_then(|_| self.usage.get(&one.id.name));
        let lines = |usage: &WorkloadUsage| {
            let notes = usage.notes.iter().map(|note| format!("      {note}\n"));
            format!("      {}\n{}", usage.words(), notes.collect::<String>())
        };
        of_this.map(lines).unwrap_or_default()
    }
}

/// Nothing where the platform does not tell it, or nobody runs who could: the status says why.
async fn usage_of(session: &Session, deployed: &Deployed) -> BTreeMap<String, WorkloadUsage> {
    let (Some(stats), Ok(scope)) = (&deployed.provider.stats, session.scope(deployed).await) else {
        return BTreeMap::new();
    };
    let usages = stats.stats(&scope).await.unwrap_or_default();
    usage::by_workload(&usages)
}

/// Where apps stand, on stdout.
pub fn answer(statuses: &[Status], output: Output) {
    output.answer(&statuses, || statuses.iter().map(human).collect());
}

async fn observe(session: &Session, deployed: &[Deployed]) -> Result<Vec<Status>, Failure> {
    stream::iter(deployed)
        .map(|deployed| observe_one(session, deployed))
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

async fn observe_one(session: &Session, deployed: &Deployed) -> Result<Status, Failure> {
    let work = deployed.work(Wish::Apply, PlanOptions::default());
    let status = session.engine.status(&deployed.provider, &work).await;
    status.map_err(|error| deployed.failure(error))
}

/// How often `wait` looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub async fn wait(arguments: WaitArgs, output: Output) -> CommandResult {
    let deadline = Instant::now() + duration(&arguments.timeout)?;
    let deployments = manifests::select(&arguments.select)?;
    let session = Session::open(output)?;
    let deployed = session.deployed_all(deployments)?;
    let stop = interrupt::interrupted(interrupt::listen());
    tokio::pin!(stop);
    loop {
        let statuses = observe(&session, &deployed).await?;
        // First, since an older generation may serve: what was asked for does not, and never will by itself.
        if let Some(failure) = final_failure(&statuses, arguments.condition) {
            return Err(failure);
        }
        if statuses.iter().all(|status| is_met(status, arguments.condition)) {
            answer(&statuses, output);
            return Ok(exit::DONE);
        }
        if Instant::now() + LOOK_EVERY > deadline {
            answer(&statuses, output);
            return Err(Failure::new(
                "DeadlineExceeded",
                format!("not there after {}", arguments.timeout),
            ));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = &mut stop => return Err(Failure::interrupted()),
        }
    }
}

fn is_met(status: &Status, condition: WaitCondition) -> bool {
    match condition {
        WaitCondition::Ready => status.is_ready() || waits_for_a_promotion_alone(status),
        WaitCondition::Deleted => status.resources.iter().all(|one| one.state == StateWord::Absent),
    }
}

/// All that goes on by itself has ended, as where `apply` ends with a pause: what is absent comes after the promotion.
fn waits_for_a_promotion_alone(status: &Status) -> bool {
    let rests = |one: &ResourceStatus| match one.state {
        StateWord::Ready | StateWord::Completed | StateWord::Absent => true,
        StateWord::Progressing => one.paused == Some(Pause::Promotion),
        StateWord::Failed | StateWord::Deleting => false,
    };
    is_paused(status) && status.resources.iter().all(rests)
}

/// Nobody has to wait for what the engine holds: it is not tried again by itself.
fn final_failure(statuses: &[Status], condition: WaitCondition) -> Option<Failure> {
    let held = |status: &&Status| {
        status
            .condition(ConditionKind::Stalled)
            .is_some_and(|stalled| stalled.status)
    };
    let status = statuses
        .iter()
        .find(held)
        .filter(|_| condition == WaitCondition::Ready)?;
    let stalled = status.condition(ConditionKind::Stalled)?;
    let failure = portolan_core::observation::Failure::new(&stalled.reason, &stalled.message);
    Some(failure::observed(&format!("{} on {}", status.app, status.target), &failure).into())
}

/// One head line an app, one line a resource, and below what has failed its last words and what to do.
pub fn human(status: &Status) -> String {
    text(status, last_words)
}

fn last_words(one: &ResourceStatus) -> String {
    let Some(failure) = &one.failure else {
        return String::new();
    };
    let evidence = failure.evidence.iter().map(|line| format!("      | {line}\n"));
    let hint = failure.hint.iter().map(|hint| format!("      hint: {hint}\n"));
    evidence.chain(hint).collect()
}

/// The same without last words: for whoever is told them elsewhere.
pub fn summary(status: &Status) -> String {
    text(status, |_| String::new())
}

fn text(status: &Status, below: impl Fn(&ResourceStatus) -> String) -> String {
    let mut text = format!(
        "{}/{} on {}, generation {}: {}\n",
        status.namespace,
        status.app,
        status.target,
        status.observed_generation,
        head(status)
    );
    let width = |part: fn(&ResourceStatus) -> &str| {
        let widths = status.resources.iter().map(|one| part(one).len());
        widths.max().unwrap_or(0)
    };
    let (kinds, names) = (width(|one| &one.id.kind), width(|one| &one.id.name));
    for one in &status.resources {
        let state = state(one);
        text.push_str(&format!("  {:kinds$}  {:names$}  {state}\n", one.id.kind, one.id.name));
        text.push_str(&below(one));
    }
    text
}

/// Where the app stands, in a word; what a resource's own line says is not said here too.
fn head(status: &Status) -> String {
    let holds = |kind| status.condition(kind).filter(|condition| condition.status);
    let ready = status.condition(ConditionKind::Ready);
    let told_below = status.resources.iter().any(|one| one.failure.is_some());
    match (holds(ConditionKind::Stalled), ready) {
        (Some(held), Some(ready)) if ready.status => {
            format!("held, an older one serves: {}: {}", held.reason, held.message)
        }
        (Some(_), _) if told_below => "held".to_string(),
        (Some(held), _) => format!("held: {}: {}", held.reason, held.message),
        (None, Some(ready)) if ready.status => "Ready".to_string(),
        (None, Some(ready)) if told_below => ready.reason.clone(),
        (None, _) if is_paused(status) => format!("paused; `portolan promote {}` goes on", status.app),
        (None, Some(ready)) => format!("{}: {}", ready.reason, ready.message),
        (None, None) => "Unknown".to_string(),
    }
}

fn is_paused(status: &Status) -> bool {
    let reconciling = status.condition(ConditionKind::Reconciling);
    reconciling.is_some_and(|condition| condition.reason == ROLLOUT_PAUSED)
}

fn state(one: &ResourceStatus) -> String {
    let word = match one.state {
        StateWord::Absent => "absent",
        StateWord::Progressing => "progressing",
        StateWord::Ready => "ready",
        StateWord::Completed => "completed",
        StateWord::Failed => "failed",
        StateWord::Deleting => "deleting",
    };
    let mut parts = vec![word.to_string()];
    if let Some(replicas) = one.replicas {
        parts.push(format!("{}/{}", replicas.ready, replicas.wanted));
        if replicas.restarts > 0 {
            let word = if replicas.restarts == 1 { "restart" } else { "restarts" };
            parts.push(format!("{} {word}", replicas.restarts));
        }
    }
    parts.extend(one.endpoints.iter().cloned());
    parts.extend(one.message.clone());
    parts.extend(
        one.failure
            .as_ref()
            .map(|failure| format!("{}: {}", failure.reason, failure.message)),
    );
    parts.join("  ")
}
