//! `portolan apply` and `portolan up`: from manifests to running apps.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use portolan_core::diagnostic::Diagnostic;
use portolan_core::manifest::LOCAL_PROVIDER;
use portolan_core::plan::PlanOptions;
use portolan_core::status::Status;
use portolan_engine::{Outcome, OutcomeKind, Wish};
use serde::Serialize;
use tokio::sync::watch;

use super::{plan, status};
use crate::args::{ApplyArgs, CarryArgs, SelectArgs, UpArgs};
use crate::audience::{Consent, Teller};
use crate::failure::{self, CommandResult, Failure, exit};
use crate::interrupt;
use crate::manifests::{self, Deployment};
use crate::output::Output;
use crate::plan_file;
use crate::session::{AT_ONCE, Deployed, Session, in_turn};
use crate::sources;

pub async fn apply(arguments: ApplyArgs, output: Output) -> CommandResult {
    let deployments = match &arguments.plan {
        Some(file) => plan_file::read(file)?,
        None if arguments.how.dry_run => manifests::select(&arguments.select)?,
        None => manifests::select_for_change(&arguments.select)?,
    };
    carry_out(deployments, How::applying(arguments.how, output), output).await
}

/// `apply` to the targets that are this machine, whatever other targets an app has.
pub async fn up(arguments: UpArgs, output: Output) -> CommandResult {
    let deployments = manifests::select(&SelectArgs {
        manifests: arguments.manifests,
        apps: arguments.apps,
        target: None,
    })?;
    let here: Vec<Deployment> = deployments
        .into_iter()
        .filter(|deployment| deployment.target.spec.provider == LOCAL_PROVIDER)
        .collect();
    if here.is_empty() {
        return Err(
            Failure::new("UnknownTarget", "no app in the manifests goes to this machine")
                .hint("add `local` to its targets, or use `portolan apply`"),
        );
    }
    carry_out(here, How::applying(arguments.how, output), output).await
}

/// What is done to each app.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub wish: Wish,
    pub options: PlanOptions,
    pub no_wait: bool,
    pub dry_run: bool,
    pub consent: Consent,
}

impl How {
    pub fn applying(arguments: CarryArgs, output: Output) -> Self {
        Self {
            wish: Wish::Apply,
            options: plan::options(arguments.allow),
            no_wait: arguments.no_wait,
            dry_run: arguments.dry_run,
            consent: Consent::of(arguments.yes, output.is_machine()),
        }
    }

    /// Whether there may be more at the target afterwards than before.
    fn begins_something(&self) -> bool {
        !self.dry_run && !matches!(self.wish, Wish::Delete { .. })
    }
}

/// Does it to all of them, several at once, and tells what came of it.
pub async fn carry_out(deployments: Vec<Deployment>, how: How, output: Output) -> CommandResult {
    // A plan that was kept may yet be refused, and then nothing has begun.
    let is_kept = deployments.iter().any(|deployment| deployment.kept.is_some());
    let (session, deployed) = match how.begins_something() && !is_kept {
        true => Session::open_to_write(deployments, output)?,
        false => {
            let session = Session::open(output)?;
            let deployed = session.deployed_all(deployments)?;
            (session, deployed)
        }
    };
    for deployed in &deployed {
        sources::check(&session, deployed).await?;
    }
    carry_out_in(&session, &deployed, how, output).await
}

/// As [`carry_out`], in a session that is open.
pub async fn carry_out_in(session: &Session, deployed: &[Deployed], how: How, output: Output) -> CommandResult {
    if how.dry_run {
        return plan::show(session, deployed, how.wish, how.options, output).await;
    }
    let stop = interrupt::listen();
    let several = deployed.len() > 1;
    let ends: Vec<Result<Ended<'_>, Failure>> = stream::iter(deployed)
        .map(|deployed| one(session, deployed, how, several, stop.clone()))
        .buffered(AT_ONCE)
        .collect()
        .await;
    session.progress.clear();
    conclude(ends, how.wish, output)
}

/// One app's end.
struct Ended<'a> {
    deployed: &'a Deployed,
    outcome: Outcome,
}

async fn one<'a>(
    session: &Session,
    deployed: &'a Deployed,
    how: How,
    several: bool,
    stop: watch::Receiver<bool>,
) -> Result<Ended<'a>, Failure> {
    let prefix = match several {
        true => format!("{}: ", deployed.deployment.app().metadata.name),
        false => String::new(),
    };
    let mut work = deployed.work(how.wish, how.options);
    work.no_wait = how.no_wait;
    let teller = Arc::new(Teller::new(session.progress.clone(), prefix, how.consent));
    let reconcile = || {
        let engine = &session.engine;
        engine.reconcile(&deployed.provider, work.clone(), teller.clone(), stop.clone())
    };
    let ended = in_turn(reconcile).await;
    let outcome = ended.map_err(|error| deployed.failure(error))?;
    Ok(Ended { deployed, outcome })
}

