//! What every command that touches a target needs: folders, journal, image store and engine, opened once.

use std::sync::Arc;
use std::time::Duration;

use portolan_core::diagnostic::Diagnostic;
use portolan_core::fault::Fault;
use portolan_core::plan::{PlanOptions, Problem, Scope};
use portolan_engine::journal::{JournalError, SqliteJournal};
use portolan_engine::{Engine, EngineError, Wish, Work};
use portolan_image::build::cached_layers;
use portolan_image::store::Roots;
use portolan_image::{ImagesOptions, LocalImages};
use portolan_provider_api::{ImageError, Provider};
use tokio::time::{Instant, sleep};

use crate::failure::{self, Failure};
use crate::folders::{Folders, runtime};
use crate::image_progress::ImageProgress;
use crate::manifests::Deployment;
use crate::output::Output;
use crate::progress::Progress;
use crate::targets;

/// How many apps are worked on at once; one account's budget bounds their calls together.
pub const AT_ONCE: usize = 16;

pub struct Session {
    pub engine: Arc<Engine>,
    pub progress: Arc<Progress>,
    pub images: LocalImages,
    folders: Folders,
}

/// As long as a controller's turn takes in which nothing is to be done, many times over.
const OTHERS_TURN: Duration = Duration::from_secs(10);

/// Makes the attempt again while somebody else works on the app, for a while.
pub async fn in_turn<T, F>(attempt: impl Fn() -> F) -> Result<T, EngineError>
where
    F: Future<Output = Result<T, EngineError>>,
{
    let until = Instant::now() + OTHERS_TURN;
    loop {
        match attempt().await {
            Err(EngineError::Busy { .. }) if Instant::now() < until => sleep(Duration::from_millis(100)).await,
            other => return other,
        }
    }
}

/// One app on one target, with the provider that reaches it.
pub struct Deployed {
    pub deployment: Deployment,
    pub provider: Provider,
}

impl Session {
    pub fn open(output: Output) -> Result<Self, Failure> {
        let folders = Folders::of_this_user()?;
        let ImageSession { images, progress } = ImageSession::open_in(&folders, output)?;
        Self::with_journal(folders, images, progress)
    }

    /// With these apps, to which something will be written: what their targets would make the first write wait for is begun
    /// before the journal is opened.
    pub fn open_to_write(deployments: Vec<Deployment>, output: Output) -> Result<(Self, Vec<Deployed>), Failure> {
        let folders = Folders::of_this_user()?;
        let ImageSession { images, progress } = ImageSession::open_in(&folders, output)?;
        let deployed = deployed_all(deployments, &folders, &images)?;
        for Deployed { deployment, provider } in deployed.iter().take(AT_ONCE) {
            let metadata = &deployment.app().metadata;
            provider.calls.expect_writes(&metadata.namespace, &metadata.name);
        }
        Ok((Self::with_journal(folders, images, progress)?, deployed))
    }

    fn with_journal(folders: Folders, images: LocalImages, progress: Arc<Progress>) -> Result<Self, Failure> {
        let journal = SqliteJournal::open(&folders.state).map_err(|error| journal_failure(&error))?;
        Ok(Self {
            engine: Arc::new(Engine::new(Arc::new(journal), Arc::new(images.clone()))),
            progress,
            images,
            folders,
        })
    }

    pub fn deployed(&self, deployment: Deployment) -> Result<Deployed, Failure> {
        deployed(deployment, &self.folders, &self.images)
    }

    pub fn deployed_all(&self, deployments: Vec<Deployment>) -> Result<Vec<Deployed>, Failure> {
        deployed_all(deployments, &self.folders, &self.images)
    }

    /// What must stay in the image store although no name is left: what apps run, and what makes builds fast.
    pub fn roots(&self) -> Result<Roots, Failure> {
        let used = self.engine.images_in_use();
        let used = used.map_err(|error| {
            Failure::from(Diagnostic::error("JournalUnusable", "the journal cannot be read").because_of(&error))
        })?;
        let mut roots = cached_layers(&self.folders.build_cache());
        roots.manifests.extend(used);
        Ok(roots)
    }

    /// Whose the app's resources are at its target.
    pub async fn scope(&self, deployed: &Deployed) -> Result<Scope, Failure> {
        let work = deployed.work(Wish::Apply, PlanOptions::default());
        let scope = self.engine.scope(&deployed.provider, &work).await;
        scope.map_err(|error| deployed.failure(error))
    }
}

fn deployed(deployment: Deployment, folders: &Folders, images: &LocalImages) -> Result<Deployed, Failure> {
    let provider = targets::provider(&deployment, folders, Arc::new(images.clone()))?;
    Ok(Deployed { deployment, provider })
}

