//! The facade: what the command line, and later the daemon and the operator, call.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use portolan_core::plan::{Plan, Scope};
use portolan_core::reference::Digest;
use portolan_core::status::Status;
use portolan_provider_api::{Images, Provider};
use tokio::sync::watch;

use crate::driver::{Accounts, Caller, Driver, blocking};
use crate::error::{EngineError, ImageFault};
use crate::event::EngineEvent;
use crate::journal::{
    AppKey, AppRecord, Generation, GenerationKind, HistoryEntry, HistoryOutcome, Journal, JournalError, Lock, Order,
};
use crate::lease::Lease;
use crate::looking::Looking;
use crate::machine::{PhaseName, Policy, State};
use crate::outcome::{JobEnd, Outcome, Preview, Rendering};
use crate::promotion::{PromoteHow, Promotion};
use crate::rerun::Rerun;
use crate::work::{Wish, Work};

/// Carries out work for any number of apps at the same time; one is enough for a process.
pub struct Engine {
    journal: Arc<dyn Journal>,
    images: Arc<dyn Images>,
    policy: Policy,
    accounts: Arc<Accounts>,
    lease: Lease,
}

/// Whoever follows a piece of work and may be asked about it.
#[async_trait]
pub trait Audience: Send + Sync {
    fn event(&self, event: &EngineEvent);

    /// Whether the plan may be carried out, given why it asks. Called only when it does.
    async fn approve(&self, plan: &Plan, reasons: &[String]) -> bool;

    /// Where the work stands, whenever that is another phase.
    fn phase(&self, _phase: PhaseName) {}

    /// Ends once something of the app has changed at the target since this was asked last. Whoever hears of no changes waits
    /// for ever.
    async fn changed(&self) {
        std::future::pending().await
    }
}

impl Engine {
    pub fn new(journal: Arc<dyn Journal>, images: Arc<dyn Images>) -> Self {
        Self {
            journal,
            images,
            policy: Policy::default(),
            accounts: Arc::new(Accounts::new()),
            lease: Lease::default(),
        }
    }

    /// With another patience.
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    pub(crate) fn journal_handle(&self) -> Arc<dyn Journal> {
        self.journal.clone()
    }

    /// Which writes only while it holds the lease. Without one nobody else could write.
    pub fn with_lease(self, lease: Lease) -> Self {
        Self { lease, ..self }
    }

    /// Carries the work out to its end. Progress goes to `audience`; `stop` becomes true when the user wants to stop:
    /// no new call is made then, and what is under way is awaited and recorded.
    ///
    /// # Errors
    /// [`EngineError::Busy`] at once if another process, or another task of this one, works on the same app and target;
    /// [`EngineError::LeaseLost`] where the lease has passed before the end.
    pub async fn reconcile(
        &self,
        provider: &Provider,
        work: Work,
        audience: Arc<dyn Audience>,
        stop: watch::Receiver<bool>,
    ) -> Result<Outcome, EngineError> {
        let key = work.key();
        let (_lock, record) = self.begin(&key).await?;
        let caller = self.caller(provider, &work).heard_by(audience.clone());
        let work = self.with_generation(caller.clone(), provider, work, &record).await?;
        let driver = Driver {
            caller,
            images: self.images.clone(),
            journal: self.journal.clone(),
            audience,
            key,
        };
        let policy = match provider.calls.is_told_of_changes() {
            true => self.policy.where_changes_are_told(),
            false => self.policy,
        };
        let state = State::new(Arc::new(work), provider.shape.clone(), policy, record);
        driver.run(state, stop).await
    }

    /// What [`Engine::reconcile`] would do, without building, pulling or writing anything.
    pub async fn preview(&self, provider: &Provider, work: &Work) -> Result<Preview, EngineError> {
        let record = self.load(&work.key()).await?;
        let caller = self.caller(provider, work);
        let work = self
            .with_generation(caller.clone(), provider, work.clone(), &record)
            .await?;
        self.looking_by(caller, provider, &work).preview(record).await
    }

