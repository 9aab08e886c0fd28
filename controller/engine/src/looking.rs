//! Looking without touching: what a reconcile would do, and where an app stands. One read of the target each, or a few
//! where the first ones fail.

use std::sync::Arc;

use portolan_core::facts::Facts;
use portolan_core::observation::Observation;
use portolan_core::plan::{PlanOptions, Scope};
use portolan_core::resolve::image_requests;
use portolan_core::status::{Standing, Status, summarise};
use portolan_provider_api::{Images, PinRequest, Shape};

use crate::driver::Caller;
use crate::error::{EngineError, ImageFault};
use crate::journal::{AppRecord, GenerationKind};
use crate::machine::goal::{self, Goal};
use crate::machine::{Policy, look};
use crate::outcome::{GenerationStanding, Preview, Rendering};
use crate::work::{Wish, Work};

/// What looking needs; it lives for one look.
pub struct Looking<'a> {
    pub caller: Caller,
    pub shape: &'a dyn Shape,
    pub images: &'a dyn Images,
    pub policy: &'a Policy,
    pub work: &'a Work,
}

impl Looking<'_> {
    pub async fn scope(&self) -> Result<Scope, EngineError> {
        Ok(goal::scope(self.work, &self.realm().await?))
    }

    pub async fn preview(&self, record: AppRecord) -> Result<Preview, EngineError> {
        let realm = self.realm().await?;
        let scope = goal::scope(self.work, &realm);
        let record = record.of(&scope.owner);
        let mut goal = self.desired(&realm).await?;
        let observed = self.observe(&scope, &goal, &record).await?;
        let options = self.work.plan_options();
        let plan = goal.plan(&scope, &record, &observed, self.shape, options);
        Ok(Preview {
            standing: standing_of(&goal, &record),
            desired: Arc::unwrap_or_clone(goal.resources),
            scope,
            plan,
            observed,
        })
    }

    /// What the manifest becomes there. Nothing is asked, but whose it is where the Target does not say that.
    pub async fn rendering(&self) -> Result<Rendering, EngineError> {
        let realm = match self.shape.realm() {
            Some(realm) => realm,
            None => self.realm().await?,
        };
        let goal = self.desired(&realm).await?;
        Ok(Rendering {
            scope: goal::scope(self.work, &realm),
            resources: Arc::unwrap_or_clone(goal.resources),
            degraded: goal.degraded,
        })
    }

    /// What the target is meant to show; where nothing was applied, what the manifest says.
    pub async fn applied_or_desired(&self, record: &AppRecord, realm: &str) -> Result<Goal, EngineError> {
        match record.current().filter(|current| current.kind == GenerationKind::Apply) {
            Some(applied) => Ok(Goal::applied(applied)),
            None => self.desired(realm).await,
        }
    }

    /// Of what was applied; where nothing was, of what the manifest says.
    pub async fn status(&self, record: AppRecord) -> Result<Status, EngineError> {
        let realm = self.realm().await?;
        let scope = goal::scope(self.work, &realm);
        let record = record.of(&scope.owner);
        let applied = record.current().filter(|current| current.kind == GenerationKind::Apply);
        let mut goal = match applied {
            Some(applied) => Goal::applied(applied),
            None => self.desired(&realm).await?,
        };
        let observed = self.observe(&scope, &goal, &record).await?;
        let plan = goal.plan(&scope, &record, &observed, self.shape, PlanOptions::default());
        let standing = Standing {
            generation: record.latest.as_ref().map_or(0, |latest| latest.number),
            reconciling: false,
            held: record.held.as_ref().map(|hold| hold.failure.clone()),
            drifted: match applied {
                Some(_) => plan.steps.into_iter().map(|step| step.id).collect(),
                None => Vec::new(),
            },
        };
        Ok(summarise(&scope, &goal.resources, &observed, &standing))
    }

    pub async fn realm(&self) -> Result<String, EngineError> {
        let realm = self.caller.patiently(self.policy, || self.caller.realm()).await;
        realm.map_err(EngineError::Call)
    }

    /// A target that shows a part of itself only, however often it is asked, is shown so: plan and status say it.
    pub async fn observe(&self, scope: &Scope, goal: &Goal, record: &AppRecord) -> Result<Observation, EngineError> {
        let open: Vec<_> = record.operations.values().cloned().collect();
        let wanted = goal.wanted();
        let observe = || self.caller.observe(scope, &wanted, &open);
        let whole = || async { observe().await.and_then(look::complete) };
        let observed = match self.caller.patiently(self.policy, whole).await {
            Err(error) if error.code == look::PARTIAL_READ => observe().await,
            other => other,
        };
        observed.map_err(EngineError::Call)
    }

    /// What the work means as far as it is known without building or pulling.
    pub async fn desired(&self, realm: &str) -> Result<Goal, EngineError> {
        let facts = self.known_facts(realm).await?;
        Goal::of(self.work, self.shape, realm, facts, self.policy).map_err(EngineError::Faults)
    }

    async fn known_facts(&self, realm: &str) -> Result<Facts, EngineError> {
        let mut facts = Facts::default();
        if self.work.wish != Wish::Apply {
            return Ok(facts);
        }
        let requests = image_requests(&self.work.resolve_input(realm)).map_err(EngineError::Faults)?;
        let mut faults = Vec::new();
        for (container, source) in requests {
            let request = PinRequest { container, source };
            match self.images.pinned_already(&request).await {
                Ok(Some(image)) => drop(facts.images.insert(request.container, image)),
                Ok(None) => {}
                Err(error) => faults.push(ImageFault {
                    container: request.container,
                    error: Box::new(error),
                }),
            }
        }
        if faults.is_empty() {
            Ok(facts)
        } else {
            Err(EngineError::Images(faults))
        }
    }
}

fn standing_of(goal: &Goal, record: &AppRecord) -> GenerationStanding {
    let held = record.held.as_ref().filter(|hold| hold.hash == goal.hash);
    GenerationStanding {
        number: goal.number,
        begun: goal.is_begun(record),
        converged: record.converged.as_ref().map(|converged| converged.number),
        held: held.map(|hold| hold.failure.clone()),
    }
}
