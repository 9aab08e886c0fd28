//! What an update would change: only what we write is compared, so that a default of the API server, a sidecar that
//! somebody injects or an autoscaler's number is no difference.
//!
//! What a manifest no longer says is missing from what we write, too. That it went is told by the annotation with the
//! hash of what was rendered last; what went is then looked for among what is there.

use portolan_core::observation::ObservedResource;
use portolan_core::plan::{FieldChange, field_changes};
use portolan_core::resource::{Open, Resource};
use serde_json::{Map, Value};

use crate::kinds::{CLAIM, DEPLOYMENT, JOB, STATEFUL_SET, template};
use crate::names::annotation;
use crate::{quantity, scale};

pub fn changes(resource: &Resource, observed: &ObservedResource) -> Vec<FieldChange> {
    let wanted = &resource.body;
    let mut changes = field_changes(&counterpart(&observed.body, wanted), wanted);
    tell_what_went(&mut changes, &observed.body, wanted);
    if scale::is_free(wanted, &observed.body) {
        changes.retain(|change| change.field != "spec.replicas");
    }
    match resource.id.kind.as_str() {
        kind if kind == JOB.name => of_a_job(&mut changes, resource, observed),
        kind if kind == CLAIM.name => changes.retain(|change| !shrinks(change)),
        kind if kind == STATEFUL_SET.name => say_downtime(&mut changes, ONE_BY_ONE),
        _ if wanted.pointer("/spec/strategy/rollingUpdate/maxSurge") == Some(&0.into()) => {
            say_downtime(&mut changes, GPU_FIRST);
        }
        _ if wanted.pointer("/spec/strategy/type") == Some(&"Recreate".into()) => say_downtime(&mut changes, ALL_STOP),
        _ => {}
    }
    if [DEPLOYMENT.name, STATEFUL_SET.name].contains(&resource.id.kind.as_str()) {
        replace_for_what_is_fixed(&mut changes, &observed.body, wanted);
    }
    changes
}

const ONE_BY_ONE: &str = "each replica stops before its new one starts: a volume is written to by one pod at a time";
const GPU_FIRST: &str = "each replica stops before its new one starts: its GPU is the one that the new one gets";
const ALL_STOP: &str = "all replicas stop before new ones start: rollout.strategy says so";
const FIXED_FOR_LIFE: &str =
    "the pods of the old one end before the new one makes its own: this cannot be changed in place";
const ANOTHER_RUN: &str = "a job is replaced to run again";

/// Of `seen` what `wanted` speaks of, in its spelling where it is the same.
fn counterpart(seen: &Value, wanted: &Value) -> Value {
    match (seen, wanted) {
        (_, wanted) if Open::of(wanted).is_some() => seen.clone(),
        (Value::Object(seen), Value::Object(wanted)) => {
            let pairs = wanted.iter().filter_map(|(key, wanted)| {
                let seen = seen.get(key).map(|seen| match AMOUNTS.contains(&key.as_str()) {
                    true => amounts(seen, wanted),
                    false => counterpart(seen, wanted),
                });
                // What is empty is as good as not there, and an API server leaves it out.
                let seen = seen.or_else(|| is_empty(wanted).then(|| wanted.clone()));
                Some((key.clone(), seen?))
            });
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        (Value::Array(seen), Value::Array(wanted)) => list(seen, wanted),
        _ => seen.clone(),
    }
}

/// The maps that hold quantities. Anywhere else `1000m` and `1` are two texts.
const AMOUNTS: [&str; 2] = ["limits", "requests"];

fn amounts(seen: &Value, wanted: &Value) -> Value {
    let mut seen = counterpart(seen, wanted);
    for (name, seen) in seen.as_object_mut().into_iter().flatten() {
        if is_same_amount(seen, &wanted[name]) {
            seen.clone_from(&wanted[name]);
        }
    }
    seen
}

/// Items that have a key are found by it; other lists are compared as they stand.
fn list(seen: &[Value], wanted: &[Value]) -> Value {
    let Some(key) = key_of(wanted) else {
        return match seen.len() == wanted.len() {
            true => seen
                .iter()
                .zip(wanted)
                .map(|(seen, wanted)| counterpart(seen, wanted))
                .collect(),
            false => Value::Array(seen.to_vec()),
        };
    };
    let find = |wanted: &Value| seen.iter().find(|seen| keys(seen, key) == keys(wanted, key));
    let found = wanted
        .iter()
        .filter_map(|wanted| Some(counterpart(find(wanted)?, wanted)));
    found.collect()
}

/// The keys by which server-side apply merges lists, of those that we write.
const KEYS: [&[&str]; 4] = [
    &["mountPath"],
    &["containerPort", "protocol"],
    &["port", "protocol"],
    &["name"],
];

fn key_of(items: &[Value]) -> Option<&'static [&'static str]> {
    let has = |key: &[&str]| items.iter().all(|item| key.iter().all(|part| item.get(part).is_some()));
    KEYS.into_iter().find(|key| !items.is_empty() && has(key))
}

