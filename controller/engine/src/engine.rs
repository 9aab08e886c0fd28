//! The facade: what the command line, and later the daemon and the operator, call.

use std::sync::Arc;

use async_trait::async_trait;
use portolan_core::plan::{Plan, Scope};
use portolan_core::status::Status;
use portolan_provider_api::{Images, Provider};
use tokio::sync::watch;

use crate::error::EngineError;
use crate::event::EngineEvent;
use crate::journal::{HistoryEntry, Journal};
use crate::outcome::{Outcome, Preview};
use crate::work::Work;

/// Carries out work for any number of apps at the same time; one is enough for a process.
pub struct Engine {
    journal: Arc<dyn Journal>,
    images: Arc<dyn Images>,
}

/// Whoever follows a piece of work and may be asked about it.
#[async_trait]
pub trait Audience: Send + Sync {
    fn event(&self, event: &EngineEvent);

    /// Whether the plan may be carried out, given why it asks. Called only when it does.
    async fn approve(&self, plan: &Plan, reasons: &[String]) -> bool;
}

#[allow(clippy::todo, unused_variables, dead_code)]
impl Engine {
    pub fn new(journal: Arc<dyn Journal>, images: Arc<dyn Images>) -> Self {
        Self { journal, images }
    }

    /// Carries the work out to its end. Progress goes to `audience`; `stop` becomes true when the user wants to stop:
    /// no new call is made then, and what is under way is awaited and recorded.
    pub async fn reconcile(
        &self,
        provider: &Provider,
        work: Work,
        audience: Arc<dyn Audience>,
        stop: watch::Receiver<bool>,
    ) -> Result<Outcome, EngineError> {
        todo!()
    }

    /// What [`Engine::reconcile`] would do, without building, pulling or writing anything.
    pub async fn preview(&self, provider: &Provider, work: &Work) -> Result<Preview, EngineError> {
        todo!()
    }

    /// Where the app stands: one look at the target, against what was last applied.
    pub async fn status(&self, provider: &Provider, work: &Work) -> Result<Status, EngineError> {
        todo!()
    }

    /// Whose the app's resources are at the target.
    pub async fn scope(&self, provider: &Provider, work: &Work) -> Result<Scope, EngineError> {
        todo!()
    }

    /// What was done to the app, the newest first.
    pub fn history(&self, namespace: &str, app: &str, target: &str) -> Result<Vec<HistoryEntry>, EngineError> {
        todo!()
    }
}
