//! `portolan run`: a job again, whatever the records of its success say.

use std::time::{Duration, SystemTime};

use portolan_core::observation::{ObservedResource, ResourceState};
use portolan_core::plan::{PlanOptions, Scope};
use portolan_core::resource::ResourceId;
use portolan_engine::Wish;
use portolan_provider_api::operations::LogQuery;
use tokio::task::JoinHandle;

use crate::args::RunArgs;
use crate::failure::{self, CommandResult, Failure, exit};
use crate::interrupt;
use crate::manifests::select_one;
use crate::output::{Output, print};
use crate::session::{Deployed, Session};

/// How often the job is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What a job printed last may come after its end.
const LAST_LINES: Duration = Duration::from_millis(300);

pub async fn run(arguments: RunArgs, output: Output) -> CommandResult {
    let session = Session::open(output)?;
    let deployed = session.deployed(select_one(&arguments.one)?)?;
    let id = resource_of(&session, &deployed, &arguments.job).await?;
    let Some(again) = &deployed.provider.run_job else {
        return Err(super::unsupported("run", &deployed));
    };
    let scope = session.scope(&deployed).await?;
    again.run_job(&scope, &arguments.job).await?;
    let printing = print_logs(&deployed, &scope, &arguments.job).await?;
    let ended = follow(&deployed, &scope, &id).await?;
    tokio::time::sleep(LAST_LINES).await;
    printing.abort();
    answer(&arguments.job, &ended)
}

/// The target's resource for the job that the manifest has.
async fn resource_of(session: &Session, deployed: &Deployed, job: &str) -> Result<ResourceId, Failure> {
    let jobs = &deployed.deployment.app().spec.jobs;
    if !jobs.contains_key(job) {
        let known: Vec<&str> = jobs.keys().map(String::as_str).collect();
        return Err(Failure::new("UnknownJob", format!("the app has no job `{job}`"))
            .hint(format!("it has {}", known.join(", "))));
    }
    let work = deployed.work(Wish::Apply, PlanOptions::default());
    let preview = session.engine.preview(&deployed.provider, &work).await;
    let desired = preview.map_err(|error| deployed.failure(error))?.desired;
    let origin = format!("/spec/jobs/{job}");
    let resource = desired
        .values()
        .find(|resource| resource.origin == origin && resource.awaited);
    resource
        .map(|resource| resource.id.clone())
        .ok_or_else(|| Failure::new("UnknownJob", format!("the target has nothing for the job `{job}`")))
}

async fn print_logs(deployed: &Deployed, scope: &Scope, job: &str) -> Result<JoinHandle<()>, Failure> {
    let Some(logs) = deployed.provider.logs.clone() else {
        return Ok(tokio::spawn(async {}));
    };
    let query = LogQuery {
        workloads: vec![job.to_string()],
        follow: true,
        since: Some(SystemTime::now() - LOOK_EVERY),
        ..LogQuery::default()
    };
    let mut lines = logs.logs(scope, query).await?;
    Ok(tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            print(&format!("{}\n", line.text));
        }
    }))
}

/// Looks until the job has ended, one way or the other.
async fn follow(deployed: &Deployed, scope: &Scope, id: &ResourceId) -> Result<ObservedResource, Failure> {
    let stop = interrupt::interrupted(interrupt::listen());
    tokio::pin!(stop);
    loop {
        let wanted = std::slice::from_ref(id);
        let mut observed = deployed.provider.calls.observe(scope, wanted, &[]).await?;
        match observed.resources.remove(id) {
            Some(job) if matches!(job.state, ResourceState::Completed | ResourceState::Failed { .. }) => {
                return Ok(job);
            }
            Some(_) => {}
            None => return Err(Failure::new("NotRunning", format!("{id} is not there any more"))),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = &mut stop => return Err(Failure {
                exit: exit::INTERRUPTED,
                ..Failure::new("Interrupted", "the job goes on").hint("`portolan status` shows it")
            }),
        }
    }
}

/// Ends as the job did: with its exit code where the target tells one.
fn answer(job: &str, ended: &ObservedResource) -> CommandResult {
    let Some(failure) = ended.failure() else {
        return Ok(exit::DONE);
    };
    let code = ended.outputs.get("exitCode").and_then(serde_json::Value::as_u64);
    let code = code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
    Err(Failure {
        exit: code.unwrap_or(exit::FAILED),
        ..failure::observed(&format!("job `{job}`"), failure).into()
    })
}
