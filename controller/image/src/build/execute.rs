//! Carrying out a plan: stages as soon as what they need is done, the steps of a stage one after the other. The
//! configuration changes in memory; what makes a layer is looked up in the cache, then made on a blocking thread.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, try_join_all};
use portolan_core::reference::ImageReference;
use tokio::sync::watch;

use super::BuildRequest;
use super::bundle::{self, Bind, Bundle};
use super::cache::{Key, Record};
use super::error::{BuildError, StepError};
use super::layers::{Shared, blocking};
use super::plan::{Base, Plan, stage_name};
use super::progress::{BuildEvent, BuildProgress, StepName};
use super::run::{self, Prepared};
use super::state::{Layer, State};
use super::tree::Owner;
use super::variables::Scope;
use super::view::View;
use super::{copy, transfer, users};
use crate::config::ImageConfig;
use crate::dockerfile::{self, CopyFrom, Instruction, Run, RunNetwork, Step};
use crate::layer::Compression;
use crate::registry::{Platforms, RegistryClient};
use crate::store::Digest;

/// Runs one plan.
pub(super) struct Executor<'a> {
    plan: &'a Plan,
    shared: Arc<Shared>,
    request: &'a BuildRequest,
    registry: Option<&'a RegistryClient>,
    progress: &'a dyn BuildProgress,
    steps: AtomicUsize,
    cached: AtomicUsize,
}

/// An image of the store.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub config: ImageConfig,
    pub layers: Vec<Layer>,
    pub manifest: Digest,
}

type Finished = watch::Sender<Option<Arc<State>>>;

impl<'a> Executor<'a> {
    pub fn new(
        plan: &'a Plan,
        shared: Arc<Shared>,
        request: &'a BuildRequest,
        registry: Option<&'a RegistryClient>,
        progress: &'a dyn BuildProgress,
    ) -> Self {
        let (steps, cached) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self {
            plan,
            shared,
            request,
            registry,
            progress,
            steps,
            cached,
        }
    }

    /// Builds every stage that is needed, and gives the target's state. The first failure ends the others.
    pub async fn run(&self) -> Result<State, BuildError> {
        let stages: Vec<Finished> = self.plan.file.stages.iter().map(|_| watch::channel(None).0).collect();
        // Boxed, because the compiler cannot tell that the future of a closure over references is `Send`.
        let running: Vec<BoxFuture<'_, Result<(), BuildError>>> = self
            .plan
            .needed
            .iter()
            .map(|index| self.stage_in_turn(*index, &stages).boxed())
            .collect();
        try_join_all(running).await?;
        let target = self.plan.needed.last().expect("the target is needed");
        Ok(done(&stages, *target).as_ref().clone())
    }

    /// A stage, once those that it needs are done.
    async fn stage_in_turn(&self, index: usize, stages: &[Finished]) -> Result<(), BuildError> {
        for needed in self.plan.dependencies(index) {
            let mut finished = stages[needed].subscribe();
            finished
                .wait_for(Option::is_some)
                .await
                .expect("the senders outlive all stages");
        }
        let state = self.stage(index, stages).await?;
        stages[index].send_replace(Some(Arc::new(state)));
        Ok(())
    }

    /// Steps that can make a layer, and those of them that came from the cache.
    pub fn counts(&self) -> (usize, usize) {
        (self.steps.load(Ordering::Relaxed), self.cached.load(Ordering::Relaxed))
    }

    async fn stage(&self, index: usize, stages: &[Finished]) -> Result<State, BuildError> {
        let stage = &self.plan.file.stages[index];
        let first = format!("FROM {}", stage.base.raw);
        let begun = self.begin(index, stages).await;
        let mut state = begun.map_err(|source| self.failed(stage.base.at, &first, source))?;
        for (number, step) in stage.steps.iter().enumerate() {
            let name = StepName {
                stage: stage_name(&self.plan.file, index),
                number: number + 1,
                of: stage.steps.len(),
                line: step.at.line,
                instruction: step.source.clone(),
            };
            self.step(&mut state, step, &name, stages)
                .await
                .map_err(|source| self.failed(step.at, &step.source, source))?;
        }
        Ok(state)
    }

