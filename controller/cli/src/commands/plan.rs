//! `portolan plan`, and `--dry-run` of every command that carries one out: what would be done, and nothing done.

use std::path::Path;

use futures_util::{StreamExt, TryStreamExt, stream};
use portolan_core::plan::{self, Plan, PlanOptions};
use portolan_engine::{Preview, Wish};

use crate::args::{AllowArgs, PlanArgs};
use crate::failure::{CommandResult, Failure, exit};
use crate::manifests;
use crate::output::{Output, print};
use crate::plan_file::{self, Contents};
use crate::session::{AT_ONCE, Deployed, Session};
use crate::sources::{self, Sources};

pub async fn plan(arguments: PlanArgs, output: Output) -> CommandResult {
    let files = manifests::read_files(&arguments.select.manifests)?;
    let deployments = manifests::select_from(files.clone(), &arguments.select)?;
    let session = Session::open(output)?;
    let options = options(arguments.allow);
    let deployed = session.deployed_all(deployments)?;
    let previews = previews(&session, &deployed, Wish::Apply, options).await?;
    let plans: Vec<Plan> = previews.iter().map(|preview| preview.plan.clone()).collect();
    answer(&plans, output);
    let code = exit_code(&plans);
    match arguments.out {
        Some(out) if code != exit::FAILED => {
            let contents = Contents {
                sources: sources_of(&session, &deployed, &out).await?,
                manifests: files,
                previews,
                options,
            };
            plan_file::write(&out, contents, output)?;
        }
        Some(_) => {
            return Err(
                Failure::new("PlanNotSaved", "the plan may not be carried out, and was not kept")
                    .hint("what forbids it stands in the plan"),
            );
        }
        None => {}
    }
    Ok(code)
}

async fn sources_of(session: &Session, deployed: &[Deployed], out: &Path) -> Result<Vec<Sources>, Failure> {
    let all = deployed.iter().map(|deployed| sources::of(session, deployed, out));
    stream::iter(all).buffered(AT_ONCE).try_collect().await
}

/// What carrying `wish` out would do to each.
pub async fn show(
    session: &Session,
    deployed: &[Deployed],
    wish: Wish,
    options: PlanOptions,
    output: Output,
) -> CommandResult {
    let previews = previews(session, deployed, wish, options).await?;
    let plans: Vec<Plan> = previews.into_iter().map(|preview| preview.plan).collect();
    answer(&plans, output);
    Ok(exit_code(&plans))
}

async fn previews(
    session: &Session,
    deployed: &[Deployed],
    wish: Wish,
    options: PlanOptions,
) -> Result<Vec<Preview>, Failure> {
    let preview = |deployed| async move { preview(session, deployed, wish, options).await };
    stream::iter(deployed)
        .map(preview)
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

async fn preview(session: &Session, deployed: &Deployed, wish: Wish, options: PlanOptions) -> Result<Preview, Failure> {
    let work = deployed.work(wish, options);
    let preview = session.engine.preview(&deployed.provider, &work).await;
    preview.map_err(|error| deployed.failure(error))
}

/// What the user lets a plan do. Typed by a person, the same again is a retry of what has failed.
pub fn options(allow: AllowArgs) -> PlanOptions {
    PlanOptions {
        allow_data_loss: allow.allow_data_loss,
        take_over: allow.take_over,
        retry: true,
        delete: false,
        prune_threshold: allow.prune_threshold,
        ask_always: false,
        leave_observed: false,
    }
}

/// Plans on stdout.
fn answer(plans: &[Plan], output: Output) {
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
