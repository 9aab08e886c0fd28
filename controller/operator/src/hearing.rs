//! What the engine's controller tells, on its way to the desk.

use std::sync::Arc;

use portolan_engine::controller::Listener;
use portolan_engine::journal::AppKey;
use portolan_engine::{EngineError, EngineEvent, Outcome, Work};
use tokio::sync::mpsc::UnboundedSender;

use crate::told::{self, News, Told};

/// Something that has happened to an App on a target.
pub enum Heard {
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
pub struct Hearing(pub UnboundedSender<Heard>);

impl Listener for Hearing {
    fn event(&self, key: &AppKey, event: &EngineEvent) {
        let key = || key.clone();
        if let Some(told) = told::begun(event) {
            let told = Box::new(told);
            self.tell(Heard::Begun { key: key(), told });
        }
        if let Some(news) = told::news(event) {
            self.tell(Heard::News { key: key(), news });
        }
    }

    fn ended(&self, key: &AppKey, work: &Arc<Work>, result: &Result<Outcome, EngineError>) {
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
    fn tell(&self, heard: Heard) {
        // Nobody listens once the operator has ended.
        _ = self.0.send(heard);
    }
}
