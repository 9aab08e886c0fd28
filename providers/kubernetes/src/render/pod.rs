//! The pod of a workload: its containers in the order in which they start, its volumes and its files.

use std::collections::BTreeMap;
use std::time::Duration;

use portolan_core::desired::{
    DesiredContainer, DesiredJob, DesiredPort, DesiredProbe, DesiredProbes, DesiredService, ProbeCheck,
};
use portolan_core::fault::Fault;
use portolan_core::manifest::{Protocol, Runtime};
use serde_json::{Value, json};

use super::container::{Running, seconds};
use super::{Part, Renderer};
use crate::names::hash_of_text;

/// Name of the volume with files: none of a manifest's begins with a digit.
const FILES: &str = "0-files";

/// What a pod is made of, in the manifest's words.
pub(super) struct Pod<'a> {
    part: Part<'a>,
    main: Running<'a>,
    /// They start before it, and end after it.
    sidecars: Vec<Running<'a>>,
    /// In order.
    init: Vec<Running<'a>>,
    runs_to_end: bool,
    grace: Duration,
    runtime: Runtime,
}

const NO_PORTS: &[DesiredPort] = &[];

/// What pods of one service are spread over: nodes, and the zones in which those are.
const APART: [&str; 2] = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"];

impl<'a> Pod<'a> {
    pub(super) fn of_service(service: &'a DesiredService) -> Self {
        let origin = &service.origin;
        let sidecars = service.sidecars.iter().map(|(name, one)| Running {
            name,
            origin: format!("{origin}/sidecars/{name}"),
            container: &one.container,
            ports: &one.ports,
            probes: one.probes.clone(),
            drain: Duration::ZERO,
        });
        let init = service.init.iter().enumerate();
        let init = init.map(|(at, (name, one))| plain(name, one, format!("{origin}/init/{at}")));
        Self {
            part: Part::service(service),
            main: Running {
                ports: &service.ports,
                probes: probes(service),
                drain: service.stop.drain,
                ..plain(&service.name, &service.container, origin.clone())
            },
            sidecars: sidecars.collect(),
            init: init.collect(),
            runs_to_end: false,
            grace: service.stop.grace_period,
            runtime: service.runtime,
        }
    }

    pub(super) fn of_job(job: &'a DesiredJob, part: Part<'a>) -> Self {
        Self {
            part,
            main: plain(&job.name, &job.container, job.origin.clone()),
            sidecars: Vec::new(),
            init: Vec::new(),
            runs_to_end: true,
            // As long as a kubelet gives by itself.
            grace: Duration::from_secs(30),
            runtime: job.runtime,
        }
    }
}

/// Who says nothing is ready once its first port takes a connection, as on any target.
fn probes(service: &DesiredService) -> DesiredProbes {
    let asked = &service.probes;
    let port = service.ports.iter().find(|port| port.protocol != Protocol::Udp);
    let connects = port.map(|port| DesiredProbe {
        check: ProbeCheck::Tcp { port: port.port },
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        threshold: 3,
    });
    match (&asked.startup, &asked.ready) {
        (None, None) => DesiredProbes {
            ready: connects,
            ..asked.clone()
        },
        _ => asked.clone(),
    }
}

fn plain<'a>(name: &'a str, container: &'a DesiredContainer, origin: String) -> Running<'a> {
    Running {
        name,
        origin,
        container,
        ports: NO_PORTS,
        probes: DesiredProbes::default(),
        drain: Duration::ZERO,
    }
}

