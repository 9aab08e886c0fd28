//! What the builds of an app are made from, as digests: a plan that is kept holds them, and is refused once one has changed.

use std::collections::BTreeMap;
use std::path::Path;

use portolan_core::diagnostic::Diagnostic;
use portolan_core::facts::{ContainerPath, ImageSource};
use portolan_core::plan::PlanOptions;
use portolan_core::resolve::image_requests;
use portolan_engine::{EngineError, Wish};

use crate::failure::Failure;
use crate::session::{Deployed, Session, image_faults};

/// The digest of each build's source, by whose image it becomes.
pub type Sources = BTreeMap<ContainerPath, String>;

/// Those of the app, without the file `plan`: written into a context it is no part of what it was made from.
pub async fn of(session: &Session, deployed: &Deployed, plan: &Path) -> Result<Sources, Failure> {
    let work = deployed.work(Wish::Apply, PlanOptions::default());
    // Whose account it is changes no source.
    let requests = image_requests(&work.resolve_input(""));
    let requests = requests.map_err(|faults| deployed.failure(EngineError::Faults(faults)))?;
    let mut sources = Sources::new();
    for (container, source) in requests {
        let ImageSource::Build(build) = source else { continue };
        let digest = session.images.source_digest(&build, plan).await;
        let digest = digest.map_err(|error| image_faults(&deployed.deployment, container.as_str(), error))?;
        sources.insert(container, digest);
    }
    Ok(sources)
}

/// Refuses where a plan was kept whose sources are not what they were.
pub async fn check(session: &Session, deployed: &Deployed) -> Result<(), Failure> {
    let Some(kept) = &deployed.deployment.kept else {
        return Ok(());
    };
    let now = of(session, deployed, &kept.path).await?;
    let changed = kept
        .sources
        .iter()
        .filter(|(container, digest)| now.get(container) != Some(digest));
    let told: Vec<Diagnostic> = changed.map(|(container, _)| outdated(deployed, container)).collect();
    match told.is_empty() {
        true => Ok(()),
        false => Err(told.into()),
    }
}

fn outdated(deployed: &Deployed, container: &ContainerPath) -> Diagnostic {
    let message = format!("what {container} is built from has changed since the plan was kept");
    Diagnostic::error("PlanOutdated", message)
        .at(deployed
            .deployment
            .document
            .spans
            .locate(&format!("/spec/{container}/build")))
        .hint("look at what it changes now: `portolan plan --out FILE` keeps another plan")
}
