//! `portolan controller`: apps kept as the manifests in folders say, until it is stopped.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use portolan_dashboard::Server;
use portolan_engine::controller::{Assignment, Assignments, Board, Controller, Listener, Settings};
use portolan_engine::journal::AppKey;
use portolan_engine::{Audience, EngineError, EngineEvent, Outcome, OutcomeKind, Work};
use tokio::sync::watch;

use crate::args::ControllerArgs;
use crate::audience::{Consent, Teller};
use crate::failure::{CommandResult, Failure, exit};
use crate::interrupt;
use crate::manifests::Deployment;
use crate::moment::duration;
use crate::output::Output;
use crate::progress::Progress;
use crate::session::Session;
use crate::watching::Watched;

pub async fn controller(arguments: ControllerArgs, output: Output) -> CommandResult {
    #[cfg(feature = "kubernetes")]
    if arguments.kubernetes {
        return super::operator::operator(arguments, output).await;
    }
    #[cfg(feature = "kubernetes")]
    if let Some(name) = arguments.of_a_cluster() {
        let message = format!("{name} is for the Apps of a cluster, and these are files");
        return Err(Failure::usage("Invalid", message).hint("say --kubernetes in place of the folder, or leave it out"));
    }
    let settings = settings(&arguments)?;
    let session = Session::open(output)?;
    let stop = interrupt::listen();
    let mut watched = Watched::new(arguments.paths, arguments.target)?;
    // Faults of the first reading end it: nobody has seen these manifests work.
    let first = assignments(&session, watched.read_all()?)?;
    let (send, assigned) = watch::channel(first);
    let announcer = Arc::new(Announcer::new(session.progress.clone(), output));
    let controller = Controller::new(session.engine.clone(), settings, announcer);
    let dashboard = serve(&arguments.listen, controller.board(), &stop, output).await?;
    tokio::select! {
        ended = controller.run(assigned, stop.clone()) => {
            ended.map_err(|error| {
                Failure::new("JournalUnusable", "the journal cannot be read").because(error.to_string())
            })?;
        }
        never = follow(&mut watched, &session, &send, output) => match never {},
    }
    dashboard.abort();
    output.say("stopped: what runs goes on, and the next controller takes it up");
    Ok(exit::DONE)
}

/// With its longest pause.
pub fn settings(arguments: &ControllerArgs) -> Result<Settings, Failure> {
    let mut settings = Settings::default();
    settings.pace.longest = duration(&arguments.resync)?;
    settings.pace.shortest = settings.pace.shortest.min(settings.pace.longest);
    Ok(settings)
}

/// Health, metrics and the page.
pub async fn serve(
    listen: &str,
    board: Arc<Board>,
    stop: &watch::Receiver<bool>,
    output: Output,
) -> Result<tokio::task::JoinHandle<()>, Failure> {
    if listen == "none" {
        return Ok(tokio::spawn(async {}));
    }
    let refused = |cause: String| {
        Failure::new("AddressUnusable", format!("cannot listen at {listen}"))
            .because(cause)
            .hint("--listen takes another address, as in 127.0.0.1:9465, or `none`")
    };
    let address: SocketAddr = listen
        .parse()
        .map_err(|_| refused("it is no address with a port".into()))?;
    let server = Server::bind(address, board).await;
    let server = server.map_err(|error| refused(error.to_string()))?;
    let address = server.address().map_err(|error| refused(error.to_string()))?;
    output.say(&format!("how everything stands: http://{address}/"));
    let stop = stop.clone();
    Ok(tokio::spawn(async move {
        if let Err(error) = server.run(stop).await {
            tracing::error!(%error, "the page is not served any more");
        }
    }))
}

/// Hands over another set whenever a manifest has changed. One with faults is told, and what it said before holds.
async fn follow(
    watched: &mut Watched,
    session: &Session,
    send: &watch::Sender<Assignments>,
    output: Output,
) -> std::convert::Infallible {
    loop {
        watched.changed().await;
        let (deployments, faults) = watched.read();
        output.diagnostics(&faults);
        let Some(deployments) = deployments else { continue };
        match assignments(session, deployments) {
            Ok(assignments) => drop(send.send_replace(assignments)),
            Err(failure) => output.diagnostics(&failure.diagnostics),
        }
    }
}

fn assignments(session: &Session, deployments: Vec<Deployment>) -> Result<Assignments, Failure> {
    let deployed = session.deployed_all(deployments)?;
    let assignment = |deployed: crate::session::Deployed| {
        let work = Arc::new(deployed.for_a_controller());
        let provider = deployed.provider;
        let suspended = false;
        (
            work.key(),
            Assignment {
                provider,
                work,
                suspended,
            },
        )
    };
    Ok(Arc::new(deployed.into_iter().map(assignment).collect()))
}

/// Tells what happens, and how a turn ended where that is news.
struct Announcer {
    progress: Arc<Progress>,
    output: Output,
    told: Mutex<BTreeMap<AppKey, String>>,
}

impl Announcer {
    fn new(progress: Arc<Progress>, output: Output) -> Self {
        Self {
            progress,
            output,
            told: Mutex::default(),
        }
    }
}

impl Listener for Announcer {
    fn event(&self, key: &AppKey, event: &EngineEvent) {
        let teller = Teller::new(self.progress.clone(), format!("{key}: "), Consent::Withheld);
        Audience::event(&teller, event);
    }

    fn ended(&self, key: &AppKey, _work: &Arc<Work>, result: &Result<Outcome, EngineError>) {
        let Some(line) = ending(result) else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(key.clone(), line.clone()).as_ref() != Some(&line) {
            self.output.say(&format!("{key}: {line}"));
        }
    }
}

fn ending(result: &Result<Outcome, EngineError>) -> Option<String> {
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(EngineError::Busy { .. }) => return None,
        Err(error) => return Some(format!("cannot be reconciled: {}", error.explained())),
    };
    Some(match &outcome.kind {
        OutcomeKind::Converged => format!("generation {} is as it shall be", outcome.generation),
        OutcomeKind::Applied | OutcomeKind::Interrupted => return None,
        OutcomeKind::Paused => "a rollout waits for `portolan promote`".to_string(),
        OutcomeKind::Held(failure) => format!("held: {}: {}", failure.reason, failure.message),
        OutcomeKind::RolledBack { failure, to_generation } => format!(
            "generation {to_generation} serves again: {}: {}",
            failure.reason, failure.message
        ),
        OutcomeKind::Refused(problems) => {
            let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
            format!("refused: {}", messages.join("; "))
        }
        OutcomeKind::Declined => "its plan waits for `portolan approve`".to_string(),
    })
}
