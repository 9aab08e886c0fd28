//! What runs all the time: services, with their files and their budget of disruptions.

use std::collections::BTreeMap;

use portolan_core::desired::{After, DesiredContainer, DesiredService};
use portolan_core::fault::Fault;
use portolan_core::manifest::RolloutStrategy;
use portolan_core::resource::{Edge, EdgeCondition, Resource, ResourceId};
use serde_json::{Value, json};

use super::pod::{Files, Pod};
use super::{Part, Renderer, exists, gpu, with_revision};
use crate::kinds::{
    CLAIM, CLAIM_TEMPLATE, CONFIG_MAP, DEPLOYMENT, DISRUPTION_BUDGET, JOB, Kind, SERVICE_ACCOUNT, STATEFUL_SET,
};
use crate::names::{annotation, label};
use crate::rollout::{self, Shares};

/// Old ReplicaSets: one to look at. A rollback applies what the journal holds.
const REVISIONS_KEPT: u32 = 1;

impl Renderer<'_> {
    pub(super) fn service(&mut self, service: &DesiredService) {
        self.check_rollout(service);
        let containers: Vec<&DesiredContainer> = containers(service).collect();
        let files = self.files(Part::service(service), &containers);
        let template = self.template_of(service, &files);
        let kind = kind_of(service);
        let body = match kind == &STATEFUL_SET {
            true => self.stateful_set(service, template),
            false => self.deployment(service, template),
        };
        let mut workload = self.object(kind, self.names.of(&service.name), Part::service(service), body);
        say_revision(&mut workload, service.revision.as_deref());
        let mut annotations = annotations(service, kind);
        annotations.extend(self.way(service));
        if !annotations.is_empty() {
            workload.body["metadata"]["annotations"] = json!(annotations);
        }
        workload.edges = self.edges(&containers, &files, &service.after);
        self.add(workload);
        self.network(service);
        self.outside(service);
        self.policy(service);
        self.scaling(service, kind);
        self.disruption_budget(service);
    }

    fn deployment(&self, service: &DesiredService, template: Value) -> Value {
        let strategy = match service.rollout.strategy {
            RolloutStrategy::Recreate => json!({ "type": "Recreate" }),
            // A GPU is seldom free beside those that are in use: the new pod would wait for the old one's for ever.
            _ if gpu::has_gpu(service) => {
                json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1, "maxSurge": 0 } })
            }
            _ => json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } }),
        };
        json!({ "spec": {
            "replicas": service.replicas,
            "selector": { "matchLabels": self.names.selector(&service.name) },
            "strategy": strategy,
            "progressDeadlineSeconds": super::container::seconds(service.rollout.deadline),
            "revisionHistoryLimit": REVISIONS_KEPT,
            "template": template,
        }})
    }

    /// Its pods are told apart, and none is started before the last one of its name has ended.
    fn stateful_set(&self, service: &DesiredService, template: Value) -> Value {
        json!({ "spec": {
            "replicas": service.replicas,
            "selector": { "matchLabels": self.names.selector(&service.name) },
            "serviceName": self.names.of(&service.name),
            // Ordered, a set whose pod never gets ready is not mended by another revision.
            "podManagementPolicy": "Parallel",
            "updateStrategy": { "type": "RollingUpdate" },
            "revisionHistoryLimit": REVISIONS_KEPT,
            "template": template,
        }})
    }

    /// A StatefulSet goes one by one; all at once is the same only where there is one. A volume is written to by one pod at a
    /// time, so that no two revisions stand beside each other.
    fn check_rollout(&mut self, service: &DesiredService) {
        if kind_of(service) == &DEPLOYMENT {
            return;
        }
        let (message, hint) = match service.rollout.strategy {
            RolloutStrategy::Recreate if service.replicas > 1 => (
                "replicas with a volume are replaced one by one in a cluster, and cannot all stop first",
                "say `rolling`, or one replica",
            ),
            RolloutStrategy::Canary | RolloutStrategy::BlueGreen => (
                "a new revision cannot stand beside the old one: one pod at a time writes to the volume",
                "say `rolling`",
            ),
            _ => return,
        };
        let pointer = format!("{}/rollout/strategy", service.origin);
        let fault = Fault::new("RolloutUnsupported", message, pointer);
        self.faults.push(fault.with_hint(hint));
    }

    /// Each set of files has a ConfigMap of its own, so that what a revision that is on its way out reads stays as it was.
    pub(super) fn files(&mut self, part: Part<'_>, containers: &[&DesiredContainer]) -> Files {
        let (data, files) = Files::of(containers);
        let Some(hash) = files.hash() else { return files };
        let name = self.names.beside(part.name, &format!("files-{hash}"));
        let body = json!({ "data": data, "immutable": true });
        let map = self.object(&CONFIG_MAP, name.clone(), part, body);
        self.add(map);
        files.in_config_map(name)
    }

    fn template_of(&mut self, service: &DesiredService, files: &Files) -> Value {
        let pod = Pod::of_service(service);
        let labels = self.template_labels(&service.name, "service", service.revision.as_deref());
        json!({ "metadata": { "labels": labels }, "spec": self.pod(&pod, files) })
    }

    pub(super) fn template_labels(&self, name: &str, component: &str, revision: Option<&str>) -> Value {
        let mut labels = self.names.labels(name, component);
        labels.extend(self.names.selector(name));
        with_revision(labels, revision)
    }

    fn disruption_budget(&mut self, service: &DesiredService) {
        if service.replicas < 2 {
            return;
        }
        let body = json!({ "spec": {
            "maxUnavailable": 1,
            "selector": { "matchLabels": self.selector_of_all(service) },
        }});
        let name = self.names.of(&service.name);
        let budget = self.object(&DISRUPTION_BUDGET, name, Part::service(service), body);
        self.add(budget);
    }

    /// What the pods of a service are chosen by, of both revisions where two stand beside each other.
    pub(super) fn selector_of_all(&self, service: &DesiredService) -> BTreeMap<String, String> {
        match is_walked(service) {
            true => self.names.selector_of_service(&service.name),
            false => self.names.selector(&service.name),
        }
    }

    /// How its rollouts are walked, if they are.
    fn way(&self, service: &DesiredService) -> BTreeMap<&'static str, String> {
        let mut way = BTreeMap::new();
        if is_walked(service) {
            let rollout = &service.rollout;
            way.insert(annotation::STRATEGY, rollout.strategy.as_str().to_string());
            way.insert(annotation::STEPS, rollout::steps(rollout));
            way.insert(annotation::AT, rollout::ARRIVED.to_string());
            way.insert(annotation::SHARES, self.shares(service).as_str().to_string());
        }
        way
    }

    /// What leads to a canary.
    fn shares(&self, service: &DesiredService) -> Shares {
        match self.is_weighed(service) {
            true => Shares::Weights,
            false => Shares::Replicas,
        }
    }

    /// Whether a route weighs between its two revisions.
    pub(super) fn is_weighed(&self, service: &DesiredService) -> bool {
        let has_route = self.shape.choices.gateway.is_some() && !service.domains.is_empty();
        has_route && is_walked(service) && service.rollout.strategy == RolloutStrategy::Canary
    }

    pub(super) fn edges(&self, containers: &[&DesiredContainer], files: &Files, after: &[After]) -> Vec<Edge> {
        let claims = containers.iter().flat_map(|container| &container.mounts);
        let claims = claims.map(|mount| CLAIM.id(self.names.of(&mount.volume)));
        let map = files.config_map().map(|name| CONFIG_MAP.id(name));
        let account = SERVICE_ACCOUNT.id(self.names.app());
        let gpus = containers
            .iter()
            .filter_map(|container| self.claim_template_of(container));
        let gpus = gpus.map(|name| CLAIM_TEMPLATE.id(name));
        let there = claims.chain(map).chain(gpus).chain([account]).map(exists);
        there.chain(after.iter().map(|after| self.after(after))).collect()
    }

    fn after(&self, after: &After) -> Edge {
        match after {
            After::Job(job) => Edge {
                to: JOB.id(self.names.of(job)),
                condition: EdgeCondition::Completed,
            },
            After::Service(service) => Edge {
                to: self.workload(service),
                condition: EdgeCondition::Ready,
            },
        }
    }

    fn workload(&self, service: &str) -> ResourceId {
        let kind = self.desired.services.get(service).map_or(&DEPLOYMENT, kind_of);
        kind.id(self.names.of(service))
    }
}

