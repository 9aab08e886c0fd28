//! Every call of a provider goes through here: in a span of its own, and within the budget of its account.

use std::sync::{Arc, OnceLock, PoisonError};

use portolan_core::observation::{Held, Observation};
use portolan_core::plan::{Scope, Verb};
use portolan_core::resource::ResourceId;
use portolan_provider_api::{
    Accepted, CallError, Calls, ErrorClass, OpenOperation, Promote, Provider, RunJob, Shape, WriteRequest,
};
use tokio::time::{sleep, timeout};
use tracing::{Instrument, Span, info_span, warn};

use super::accounts::{Accounts, SharedBudget};
use super::clock::{Clock, random};
use crate::budget::Budget;
use crate::engine::Audience;
use crate::event::EngineEvent;
use crate::journal::AppKey;
use crate::lease::Lease;
use crate::machine::{Policy, Timestamp, no_answer_in_time};
use crate::work::Work;

/// Calls one target on behalf of one app, for one piece of work. Clones share the account and its budget.
#[derive(Clone)]
pub struct Caller {
    calls: Arc<dyn Calls>,
    shape: Arc<dyn Shape>,
    key: AppKey,
    pub clock: Clock,
    accounts: Arc<Accounts>,
    lease: Lease,
    requests_per_second: u32,
    /// Known once the target has said which account is behind it.
    account: Arc<OnceLock<Account>>,
    /// Told of reads that are tried again, besides those of a machine, which tells of its own.
    audience: Option<Arc<dyn Audience>>,
}

struct Account {
    realm: String,
    budget: SharedBudget,
}

impl Caller {
    pub fn new(provider: &Provider, work: &Work, accounts: Arc<Accounts>, lease: Lease) -> Self {
        Self {
            calls: provider.calls.clone(),
            shape: provider.shape.clone(),
            key: work.key(),
            clock: Clock::start(),
            accounts,
            lease,
            requests_per_second: requests_per_second(provider, work),
            account: Arc::default(),
            audience: None,
        }
    }

    /// With somebody who follows the work.
    pub fn heard_by(self, audience: Arc<dyn Audience>) -> Self {
        Self {
            audience: Some(audience),
            ..self
        }
    }

    fn tell(&self, event: &EngineEvent) {
        if let Some(audience) = &self.audience {
            audience.event(event);
        }
    }

    /// Until when writes may be sent, where there is an end to it.
    pub fn lease_ends(&self) -> Option<Timestamp> {
        self.lease.ends().map(|ends| self.clock.timestamp(ends))
    }

    /// Asked once for the whole work, before there is a budget: it tells whose budget the rest is asked within.
    pub async fn realm(&self) -> Result<String, CallError> {
        if let Some(account) = self.account.get() {
            return Ok(account.realm.clone());
        }
        let realm = self.calls.realm().instrument(self.span("realm")).await?;
        let name = self.shape.name();
        self.account.get_or_init(|| Account {
            realm: realm.clone(),
            budget: self.accounts.budget(name, &realm, self.requests_per_second),
        });
        if !self.calls.is_told_of_changes() {
            // It counts too, in arrears.
            self.with_budget(|budget, now| budget.take(now));
        }
        Ok(realm)
    }

    pub async fn observe(
        &self,
        scope: &Scope,
        wanted: &[ResourceId],
        open: &[OpenOperation],
    ) -> Result<Observation, CallError> {
        let call = self.calls.observe(scope, wanted, open);
        match self.calls.is_told_of_changes() {
            true => call.instrument(self.span("observe")).await,
            false => self.within_budget(call, self.span("observe")).await,
        }
    }

    pub async fn preflight(&self, scope: &Scope, writes: &[WriteRequest]) -> Result<Vec<CallError>, CallError> {
        let call = self.calls.preflight(scope, writes);
        self.within_budget(call, self.span("preflight")).await
    }

    pub async fn write(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        let call = async {
            match request.verb {
                Verb::Create => self.calls.create(scope, request).await,
                Verb::Update => self.calls.update(scope, request).await,
                Verb::Delete => self.calls.delete(scope, request).await,
            }
        };
        self.within_budget(self.within_lease(call), self.write_span(request))
            .await
    }

    pub async fn note(&self, scope: &Scope, held: Option<&Held>) -> Result<(), CallError> {
        let call = self.within_lease(self.calls.note(scope, held));
        self.within_budget(call, self.span("note")).await
    }

