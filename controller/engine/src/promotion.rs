//! Promoting: which services wait for it, and the word to each.

use portolan_core::observation::Observation;
use portolan_core::resource::{Resource, Resources};
use portolan_core::status::{Standing, summarise};
use portolan_provider_api::Promote;

use crate::error::EngineError;
use crate::journal::AppRecord;
use crate::looking::Looking;
use crate::machine::goal;

/// What it needs; it lives for one promotion.
pub struct Promotion<'a> {
    pub looking: Looking<'a>,
    pub promoter: &'a dyn Promote,
    pub how: PromoteHow,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromoteHow {
    /// With no further pause.
    pub full: bool,
    /// Only out of that very pause, by [`portolan_core::status::Status::pause`].
    pub only: Option<String>,
    /// Only answer whose rollouts wait.
    pub dry_run: bool,
}

impl Promotion<'_> {
    /// Promotes `service`, or all that wait, and answers their names.
    pub async fn run(self, service: Option<&str>, record: AppRecord) -> Result<Vec<String>, EngineError> {
        let Looking {
            caller, policy, work, ..
        } = &self.looking;
        let realm = self.looking.realm().await?;
        let scope = goal::scope(work, &realm);
        let record = record.of(&scope.owner);
        let goal = self.looking.applied_or_desired(&record, &realm).await?;
        let observed = self.looking.observe(&scope, &goal, &record).await?;
        let standing = Standing {
            generation: record.latest.as_ref().map_or(0, |latest| latest.number),
            ..Standing::default()
        };
        let pause = summarise(&scope, &goal.resources, &observed, &standing).pause();
        let is_meant = self.how.only.is_none() || self.how.only == pause;
        let waiting = waiting(&goal.resources, &observed);
        let waiting: Vec<String> = waiting
            .into_iter()
            .filter(|name| is_meant && service.is_none_or(|service| service == name))
            .collect();
        if waiting.is_empty() {
            return Err(EngineError::NotPaused {
                key: work.key(),
                service: service.map(String::from),
            });
        }
        for name in waiting.iter().filter(|_| !self.how.dry_run) {
            let call = caller.promote(self.promoter, &scope, name, self.how.full, policy).await;
            call.map_err(EngineError::Call)?;
        }
        Ok(waiting)
    }
}

/// The services whose rollouts pause, by their names in the manifest.
fn waiting(resources: &Resources, observed: &Observation) -> Vec<String> {
    let paused = |resource: &&Resource| {
        let seen = observed.resources.get(&resource.id);
        seen.is_some_and(|seen| seen.pause().is_some())
    };
    let names = resources
        .values()
        .filter(paused)
        .filter_map(|resource| resource.origin.strip_prefix("/spec/services/"));
    names.map(String::from).collect()
}
