//! What the engine's controller tells, on its way to the desk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use portolan_engine::budget::Budget;
use portolan_engine::controller::Listener;
use portolan_engine::journal::AppKey;
use portolan_engine::{EngineError, EngineEvent, Outcome, Work};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::told::{self, News, Told, Tried};

/// How long a turn has to have gone on, or to have had no answer after a call that failed, before that is news. What is over
/// sooner is told of by its end alone.
const NEWS: Duration = Duration::from_secs(10);

/// Of so many a second it is told, once twice as many were: where very many come at once, each takes longer, and nobody
/// reads of each that it goes on.
const NEWS_A_SECOND: u32 = 5;

/// Something that has happened to an App on a target.
pub enum Heard {
    /// A turn goes on, or fails to.
    Begun {
        key: AppKey,
        told: Box<Told>,
    },
    News {
        key: AppKey,
        news: News,
    },
    Ended {
        key: AppKey,
        work: Arc<Work>,
        told: Box<Told>,
    },
}

/// Never waits: the controller's loop tells it.
pub struct Hearing {
    tell: UnboundedSender<Heard>,
    /// Plans of which no step was taken yet: one that waits for a yes, or is refused, is made again at each look.
    planned: Mutex<BTreeMap<AppKey, Box<Told>>>,
    /// Turns that have begun, until they end.
    going: Arc<Mutex<BTreeMap<AppKey, AbortHandle>>>,
    /// Turns whose calls fail, and are tried again.
    failing: Arc<Mutex<BTreeMap<AppKey, (Tried, Failing)>>>,
    budget: Arc<Mutex<Budget>>,
}

/// Whether it is news yet that a call has failed.
enum Failing {
    Waits(AbortHandle),
    IsTold,
}

impl Listener for Hearing {
    fn event(&self, key: &AppKey, event: &EngineEvent) {
        if let Some(told) = told::planned(event) {
            self.planned().insert(key.clone(), Box::new(told));
        }
        if matches!(event, EngineEvent::StepStarted { .. })
            && let Some(told) = self.planned().remove(key)
        {
            self.begun(key.clone(), told);
        }
        if let Some((tried, told)) = told::retrying(event) {
            self.fails(key, tried, Box::new(told));
        }
        if let Some(tried) = told::answered(event) {
            self.answers(key, &tried, event);
        }
        if let Some(news) = told::news(event) {
            self.tell(Heard::News { key: key.clone(), news });
        }
    }

    fn ended(&self, key: &AppKey, work: &Arc<Work>, result: &Result<Outcome, EngineError>) {
        self.planned().remove(key);
        if let Some(news) = guard(&self.going).remove(key) {
            news.abort();
        }
        if let Some((_, Failing::Waits(news))) = guard(&self.failing).remove(key) {
            news.abort();
        }
        if let Err(error) = result {
            tracing::info!(app = %key, error = error.explained(), "a turn has failed");
        }
        if let Some(told) = told::ended(result, work.is_delete()) {
            self.tell(Heard::Ended {
                key: key.clone(),
                work: work.clone(),
                told: Box::new(told),
            });
        }
    }
}

impl Hearing {
    pub fn new(tell: UnboundedSender<Heard>) -> Self {
        Self {
            tell,
            planned: Mutex::default(),
            going: Arc::default(),
            failing: Arc::default(),
            budget: Arc::new(Mutex::new(Budget::new(NEWS_A_SECOND))),
        }
    }

    /// Once a turn, however often it plans anew.
    fn begun(&self, key: AppKey, told: Box<Told>) {
        let mut going = guard(&self.going);
        if going.contains_key(&key) {
            return;
        }
        let (tell, of, all) = (self.tell.clone(), key.clone(), self.going.clone());
        let news = self.later(move || {
            // Whoever ends meanwhile waits until it is told, and tells of its end after that.
            if guard(&all).contains_key(&of) {
                _ = tell.send(Heard::Begun { key: of, told });
            }
        });
        going.insert(key, news);
    }

    /// Counted from its first failure on: somebody has to know of a target that does not answer long before nobody tries any
    /// more. Of several that fail the first is told of.
    fn fails(&self, key: &AppKey, tried: Tried, told: Box<Told>) {
        let mut failing = guard(&self.failing);
        if failing.contains_key(key) {
            return;
        }
        let (tell, of, all) = (self.tell.clone(), key.clone(), self.failing.clone());
        let news = self.later(move || {
            // Whoever is answered meanwhile waits until it is told, and tells of it after that.
            if let Some((_, failing)) = guard(&all).get_mut(&of) {
                *failing = Failing::IsTold;
                _ = tell.send(Heard::Begun { key: of, told });
            }
        });
        failing.insert(key.clone(), (tried, Failing::Waits(news)));
    }

    fn answers(&self, key: &AppKey, tried: &Tried, event: &EngineEvent) {
        let mut failing = guard(&self.failing);
        if failing.get(key).is_none_or(|(failed, _)| failed != tried) {
            return;
        }
        match failing.remove(key) {
            Some((_, Failing::Waits(news))) => news.abort(),
            Some((_, Failing::IsTold)) => {
                let told = Box::new(told::going_on(event));
                self.tell(Heard::Begun { key: key.clone(), told });
            }
            None => {}
        }
    }