impl Renderer<'_> {
    pub(super) fn pod(&mut self, pod: &Pod<'_>, files: &Files) -> Value {
        let mut spec = self.scheduling(pod);
        let main = self.with_gpu(pod, &pod.main, files, &mut spec);
        let mut before = Vec::new();
        for sidecar in &pod.sidecars {
            let mut container = self.with_gpu(pod, sidecar, files, &mut spec);
            container["restartPolicy"] = json!("Always");
            before.push(container);
        }
        for init in &pod.init {
            before.push(self.with_gpu(pod, init, files, &mut spec));
        }
        self.running(pod, main, &mut spec);
        put(&mut spec, "initContainers", before);
        put(&mut spec, "volumes", self.volumes_of(pod, files));
        if let Some(group) = self.group_of_volumes(pod) {
            spec["securityContext"]["fsGroup"] = json!(group);
            spec["securityContext"]["fsGroupChangePolicy"] = json!("OnRootMismatch");
        }
        spec
    }

    fn with_gpu(&mut self, pod: &Pod<'_>, running: &Running<'_>, files: &Files, spec: &mut Value) -> Value {
        let mut container = self.container(running, files);
        self.gpu(running, pod.part, &mut container, spec);
        container
    }

    /// Which nodes take it: where its images run, under its runtime, and those of one service apart from each other as far
    /// as that goes.
    fn scheduling(&mut self, pod: &Pod<'_>) -> Value {
        let mut spec = json!({});
        if let Some(architecture) = self.architecture(pod) {
            spec["nodeSelector"]["kubernetes.io/arch"] = json!(architecture);
        }
        if pod.runtime != Runtime::Default {
            spec["runtimeClassName"] = json!(pod.runtime.as_str());
        }
        if !pod.runs_to_end {
            let labels = self.names.selector(pod.part.name);
            let spread = APART.map(|key| {
                json!({
                    "maxSkew": 1,
                    "topologyKey": key,
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": { "matchLabels": labels },
                })
            });
            spec["topologySpreadConstraints"] = json!(spread);
        }
        spec
    }

    /// That of all its images, where a digest says so.
    fn architecture<'a>(&mut self, pod: &Pod<'a>) -> Option<&'a str> {
        let mut of_images = running(pod).filter_map(|one| Some((one, one.container.image.architecture.as_deref()?)));
        let (_, first) = of_images.next()?;
        if let Some((one, other)) = of_images.find(|(_, other)| *other != first) {
            self.faults.push(architectures_differ(one, other, first));
        }
        Some(first)
    }

    fn running(&self, pod: &Pod<'_>, main: Value, spec: &mut Value) {
        let always = json!({
            "serviceAccountName": self.names.app(),
            "automountServiceAccountToken": false,
            // Variables for every KubeService of the namespace would differ from pod to pod.
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": seconds(pod.grace) + seconds(pod.main.drain),
            "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
            "restartPolicy": if pod.runs_to_end { "Never" } else { "Always" },
            "containers": [main],
        });
        for (field, value) in always.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
    }

    fn volumes_of(&self, pod: &Pod<'_>, files: &Files) -> Vec<Value> {
        let mounts = running(pod).flat_map(|one| &one.container.mounts);
        let claims: BTreeMap<&str, Value> = mounts
            .map(|mount| {
                let claim = json!({ "claimName": self.names.of(&mount.volume) });
                let volume = json!({ "name": mount.volume, "persistentVolumeClaim": claim });
                (mount.volume.as_str(), volume)
            })
            .collect();
        let files = files
            .config_map()
            .map(|name| json!({ "name": FILES, "configMap": { "name": name } }));
        let secrets = running(pod).find_map(|one| self.secrets_volume(one.container));
        claims.into_values().chain(files).chain(secrets).collect()
    }

    /// Whoever runs as a user of its own finds its volumes its own, as on any target.
    fn group_of_volumes(&self, pod: &Pod<'_>) -> Option<i64> {
        let has_volumes = running(pod).any(|one| !one.container.mounts.is_empty());
        let user = super::container::user_of(pod.main.container)?;
        let group = user.group.unwrap_or(user.user);
        (has_volumes && group != 0).then_some(group)
    }
}

fn architectures_differ(one: &Running<'_>, other: &str, first: &str) -> Fault {
    let message = format!("the image runs on {other}, and another one of the same pod on {first}");
    let fault = Fault::new("ArchitecturesDiffer", message, format!("{}/image", one.origin));
    fault.with_hint("name an image for several platforms, or one for the same as the others")
}

fn running<'a, 'b>(pod: &'b Pod<'a>) -> impl Iterator<Item = &'b Running<'a>> {
    [&pod.main].into_iter().chain(&pod.sidecars).chain(&pod.init)
}

fn put(spec: &mut Value, field: &str, items: Vec<Value>) {
    if !items.is_empty() {
        spec[field] = json!(items);
    }
}

/// Which key of the workload's ConfigMap a file is.
#[derive(Default)]
pub(super) struct Files {
    keys: BTreeMap<(String, String), String>,
    config_map: Option<String>,
}

impl Files {
    /// The texts of all files by their keys, each once.
    pub(super) fn of(containers: &[&DesiredContainer]) -> (BTreeMap<String, String>, Self) {
        let mut files = Self::default();
        for file in containers.iter().flat_map(|container| &container.files) {
            let number = files.keys.len();
            let at = (file.path.clone(), file.content.clone());
            files.keys.entry(at).or_insert_with(|| format!("file-{number}"));
        }
        let texts = files.keys.iter().map(|((_, text), key)| (key.clone(), text.clone()));
        (texts.collect(), files)
    }

    /// Of their texts, as long as a revision; `None` where there are none.
    pub(super) fn hash(&self) -> Option<String> {
        let text = format!("{:?}", self.keys);
        (!self.keys.is_empty()).then(|| hash_of_text("files", &text)[..10].to_string())
    }

    pub(super) fn in_config_map(self, name: String) -> Self {
        Self {
            config_map: Some(name),
            ..self
        }
    }

    pub(super) fn config_map(&self) -> Option<&str> {
        self.config_map.as_deref()
    }

    pub(super) fn mounts(&self, container: &DesiredContainer) -> Vec<Value> {
        let files = container.files.iter();
        let mounts = files.filter_map(|file| {
            let key = self.keys.get(&(file.path.clone(), file.content.clone()))?;
            Some(json!({ "name": FILES, "mountPath": file.path, "subPath": key, "readOnly": true }))
        });
        mounts.collect()
    }
}
