//! From a manifest to what it means on one target: images pinned, defaults filled in, variables composed.
//!
//! Pure: the facts come in, all faults come out as a list. The manifest has been parsed and merged with the target's
//! overrides before, so what remains to go wrong is what only the target or an image can tell.

mod container;
mod env;
mod outside;

pub use env::{REVISION_VARIABLE, STANDARD_ENV};

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::desired::{
    After, DesiredContainer, DesiredJob, DesiredLogs, DesiredPort, DesiredProbe, DesiredProbes, DesiredRollout,
    DesiredSchedule, DesiredService, DesiredSidecar, DesiredState, DesiredStep, DesiredStop, DesiredUse, DesiredVolume,
    OtherApp, ProbeCheck,
};
use crate::facts::{BuildSource, ContainerPath, Facts, ImageSource};
use crate::fault::Fault;
use crate::manifest::{
    App, Container, Health, Job, Logs, Port, Probe, ProbeAction, Protocol, Rollout, Runtime, Service, Target, Use,
};
use crate::name::{OwnerId, hash_of};
use crate::plan::Scope;
use crate::reference::ImageReference;

/// What one app on one target is resolved from.
#[derive(Clone, Debug)]
pub struct ResolveInput<'a> {
    /// With the target's overrides merged in.
    pub app: &'a App,
    pub target: &'a Target,
    /// The account, project, cluster or machine behind the target.
    pub realm: &'a str,
    /// Who wrote the manifest: `file`, or the name of a Git source or Kubernetes object.
    pub source: &'a str,
    /// The folder of the manifest's file: builds are relative to it.
    pub folder: &'a Path,
}

/// Which app on which target this is.
pub fn scope_of(input: &ResolveInput<'_>) -> Scope {
    let metadata = &input.app.metadata;
    let target = &input.target.metadata.name;
    Scope {
        namespace: metadata.namespace.clone(),
        app: metadata.name.clone(),
        target: target.clone(),
        owner: OwnerId::derive(&metadata.namespace, &metadata.name, target, input.realm),
        source: input.source.to_string(),
    }
}

/// Every image that has to be pinned before the app can be resolved, in the manifest's order of names.
pub fn image_requests(input: &ResolveInput<'_>) -> Result<Vec<(ContainerPath, ImageSource)>, Vec<Fault>> {
    let mut requests = Vec::new();
    let mut faults = Vec::new();
    for (path, pointer, container) in containers(input.app) {
        match image_source(input, &path, &pointer, container) {
            Ok(Some(source)) => requests.push((path, source)),
            Ok(None) => {}
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(requests) } else { Err(faults) }
}

/// Resolves. Images that `facts` does not hold stay open; everything else is known.
pub fn resolve(input: &ResolveInput<'_>, facts: &Facts) -> Result<DesiredState, Vec<Fault>> {
    let mut resolver = Resolver {
        input,
        facts,
        faults: Vec::new(),
    };
    let services = input
        .app
        .spec
        .services
        .iter()
        .map(|(name, service)| (name.clone(), resolver.service(name, service)));
    let services: BTreeMap<_, _> = services.collect();
    let jobs: BTreeMap<_, _> = input
        .app
        .spec
        .jobs
        .iter()
        .map(|(name, job)| (name.clone(), resolver.job(name, job)))
        .collect();
    let desired = DesiredState {
        scope: scope_of(input),
        services,
        jobs,
        volumes: volumes(input.app),
        uses: uses(input.app),
    };
    if resolver.faults.is_empty() {
        Ok(desired)
    } else {
        Err(resolver.faults)
    }
}

struct Resolver<'a> {
    input: &'a ResolveInput<'a>,
    facts: &'a Facts,
    faults: Vec<Fault>,
}