    fn failed(&self, at: dockerfile::Position, instruction: &str, source: StepError) -> BuildError {
        let dockerfile = self.request.dockerfile.clone();
        let instruction = match instruction.char_indices().nth(120) {
            Some((end, _)) => format!("{}…", &instruction[..end]),
            None => instruction.to_owned(),
        };
        BuildError::Step {
            dockerfile,
            at,
            instruction,
            source: Box::new(source),
        }
    }

    async fn begin(&self, index: usize, stages: &[Finished]) -> Result<State, StepError> {
        let scope = |env: &[String]| Scope::new(self.plan.globals.clone(), self.plan.file.escape, env);
        match &self.plan.bases[index] {
            Base::Scratch => Ok(State::new(ImageConfig::empty(), Vec::new(), None, scope(&[]))),
            Base::Stage(parent) => {
                let parent = done(stages, *parent);
                Ok(State::new(
                    parent.config.clone(),
                    parent.layers.clone(),
                    parent.base.clone(),
                    parent.scope.clone(),
                ))
            }
            Base::Image(reference) => {
                let image = self.image(reference).await?;
                if !image.config.config.on_build.is_empty() {
                    let cause = format!("the image {reference} has ONBUILD instructions, which are not supported");
                    return Err(StepError::invalid(cause));
                }
                let scope = scope(&image.config.config.env);
                Ok(State::new(image.config, image.layers, Some(image.manifest), scope))
            }
        }
    }

    async fn step(
        &self,
        state: &mut State,
        step: &Step,
        name: &StepName,
        stages: &[Finished],
    ) -> Result<(), StepError> {
        state.apply(&step.instruction)?;
        let record = match &step.instruction {
            Instruction::Copy(copy) => self.copy(state, copy, name, stages).await?,
            Instruction::Run(command) => self.run_command(state, command, name).await?,
            Instruction::Workdir(_) => self.working_dir(state, name).await?,
            Instruction::Arg(_) => return Ok(()),
            _ => Record { layer: None },
        };
        state.note(&step.source, &self.shared.created, record.layer);
        Ok(())
    }

    async fn copy(
        &self,
        state: &State,
        copy: &dockerfile::Copy,
        name: &StepName,
        stages: &[Finished],
    ) -> Result<Record, StepError> {
        let from = match &copy.from {
            None => None,
            Some(CopyFrom::Stage(index)) => {
                let stage = done(stages, *index);
                let place = format!("the stage {}", stage_name(&self.plan.file, *index));
                Some(transfer::Elsewhere {
                    layers: stage.layers.clone(),
                    base: stage.base.clone(),
                    place,
                })
            }
            Some(CopyFrom::Image(reference)) => {
                let Image { layers, manifest, .. } = self.image(reference).await?;
                Some(transfer::Elsewhere {
                    layers,
                    base: Some(manifest),
                    place: format!("the image {reference}"),
                })
            }
        };
        let transfer = transfer::Transfer::new(state, copy, from)?;
        let shared = self.shared.clone();
        let planned = blocking_step(move || transfer.plan(&shared)).await?;
        match planned {
            transfer::Planned::Known(record) => Ok(self.known(name, record)),
            transfer::Planned::New(new) => {
                let shared = self.shared.clone();
                self.made(name, blocking_step(move || new.make(&shared))).await
            }
        }
    }

    async fn working_dir(&self, state: &State, name: &StepName) -> Result<Record, StepError> {
        let (path, user) = (state.working_dir().to_owned(), state.config.config.user.clone());
        if ["/proc", "/sys"]
            .iter()
            .any(|top| path == *top || path.starts_with(&format!("{top}/")))
        {
            return Err(StepError::invalid(format!(
                "{path} is no folder of the image but of the kernel"
            )));
        }
        let key = self
            .shared
            .key("workdir")
            .with(state.chain_id())
            .with(&path)
            .with(&user);
        if let Some(record) = self.shared.cache.get(&key) {
            return Ok(self.known(name, record));
        }
        let (shared, layers, base) = (self.shared.clone(), state.layers.clone(), state.base.clone());
        let work = move || {
            let view = shared.view(&layers, base.as_ref())?;
            let owner = users::user(&user, &view)?.owner;
            let record = shared.make_layer(&copy::working_dir(&path, &view, owner)?)?;
            shared.cache.put(&key, &record);
            Ok(record)
        };
        self.made(name, blocking_step(work)).await
    }

