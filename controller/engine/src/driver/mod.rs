//! The driver: carries out the machine's effects on tokio and brings back the answers. It decides nothing.

mod accounts;
mod clock;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError};

use portolan_core::plan::Verb;
use portolan_provider_api::{Accepted, CallError, Calls, ErrorClass, Images, Provider, WriteRequest};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{Instrument, Span, info_span};

pub use accounts::Accounts;
pub use clock::Clock;

use accounts::SharedBudget;

use crate::budget::Budget;
use crate::engine::Audience;
use crate::error::EngineError;
use crate::journal::{AppKey, Journal};
use crate::machine::{Answer, Ask, Effect, EffectId, Event, Input, State, Timestamp, step};
use crate::outcome::Outcome;

/// Everything outside that effects need.
#[derive(Clone)]
pub struct Driver {
    pub provider: Provider,
    pub images: Arc<dyn Images>,
    pub journal: Arc<dyn Journal>,
    pub audience: Arc<dyn Audience>,
    pub accounts: Arc<Accounts>,
    pub requests_per_second: u32,
    /// Known once the target has said which account is behind it.
    pub budget: Arc<OnceLock<SharedBudget>>,
    pub key: AppKey,
    pub clock: Clock,
}

/// What is under way.
#[derive(Default)]
struct UnderWay {
    tasks: JoinSet<(EffectId, Answer)>,
    handles: HashMap<EffectId, AbortHandle>,
}

impl Driver {
    /// Drives the machine to its end. Once `stop` is true it is interrupted.
    pub async fn run(self, mut state: State, mut stop: watch::Receiver<bool>) -> Result<Outcome, EngineError> {
        let mut under_way = UnderWay::default();
        let mut event = Event::Start;
        loop {
            let input = Input {
                now: self.clock.now(),
                random: clock::random(),
                event,
            };
            let (next, effects) = step(state, input);
            let wake = self.carry_out(effects, &mut under_way);
            state = next;
            if state.is_finished() {
                break;
            }
            event = under_way.next_event(wake, &mut stop).await;
        }
        state.into_result().expect("the loop ends with a finished machine")
    }

    /// Begins every effect; answers when to come back at the latest.
    fn carry_out(&self, effects: Vec<Effect>, under_way: &mut UnderWay) -> Option<Instant> {
        let mut wake = None;
        for effect in effects {
            match effect {
                Effect::Ask(id, ask) => under_way.begin(id, self.clone().answer(ask)),
                Effect::Abandon(id) => under_way.abandon(id),
                Effect::WakeAt(at) => wake = Some(self.clock.instant(at)),
                Effect::Publish(event) => self.audience.event(&event),
            }
        }
        wake
    }

    async fn answer(self, ask: Ask) -> Answer {
        let calls = &self.provider.calls;
        match ask {
            Ask::Realm => Answer::Realm(self.realm().await),
            Ask::Pin(request) => {
                let span = info_span!("pin", app = %self.key, container = %request.container);
                Answer::Pin(self.images.pin(&request).instrument(span).await)
            }
            Ask::Observe { scope, wanted, open } => {
                let call = calls.observe(&scope, &wanted, &open);
                Answer::Observe(self.within_budget(call, self.span("observe")).await)
            }
            Ask::Preflight { scope, writes } => {
                let call = calls.preflight(&scope, &writes);
                Answer::Preflight(self.within_budget(call, self.span("preflight")).await)
            }
            Ask::Call { scope, request } => {
                let span = self.write_span(&request);
                let call = write(&**calls, &scope, &request);
                Answer::Call(self.within_budget(call, span).await)
            }
            Ask::Write(entries) => {
                let write = move || self.journal.append(&self.key, &entries);
                Answer::Write(blocking(write).await)
            }
            Ask::Approve { plan, reasons } => Answer::Approve(self.audience.approve(&plan, &reasons).await),
        }
    }

    /// Asked once, before there is a budget: it tells whose budget the rest is asked within.
    async fn realm(&self) -> Result<String, CallError> {
        let realm = self.provider.calls.realm().instrument(self.span("realm")).await?;
        let name = self.provider.shape.name();
        self.budget
            .get_or_init(|| self.accounts.budget(name, &realm, self.requests_per_second));
        // It counts too, in arrears.
        self.with_budget(|budget, now| budget.take(now));
        Ok(realm)
    }

    /// Waits for a token, and then makes the call. A platform that wants to be left alone is left alone by everybody.
    async fn within_budget<T>(
        &self,
        call: impl Future<Output = Result<T, CallError>>,
        span: Span,
    ) -> Result<T, CallError> {
        let wait = self.with_budget(|budget, now| budget.take(now));
        sleep(wait.unwrap_or_default()).await;
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

    fn with_budget<T>(&self, with: impl FnOnce(&mut Budget, Timestamp) -> T) -> Option<T> {
        // A bucket is whole after every line of its code: whoever panicked with it left it usable.
        let mut budget = self.budget.get()?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(with(&mut budget, self.clock.now()))
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

/// Runs what blocks where that is allowed.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(failure) => std::panic::resume_unwind(failure.into_panic()),
    }
}

async fn write(
    calls: &dyn Calls,
    scope: &portolan_core::plan::Scope,
    request: &WriteRequest,
) -> Result<Accepted, CallError> {
    match request.verb {
        Verb::Create => calls.create(scope, request).await,
        Verb::Update => calls.update(scope, request).await,
        Verb::Delete => calls.delete(scope, request).await,
    }
}

impl UnderWay {
    fn begin(&mut self, id: EffectId, answer: impl Future<Output = Answer> + Send + 'static) {
        let handle = self
            .tasks
            .spawn(async move { (id, answer.await) }.instrument(Span::current()));
        self.handles.insert(id, handle);
    }

    fn abandon(&mut self, id: EffectId) {
        if let Some(handle) = self.handles.remove(&id) {
            handle.abort();
        }
    }

    async fn next_event(&mut self, wake: Option<Instant>, stop: &mut watch::Receiver<bool>) -> Event {
        tokio::select! {
            biased;
            () = stopped(stop) => Event::Interrupt,
            (id, answer) = self.next_answer() => {
                self.handles.remove(&id);
                Event::Done(id, answer)
            }
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => Event::Wake,
        }
    }

    async fn next_answer(&mut self) -> (EffectId, Answer) {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(answer)) => return answer,
                Some(Err(failure)) if failure.is_panic() => std::panic::resume_unwind(failure.into_panic()),
                // Abandoned.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// Ends when `stop` becomes true, once.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}