pub(super) fn containers(service: &DesiredService) -> impl Iterator<Item = &DesiredContainer> {
    let sidecars = service.sidecars.values().map(|sidecar| &sidecar.container);
    let init = service.init.iter().map(|(_, container)| container);
    [&service.container].into_iter().chain(sidecars).chain(init)
}

/// What it runs as: a volume that is written to wants the pods one after the other.
pub(super) fn kind_of(service: &DesiredService) -> &'static Kind {
    let mut mounts = containers(service).flat_map(|container| &container.mounts);
    match mounts.any(|mount| !mount.read_only) {
        true => &STATEFUL_SET,
        false => &DEPLOYMENT,
    }
}

/// Whether its new revision stands beside the old one for a while. Where it needs a GPU there is seldom another one free, and
/// the old replicas stop first, one by one.
pub(super) fn is_walked(service: &DesiredService) -> bool {
    rollout::is_walked(service.rollout.strategy) && kind_of(service) == &DEPLOYMENT && !gpu::has_gpu(service)
}

pub(super) fn say_revision(workload: &mut Resource, revision: Option<&str>) {
    workload.awaited = true;
    workload.revision = revision.map(String::from);
    let labels = &mut workload.body["metadata"]["labels"];
    labels[label::REVISION] = revision.map_or_else(super::after_build, |revision| json!(revision));
}

/// What its kind has no field for.
fn annotations(service: &DesiredService, kind: &Kind) -> BTreeMap<&'static str, String> {
    let mut annotations = BTreeMap::new();
    if kind == &STATEFUL_SET {
        let deadline = super::container::seconds(service.rollout.deadline).to_string();
        annotations.insert(annotation::STRATEGY, service.rollout.strategy.as_str().to_string());
        annotations.insert(annotation::DEADLINE, deadline);
    }
    if let Some(scale) = &service.autoscale {
        annotations.insert(annotation::REPLICAS, format!("{}-{}", service.replicas, scale.max));
    }
    annotations
}