    /// Tried once: whether a job whose answer was lost has begun cannot be told, and it may not run twice.
    pub async fn run_job(
        &self,
        runner: &dyn RunJob,
        scope: &Scope,
        job: &str,
        policy: &Policy,
    ) -> Result<(), CallError> {
        let call = self.within_lease(runner.run_job(scope, job));
        let call = self.within_budget(call, self.span("run_job"));
        let answer = timeout(policy.call_deadline, call).await;
        answer.unwrap_or_else(|_| Err(no_answer_in_time()))
    }

    /// Tried once, as the user can say it again.
    pub async fn promote(
        &self,
        promoter: &dyn Promote,
        scope: &Scope,
        service: &str,
        full: bool,
        policy: &Policy,
    ) -> Result<(), CallError> {
        let call = self.within_lease(promoter.promote(scope, service, full));
        let call = self.within_budget(call, self.span("promote"));
        let answer = timeout(policy.call_deadline, call).await;
        answer.unwrap_or_else(|_| Err(no_answer_in_time()))
    }

    /// A read that no machine stands behind: each try within its deadline, and what passes is tried again as a machine
    /// would.
    pub async fn patiently<T, F>(&self, policy: &Policy, read: impl Fn() -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let mut failures = 0;
        loop {
            let answer = timeout(policy.read_deadline, read()).await;
            let error = match answer.unwrap_or_else(|_| Err(no_answer_in_time())) {
                Ok(answer) => {
                    if failures > 0 {
                        self.tell(&EngineEvent::ReadSucceeded);
                    }
                    return Ok(answer);
                }
                Err(error) => error,
            };
            failures += 1;
            match error.class {
                ErrorClass::Retry { after } if failures < policy.tries => {
                    warn!(app = %self.key, error = %error, "looking again");
                    let pause = policy.pause(failures, after, random());
                    let at = self.clock.now().plus(pause);
                    self.tell(&EngineEvent::ReadRetrying { error, at });
                    sleep(pause).await;
                }
                _ => return Err(error),
            }
        }
    }

    /// Waits for a token, and then makes the call. A platform that wants to be left alone is left alone by everybody.
    async fn within_budget<T>(
        &self,
        call: impl Future<Output = Result<T, CallError>>,
        span: Span,
    ) -> Result<T, CallError> {
        let mut wait = self.with_budget(|budget, now| budget.take(now)).unwrap_or_default();
        // To a timer nothing is a millisecond.
        while !wait.is_zero() {
            sleep(wait).await;
            // Somebody may have been told meanwhile to leave the platform alone.
            wait = self.with_budget(|budget, now| budget.pause(now)).unwrap_or_default();
        }
        let answer = call.instrument(span).await;
        if let Err(CallError {
            class: ErrorClass::Retry { after: Some(after) },
            ..
        }) = &answer
        {
            self.with_budget(|budget, now| budget.pause_until(now.plus(*after)));
        }
        answer
    }

    /// Makes a call that changes something, if this side may. It may have waited for its turn: what counts is the moment
    /// at which it is sent.
    async fn within_lease<T>(&self, call: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
        match self.lease.is_lost() {
            true => Err(not_sent()),
            false => call.await,
        }
    }

    fn with_budget<T>(&self, with: impl FnOnce(&mut Budget, Timestamp) -> T) -> Option<T> {
        // A bucket is whole after every line of its code: whoever panicked with it left it usable.
        let budget = &self.account.get()?.budget;
        let mut budget = budget.lock().unwrap_or_else(PoisonError::into_inner);
        Some(with(&mut budget, self.accounts.now()))
    }

    fn span(&self, verb: &'static str) -> Span {
        let AppKey { namespace, app, target } = &self.key;
        info_span!("call", namespace, app, target, verb)
    }

    fn write_span(&self, request: &WriteRequest) -> Span {
        let AppKey { namespace, app, target } = &self.key;
        let (verb, resource, generation) = (request.verb, &request.id, request.generation);
        info_span!("call", namespace, app, target, ?verb, %resource, generation)
    }
}

/// What a write answers that came too late to be sent: the machine, too, knows by then that it may write no more.
fn not_sent() -> CallError {
    CallError::new(
        ErrorClass::Retry { after: None },
        "LeaseLost",
        "the right to write has passed to somebody else",
    )
}

/// As its Target says, or as the platform takes.
pub fn requests_per_second(provider: &Provider, work: &Work) -> u32 {
    let given = work.target.spec.budget.map(|budget| budget.requests_per_second);
    given.unwrap_or_else(|| provider.shape.requests_per_second())
}
