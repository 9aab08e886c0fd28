//! Whoever follows the engine's work at a terminal, or in a pipe: events as lines, questions as prompts.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use async_trait::async_trait;
use portolan_core::plan::{self, Plan};
use portolan_core::status::StateWord;
use portolan_engine::{Audience, EngineEvent};

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
            EngineEvent::ImageBuilding { .. } | EngineEvent::ImageLookup { .. } | EngineEvent::StepWaiting { .. } => {
                self.passing(&event.to_string())
            }
            EngineEvent::StepStarted { .. } => self.passing(&format!("{event} ...")),
            EngineEvent::StateChanged { state, .. } => match state {
                StateWord::Ready | StateWord::Completed | StateWord::Failed => self.line(&event.what()),
                StateWord::Absent | StateWord::Progressing | StateWord::Deleting => self.passing(&event.to_string()),
            },
            EngineEvent::Planned {
                creates,
                updates,
                deletes,
                ..
            } if creates + updates + deletes == 0 => {}
            EngineEvent::Planned { .. }
            | EngineEvent::StepDone { .. }
            | EngineEvent::StepRetrying { .. }
            | EngineEvent::ReadRetrying { .. }
            | EngineEvent::ReadSucceeded
            | EngineEvent::PlanningAnew { .. }
            | EngineEvent::RollingBack { .. }
            | EngineEvent::Restoring { .. }
            | EngineEvent::Interrupted => self.line(&event.to_string()),
            EngineEvent::ImagePinned { .. }
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