impl Resolver<'_> {
    fn service(&mut self, name: &str, service: &Service) -> DesiredService {
        let origin = format!("/spec/services/{name}");
        let path = ContainerPath::service(name);
        let port = service.ports.first().map(|port| port.port);
        let needs = env::Needs {
            workload: name,
            port,
            after: &service.after,
        };
        let mut desired = DesiredService {
            name: name.to_string(),
            revision: None,
            container: self.container(&path, &path, &origin, &service.container, &needs),
            sidecars: self.sidecars(&path, &origin, service, name),
            init: self.init(&path, &origin, service, &needs),
            ports: ports(&service.ports),
            probes: probes(&service.health, &service.ports),
            // Said of the app, it is of its one service: a rule of the manifest.
            replicas: self.input.app.spec.replicas.unwrap_or(service.scale.min),
            autoscale: outside::autoscale(self.input.app, &service.scale),
            domains: outside::domains(service),
            runtime: service.runtime,
            rollout: rollout(&service.rollout),
            stop: self.stop(&path, service),
            logs: logs(&service.logs),
            after: after(self.input.app, &service.after),
            allow: allowed(self.input.app, service),
            origin,
        };
        desired.revision = service_revision(&desired);
        if let Some(revision) = desired.revision.clone() {
            containers_of(&mut desired).for_each(|container| env::add_revision(container, &revision));
        }
        desired
    }

    fn sidecars(
        &mut self,
        path: &ContainerPath,
        origin: &str,
        service: &Service,
        name: &str,
    ) -> BTreeMap<String, DesiredSidecar> {
        let mut sidecars = BTreeMap::new();
        for (sidecar_name, sidecar) in &service.sidecars {
            let needs = env::Needs {
                workload: name,
                port: sidecar.ports.first().map(|port| port.port),
                after: &service.after,
            };
            let path = path.sidecar(sidecar_name);
            let origin = format!("{origin}/sidecars/{sidecar_name}");
            let desired = DesiredSidecar {
                container: self.container(&path, &path, &origin, &sidecar.container, &needs),
                ports: ports(&sidecar.ports),
                probes: probes(&sidecar.health, &sidecar.ports),
            };
            sidecars.insert(sidecar_name.clone(), desired);
        }
        sidecars
    }

    /// A step without an image of its own runs its service's.
    fn init(
        &mut self,
        path: &ContainerPath,
        origin: &str,
        service: &Service,
        needs: &env::Needs<'_>,
    ) -> Vec<(String, DesiredContainer)> {
        let mut init = Vec::new();
        for (index, step) in service.init.iter().enumerate() {
            let own = path.init(&step.name);
            let image = if has_image(&step.container) { &own } else { path };
            let origin = format!("{origin}/init/{index}");
            let container = self.container(&own, image, &origin, &step.container, needs);
            init.push((step.name.clone(), container));
        }
        init
    }

    /// The manifest's signal, or the image's, or SIGTERM.
    fn stop(&self, path: &ContainerPath, service: &Service) -> DesiredStop {
        let image = self.facts.images.get(path);
        let said = service.stop.signal.map(|signal| signal.as_str().to_string());
        let signal = said.or_else(|| image?.config.stop_signal.clone());
        DesiredStop {
            signal: signal.unwrap_or_else(|| "SIGTERM".into()),
            drain: service.stop.drain.into(),
            grace_period: service.stop.grace_period.into(),
        }
    }

    fn job(&mut self, name: &str, job: &Job) -> DesiredJob {
        let origin = format!("/spec/jobs/{name}");
        let path = ContainerPath::job(name);
        let needs = env::Needs {
            workload: name,
            port: None,
            after: &job.after,
        };
        let mut desired = DesiredJob {
            name: name.to_string(),
            revision: None,
            container: self.container(&path, &path, &origin, &job.container, &needs),
            origin,
            retries: job.retries,
            timeout: job.timeout.into(),
            schedule: job.schedule.as_ref().map(|cron| DesiredSchedule {
                cron: cron.clone(),
                time_zone: job.time_zone.clone(),
            }),
            runtime: job.runtime,
            logs: logs(&job.logs),
            after: after(self.input.app, &job.after),
        };
        if desired.container.image.digest.is_some() {
            desired.revision = Some(under(desired.runtime, &desired.container));
        }
        if let Some(revision) = &desired.revision {
            env::add_revision(&mut desired.container, revision);
        }
        desired
    }
}

