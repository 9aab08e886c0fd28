//! Which requests are taken: checked before anything is changed.

use std::collections::BTreeSet;

use super::{State, Subnet};
use crate::protocol::{Class, DeleteOutcome, ErrorBody, PutOutcome};
use crate::spec::{Kind, NetworkSpec, Object, PodSpec};

/// What a put of this object would do, or why it is refused.
pub fn admit_put(state: &State, object: &Object) -> Result<PutOutcome, ErrorBody> {
    let faults = object.faults();
    if !faults.is_empty() {
        let list: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let what = format!(
            "{} `{}` cannot be put: {}",
            object.kind(),
            object.name(),
            list.join("; ")
        );
        return Err(refusal("InvalidSpec", Class::Invalid, what));
    }
    match object {
        Object::Network(spec) => match &state.network {
            Some(network) if network.spec.name != spec.name => {
                let what = format!(
                    "the app already has the network `{}`, and an app has one",
                    network.spec.name
                );
                Err(refusal("NetworkExists", Class::Conflict, what))
            }
            other => {
                check_uses(state, spec)?;
                Ok(outcome(other.as_ref().map(|n| &n.spec), spec))
            }
        },
        Object::Volume(spec) => Ok(outcome(state.volumes.get(&spec.name), spec)),
        Object::Service(spec) => {
            let existing = state.services.get(&spec.name);
            check_workload(state, object, &spec.pod, existing.is_some_and(|s| s.deleting))?;
            check_room(state, &spec.name, spec.replicas)?;
            Ok(outcome(existing.map(|s| &s.spec), spec))
        }
        Object::Job(spec) => {
            let existing = state.jobs.get(&spec.name);
            check_workload(state, object, &spec.pod, existing.is_some_and(|j| j.deleting))?;
            Ok(outcome(existing.map(|j| &j.spec), spec))
        }
    }
}

/// What a delete of this object would do, or why it is refused.
pub fn admit_delete(state: &State, kind: Kind, name: &str) -> Result<DeleteOutcome, ErrorBody> {
    let there = match kind {
        Kind::Network => state.network.as_ref().is_some_and(|n| n.spec.name == name),
        Kind::Volume => state.volumes.contains_key(name),
        Kind::Service => state.services.contains_key(name),
        Kind::Job => state.jobs.contains_key(name),
    };
    let users = match kind {
        Kind::Network if there => workloads(state).map(|(user, _)| user).collect(),
        Kind::Volume => users_of_volume(state, name),
        _ => vec![],
    };
    if !users.is_empty() {
        let what = format!("{kind} `{name}` is in use by {}", users.join(", "));
        return Err(refusal("InUse", Class::Retry, what));
    }
    Ok(if there {
        DeleteOutcome::Deleted
    } else {
        DeleteOutcome::Absent
    })
}

pub(crate) fn refusal(code: &str, class: Class, message: String) -> ErrorBody {
    ErrorBody {
        code: code.into(),
        class,
        message,
        hint: None,
    }
}

fn outcome<T: PartialEq>(existing: Option<&T>, wanted: &T) -> PutOutcome {
    match existing {
        None => PutOutcome::Created,
        Some(existing) if existing == wanted => PutOutcome::Unchanged,
        Some(_) => PutOutcome::Updated,
    }
}

fn check_workload(state: &State, object: &Object, pod: &PodSpec, deleting: bool) -> Result<(), ErrorBody> {
    let subject = format!("{} `{}`", object.kind(), object.name());
    if deleting {
        return Err(refusal(
            "BeingDeleted",
            // It drains for as long as it may: to look is better than to repeat the call.
            Class::Conflict,
            format!("{subject} is still being deleted"),
        ));
    }
    if state.network.is_none() {
        return Err(refusal(
            "NetworkMissing",
            Class::Conflict,
            format!("{subject} needs the app's network, put that first"),
        ));
    }
    let missing = volumes_of(pod)
        .into_iter()
        .find(|name| !state.volumes.contains_key(*name));
    match missing {
        Some(name) => Err(refusal(
            "VolumeMissing",
            Class::Conflict,
            format!("{subject} mounts the volume `{name}`, put that first"),
        )),
        None => Ok(()),
    }
}

/// Each service may need one address more during an update; twice that while old replicas still end.
fn check_room(state: &State, name: &str, replicas: u32) -> Result<(), ErrorBody> {
    let others = state.services.values().filter(|s| s.spec.name != name);
    let used = state.network.as_ref().map_or(0, |network| network.uses.len());
    let count = others.clone().count() + 1 + used;
    let wanted: u32 = others.map(|s| s.spec.replicas + 1).sum::<u32>() + replicas + 1;
    let room = (Subnet::PODS.end() - Subnet::PODS.start()) as u32;
    let services = (Subnet::SERVICES.end() - Subnet::SERVICES.start()) as usize;
    if wanted > room || count > services {
        let what = format!("{count} services with {wanted} replicas are more than the app's /24 has addresses for");
        return Err(refusal("AddressesExhausted", Class::Quota, what));
    }
    Ok(())
}

/// A name means one thing, and each needs an address as a service does.
fn check_uses(state: &State, spec: &NetworkSpec) -> Result<(), ErrorBody> {
    if let Some(one) = spec.uses.iter().find(|one| state.services.contains_key(&one.name)) {
        let what = format!(
            "the app has a service `{}` of its own, and uses one of this name",
            one.name
        );
        return Err(refusal("InvalidSpec", Class::Invalid, what));
    }
    let count = state.services.len() + spec.uses.len();
    if count > (Subnet::SERVICES.end() - Subnet::SERVICES.start()) as usize {
        let what = format!("{count} services are more than the app's /24 has addresses for");
        return Err(refusal("AddressesExhausted", Class::Quota, what));
    }
    Ok(())
}

fn workloads(state: &State) -> impl Iterator<Item = (String, Vec<&PodSpec>)> {
    let service = |s: &'_ super::Service| format!("service `{}`", s.spec.name);
    let job = |j: &'_ super::Job| format!("job `{}`", j.spec.name);
    let services = state
        .services
        .values()
        .map(move |s| (service(s), s.templates.values().map(|t| &t.pod).collect()));
    services.chain(
        state
            .jobs
            .values()
            .map(move |j| (job(j), j.templates.values().map(|t| &t.pod).collect())),
    )
}

fn users_of_volume(state: &State, name: &str) -> Vec<String> {
    let uses = |pods: &[&PodSpec]| pods.iter().any(|pod| volumes_of(pod).contains(name));
    workloads(state)
        .filter(|(_, pods)| uses(pods))
        .map(|(user, _)| user)
        .collect()
}

fn volumes_of(pod: &PodSpec) -> BTreeSet<&str> {
    pod.containers()
        .flat_map(|c| &c.volumes)
        .map(|v| v.name.as_str())
        .collect()
}