fn keys<'a>(item: &'a Value, key: &[&str]) -> Vec<Option<&'a Value>> {
    key.iter().map(|part| item.get(part)).collect()
}

fn is_same_amount(seen: &Value, wanted: &Value) -> bool {
    let amount = |value: &Value| quantity::millis_of(value.as_str()?);
    amount(wanted).is_some() && amount(seen) == amount(wanted)
}

pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// The hash says only that something changed. Where that is told besides, or the hash is not known yet, it is left out.
fn tell_what_went(changes: &mut Vec<FieldChange>, seen: &Value, wanted: &Value) {
    let is_hash = |change: &FieldChange| change.field.ends_with(annotation::APPLIED);
    if !changes.iter().any(is_hash) {
        return;
    }
    let went = gone(seen, wanted);
    if went.is_empty() && changes.iter().all(is_hash) {
        return;
    }
    changes.retain(|change| !is_hash(change));
    changes.extend(went);
}

/// Places that hold what a user has written, and nothing that an API server fills in.
const WRITTEN: &[&str] = &[
    "/data",
    "/spec/ports",
    "/spec/ingress",
    "/spec/ingressClassName",
    "/spec/tls",
    "/metadata/annotations/cert-manager.io~1cluster-issuer",
];
const WRITTEN_OF_POD: &[&str] = &["nodeSelector", "affinity", "runtimeClassName", "resourceClaims"];
const WRITTEN_IN_POD: &[&str] = &["containers", "initContainers", "volumes"];
const WRITTEN_IN_CONTAINER: &[&str] = &[
    "/env",
    "/command",
    "/ports",
    "/resources/limits",
    "/resources/claims",
    "/volumeMounts",
    "/workingDir",
    "/startupProbe",
    "/readinessProbe",
    "/livenessProbe",
    "/lifecycle",
];

fn gone(seen: &Value, wanted: &Value) -> Vec<FieldChange> {
    let mut went = Vec::new();
    for place in WRITTEN {
        let name = place.trim_start_matches('/').replace('/', ".");
        missing(&name, seen.pointer(place), wanted.pointer(place), &mut went);
    }
    let pod = |body: &Value| {
        template(body)
            .map(|template| template["spec"].clone())
            .unwrap_or_default()
    };
    let (seen, wanted) = (pod(seen), pod(wanted));
    for field in WRITTEN_OF_POD {
        missing(
            &format!("spec.template.spec.{field}"),
            seen.get(field),
            wanted.get(field),
            &mut went,
        );
    }
    for list in WRITTEN_IN_POD {
        let path = format!("spec.template.spec.{list}");
        missing(&path, seen.get(list), wanted.get(list), &mut went);
        for (name, seen, wanted) in pairs(&seen[list], &wanted[list]) {
            went.extend(writable_again(&path, &name, seen, wanted));
            for place in WRITTEN_IN_CONTAINER {
                let name = format!("{path}.{name}{}", place.replace('/', "."));
                missing(&name, seen.pointer(place), wanted.pointer(place), &mut went);
            }
        }
    }
    went
}