fn probes(health: &Health, ports: &[Port]) -> DesiredProbes {
    let probe = |probe: &Option<Probe>| probe.as_ref().and_then(|probe| desired_probe(probe, ports));
    DesiredProbes {
        startup: probe(&health.startup),
        ready: probe(&health.ready),
        live: probe(&health.live),
    }
}

/// `None` for a probe that asks nothing or has no port to ask: parse lets neither through.
fn desired_probe(probe: &Probe, ports: &[Port]) -> Option<DesiredProbe> {
    let http_port = ports
        .iter()
        .find(|port| port.protocol == Protocol::Http)
        .map(|port| port.port);
    let check = match probe.action()? {
        ProbeAction::Http(http) => ProbeCheck::Http {
            path: http.path.clone(),
            port: http.port.or(http_port)?,
        },
        ProbeAction::Tcp(tcp) => ProbeCheck::Tcp { port: tcp.port },
        ProbeAction::Exec(exec) => ProbeCheck::Exec {
            command: exec.command.clone(),
        },
    };
    let (interval, timeout) = (probe.interval.into(), probe.timeout.into());
    Some(DesiredProbe {
        check,
        interval,
        timeout,
        threshold: probe.threshold,
    })
}

/// Every container of an app, with the pointer of where it stands.
pub fn containers(app: &App) -> Vec<(ContainerPath, String, &Container)> {
    let mut found = Vec::new();
    for (name, service) in &app.spec.services {
        let path = ContainerPath::service(name);
        let pointer = format!("/spec/services/{name}");
        for (sidecar, spec) in &service.sidecars {
            found.push((
                path.sidecar(sidecar),
                format!("{pointer}/sidecars/{sidecar}"),
                &spec.container,
            ));
        }
        for (index, step) in service.init.iter().enumerate() {
            found.push((
                path.init(&step.name),
                format!("{pointer}/init/{index}"),
                &step.container,
            ));
        }
        found.push((path, pointer, &service.container));
    }
    for (name, job) in &app.spec.jobs {
        found.push((ContainerPath::job(name), format!("/spec/jobs/{name}"), &job.container));
    }
    found
}

fn has_image(container: &Container) -> bool {
    container.build.is_some() || container.image.is_some()
}

/// Where the container's image comes from; `None` for an init container that runs its service's image.
fn image_source(
    input: &ResolveInput<'_>,
    path: &ContainerPath,
    pointer: &str,
    container: &Container,
) -> Result<Option<ImageSource>, Fault> {
    if let Some(build) = &container.build {
        return Ok(Some(ImageSource::Build(BuildSource {
            context: joined(input.folder, &build.context),
            dockerfile: build.dockerfile.clone().into(),
            target: build.target.clone(),
            args: build.args.clone(),
            tag: build_tag(input.app, path, pointer)?,
        })));
    }
    let Some(image) = &container.image else { return Ok(None) };
    let reference = image.parse::<ImageReference>();
    reference
        .map(|reference| Some(ImageSource::Reference(reference)))
        .map_err(|error| Fault::new("ImageReferenceInvalid", error.to_string(), format!("{pointer}/image")))
}

/// `path` in `folder`, without the `.` that both may begin with; what links are on the way is not for core to know.
fn joined(folder: &Path, path: &str) -> PathBuf {
    let joined = folder.join(path);
    let kept: PathBuf = joined.components().filter(|part| *part != Component::CurDir).collect();
    match kept.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => kept,
    }
}

/// Builds are kept in the local store as `portolan.local/NAMESPACE/APP/CONTAINER:latest`.
fn build_tag(app: &App, path: &ContainerPath, pointer: &str) -> Result<ImageReference, Fault> {
    let text = format!(
        "portolan.local/{}/{}/{}:latest",
        app.metadata.namespace, app.metadata.name, path
    );
    text.parse().map_err(|error: crate::reference::InvalidReference| {
        Fault::new("ImageReferenceInvalid", error.to_string(), format!("{pointer}/build"))
    })
}

fn ports(ports: &[Port]) -> Vec<DesiredPort> {
    let port = |port: &Port| DesiredPort {
        name: port.name.clone(),
        port: port.port,
        protocol: port.protocol,
        public: port.public,
    };
    ports.iter().map(port).collect()
}