    /// What the app becomes at its target, without a look at it, and without building, pulling or writing anything.
    pub async fn rendering(&self, provider: &Provider, work: &Work) -> Result<Rendering, EngineError> {
        self.looking(provider, work).rendering().await
    }

    /// Where the app stands: one look at the target, against what was last applied.
    pub async fn status(&self, provider: &Provider, work: &Work) -> Result<Status, EngineError> {
        let record = self.load(&work.key()).await?;
        self.looking(provider, work).status(record).await
    }

    /// Runs a job of the app again, whatever the records of its success say, and waits for its end. [`Audience`] is told
    /// each state that the job is seen in. Once `stop` is true nobody waits any more, and the job goes on.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] where the target cannot, [`EngineError::UnknownJob`] where the app has no such job, and
    /// [`EngineError::Busy`] as [`Engine::reconcile`]: a job may not run beside a rollout.
    pub async fn run_job(
        &self,
        provider: &Provider,
        work: Work,
        job: &str,
        audience: Arc<dyn Audience>,
        stop: watch::Receiver<bool>,
    ) -> Result<JobEnd, EngineError> {
        let runner = provider.run_job.as_deref().ok_or(EngineError::Unsupported {
            provider: provider.shape.name(),
            operation: "run a job again",
        })?;
        let key = work.key();
        let (_lock, record) = self.begin(&key).await?;
        let rerun = Rerun {
            looking: self.looking(provider, &work),
            runner,
            audience: &*audience,
        };
        rerun.run(job, record, stop).await
    }

    /// Lets rollouts that pause go on: that of `service`, or all; answers whose.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] where the target cannot, [`EngineError::NotPaused`] where nothing waits, and
    /// [`EngineError::Busy`] as [`Engine::reconcile`].
    pub async fn promote(
        &self,
        provider: &Provider,
        work: &Work,
        service: Option<&str>,
        how: PromoteHow,
    ) -> Result<Vec<String>, EngineError> {
        let promoter = provider.promote.as_deref().ok_or(EngineError::Unsupported {
            provider: provider.shape.name(),
            operation: "promote a rollout",
        })?;
        let key = work.key();
        let (_lock, record) = self.begin(&key).await?;
        let promotion = Promotion {
            looking: self.looking(provider, work),
            promoter,
            how,
        };
        promotion.run(service, record).await
    }

    /// Whose the app's resources are at the target.
    pub async fn scope(&self, provider: &Provider, work: &Work) -> Result<Scope, EngineError> {
        self.looking(provider, work).scope().await
    }

    /// What was done to the app, the newest first.
    pub fn history(&self, namespace: &str, app: &str, target: &str) -> Result<Vec<HistoryEntry>, EngineError> {
        let key = AppKey {
            namespace: namespace.to_string(),
            app: app.to_string(),
            target: target.to_string(),
        };
        Ok(self.journal.history(&key)?)
    }

    /// Tells whichever controller keeps the app what somebody wants of it.
    pub fn give(&self, key: &AppKey, order: Order) -> Result<(), EngineError> {
        Ok(self.journal.give(key, order)?)
    }

    /// Images that an app runs, or would go back to: no clean-up may take them away.
    pub fn images_in_use(&self) -> Result<BTreeSet<Digest>, EngineError> {
        let mut used = BTreeSet::new();
        for key in self.journal.keys()? {
            let generations = self.journal.generations(&key)?;
            used.extend(generations.iter().flat_map(|one| {
                one.images
                    .values()
                    .map(|image| image.digest.clone())
                    .collect::<Vec<_>>()
            }));
        }
        Ok(used)
    }