/// Answers on stdout for those that came to an end; diagnostics for those that failed; the worst exit code.
fn conclude(ends: Vec<Result<Ended<'_>, Failure>>, wish: Wish, output: Output) -> CommandResult {
    let mut worst = exit::DONE;
    let mut reports = Vec::new();
    let mut diagnostics = Vec::new();
    for end in ends {
        match end {
            Ok(ended) => {
                diagnostics.extend(ended.diagnostics());
                worst = worst.max(ended.exit());
                reports.push(ended.report());
            }
            Err(failure) => {
                diagnostics.extend(failure.diagnostics);
                worst = worst.max(failure.exit);
            }
        }
    }
    if !reports.is_empty() {
        output.answer(&reports, || reports.iter().map(|report| report.human(wish)).collect());
    }
    match diagnostics.is_empty() {
        true => Ok(worst),
        false => Err(Failure {
            diagnostics,
            exit: worst,
        }),
    }
}

impl Ended<'_> {
    fn exit(&self) -> u8 {
        match self.outcome.kind {
            OutcomeKind::Converged | OutcomeKind::Applied | OutcomeKind::Paused => exit::DONE,
            OutcomeKind::Interrupted => exit::INTERRUPTED,
            OutcomeKind::Held(_) | OutcomeKind::RolledBack { .. } | OutcomeKind::Refused(_) | OutcomeKind::Declined => {
                exit::FAILED
            }
        }
    }

    fn diagnostics(&self) -> Vec<Diagnostic> {
        let title = self.deployed.deployment.title();
        match &self.outcome.kind {
            OutcomeKind::Converged | OutcomeKind::Applied | OutcomeKind::Paused => Vec::new(),
            OutcomeKind::Held(failure) | OutcomeKind::RolledBack { failure, .. } => {
                vec![failure::observed(&title, failure)]
            }
            OutcomeKind::Refused(problems) => problems.iter().map(|problem| self.deployed.problem(problem)).collect(),
            OutcomeKind::Declined => vec![
                Diagnostic::error("NotApproved", format!("{title}: the plan was not approved"))
                    .hint("look at it with `portolan plan`; --yes approves it"),
            ],
            OutcomeKind::Interrupted => Failure::interrupted().diagnostics,
        }
    }

    fn report(&self) -> Report {
        let metadata = &self.deployed.deployment.app().metadata;
        Report {
            namespace: metadata.namespace.clone(),
            app: metadata.name.clone(),
            target: self.deployed.deployment.target.metadata.name.clone(),
            outcome: word(&self.outcome.kind),
            generation: self.outcome.generation,
            changed: self.outcome.changed,
            rolled_back_to: match self.outcome.kind {
                OutcomeKind::RolledBack { to_generation, .. } => Some(to_generation),
                _ => None,
            },
            status: self.outcome.status.clone(),
        }
    }
}

fn word(kind: &OutcomeKind) -> &'static str {
    match kind {
        OutcomeKind::Converged => "converged",
        OutcomeKind::Applied => "applied",
        OutcomeKind::Paused => "paused",
        OutcomeKind::Held(_) => "held",
        OutcomeKind::RolledBack { .. } => "rolledBack",
        OutcomeKind::Refused(_) => "refused",
        OutcomeKind::Declined => "declined",
        OutcomeKind::Interrupted => "interrupted",
    }
}

/// What `-o json` answers for each app.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    namespace: String,
    app: String,
    target: String,
    outcome: &'static str,
    generation: u64,
    /// Whether anything was written at the target.
    changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    rolled_back_to: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

impl Report {
    fn human(&self, wish: Wish) -> String {
        if let Wish::Delete { .. } = wish {
            return match (self.outcome, self.changed) {
                ("converged", true) => format!("{}/{} on {}: deleted\n", self.namespace, self.app, self.target),
                ("converged", false) => format!("{}/{} on {}: was not there\n", self.namespace, self.app, self.target),
                _ => String::new(),
            };
        }
        let served = self
            .rolled_back_to
            .map(|generation| format!("generation {generation} serves again\n"));
        let status = self.status.as_ref().map(status::summary);
        served.into_iter().chain(status).collect()
    }
}
