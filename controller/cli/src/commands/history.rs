//! `portolan history`: the generations of an app, and what changed in each.

use std::time::SystemTime;

use portolan_engine::journal::{GenerationKind, HistoryEntry, HistoryOutcome};
use portolan_engine::machine::Timestamp;
use serde::Serialize;

use crate::args::SelectArgs;
use crate::failure::{CommandResult, exit};
use crate::manifests;
use crate::output::Output;
use crate::session::{Deployed, Session};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct History {
    namespace: String,
    app: String,
    target: String,
    /// The newest first.
    generations: Vec<HistoryEntry>,
}

pub fn history(arguments: &SelectArgs, output: Output) -> CommandResult {
    let deployments = manifests::select(arguments)?;
    let session = Session::open(output)?;
    let mut histories = Vec::new();
    for deployed in session.deployed_all(deployments)? {
        let Deployed { deployment, .. } = &deployed;
        let (metadata, target) = (&deployment.app().metadata, &deployment.target.metadata.name);
        let entries = session.engine.history(&metadata.namespace, &metadata.name, target);
        histories.push(History {
            namespace: metadata.namespace.clone(),
            app: metadata.name.clone(),
            target: target.clone(),
            generations: entries.map_err(|error| deployed.failure(error))?,
        });
    }
    output.answer(&histories, || histories.iter().map(human).collect());
    Ok(exit::DONE)
}

fn human(history: &History) -> String {
    let mut text = format!("{}/{} on {}\n", history.namespace, history.app, history.target);
    let now = Timestamp::from(SystemTime::now());
    for entry in &history.generations {
        let head = format!(
            "  {:>4}  {:>8}  {}",
            entry.generation,
            entry.at.age(now),
            outcome(entry)
        );
        text.push_str(&head);
        text.push('\n');
        for change in &entry.changes {
            text.push_str(&format!("                    {change}\n"));
        }
    }
    if history.generations.is_empty() {
        text.push_str("  nothing was ever applied from here\n");
    }
    text
}

fn outcome(entry: &HistoryEntry) -> String {
    let kind = match entry.kind {
        GenerationKind::Apply => "",
        GenerationKind::Delete => "delete, ",
    };
    match &entry.outcome {
        HistoryOutcome::Converged => format!("{kind}converged"),
        HistoryOutcome::Applied => format!("{kind}applied"),
        HistoryOutcome::Paused => format!("{kind}paused"),
        HistoryOutcome::Held { failure } => format!("{kind}held: {}: {}", failure.reason, failure.message),
        HistoryOutcome::RolledBack { failure, to_generation } => format!(
            "{kind}rolled back to {to_generation}: {}: {}",
            failure.reason, failure.message
        ),
    }
}
