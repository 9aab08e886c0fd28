//! `portolan run`: a job again, whatever the records of its success say. It ends as the job does.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use portolan_core::plan::{Plan, PlanOptions};
use portolan_core::status::StateWord;
use portolan_engine::{Audience, EngineError, EngineEvent, JobEnd, JobState, Wish};

use crate::args::RunArgs;
use crate::audience::{Consent, Teller};
use crate::failure::{self, CommandResult, Failure, exit};
use crate::interrupt;
use crate::manifests::select_one;
use crate::output::Output;
use crate::session::{Deployed, Session, in_turn};
use words::Words;

mod words;

pub async fn run(arguments: RunArgs, output: Output) -> CommandResult {
    let session = Session::open(output)?;
    let deployed = session.deployed(select_one(&arguments.one)?)?;
    let job = &arguments.job;
    if arguments.dry_run {
        return would_run(&deployed, job, output);
    }
    let mut words = Words::from_now_on(&session, &deployed, job, output).await?;
    let work = deployed.work(Wish::Apply, PlanOptions::default());
    let teller = Arc::new(LastWordsFirst::new(&session));
    let (engine, stop) = (&session.engine, interrupt::listen());
    let run = || engine.run_job(&deployed.provider, work.clone(), job, teller.clone(), stop.clone());
    let ended = match &mut words {
        None => in_turn(run).await,
        Some(words) => tokio::select! {
            ended = in_turn(run) => ended,
            never = words.follow() => match never {},
        },
    };
    let ended = ended.map_err(|error| deployed.failure(error))?;
    if let Some(words) = words.filter(|_| ended.state != JobState::Interrupted) {
        tell_the_rest(words, job, output).await;
    }
    teller.tell_the_end();
    session.progress.clear();
    conclude(job, ended)
}

/// How the job ended counts, also where its last words cannot be had.
async fn tell_the_rest(mut words: Words, job: &str, output: Output) {
    if let Err(failure) = words.rest().await {
        output.say(&format!("what `{job}` printed last cannot be read: {failure}"));
    }
}

/// Tells as the others do, but that the job has ended only once its words have been told.
struct LastWordsFirst {
    teller: Teller,
    end: Mutex<Option<EngineEvent>>,
}

impl LastWordsFirst {
    fn new(session: &Session) -> Self {
        Self {
            teller: Teller::new(session.progress.clone(), String::new(), Consent::Withheld),
            end: Mutex::default(),
        }
    }

    fn tell_the_end(&self) {
        if let Some(end) = self.end.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.teller.event(&end);
        }
    }
}

#[async_trait]
impl Audience for LastWordsFirst {
    fn event(&self, event: &EngineEvent) {
        let is_end = |state| matches!(state, StateWord::Completed | StateWord::Failed);
        match event {
            EngineEvent::StateChanged { state, .. } if is_end(*state) => {
                *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(event.clone());
            }
            _ => self.teller.event(event),
        }
    }

    async fn approve(&self, plan: &Plan, reasons: &[String]) -> bool {
        self.teller.approve(plan, reasons).await
    }
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