/// A name in `after` is a job or a service; parse has made sure that it is one of them.
fn after(app: &App, names: &[String]) -> Vec<After> {
    let after = |name: &String| match app.spec.jobs.contains_key(name) {
        true => After::Job(name.clone()),
        false => After::Service(name.clone()),
    };
    names.iter().map(after).collect()
}

fn uses(app: &App) -> BTreeMap<String, DesiredUse> {
    let of = |one: &Use| DesiredUse {
        of: other_app(app, &one.app, one.namespace.as_deref()),
        service: one.service.clone(),
        port: one.port,
    };
    app.spec
        .uses
        .iter()
        .map(|(name, one)| (name.clone(), of(one)))
        .collect()
}

fn allowed(app: &App, service: &Service) -> Vec<OtherApp> {
    let allow = service.traffic.allow.iter();
    allow
        .map(|other| other_app(app, &other.app, other.namespace.as_deref()))
        .collect()
}

fn other_app(app: &App, name: &str, namespace: Option<&str>) -> OtherApp {
    OtherApp {
        namespace: namespace.unwrap_or(&app.metadata.namespace).to_string(),
        app: name.to_string(),
    }
}

/// Each named volume once, wherever it is mounted; its size is the largest that is asked for.
fn volumes(app: &App) -> BTreeMap<String, DesiredVolume> {
    let mut volumes: BTreeMap<String, DesiredVolume> = BTreeMap::new();
    for (_, pointer, container) in containers(app) {
        for (index, mount) in container.volumes.iter().enumerate() {
            let volume = volumes.entry(mount.name.clone()).or_insert_with(|| DesiredVolume {
                name: mount.name.clone(),
                origin: format!("{pointer}/volumes/{index}"),
                size_bytes: None,
            });
            volume.size_bytes = volume.size_bytes.max(mount.size.map(|size| size.bytes()));
        }
    }
    volumes
}

fn containers_of(service: &mut DesiredService) -> impl Iterator<Item = &mut DesiredContainer> {
    let sidecars = service.sidecars.values_mut().map(|sidecar| &mut sidecar.container);
    let init = service.init.iter_mut().map(|(_, container)| container);
    sidecars.chain(init).chain([&mut service.container])
}

fn rollout(rollout: &Rollout) -> DesiredRollout {
    let steps = rollout.steps.iter().map(|step| DesiredStep {
        weight_percent: step.weight.get(),
        pause: step.pause.map(Duration::from),
    });
    DesiredRollout {
        strategy: rollout.strategy,
        steps: steps.collect(),
        deadline: rollout.deadline.into(),
    }
}

fn logs(logs: &Logs) -> DesiredLogs {
    DesiredLogs {
        max_size_bytes: logs.max_size.bytes(),
        max_files: logs.max_files,
        max_age: logs.max_age.map(Duration::from),
    }
}

/// What makes a new revision: the containers, the ports, the probes, the way to stop and the runtime. Scaling does not, nor do
/// logs and domains.
fn service_revision(service: &DesiredService) -> Option<String> {
    let sidecars = service.sidecars.values().map(|sidecar| &sidecar.container);
    let init = service.init.iter().map(|(_, container)| container);
    let pinned = sidecars
        .chain(init)
        .chain([&service.container])
        .all(|container| container.image.digest.is_some());
    pinned.then(|| {
        let parts = (
            &service.container,
            &service.sidecars,
            &service.init,
            &service.ports,
            &service.probes,
            &service.stop,
        );
        under(service.runtime, &parts)
    })
}

/// The revision of `spec` under that runtime. The target's own says nothing, so that revisions from before others could be
/// asked for stay what they were.
fn under(runtime: Runtime, spec: &impl serde::Serialize) -> String {
    match runtime {
        Runtime::Default => revision_of(spec),
        other => revision_of(&(spec, other)),
    }
}

/// Ten hex digits: enough to tell the revisions of one workload apart, short enough to be read out.
fn revision_of(spec: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(spec).expect("desired state holds only string keys");
    hash_of(&["revision", &text])[..10].to_string()
}
