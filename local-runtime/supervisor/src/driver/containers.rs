//! Containers under way: each start is a task that makes the container, says so, waits for its end and clears up.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::bundle::{self, Bundle, Place, Surroundings};
use super::pidfd::Pidfd;
use super::runtime::{Runtime, RuntimeError, last_words};
use super::{Settings, exec, usage};
use crate::delegation::limits_are_kept;
use crate::error::chain;
use crate::logs::{Collector, Rules, Written, last_lines};
use crate::machine::{ContainerKey, Event, Process};
use crate::network::Network;
use crate::protocol::{ExitStatus, ReachedLimit, WindowSize};
use crate::signal;
use crate::spec::{ContainerSpec, Resources};
use crate::storage;

/// Lines of a log that go with an end or a failure.
pub(super) const TAIL_LINES: usize = 20;

/// A handle; all clones are one.
#[derive(Clone)]
pub(super) struct Containers(Arc<Shared>);

struct Shared {
    settings: Arc<Settings>,
    runtime: Runtime,
    network: Network,
    events: mpsc::UnboundedSender<Event>,
    log_written: Written,
    log_rules: Rules,
    running: Mutex<HashMap<ContainerKey, Pidfd>>,
    execs: AtomicU64,
    limits_are_kept: bool,
}

/// A process that was made and has not ended.
struct Running {
    pidfd: Pidfd,
    /// Missing after a take-over whose fifos were gone: the container runs on, its output is lost.
    output: Option<Collector>,
}

impl Containers {
    pub fn new(
        settings: Arc<Settings>,
        runtime: Runtime,
        network: Network,
        events: mpsc::UnboundedSender<Event>,
        log_written: Written,
        log_rules: Rules,
    ) -> Containers {
        Containers(Arc::new(Shared {
            settings,
            runtime,
            network,
            events,
            log_written,
            log_rules,
            running: Mutex::default(),
            execs: AtomicU64::new(0),
            limits_are_kept: limits_are_kept(),
        }))
    }

    /// Ends in `Started` and then `Exited`, or in `StartFailed`.
    pub fn start(&self, key: ContainerKey, spec: ContainerSpec) {
        let this = self.clone();
        tokio::spawn(async move {
            match this.begin(&key, spec).await {
                Ok((process, running)) => {
                    let (pod, container) = (key.pod, key.name.clone());
                    this.tell(Event::Started {
                        pod,
                        container,
                        process,
                    });
                    this.watch(key, running).await;
                }
                Err(message) => {
                    tracing::warn!(
                        message,
                        pod = key.pod,
                        container = key.name,
                        "a container did not start"
                    );
                    let (pod, container) = (key.pod, key.name);
                    this.tell(Event::StartFailed {
                        pod,
                        container,
                        message,
                    });
                }
            }
        });
    }

    /// Goes on with a process that an earlier supervisor began, and holds its network namespace from now on.
    ///
    /// Errors: ESRCH if it is gone, ENOENT if it has ended and only waits to be reaped.
    pub fn take_over(&self, key: ContainerKey, process: Process) -> io::Result<()> {
        let pidfd = Pidfd::open(process)?;
        self.0.network.adopt_pod(key.pod, process.pid)?;
        let output = self.collect(&key);
        if let Err(error) = &output {
            tracing::error!(%error, pod = key.pod, container = key.name, "the output of a container is lost");
        }
        self.running().insert(key.clone(), pidfd.clone());
        let (this, output) = (self.clone(), output.ok());
        tokio::spawn(async move { this.watch(key, Running { pidfd, output }).await });
        Ok(())
    }

    /// What kept it from ending well. Its cgroup knows until the container is removed.
    pub fn reached_limit(&self, key: &ContainerKey, code: Option<i32>) -> Option<ReachedLimit> {
        let ended_well = code == Some(0);
        (!ended_well).then(|| usage::reached_limit(&self.0.settings.instance, key))?
    }

    /// Removes what is left of a container that nobody watches.
    pub async fn remove(&self, key: &ContainerKey) {
        if let Err(error) = self.0.runtime.delete(&id(key)).await {
            tracing::debug!(
                error = chain(&error),
                pod = key.pod,
                container = key.name,
                "nothing to delete"
            );
        }
        if let Err(error) = storage::remove_folder(&self.0.settings.paths.bundle(key)) {
            tracing::error!(error = chain(&error), "a bundle is left over");
        }
    }

    /// A container that has ended takes no signal, and needs none.
    pub fn signal(&self, key: &ContainerKey, name: &str) {
        let Some(pidfd) = self.running().get(key).cloned() else {
            return;
        };
        let number = signal::number(name).expect("a spec with an unknown signal is not admitted");
        if let Err(error) = pidfd.signal(number) {
            tracing::error!(%error, pod = key.pod, container = key.name, signal = name, "a signal is not sent");
        }
    }

    /// Those that have lost their cgroup, and their limits with it.
    pub fn without_cgroup(&self) -> Vec<ContainerKey> {
        if !self.0.limits_are_kept {
            return vec![];
        }
        let keys: Vec<ContainerKey> = self.running().keys().cloned().collect();
        usage::without_cgroup(keys, &self.0.settings.instance)
    }

    /// By pod and name.
    pub fn all_running(&self) -> BTreeSet<(u64, String)> {
        self.running().keys().map(|key| (key.pod, key.name.clone())).collect()
    }

    pub fn log(&self, key: &ContainerKey) -> PathBuf {
        self.0.settings.paths.log(key)
    }

