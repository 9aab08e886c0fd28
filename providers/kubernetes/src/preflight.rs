//! What can be known to fail before anything is written: a KubeNamespace, a KubeSecret or a Gateway that is not there.
//!
//! Of a secret only its name is asked for. Whether it has the key is told by the kubelet, for nobody here reads values.

use std::collections::{BTreeMap, BTreeSet};

use portolan_core::plan::Verb;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{CallError, ErrorClass, WriteRequest};
use serde_json::Value;

use crate::client::Cluster;
use crate::error;
use crate::kinds::{EXTERNAL_SECRET, GATEWAY, HTTP_ROUTE, SECRET, SECRET_CLASS, template};
use crate::read::{items, text};
use crate::render::stored;

/// All faults at once.
pub async fn faults(
    cluster: &dyn Cluster,
    kube_namespace: &str,
    writes: &[WriteRequest],
) -> Result<Vec<CallError>, CallError> {
    if writes.iter().all(|write| write.verb == Verb::Delete) {
        return Ok(Vec::new());
    }
    // Whoever may not ask finds out by the first write.
    if let Some(None) = unless_denied(cluster.kube_namespace(kube_namespace).await)? {
        return Ok(vec![error::namespace_missing(kube_namespace)]);
    }
    let mut faults = Vec::new();
    for (secret, id) in secrets(writes) {
        let exists = cluster.exists(&SECRET, kube_namespace, secret).await;
        if unless_denied(exists)? == Some(false) && !is_made(cluster, kube_namespace, writes, secret).await? {
            faults.push(error::secret_missing(id, secret, kube_namespace));
        }
    }
    for (write, class) in classes(writes) {
        if unless_denied(cluster.exists(&SECRET_CLASS, kube_namespace, class).await)? == Some(false) {
            faults.push(error::secret_class_missing(&write.id, class, kube_namespace));
        }
    }
    for (write, gateway) in gateways(writes) {
        let name = text(gateway, "/name").unwrap_or_default();
        let place = text(gateway, "/namespace").unwrap_or(kube_namespace);
        if unless_denied(cluster.exists(&GATEWAY, place, name).await)? == Some(false) {
            faults.push(error::gateway_missing(&write.id, name, place));
        }
    }
    Ok(faults)
}

/// Whether an ExternalSecret makes it, or will: they bear its name.
async fn is_made(
    cluster: &dyn Cluster,
    kube_namespace: &str,
    writes: &[WriteRequest],
    secret: &str,
) -> Result<bool, CallError> {
    let id = EXTERNAL_SECRET.id(secret);
    if let Some(write) = writes.iter().find(|write| write.id == id) {
        return Ok(write.verb != Verb::Delete);
    }
    let exists = cluster.exists(&EXTERNAL_SECRET, kube_namespace, secret).await;
    // Where there is no such kind there is none of them.
    Ok(unless_denied(exists)? == Some(true))
}

/// Every gateway that a route is to be attached to.
fn gateways(writes: &[WriteRequest]) -> impl Iterator<Item = (&WriteRequest, &Value)> {
    let routes = writes
        .iter()
        .filter(|write| write.verb != Verb::Delete && write.id.kind == HTTP_ROUTE.name);
    routes.flat_map(|write| items(&write.body, "/spec/parentRefs").map(move |gateway| (write, gateway)))
}

fn unless_denied<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) if failure.class == ErrorClass::Denied => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The class of each workload whose secrets a CSI driver brings.
fn classes(writes: &[WriteRequest]) -> impl Iterator<Item = (&WriteRequest, &str)> {
    let written = writes.iter().filter(|write| write.verb != Verb::Delete);
    written.filter_map(|write| Some((write, class_in(&write.body)?)))
}

fn class_in(body: &Value) -> Option<&str> {
    let mut volumes = items(template(body)?, "/spec/volumes");
    let volume = volumes.find(|volume| text(volume, "/name") == Some(stored::VOLUME))?;
    text(volume, "/csi/volumeAttributes/secretProviderClass")
}

/// Every secret that is asked for and has to be there before its pods are, once, with the first that asks for it.
fn secrets(writes: &[WriteRequest]) -> BTreeMap<&str, &ResourceId> {
    let mut all = BTreeMap::new();
    let written = writes.iter().filter(|write| write.verb != Verb::Delete);
    for write in written.filter(|write| class_in(&write.body).is_none()) {
        for secret in secrets_in(&write.body) {
            all.entry(secret).or_insert(&write.id);
        }
    }
    all
}

pub fn secrets_in(body: &Value) -> BTreeSet<&str> {
    let containers = template(body)
        .into_iter()
        .flat_map(|pod| items(pod, "/spec/containers").chain(items(pod, "/spec/initContainers")));
    let variables = containers.flat_map(|container| items(container, "/env"));
    variables
        .filter_map(|variable| text(variable, "/valueFrom/secretKeyRef/name"))
        .collect()
}