    fn later(&self, tell: impl FnOnce() + Send + 'static) -> AbortHandle {
        let budget = self.budget.clone();
        let news = tokio::spawn(async move {
            sleep(NEWS).await;
            let turn = guard(&budget).take(SystemTime::now().into());
            sleep(turn).await;
            tell();
        });
        news.abort_handle()
    }

    fn tell(&self, heard: Heard) {
        // Nobody listens once the operator has ended.
        _ = self.tell.send(heard);
    }

    fn planned(&self) -> MutexGuard<'_, BTreeMap<AppKey, Box<Told>>> {
        guard(&self.planned)
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What it guards is whole after every line of its code.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use portolan_core::plan::Verb;
    use portolan_core::resource::ResourceId;
    use portolan_engine::StepName;
    use portolan_provider_api::{CallError, ErrorClass};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;
    use crate::object::AppName;

    fn app() -> AppName {
        AppName {
            namespace: "team".into(),
            name: "shop".into(),
        }
    }

    fn key() -> AppKey {
        AppKey {
            namespace: "team".into(),
            app: "shop".into(),
            target: "here".into(),
        }
    }

    fn work() -> Arc<Work> {
        let target = portolan_core::manifest::Target::local();
        let nothing = crate::intent::nothing_of(&app(), "here");
        Arc::new(Work::keep(nothing, target, std::path::PathBuf::new()))
    }

    /// What was told since, as reasons.
    fn reasons(heard: &mut UnboundedReceiver<Heard>) -> Vec<String> {
        std::iter::from_fn(|| heard.try_recv().ok())
            .filter_map(|heard| match heard {
                Heard::Begun { told, .. } => Some(told.reconciling.reason),
                _ => None,
            })
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_does_not_answer_is_news_long_before_nobody_tries_any_more() {
        let (tell, mut heard) = unbounded_channel();
        let hearing = Hearing::new(tell);
        let silent = CallError::new(ErrorClass::Retry { after: None }, "ClusterUnreachable", "no answer");
        let retrying = EngineEvent::ReadRetrying {
            error: silent,
            at: SystemTime::now().into(),
        };
        hearing.event(&key(), &retrying);
        sleep(NEWS / 2).await;
        hearing.event(&key(), &EngineEvent::ReadSucceeded);
        sleep(NEWS * 2).await;
        assert_eq!(reasons(&mut heard), [""; 0], "it answered soon");

        hearing.event(&key(), &retrying);
        sleep(NEWS / 2).await;
        hearing.event(&key(), &retrying);
        sleep(NEWS).await;
        assert_eq!(
            reasons(&mut heard),
            ["ClusterUnreachable"],
            "counted from the first failure"
        );
        hearing.event(&key(), &retrying);
        sleep(NEWS * 2).await;
        assert_eq!(reasons(&mut heard), [""; 0], "once");
        hearing.event(&key(), &EngineEvent::ReadSucceeded);
        assert_eq!(reasons(&mut heard), ["Progressing"], "and that it answers again");

        let of = |name: &str| StepName {
            number: 1,
            of: 2,
            verb: Verb::Create,
            id: ResourceId::new("Deployment", name),
        };
        hearing.event(
            &key(),
            &EngineEvent::StepRetrying {
                step: of("web"),
                error: CallError::new(ErrorClass::Retry { after: None }, "Throttled", "later"),
                at: SystemTime::now().into(),
            },
        );
        sleep(NEWS / 2).await;
        hearing.event(&key(), &EngineEvent::StepDone { step: of("api") });
        sleep(NEWS).await;
        assert_eq!(
            reasons(&mut heard),
            ["Throttled"],
            "another step is no answer to this one"
        );
        hearing.event(&key(), &EngineEvent::StepDone { step: of("web") });
        assert_eq!(reasons(&mut heard), ["Progressing"]);

        hearing.event(&key(), &retrying);
        hearing.ended(&key(), &work(), &Err(EngineError::LeaseLost));
        sleep(NEWS * 2).await;
        assert_eq!(reasons(&mut heard), [""; 0], "who has ended says so himself");
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_has_begun_with_its_first_step_and_is_news_once_it_goes_on() {
        let (tell, mut heard) = unbounded_channel();
        let hearing = Hearing::new(tell);
        let key = key();
        let plan = EngineEvent::Planned {
            generation: 1,
            creates: 2,
            updates: 0,
            deletes: 0,
            unchanged: 0,
        };
        let step = EngineEvent::StepStarted {
            step: StepName {
                number: 1,
                of: 2,
                verb: Verb::Create,
                id: ResourceId::new("Service", "web"),
            },
        };
        hearing.event(&key, &plan);
        assert!(heard.try_recv().is_err(), "it may wait for a yes, or be refused");
        hearing.event(&key, &plan);
        hearing.event(&key, &step);
        sleep(NEWS / 2).await;
        assert!(heard.try_recv().is_err(), "it may be over soon");
        sleep(NEWS).await;
        assert!(matches!(heard.try_recv(), Ok(Heard::Begun { .. })));
        hearing.event(&key, &step);
        sleep(NEWS * 2).await;
        assert!(heard.try_recv().is_err(), "once a turn");
        let work = work();
        hearing.ended(&key, &work, &Err(EngineError::LeaseLost));

        hearing.event(&key, &plan);
        hearing.event(&key, &step);
        hearing.event(&key, &plan);
        hearing.event(&key, &step);
        hearing.ended(&key, &work, &Err(EngineError::LeaseLost));
        sleep(NEWS * 2).await;
        assert!(heard.try_recv().is_err(), "it was over before that");
    }
}
