//! Promoting: somebody's word is written on the Deployment of the new revision, and whoever walks the rollout finds it there.

use async_trait::async_trait;
use portolan_core::plan::Scope;
use portolan_provider_api::{CallError, Promote};

use super::KubernetesCalls;
use super::walk::is_beside;
use crate::client::Answer;
use crate::kinds::DEPLOYMENT;
use crate::names::{Names, annotation};
use crate::read::note;
use crate::rollout::Pair;
use crate::{error, write};

#[async_trait]
impl Promote for KubernetesCalls {
    async fn promote(&self, scope: &Scope, service: &str, full: bool) -> Result<(), CallError> {
        let place = self.place(scope);
        let (own, name) = (Names(scope).of(service), Names(scope).next(service));
        let next = self.cluster.get(&DEPLOYMENT, place, &name).await?;
        let Some(next) = next.filter(|next| is_beside(scope, &own, next)) else {
            return Ok(());
        };
        let word = Pair {
            own: &next,
            next: &next,
        }
        .promotion(full);
        if note(&next, annotation::PROMOTED) == Some(&word) {
            return Ok(());
        }
        let patch = write::annotated(&next, annotation::PROMOTED, Some(word));
        match self.cluster.annotate(&DEPLOYMENT, place, &name, patch).await? {
            Answer::Done(_) | Answer::Gone => Ok(()),
            Answer::Moved => Err(error::moved(&DEPLOYMENT.id(own))),
        }
    }
}