    /// A command in a running container, with its own streams or a terminal.
    pub fn exec(
        &self,
        key: &ContainerKey,
        spec: &ContainerSpec,
        argv: &[String],
        terminal: Option<WindowSize>,
    ) -> exec::Prepared {
        let number = self.0.execs.fetch_add(1, Ordering::Relaxed);
        let folder = self.0.settings.paths.exec(key.pod, number);
        let process = bundle::exec_process(&self.place(key), spec, argv, terminal);
        exec::Prepared::new(self.0.runtime.clone(), id(key), folder, process)
    }

    /// A command to its end: its exit code, and what it said on either stream.
    pub async fn run_in(
        &self,
        key: &ContainerKey,
        spec: &ContainerSpec,
        argv: &[String],
    ) -> Result<(i32, String), exec::ExecError> {
        self.exec(key, spec, argv, None).output().await
    }

    async fn begin(&self, key: &ContainerKey, mut spec: ContainerSpec) -> Result<(Process, Running), String> {
        if !self.0.limits_are_kept {
            // The runtime refuses limits that it cannot keep. `check` and `doctor` have said so.
            spec.resources = Resources::default();
        }
        let namespace = self.0.network.pod_namespace(key.pod);
        let namespace = namespace.ok_or("its network namespace is gone")?;
        // The descriptor is held here until the runtime has opened this path.
        let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
        let bundle = self.write_bundle(key, spec, path.into()).await?;
        let output = self.collect(key).map_err(|error| chain(&error))?;
        match self.create_and_start(key, &bundle).await {
            Ok((process, pidfd)) => Ok((
                process,
                Running {
                    pidfd,
                    output: Some(output),
                },
            )),
            Err(error) => {
                output.finish().await;
                let message = self.failure(key, &error);
                self.remove(key).await;
                Err(message)
            }
        }
    }

    /// Off the event loop: it may clear a writable layer of any size, and waits until the pod has its link.
    async fn write_bundle(
        &self,
        key: &ContainerKey,
        spec: ContainerSpec,
        namespace: PathBuf,
    ) -> Result<Bundle, String> {
        let (this, key) = (self.clone(), key.clone());
        let write = move || {
            let around = Surroundings {
                namespace,
                resolv_conf: this.0.network.resolv_conf(),
            };
            let bundle = bundle::write(&this.place(&key), &spec, around).map_err(|error| chain(&error))?;
            this.0.network.linked(key.pod).map(|()| bundle)
        };
        let written = tokio::task::spawn_blocking(write).await;
        written.map_err(|_| "its bundle could not be written".to_string())?
    }

    async fn create_and_start(&self, key: &ContainerKey, bundle: &Bundle) -> Result<(Process, Pidfd), StartError> {
        let (id, pid_file) = (id(key), bundle.pid_file());
        self.0
            .runtime
            .create(&id, &bundle.folder, &pid_file, bundle.output()?)
            .await?;
        // The runtime is gone and this process is the subreaper, so the container is a child of ours from here on.
        let (pidfd, process) = bundle::read_pid(&pid_file)
            .and_then(Pidfd::open_child)
            .map_err(StartError::Find)?;
        self.running().insert(key.clone(), pidfd.clone());
        if let Err(error) = self.0.runtime.start(&id).await {
            self.running().remove(key);
            // Reaped here, since nobody will watch it.
            _ = pidfd.signal(nix::libc::SIGKILL);
            _ = pidfd.wait().await;
            return Err(error.into());
        }
        Ok((process, pidfd))
    }

    /// What `create` said is the end of the container's log.
    fn failure(&self, key: &ContainerKey, error: &StartError) -> String {
        match error {
            StartError::Runtime(RuntimeError::Failed { said, .. }) if said.is_empty() => {
                last_words(&last_lines(&self.log(key), 1).join("\n"))
            }
            StartError::Runtime(RuntimeError::Failed { said, .. }) => said.clone(),
            other => chain(other),
        }
    }

    fn collect(&self, key: &ContainerKey) -> io::Result<Collector> {
        let bundle = Bundle::at(self.0.settings.paths.bundle(key));
        let (written, rules) = (self.0.log_written.clone(), &self.0.log_rules);
        Collector::start([&bundle.stdout(), &bundle.stderr()], &self.log(key), rules, written)
    }

    async fn watch(&self, key: ContainerKey, running: Running) {
        let code = running.pidfd.wait().await.unwrap_or_else(|error| {
            tracing::error!(%error, pod = key.pod, container = key.name, "cannot wait for a container");
            None
        });
        let limit = self.reached_limit(&key, code);
        self.running().remove(&key);
        if let Some(output) = running.output {
            output.finish().await;
        }
        let tail = last_lines(&self.log(&key), TAIL_LINES);
        self.remove(&key).await;
        let status = ExitStatus { code, limit };
        tracing::info!(pod = key.pod, container = key.name, %status, "a container has ended");
        let (pod, container) = (key.pod, key.name);
        self.tell(Event::Exited {
            pod,
            container,
            status,
            tail,
        });
    }

    fn place<'a>(&'a self, key: &'a ContainerKey) -> Place<'a> {
        Place {
            paths: &self.0.settings.paths,
            instance: &self.0.settings.instance,
            key,
        }
    }

    /// The receiver is gone only when the supervisor ends; the next one looks for itself.
    fn tell(&self, event: Event) {
        _ = self.0.events.send(event);
    }

    fn running(&self) -> MutexGuard<'_, HashMap<ContainerKey, Pidfd>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Bundle(#[from] bundle::BundleError),
    #[error("cannot find the process that the runtime made")]
    Find(#[source] io::Error),
}

/// How the runtime knows it; unique in the app, whose runtime root is its own.
fn id(key: &ContainerKey) -> String {
    format!("{}-{}", key.pod, key.name)
}