    async fn run_command(&self, state: &State, command: &Run, name: &StepName) -> Result<Record, StepError> {
        let args = state.arguments(&command.command);
        let (cwd, user) = (state.working_dir(), &state.config.config.user);
        let env = state.scope.run_env();
        let pairs = env.iter().map(|(name, value)| format!("{name}={value}"));
        let key = self
            .shared
            .key("run")
            .with(state.chain_id())
            .with(cwd)
            .with(user)
            .with(format!("{:?}", command.network))
            .with_all(&args)
            .with_all(pairs);
        if let Some(record) = self.shared.cache.get(&key) {
            return Ok(self.known(name, record));
        }
        self.shared.may_make()?;
        let _lock = self.lock(&key).await?;
        if let Some(record) = self.shared.cache.get(&key) {
            return Ok(self.known(name, record));
        }
        let runtime = self.shared.runtime.clone().ok_or(StepError::RuntimeUnknown)?;
        let step = RunStep {
            runtime,
            network: command.network,
            args,
            env,
            state: state.clone(),
        };
        self.made(name, self.run_step(step, key, name)).await
    }

    async fn run_step(&self, step: RunStep, key: Key, name: &StepName) -> Result<Record, StepError> {
        let shared = self.shared.clone();
        let ready = blocking_step(move || step.prepare(&shared)).await?;
        run::run(&ready.prepared, &|line| {
            self.progress.event(BuildEvent::Output(name, line))
        })
        .await?;
        let shared = self.shared.clone();
        blocking_step(move || {
            run::remove_mount_points(&ready.upper, &ready.mount_points)?;
            let record = match run::settle_times(&ready.upper, shared.epoch, &shared.stop)? {
                true => shared.keep_layer(&ready.upper)?,
                false => Record { layer: None },
            };
            shared.cache.put(&key, &record);
            Ok(record)
        })
        .await
    }

