//! `portolan run`: a job again, whatever the records of its success say. It ends as the job does.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portolan_core::plan::PlanOptions;
use portolan_engine::{EngineError, JobEnd, JobState, Wish};
use portolan_provider_api::operations::LogQuery;
use tokio::task::JoinHandle;

use super::logs::shown;
use crate::args::RunArgs;
use crate::audience::{Consent, Teller};
use crate::failure::{self, CommandResult, Failure, exit};
use crate::interrupt;
use crate::manifests::select_one;
use crate::output::{Output, print};
use crate::session::{Deployed, Session, in_turn};

/// What a job printed last may come after its end.
const LAST_LINES: Duration = Duration::from_millis(300);

pub async fn run(arguments: RunArgs, output: Output) -> CommandResult {
    let session = Session::open(output)?;
    let deployed = session.deployed(select_one(&arguments.one)?)?;
    let job = &arguments.job;
    if arguments.dry_run {
        return would_run(&deployed, job, output);
    }
    let printing = print_logs(&session, &deployed, job, output).await?;
    let work = deployed.work(Wish::Apply, PlanOptions::default());
    let teller = Arc::new(Teller::new(session.progress.clone(), String::new(), Consent::Withheld));
    let (engine, stop) = (&session.engine, interrupt::listen());
    let run = || engine.run_job(&deployed.provider, work.clone(), job, teller.clone(), stop.clone());
    let ended = in_turn(run).await.map_err(|error| deployed.failure(error))?;
    tokio::time::sleep(LAST_LINES).await;
    printing.abort();
    session.progress.clear();
    conclude(job, ended)
}

fn would_run(deployed: &Deployed, job: &str, output: Output) -> CommandResult {
    if !deployed.deployment.app().spec.jobs.contains_key(job) {
        let key = deployed.work(Wish::Apply, PlanOptions::default()).key();
        let job = job.to_string();
        return Err(deployed.failure(EngineError::UnknownJob { key, job }));
    }
    output.say(&format!("{}: would run `{job}`", deployed.deployment.title()));
    Ok(exit::CHANGES)
}

/// From now on: what the job printed before is in `portolan logs`.
async fn print_logs(
    session: &Session,
    deployed: &Deployed,
    job: &str,
    output: Output,
) -> Result<JoinHandle<()>, Failure> {
    let (Some(logs), true) = (
        deployed.provider.logs.clone(),
        deployed.deployment.app().spec.jobs.contains_key(job),
    ) else {
        return Ok(tokio::spawn(async {}));
    };
    let query = LogQuery {
        workloads: vec![job.to_string()],
        follow: true,
        since: Some(SystemTime::now()),
        ..LogQuery::default()
    };
    let mut lines = logs.logs(&session.scope(deployed).await?, query).await?;
    Ok(tokio::spawn(async move {
        // The job goes on without its words; how it ends is asked elsewhere.
        while let Some(Ok(line)) = lines.recv().await {
            match output.is_machine() {
                true => print(&shown(&line, output)),
                false => print(&format!("{}\n", line.text)),
            }
        }
    }))
}

/// With the job's exit code where the target tells one.
fn conclude(job: &str, ended: JobEnd) -> CommandResult {
    match ended.state {
        JobState::Completed => Ok(exit::DONE),
        JobState::Failed(failure) => {
            let code = ended.exit_code.and_then(|code| u8::try_from(code).ok());
            Err(Failure {
                exit: code.filter(|code| *code != 0).unwrap_or(exit::FAILED),
                ..failure::observed(&format!("job `{job}`"), &failure).into()
            })
        }
        JobState::Interrupted => Err(Failure {
            exit: exit::INTERRUPTED,
            ..Failure::new("Interrupted", "the job goes on").hint("`portolan status` shows it")
        }),
    }
}