    /// The work with the generation that its wish speaks of, if that is one of the journal's.
    async fn with_generation(
        &self,
        caller: Caller,
        provider: &Provider,
        work: Work,
        record: &AppRecord,
    ) -> Result<Work, EngineError> {
        if matches!(work.wish, Wish::Apply | Wish::Delete { .. }) {
            return Ok(work);
        }
        if work.wish == Wish::Keep && !record.is_made_from(&work.intent()) {
            return Ok(applying(work));
        }
        let key = work.key();
        let scope = self.looking_by(caller, provider, &work).scope().await?;
        if work.wish == Wish::Keep {
            return match &record.latest {
                Some(latest) if record.owner.as_ref() == Some(&scope.owner) => self.with(latest.clone(), work).await,
                _ => Ok(applying(work)),
            };
        }
        let mut kept = self.journal(&key, |journal, key| journal.generations(key)).await?;
        let past = self.journal(&key, |journal, key| journal.history(key)).await?;
        // What speaks of another account is nothing to bring to this one.
        kept.retain(|one| one.kind == GenerationKind::Apply && record.owner.as_ref() == Some(&scope.owner));
        let found = chosen(work.wish, &kept, record, &past);
        let generation = found.ok_or_else(|| EngineError::UnknownGeneration {
            key,
            number: match work.wish {
                Wish::Rollback { to } => to,
                _ => None,
            },
        })?;
        self.with(generation, work).await
    }

    async fn with(&self, generation: Arc<Generation>, work: Work) -> Result<Work, EngineError> {
        self.are_images_there(&generation).await?;
        Ok(Work {
            generation: Some(generation),
            ..work
        })
    }

    /// A clean-up may have taken away what an earlier generation ran.
    async fn are_images_there(&self, generation: &Generation) -> Result<(), EngineError> {
        let mut faults = Vec::new();
        for (container, image) in &generation.images {
            if let Err(error) = self.images.unpack(&image.digest).await {
                faults.push(ImageFault {
                    container: container.clone(),
                    error: Box::new(error),
                });
            }
        }
        match faults.is_empty() {
            true => Ok(()),
            false => Err(EngineError::Images(faults)),
        }
    }

    fn looking<'a>(&'a self, provider: &'a Provider, work: &'a Work) -> Looking<'a> {
        self.looking_by(self.caller(provider, work), provider, work)
    }

    fn looking_by<'a>(&'a self, caller: Caller, provider: &'a Provider, work: &'a Work) -> Looking<'a> {
        Looking {
            caller,
            shape: &*provider.shape,
            images: &*self.images,
            policy: &self.policy,
            work,
        }
    }

    fn caller(&self, provider: &Provider, work: &Work) -> Caller {
        Caller::new(provider, work, self.accounts.clone(), self.lease.clone())
    }

    /// Nobody else works on the app while the lock is held.
    async fn begin(&self, key: &AppKey) -> Result<(Box<dyn Lock>, AppRecord), EngineError> {
        let begin =
            |journal: &dyn Journal, key: &AppKey| Ok::<_, JournalError>((journal.lock(key)?, journal.load(key)?));
        self.journal(key, begin).await
    }

    async fn load(&self, key: &AppKey) -> Result<AppRecord, EngineError> {
        self.journal(key, |journal, key| journal.load(key)).await
    }

    /// Asks the journal, which blocks, where that is allowed.
    async fn journal<T, E>(
        &self,
        key: &AppKey,
        ask: impl FnOnce(&dyn Journal, &AppKey) -> Result<T, E> + Send + 'static,
    ) -> Result<T, EngineError>
    where
        T: Send + 'static,
        E: Into<EngineError> + Send + 'static,
    {
        let (journal, key) = (self.journal.clone(), key.clone());
        let answer = blocking(move || ask(&*journal, &key)).await;
        answer.map_err(Into::into)
    }
}

fn applying(work: Work) -> Work {
    Work {
        wish: Wish::Apply,
        ..work
    }
}

/// Which of the generations that are kept, the oldest first, the wish speaks of.
fn chosen(wish: Wish, kept: &[Arc<Generation>], record: &AppRecord, past: &[HistoryEntry]) -> Option<Arc<Generation>> {
    let latest = record.latest.as_ref()?;
    let converged = |number: u64| {
        let mut lines = past.iter().filter(|line| line.generation == number);
        lines.any(|line| line.outcome == HistoryOutcome::Converged)
    };
    let wanted = |one: &&Arc<Generation>| match wish {
        Wish::Rollback { to: Some(number) } => one.number == number,
        Wish::Rollback { to: None } => one.number < latest.number && one.hash != latest.hash && converged(one.number),
        _ => one.number == latest.number,
    };
    kept.iter().rev().find(wanted).cloned()
}
