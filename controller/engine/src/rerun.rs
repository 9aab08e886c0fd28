//! Running a job again: the wish once, and then look after look until the job has ended.

use std::time::Duration;

use portolan_core::observation::{Failure, Observation, ObservedResource, ResourceState};
use portolan_core::plan::Scope;
use portolan_core::resource::{Resource, ResourceId, Resources};
use portolan_core::status::{ResourceStatus, Standing, summarise};
use portolan_provider_api::RunJob;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::driver::Stop;
use crate::engine::Audience;
use crate::error::EngineError;
use crate::event::EngineEvent;
use crate::journal::AppRecord;
use crate::looking::Looking;
use crate::machine::goal::{self, Goal};
use crate::machine::look;
use crate::outcome::{JobEnd, JobState};

/// What it needs; it lives for one run of one job.
pub struct Rerun<'a> {
    pub looking: Looking<'a>,
    pub runner: &'a dyn RunJob,
    pub audience: &'a dyn Audience,
}

/// The job that was told to run, and when.
struct Begun<'a> {
    scope: Scope,
    resource: &'a Resource,
    at: Instant,
    /// Whether it was seen to run since.
    moved: bool,
    /// What was told of it last.
    told: Option<ResourceStatus>,
}

impl Rerun<'_> {
    pub async fn run(self, job: &str, record: AppRecord, stop: watch::Receiver<bool>) -> Result<JobEnd, EngineError> {
        let Looking {
            caller, policy, work, ..
        } = &self.looking;
        let realm = self.looking.realm().await?;
        let scope = goal::scope(work, &realm);
        let goal = self
            .looking
            .applied_or_desired(&record.of(&scope.owner), &realm)
            .await?;
        let resource = job_of(&goal.resources, job).ok_or_else(|| EngineError::UnknownJob {
            key: work.key(),
            job: job.to_string(),
        })?;
        let call = caller.run_job(self.runner, &scope, job, policy).await;
        call.map_err(EngineError::Call)?;
        let begun = Begun {
            scope,
            resource,
            at: Instant::now(),
            moved: false,
            told: None,
        };
        self.follow(begun, &goal, Stop::new(stop)).await
    }

    /// Looks ever less often, as a machine does.
    async fn follow(&self, mut begun: Begun<'_>, goal: &Goal, mut stop: Stop) -> Result<JobEnd, EngineError> {
        let policy = self.looking.policy;
        let mut interval = policy.poll_first;
        loop {
            let observed = tokio::select! {
                biased;
                () = stop.wished() => return Ok(JobEnd { state: JobState::Interrupted, exit_code: None }),
                observed = self.look_after(interval, &begun) => observed?,
            };
            let end = begun.end(&observed);
            if end.is_none() || begun.is_of_this_run(self.looking.shape.read_lag()) {
                self.tell(&mut begun, &observed);
                if let Some(end) = end {
                    return Ok(end);
                }
            }
            if begun.at.elapsed() >= goal.patience {
                return Ok(out_of_patience(&begun));
            }
            interval = policy.next_interval(interval);
        }
    }

    async fn look_after(&self, interval: Duration, begun: &Begun<'_>) -> Result<Observation, EngineError> {
        sleep(interval).await;
        let Looking { caller, policy, .. } = &self.looking;
        let wanted = [begun.resource.id.clone()];
        let look = || async {
            let observed = caller.observe(&begun.scope, &wanted, &[]).await;
            observed.and_then(look::complete)
        };
        caller.patiently(policy, look).await.map_err(EngineError::Call)
    }

    fn tell(&self, begun: &mut Begun<'_>, observed: &Observation) {
        let only = Resources::from([(begun.resource.id.clone(), begun.resource.clone())]);
        let status = summarise(&begun.scope, &only, observed, &Standing::default());
        let Some(now) = status.resources.into_iter().next() else {
            return;
        };
        if begun.told.as_ref() != Some(&now) {
            self.audience.event(&EngineEvent::StateChanged {
                id: now.id.clone(),
                state: now.state,
                message: now.message.clone(),
                replicas: now.replicas,
                failure: now.failure.clone(),
            });
            begun.told = Some(now);
        }
    }
}

impl Begun<'_> {
    fn end(&mut self, observed: &Observation) -> Option<JobEnd> {
        let seen = observed.resources.get(&self.resource.id);
        let end = match seen.filter(|seen| !seen.retained) {
            Some(seen) => end(seen),
            None => Some(gone(&self.resource.id)),
        };
        self.moved |= end.is_none();
        end
    }

    /// Reads lag behind: an end that is seen at once may be the one of the run before.
    fn is_of_this_run(&self, read_lag: Duration) -> bool {
        self.moved || self.at.elapsed() >= read_lag
    }
}

/// The resource that stands for the job itself, not for what it runs on.
fn job_of<'a>(resources: &'a Resources, job: &str) -> Option<&'a Resource> {
    let origin = format!("/spec/jobs/{job}");
    resources
        .values()
        .find(|resource| resource.origin == origin && resource.awaited)
}

fn end(seen: &ObservedResource) -> Option<JobEnd> {
    let state = match &seen.state {
        ResourceState::Completed => JobState::Completed,
        ResourceState::Failed { failure } => JobState::Failed(failure.clone()),
        ResourceState::Progressing { .. } | ResourceState::Ready | ResourceState::Deleting => return None,
    };
    let exit_code = seen.outputs.get("exitCode").and_then(serde_json::Value::as_i64);
    Some(JobEnd {
        state,
        exit_code: exit_code.and_then(|code| i32::try_from(code).ok()),
    })
}

fn gone(id: &ResourceId) -> JobEnd {
    failed(Failure::new("NotRunning", format!("{id} is not there any more")))
}

fn out_of_patience(begun: &Begun<'_>) -> JobEnd {
    let (id, waited) = (&begun.resource.id, begun.at.elapsed().as_secs());
    failed(Failure::new(
        "DeadlineExceeded",
        format!("{id} has not ended within {waited} s"),
    ))
}

fn failed(failure: Failure) -> JobEnd {
    JobEnd {
        state: JobState::Failed(failure),
        exit_code: None,
    }
}