fn deployed_all(all: Vec<Deployment>, folders: &Folders, images: &LocalImages) -> Result<Vec<Deployed>, Failure> {
    all.into_iter().map(|one| deployed(one, folders, images)).collect()
}

/// The image store alone, for commands that touch no target.
pub struct ImageSession {
    pub images: LocalImages,
    pub progress: Arc<Progress>,
}

impl ImageSession {
    pub fn open(output: Output) -> Result<Self, Failure> {
        Self::open_in(&Folders::of_this_user()?, output)
    }

    fn open_in(folders: &Folders, output: Output) -> Result<Self, Failure> {
        let progress = Arc::new(Progress::new(output));
        let images = open_images(folders, &progress)?;
        Ok(Self { images, progress })
    }
}

/// The images of this user, with progress told as it comes.
fn open_images(folders: &Folders, progress: &Arc<Progress>) -> Result<LocalImages, Failure> {
    let options = ImagesOptions {
        store: folders.images(),
        cache: folders.build_cache(),
        // Without it everything but a build with RUN goes on; such a build says what is missing.
        runtime: runtime().ok(),
        progress: Arc::new(ImageProgress::new(progress.clone())),
    };
    Ok(LocalImages::open(options)?)
}

fn journal_failure(error: &JournalError) -> Failure {
    let told = Diagnostic::error("JournalUnusable", "the journal cannot be opened").because_of(error);
    match error {
        JournalError::Newer { .. } => told
            .hint("use the portolan that wrote it, or a newer one; nothing was changed")
            .into(),
        _ => told.into(),
    }
}

impl Deployed {
    pub fn work(&self, wish: Wish, options: PlanOptions) -> Work {
        let document = &self.deployment.document;
        let mut work = Work::apply(
            self.deployment.app().clone(),
            self.deployment.target.clone(),
            document.folder(),
        );
        work.wish = wish;
        work.options = options;
        if let Some(kept) = &self.deployment.kept {
            work.options = kept.options;
            work.only = Some(kept.plan.clone());
        }
        work
    }

    /// What a controller does about it, again and again.
    pub fn for_a_controller(&self) -> Work {
        let Deployment { document, target, .. } = &self.deployment;
        Work::keep(self.deployment.app().clone(), target.clone(), document.folder())
    }

    /// An engine's error in the user's words, each fault at its line of the manifest.
    pub fn failure(&self, error: EngineError) -> Failure {
        match error {
            EngineError::Faults(faults) => faults.iter().map(|fault| self.at(fault)).collect::<Vec<_>>().into(),
            EngineError::Images(faults) => faults
                .into_iter()
                .flat_map(|fault| image_faults(&self.deployment, fault.container.as_str(), *fault.error))
                .collect::<Vec<_>>()
                .into(),
            EngineError::Call(error) => failure::call(error).into(),
            EngineError::Journal(error) => journal_failure(&error),
            EngineError::Busy { .. } => Failure::new("Busy", error.to_string())
                .hint("wait until that has ended; two at once would undo each other"),
            EngineError::LeaseLost => Failure::new("LeaseLost", error.to_string()),
            EngineError::Unsupported { .. } => Failure::new("Unsupported", error.to_string()),
            EngineError::UnknownJob { .. } => Failure::new("UnknownJob", error.to_string()),
            EngineError::UnknownGeneration { .. } => Failure::new("UnknownGeneration", error.to_string())
                .hint("`portolan history` lists them; the newest 10 are kept, and those that converged last"),
            EngineError::NotPaused { .. } => {
                Failure::new("NotPaused", error.to_string()).hint("`portolan status` shows what every service does")
            }
        }
    }

    /// Why a plan is refused, at the field that asked for it.
    pub fn problem(&self, problem: &Problem) -> Diagnostic {
        let diagnostic = failure::problem(problem);
        match &problem.origin {
            Some(origin) => diagnostic.at(self.deployment.document.spans.locate(origin)),
            None => diagnostic,
        }
    }

    fn at(&self, fault: &Fault) -> Diagnostic {
        self.deployment.document.spans.diagnostic(fault)
    }
}

/// A fault in a Dockerfile stands at its own line; any other at the container of the manifest that wants the image.
pub fn image_faults(deployment: &Deployment, container: &str, error: ImageError) -> Vec<Diagnostic> {
    let elsewhere = !error.places.is_empty();
    let mut diagnostics = failure::image(error);
    if !elsewhere {
        let spans = &deployment.document.spans;
        let pointer = format!("/spec/{container}");
        let said = ["image", "build"].map(|field| format!("{pointer}/{field}"));
        let field = said.into_iter().find(|field| spans.key(field).is_some());
        let location = spans.locate(field.as_deref().unwrap_or(&pointer));
        diagnostics
            .iter_mut()
            .for_each(|one| one.location = Some(location.clone()));
    }
    diagnostics
}
