//! `portolan suspend`, `resume`, `reconcile` and `approve`: what a controller is told. They go through the journal, and
//! whichever controller keeps the app hears them within a second; with none they hold until there is one.

use std::time::SystemTime;

use portolan_core::plan;
use portolan_engine::journal::Order;
use portolan_engine::machine::Timestamp;

use crate::args::{ApproveArgs, OneAppArgs, SelectArgs};
use crate::audience::Consent;
use crate::failure::{CommandResult, Failure, exit};
use crate::manifests;
use crate::output::Output;
use crate::session::Session;

pub fn suspend(arguments: &SelectArgs, output: Output) -> CommandResult {
    give(arguments, &Order::Suspend, "suspended", output)
}

pub fn resume(arguments: &SelectArgs, output: Output) -> CommandResult {
    give(arguments, &Order::Resume, "resumed", output)
}

pub fn reconcile(arguments: &SelectArgs, output: Output) -> CommandResult {
    let now = Timestamp::from(SystemTime::now());
    give(arguments, &Order::Reconcile(now), "to be reconciled now", output)
}

fn give(arguments: &SelectArgs, order: &Order, what: &str, output: Output) -> CommandResult {
    let deployments = manifests::select_for_change(arguments)?;
    let session = Session::open(output)?;
    for deployed in session.deployed_all(deployments)? {
        let key = deployed.for_a_controller().key();
        let given = session.engine.give(&key, order.clone());
        given.map_err(|error| deployed.failure(error))?;
        output.say(&format!("{}: {what}", deployed.deployment.title()));
    }
    Ok(exit::DONE)
}

/// The yes is to that very plan: where the world moves before the controller has heard it, the plan asks again.
pub async fn approve(arguments: ApproveArgs, output: Output) -> CommandResult {
    let deployment = manifests::select_one(&OneAppArgs {
        manifests: arguments.manifests,
        app: arguments.app,
        target: arguments.target,
    })?;
    let session = Session::open(output)?;
    let deployed = session.deployed(deployment)?;
    let work = deployed.for_a_controller();
    let preview = session.engine.preview(&deployed.provider, &work).await;
    let plan = preview.map_err(|error| deployed.failure(error))?.plan;
    if plan.approval.is_empty() {
        return Err(Failure::new(
            "NothingToApprove",
            format!("{}: no plan waits for approval", deployed.deployment.title()),
        ));
    }
    output.say(&plan::human(&plan));
    let consent = Consent::of(arguments.yes, output.is_machine());
    if !consent.ask("May the controller carry it out?") {
        return Err(Failure::new("NotApproved", "the plan was not approved").hint("--yes approves it"));
    }
    let order = Order::Approve { plan: plan.digest() };
    let given = session.engine.give(&work.key(), order);
    given.map_err(|error| deployed.failure(error))?;
    output.say(&format!("{}: approved", deployed.deployment.title()));
    Ok(exit::DONE)
}
