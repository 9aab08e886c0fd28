//! Whoever follows the engine's work at a terminal, or in a pipe: events as lines, questions as prompts.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use async_trait::async_trait;
use portolan_core::plan::{self, Plan, Verb};
use portolan_core::status::StateWord;
use portolan_engine::{Audience, EngineEvent, StepName};

use crate::progress::Progress;

pub struct Teller {
    progress: Arc<Progress>,
    /// `shop: ` where several apps are worked on at once.
    prefix: String,
    consent: Consent,
}

/// How a question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// `--yes`.
    Given,
    /// By whoever sits at the terminal.
    Asked,
    /// Nobody is there to ask.
    Withheld,
}

impl Consent {
    /// `machine`: a program reads the answers, and nothing prompts.
    pub fn of(yes: bool, machine: bool) -> Self {
        match (yes, machine || !io::stdin().is_terminal()) {
            (true, _) => Self::Given,
            (false, true) => Self::Withheld,
            (false, false) => Self::Asked,
        }
    }

    /// The answer to a question with yes or no; an empty line is a no.
    pub fn ask(self, question: &str) -> bool {
        match self {
            Self::Given => true,
            Self::Withheld => false,
            Self::Asked => {
                _ = write!(io::stderr(), "{question} [y/N] ");
                _ = io::stderr().flush();
                let mut answer = String::new();
                _ = io::stdin().read_line(&mut answer);
                matches!(answer.trim(), "y" | "Y" | "yes")
            }
        }
    }
}

impl Teller {
    pub fn new(progress: Arc<Progress>, prefix: String, consent: Consent) -> Self {
        Self {
            progress,
            prefix,
            consent,
        }
    }

    fn line(&self, text: &str) {
        self.progress.line(&format!("{}{text}", self.prefix));
    }

    fn passing(&self, text: &str) {
        self.progress.passing(&format!("{}{text}", self.prefix));
    }
}

#[async_trait]
impl Audience for Teller {
    fn event(&self, event: &EngineEvent) {
        match event {
            EngineEvent::ImageBuilding { container, .. } => self.passing(&format!("building {container}")),
            EngineEvent::ImageLookup { container, .. } => self.passing(&format!("looking up the image of {container}")),
            EngineEvent::Planned {
                generation,
                creates,
                updates,
                deletes,
                ..
            } if creates + updates + deletes > 0 => self.line(&format!(
                "generation {generation}: {creates} to create, {updates} to update, {deletes} to delete"
            )),
            EngineEvent::StepStarted { step } => self.passing(&format!("{} ...", step_words(step, "ing"))),
            EngineEvent::StepDone { step } => self.line(&step_words(step, "ed")),
            EngineEvent::StepWaiting { step, edges } => {
                let names: Vec<String> = edges.iter().map(|edge| edge.to.to_string()).collect();
                self.passing(&format!("{} waits for {}", step.id, names.join(", ")));
            }
            EngineEvent::StepRetrying { step, error, .. } => {
                self.line(&format!("trying {} again: {}", step.id, error.message));
            }
            EngineEvent::ReadRetrying { error, .. } => self.line(&format!("looking again: {}", error.message)),
            EngineEvent::StateChanged {
                id,
                state,
                message,
                replicas,
                ..
            } => {
                let counts = replicas.map_or(String::new(), |count| format!(" {}/{}", count.ready, count.wanted));
                let said = message.as_deref().map_or(String::new(), |text| format!(": {text}"));
                match state {
                    StateWord::Ready => self.line(&format!("{id} is ready{counts}")),
                    StateWord::Completed => self.line(&format!("{id} has completed")),
                    StateWord::Failed => self.line(&format!("{id} has failed")),
                    StateWord::Absent | StateWord::Progressing | StateWord::Deleting => {
                        self.passing(&format!("{id}{counts}{said}"));
                    }
                }
            }
            EngineEvent::PlanningAnew { because } => self.line(&format!("planning again: {because}")),
            EngineEvent::RollingBack {
                to_generation, failure, ..
            } => self.line(&format!(
                "rolling back to generation {to_generation}: {}",
                failure.message
            )),
            EngineEvent::Restoring { generation, held } => self.line(&format!(
                "restoring generation {generation}, which serves while generation {held} is held"
            )),
            EngineEvent::Interrupted => self.line("stopping once what is under way has ended"),
            EngineEvent::Planned { .. }
            | EngineEvent::ImagePinned { .. }
            | EngineEvent::AwaitingApproval { .. }
            | EngineEvent::Held { .. }
            | EngineEvent::Converged { .. } => {}
        }
    }

    async fn approve(&self, plan: &Plan, reasons: &[String]) -> bool {
        self.progress.clear();
        if self.consent == Consent::Asked {
            self.line(&plan::human(plan));
        }
        let question = format!("{}{}: carry it out?", self.prefix, reasons.join("; "));
        let consent = self.consent;
        // A blocked read must not hold up what else goes on.
        tokio::task::spawn_blocking(move || consent.ask(&question))
            .await
            .unwrap_or(false)
    }
}

/// `created Service/web`, `updating Job/migrate`.
fn step_words(step: &StepName, ending: &str) -> String {
    let stem = match step.verb {
        Verb::Create => "creat",
        Verb::Update => "updat",
        Verb::Delete => "delet",
    };
    format!("{stem}{ending} {}", step.id)
}