/// Mounts that are read-only there, and shall not be any more: what is left out means so.
fn writable_again(path: &str, container: &str, seen: &Value, wanted: &Value) -> Vec<FieldChange> {
    let mounts = |body: &Value| body["volumeMounts"].as_array().cloned().unwrap_or_default();
    let wanted = mounts(wanted);
    let is_wanted = |one: &&Value| {
        let same = |other: &&Value| other["mountPath"] == one["mountPath"];
        wanted
            .iter()
            .find(same)
            .is_some_and(|other| other.get("readOnly").is_none())
    };
    let seen = mounts(seen);
    let went = seen.iter().filter(|one| one["readOnly"] == true).filter(is_wanted);
    let change = |one: &Value| {
        let field = format!("{path}.{container}.volumeMounts.{}.readOnly", word(one, &["mountPath"]));
        FieldChange::in_place(field, Some(true.into()), None)
    };
    went.map(change).collect()
}

fn pairs<'a>(seen: &'a Value, wanted: &'a Value) -> Vec<(String, &'a Value, &'a Value)> {
    let seen = seen.as_array().into_iter().flatten();
    let pairs = seen.filter_map(|seen| {
        let name = seen.get("name")?.as_str()?;
        let wanted = wanted.as_array()?.iter().find(|wanted| wanted["name"] == name)?;
        Some((name.to_string(), seen, wanted))
    });
    pairs.collect()
}

/// What is there and not wanted any more: the whole, or the items of a list or a map.
fn missing(path: &str, seen: Option<&Value>, wanted: Option<&Value>, went: &mut Vec<FieldChange>) {
    let gone = |name: String, old: &Value| FieldChange::in_place(name, Some(old.clone()), None);
    match (seen, wanted) {
        (Some(seen), None) => went.push(gone(path.to_string(), seen)),
        // In any other object an API server fills in what is missing.
        (Some(Value::Object(seen)), Some(Value::Object(wanted))) if path == "data" || path.ends_with(".limits") => {
            let extra = seen.iter().filter(|(key, _)| !wanted.contains_key(*key));
            went.extend(extra.map(|(key, old)| gone(format!("{path}.{key}"), old)));
        }
        (Some(Value::Array(seen)), Some(Value::Array(wanted))) => {
            let Some(key) = key_of(seen) else { return };
            let is_wanted = |one: &Value| wanted.iter().any(|other| keys(other, key) == keys(one, key));
            let extra = seen.iter().filter(|one| !is_wanted(one));
            went.extend(extra.map(|old| gone(format!("{path}.{}", word(old, key)), old)));
        }
        _ => {}
    }
}

fn word(item: &Value, key: &[&str]) -> String {
    let of = |part: &&str| match &item[*part] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    key.iter().map(of).collect::<Vec<_>>().join("/")
}

/// What the API server refuses to change in a workload that is there.
const FIXED: &[&str] = &["selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"];

/// Of ours it never changes; what is taken over may have been made with anything.
fn replace_for_what_is_fixed(changes: &mut Vec<FieldChange>, seen: &Value, wanted: &Value) {
    tell_the_selector(changes, seen, wanted);
    for change in changes.iter_mut().filter(|change| is_fixed(&change.field)) {
        change.replace = true;
        change.downtime = Some(FIXED_FOR_LIFE.into());
    }
}

fn is_fixed(field: &str) -> bool {
    let name = field.strip_prefix("spec.").and_then(|rest| rest.split('.').next());
    name.is_some_and(|name| FIXED.contains(&name))
}

/// It is written as a whole, so that one that chooses by more than is wanted is another one.
fn tell_the_selector(changes: &mut Vec<FieldChange>, seen: &Value, wanted: &Value) {
    let [seen, wanted] = [seen, wanted].map(|body| body.pointer("/spec/selector"));
    let is_told = changes.iter().any(|change| change.field.starts_with("spec.selector"));
    if !is_told && wanted.is_some() && seen != wanted {
        changes.push(FieldChange::in_place("spec.selector", seen.cloned(), wanted.cloned()));
    }
}

