//! The driver: carries out the machine's effects on tokio and brings back the answers. It decides nothing.

mod accounts;
mod caller;
mod clock;
mod stop;

use std::collections::HashMap;
use std::sync::Arc;

use portolan_provider_api::Images;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, Span, debug, info_span};

pub use accounts::Accounts;
pub use caller::{Caller, requests_per_second};
pub use clock::random;
pub use stop::Stop;

use crate::engine::Audience;
use crate::error::EngineError;
use crate::journal::{AppKey, Journal};
use crate::machine::{Answer, Ask, Effect, EffectId, Event, Input, State, step};
use crate::outcome::Outcome;

/// Everything outside that effects need.
#[derive(Clone)]
pub struct Driver {
    pub caller: Caller,
    pub images: Arc<dyn Images>,
    pub journal: Arc<dyn Journal>,
    pub audience: Arc<dyn Audience>,
    pub key: AppKey,
}

/// What is under way.
#[derive(Default)]
struct UnderWay {
    tasks: JoinSet<(EffectId, Answer)>,
    handles: HashMap<EffectId, AbortHandle>,
}

impl Driver {
    /// Drives the machine to its end. Once `stop` is true it is interrupted.
    pub async fn run(self, mut state: State, stop: watch::Receiver<bool>) -> Result<Outcome, EngineError> {
        let mut stop = Stop::new(stop);
        let mut under_way = UnderWay::default();
        let mut event = Event::Start;
        loop {
            let input = Input {
                now: self.caller.clock.now(),
                random: clock::random(),
                lease: self.caller.lease_ends(),
                event,
            };
            let phase = state.phase();
            let (next, effects) = step(state, input);
            let wake = self.carry_out(effects, &mut under_way);
            state = next;
            if state.phase() != phase {
                debug!(app = %self.key, phase = ?state.phase(), "another phase");
                self.audience.phase(state.phase());
            }
            if state.is_finished() {
                break;
            }
            event = under_way.next_event(wake, &mut stop, &*self.audience).await;
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
                Effect::WakeAt(at) => wake = Some(self.caller.clock.instant(at)),
                Effect::Publish(event) => self.audience.event(&event),
            }
        }
        wake
    }

    async fn answer(self, ask: Ask) -> Answer {
        let caller = &self.caller;
        match ask {
            Ask::Realm => Answer::Realm(caller.realm().await),
            Ask::Pin(request) => {
                let span = info_span!("pin", app = %self.key, container = %request.container);
                Answer::Pin(self.images.pin(&request).instrument(span).await)
            }
            Ask::Observe { scope, wanted, open } => Answer::Observe(caller.observe(&scope, &wanted, &open).await),
            Ask::Preflight { scope, writes } => Answer::Preflight(caller.preflight(&scope, &writes).await),
            Ask::Call { scope, request } => Answer::Call(caller.write(&scope, &request).await),
            Ask::Note { scope, held } => Answer::Note(caller.note(&scope, held.as_ref()).await),
            Ask::Write(entries) => {
                let write = move || self.journal.append(&self.key, &entries);
                Answer::Write(blocking(write).await)
            }
            Ask::Approve { plan, reasons } => Answer::Approve(self.audience.approve(&plan, &reasons).await),
        }
    }
}

/// Runs what blocks where that is allowed.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(failure) => std::panic::resume_unwind(failure.into_panic()),
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

    async fn next_event(&mut self, wake: Option<Instant>, stop: &mut Stop, audience: &dyn Audience) -> Event {
        tokio::select! {
            biased;
            () = stop.wished() => Event::Interrupt,
            (id, answer) = self.next_answer() => {
                self.handles.remove(&id);
                Event::Done(id, answer)
            }
            () = audience.changed() => Event::Changed,
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
