//! `portolan plan`: what `apply` would do, and nothing done.

use futures_util::{StreamExt, TryStreamExt, stream};
use portolan_core::plan::{self, Plan, PlanOptions};
use portolan_engine::Wish;

use crate::args::{AllowArgs, PlanArgs};
use crate::failure::{CommandResult, Failure, exit};
use crate::manifests;
use crate::output::{Output, print};
use crate::session::{AT_ONCE, Deployed, Session};

pub async fn plan(arguments: PlanArgs, output: Output) -> CommandResult {
    let deployments = manifests::select(&arguments.select)?;
    let session = Session::open(output)?;
    let options = options(arguments.allow);
    let deployed = session.deployed_all(deployments)?;
    let plans: Vec<Plan> = stream::iter(&deployed)
        .map(|deployed| plan_one(&session, deployed, options))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    answer(&plans, output);
    Ok(exit_code(&plans))
}

async fn plan_one(session: &Session, deployed: &Deployed, options: PlanOptions) -> Result<Plan, Failure> {
    let work = deployed.work(Wish::Apply, options);
    let preview = session.engine.preview(&deployed.provider, &work).await;
    Ok(preview.map_err(|error| deployed.failure(error))?.plan)
}

/// What the user lets a plan do. Typed by a person, the same again is a retry of what has failed.
pub fn options(allow: AllowArgs) -> PlanOptions {
    PlanOptions {
        allow_data_loss: allow.allow_data_loss,
        take_over: allow.take_over,
        retry: true,
        delete: false,
    }
}

/// Plans on stdout.
pub fn answer(plans: &[Plan], output: Output) {
    if output.is_markdown() {
        let texts: Vec<String> = plans.iter().map(plan::markdown).collect();
        return print(&texts.join("\n"));
    }
    output.answer(&plans, || {
        let texts: Vec<String> = plans.iter().map(plan::human).collect();
        texts.join("\n")
    });
}

/// 1 where a plan may not be carried out, 2 where one has steps, else 0.
fn exit_code(plans: &[Plan]) -> u8 {
    match (
        plans.iter().any(|plan| !plan.problems.is_empty()),
        plans.iter().any(|plan| !plan.is_empty()),
    ) {
        (true, _) => exit::FAILED,
        (false, true) => exit::CHANGES,
        (false, false) => exit::DONE,
    }
}