/// A job's pod cannot be changed. It runs again for another revision, and for nothing else.
fn of_a_job(changes: &mut Vec<FieldChange>, resource: &Resource, observed: &ObservedResource) {
    if resource.revision.is_some() && resource.revision == observed.revision {
        changes.retain(|change| {
            !change.field.starts_with("spec.template") && !change.field.ends_with(annotation::APPLIED)
        });
        return;
    }
    for change in changes
        .iter_mut()
        .filter(|change| change.field.starts_with("spec.template"))
    {
        change.replace = true;
        change.downtime = Some(ANOTHER_RUN.into());
    }
}

/// A claim never shrinks, so one that holds more than is asked for is as it should be.
fn shrinks(change: &FieldChange) -> bool {
    let amount = |value: &Option<Value>| quantity::millis_of(value.as_ref()?.as_str()?);
    match (amount(&change.old), amount(&change.new)) {
        (Some(old), Some(new)) => change.field.ends_with(".storage") && old > new,
        _ => false,
    }
}

fn say_downtime(changes: &mut [FieldChange], because: &str) {
    for change in changes
        .iter_mut()
        .filter(|change| change.field.starts_with("spec.template"))
    {
        change.downtime = Some(because.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Kind;
    use portolan_core::observation::{Ownership, ResourceState};
    use serde_json::json;

    fn told(kind: &Kind, seen: Value, wanted: Value) -> Vec<FieldChange> {
        let id = kind.id("web");
        let resource: Resource = serde_json::from_value(json!({
            "id": id, "body": wanted, "edges": [], "origin": "/spec/services/web", "revision": "r1",
        }))
        .unwrap();
        let observed = ObservedResource {
            id,
            native_id: "uid".into(),
            etag: None,
            body: seen,
            ownership: Ownership::Ours { generation: 1 },
            state: ResourceState::Ready,
            revision: Some("r1".into()),
            outputs: Default::default(),
            depends_on: Vec::new(),
            claims: Vec::new(),
            holds_data: false,
            retained: false,
            replicas: None,
        };
        changes(&resource, &observed)
    }

    fn fields(kind: &Kind, seen: Value, wanted: Value) -> Vec<String> {
        told(kind, seen, wanted)
            .into_iter()
            .map(|change| change.field)
            .collect()
    }

    fn with_container(container: Value) -> Value {
        let applied = hash(&container);
        json!({
            "metadata": { "annotations": { annotation::APPLIED: applied } },
            "spec": { "template": { "spec": { "containers": [container] } } },
        })
    }

    fn hash(value: &Value) -> String {
        crate::names::hash_of_text("applied", &value.to_string())
    }

    #[test]
    fn only_what_we_write_is_compared() {
        let spec = |fields: Value| json!({ "spec": fields });
        for (reason, seen, wanted, expected) in [
            (
                "a default is no difference",
                spec(json!({"replicas": 1, "revisionHistoryLimit": 10})),
                spec(json!({"replicas": 1})),
                &[][..],
            ),
            (
                "another spelling of an amount is none",
                spec(json!({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}})),
                spec(json!({"resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}})),
                &[],
            ),
            (
                "outside of amounts a text is a text",
                spec(json!({"env": [{"name": "SHARE", "value": "1"}], "serviceName": "1k"})),
                spec(json!({"env": [{"name": "SHARE", "value": "1000m"}], "serviceName": "1000"})),
                &["spec.env.SHARE.value", "spec.serviceName"],
            ),
            (
                "another amount is one",
                spec(json!({"resources": {"limits": {"cpu": "1"}}})),
                spec(json!({"resources": {"limits": {"cpu": "2"}}})),
                &["spec.resources.limits.cpu"],
            ),
            (
                "ports are found by number and protocol, wherever they stand",
                spec(json!({"ports": [{"port": 2, "protocol": "TCP", "nodePort": 9}, {"port": 1, "protocol": "TCP"}]})),
                spec(json!({"ports": [{"port": 1, "protocol": "TCP"}, {"port": 2, "protocol": "TCP"}]})),
                &[],
            ),
            (
                "what is empty is as good as not there",
                spec(json!({"replicas": 1})),
                spec(json!({"replicas": 1, "securityContext": {}})),
                &[],
            ),
            (
                "what is missing is a difference",
                spec(json!({})),
                spec(json!({"replicas": 1})),
                &["spec.replicas"],
            ),
        ] {
            assert_eq!(fields(&DEPLOYMENT, seen, wanted), expected, "{reason}");
        }
    }

    #[test]
    fn what_a_manifest_no_longer_says_is_told() {
        let env = |names: &[&str]| {
            let env: Vec<Value> = names.iter().map(|name| json!({"name": name, "value": "1"})).collect();
            with_container(json!({ "name": "web", "env": env }))
        };
        let path = "spec.template.spec.containers.web.env.B";
        assert_eq!(
            fields(&DEPLOYMENT, env(&["A", "B"]), env(&["A"])),
            [path],
            "we wrote it, and no more"
        );
        let mut injected = env(&["A", "B"]);
        injected["metadata"] = env(&["A"])["metadata"].clone();
        assert_eq!(
            fields(&DEPLOYMENT, injected, env(&["A"])),
            [""; 0],
            "somebody else wrote it"
        );
        let probed =
            with_container(json!({"name": "web", "livenessProbe": {"periodSeconds": 5, "successThreshold": 1}}));
        let slower = with_container(json!({"name": "web", "livenessProbe": {"periodSeconds": 9}}));
        let path = "spec.template.spec.containers.web.livenessProbe";
        let changed = fields(&DEPLOYMENT, probed.clone(), slower);
        assert_eq!(
            changed,
            [format!("{path}.periodSeconds")],
            "a default that stays is nothing that went"
        );
        let bare = with_container(json!({"name": "web"}));
        assert_eq!(fields(&DEPLOYMENT, probed, bare), [path], "as a whole");
    }

    #[test]
    fn what_is_fixed_for_life_is_replaced() {
        let selector = |labels: Value| json!({ "selector": { "matchLabels": labels } });
        let ours = || selector(json!({ "owner": "us" }));
        for (reason, kind, seen, wanted, expected) in [
            (
                "somebody else's selector",
                &DEPLOYMENT,
                selector(json!({ "app": "web" })),
                ours(),
                &["spec.selector.matchLabels.owner"][..],
            ),
            (
                "one that chooses by more",
                &DEPLOYMENT,
                selector(json!({ "app": "web", "owner": "us" })),
                ours(),
                &["spec.selector"],
            ),
            ("the same", &DEPLOYMENT, ours(), ours(), &[]),
            (
                "the order of its pods",
                &STATEFUL_SET,
                json!({ "podManagementPolicy": "OrderedReady", "serviceName": "a", "replicas": 1 }),
                json!({ "podManagementPolicy": "Parallel", "serviceName": "b", "replicas": 1 }),
                &["spec.podManagementPolicy", "spec.serviceName"],
            ),
            (
                "how many there are is not",
                &STATEFUL_SET,
                json!({ "replicas": 1 }),
                json!({ "replicas": 2 }),
                &[],
            ),
        ] {
            let changes = told(kind, json!({ "spec": seen }), json!({ "spec": wanted }));
            let replaced = changes.iter().filter(|change| change.replace);
            let fields: Vec<&str> = replaced.clone().map(|change| change.field.as_str()).collect();
            assert_eq!(fields, expected, "{reason}");
            assert!(
                replaced.clone().all(|change| change.downtime.is_some()),
                "{reason}: pods end"
            );
        }
    }

    #[test]
    fn a_claim_grows_and_never_shrinks() {
        let claim = |size: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}});
        for (reason, seen, wanted, expected) in [
            ("more", "1Gi", "2Gi", &["spec.resources.requests.storage"][..]),
            ("less", "2Gi", "1Gi", &[]),
            ("as much", "1024Mi", "1Gi", &[]),
        ] {
            assert_eq!(fields(&CLAIM, claim(seen), claim(wanted)), expected, "{reason}");
        }
    }

    #[test]
    fn a_job_runs_again_for_another_revision_alone() {
        let same = fields(
            &JOB,
            with_container(json!({"name": "a"})),
            with_container(json!({"name": "b"})),
        );
        assert_eq!(same, [""; 0], "its pod is of the revision that has run");
    }
}