    /// Only one build at a time makes a step; the others wait, and find it in the cache.
    async fn lock(&self, key: &Key) -> Result<std::fs::File, StepError> {
        let mut pause = Duration::from_millis(5);
        loop {
            if let Some(lock) = self.shared.cache.try_lock(key)? {
                return Ok(lock);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    fn known(&self, name: &StepName, record: Record) -> Record {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.cached.fetch_add(1, Ordering::Relaxed);
        self.progress.event(BuildEvent::Cached(name));
        record
    }

    async fn made(
        &self,
        name: &StepName,
        work: impl Future<Output = Result<Record, StepError>>,
    ) -> Result<Record, StepError> {
        self.progress.event(BuildEvent::Started(name));
        let record = work.await?;
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.progress.event(BuildEvent::Finished(name));
        Ok(record)
    }

    /// The image from the local store, or else from its registry.
    async fn image(&self, reference: &ImageReference) -> Result<Image, StepError> {
        let failed = |source| StepError::Base {
            reference: reference.to_string(),
            source,
        };
        let (shared, wanted) = (self.shared.clone(), reference.clone());
        let local = blocking_step(move || Ok(shared.store.resolve(&wanted)))
            .await?
            .map_err(failed)?;
        let registry = self.registry.filter(|_| !reference.is_local_only());
        let digest = match (local, registry) {
            (Some(descriptor), _) => descriptor.digest,
            (None, None) => {
                self.shared.may_make()?;
                return Err(StepError::BaseMissing {
                    reference: reference.to_string(),
                });
            }
            (None, Some(registry)) => {
                self.shared.may_make()?;
                let pulled = registry
                    .pull(reference, &self.shared.store, Platforms::Host, self.progress)
                    .await;
                pulled.map_err(failed)?.manifest
            }
        };
        let shared = self.shared.clone();
        blocking_step(move || Ok(load(&shared, &digest))).await?.map_err(failed)
    }
}

fn load(shared: &Shared, digest: &Digest) -> crate::Result<Image> {
    let (digest, manifest) = shared.store.platform_manifest(digest)?;
    let config = shared.store.config_of(&manifest)?;
    let layer = |(diff_id, descriptor): (&Digest, &crate::Descriptor)| {
        let mut descriptor = descriptor.clone();
        // The same bytes under the name that belongs into an OCI manifest.
        descriptor.media_type = Compression::of_media_type(&descriptor.media_type)?
            .media_type()
            .to_owned();
        Ok(Layer {
            descriptor,
            diff_id: diff_id.clone(),
        })
    };
    let layers = config
        .rootfs
        .diff_ids
        .iter()
        .zip(&manifest.layers)
        .map(layer)
        .collect::<crate::Result<Vec<_>>>()?;
    Ok(Image {
        config,
        layers,
        manifest: digest,
    })
}

fn done(stages: &[Finished], index: usize) -> Arc<State> {
    stages[index]
        .borrow()
        .clone()
        .expect("a stage begins after those that it needs")
}

async fn blocking_step<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    blocking(work).await.unwrap_or(Err(StepError::Stopped))
}

/// A RUN that is not in the cache.
struct RunStep {
    runtime: PathBuf,
    network: RunNetwork,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    state: State,
}

struct Ready {
    prepared: Prepared,
    upper: PathBuf,
    mount_points: Vec<PathBuf>,
}

impl RunStep {
    /// Writes the bundle and the upper directory, with the working directory in it where the image lacks that.
    fn prepare(mut self, shared: &Shared) -> Result<Ready, StepError> {
        let lower = shared.unpacked(&self.state.layers, self.state.base.as_ref())?;
        let view = View::new(lower.clone());
        let user = users::user(&self.state.config.config.user, &view)?;
        let workspace = shared.workspace()?;
        let folder = workspace.step("run")?;
        let [upper, work, rootfs, state, empty] =
            ["upper", "work", "rootfs", "state", "lower"].map(|name| folder.join(name));
        for path in [&upper, &work, &rootfs, &state, &empty] {
            std::fs::create_dir(path).map_err(StepError::file("make the folder", path))?;
        }
        let path = self.state.working_dir();
        let mut tree = copy::working_dir(path, &view, user.owner)?;
        if tree.is_empty() {
            tree.ensure_directory(Path::new(""), &view, Owner::default())?;
        }
        tree.write(&upper, &shared.context, shared.epoch, &shared.stop)?;
        let cwd = view.resolve(Path::new(path)).map_err(StepError::rootfs(path))?.path;
        let hosts = folder.join("hosts");
        std::fs::write(&hosts, HOSTS).map_err(StepError::file("write", &hosts))?;
        let binds = bundle::binds(&view, hosts, self.network)?;
        let mount_points = bundle::mount_points(&view, &binds)?;
        let id = format!(
            "{}-{}",
            workspace.id(),
            folder.file_name().unwrap_or_default().to_string_lossy()
        );
        self.complete_env(&user.home);
        let config = Bundle {
            args: &self.args,
            env: self.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            cwd: Path::new("/").join(cwd),
            user: &user,
            // overlayfs wants a lower directory, also on nothing.
            lower: if lower.is_empty() {
                std::slice::from_ref(&empty)
            } else {
                &lower
            },
            upper: &upper,
            work: &work,
            network: self.network,
            cgroup: format!("/portolan-{id}"),
        };
        write_config(&folder, &config, &binds)?;
        Ok(Ready {
            prepared: Prepared {
                runtime: self.runtime,
                state,
                bundle: folder,
                id,
            },
            upper,
            mount_points,
        })
    }

    /// What every command expects; the image's own variables come first.
    fn complete_env(&mut self, home: &str) {
        const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        for (name, value) in [("PATH", PATH), ("HOME", home)] {
            self.env.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        for (name, value) in self.state.scope.proxies() {
            self.env.entry(name).or_insert(value);
        }
    }
}

/// The names that a build step knows without asking.
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 build\n";

fn write_config(folder: &Path, bundle: &Bundle<'_>, binds: &[Bind]) -> Result<(), StepError> {
    let path = folder.join("config.json");
    let bytes = serde_json::to_vec(&bundle.config(binds)).expect("a configuration has only text keys");
    std::fs::write(&path, bytes).map_err(StepError::file("write", path))
}
