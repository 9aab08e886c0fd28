//! Objects of an API server -> what core calls an observation. Pure.

mod state;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use portolan_core::name::OwnerId;
use portolan_core::observation::{Held, ObservedResource, Ownership, Replicas};
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use serde_json::{Map, Value, json};

use crate::explain::{self, Pods};
use crate::kinds::{
    CLAIM, CLAIM_TEMPLATE, CONFIG_MAP, DEPLOYMENT, HTTP_ROUTE, INGRESS, Kind, SERVICE, SERVICE_ACCOUNT, STATEFUL_SET,
    template,
};
use crate::names::{annotation, hash_of_text, label};

/// What one look has brought, besides the object itself.
pub struct Seen<'a> {
    pub scope: &'a Scope,
    /// Of the app.
    pub pods: &'a [Value],
    pub now: SystemTime,
}

/// One object, with the cause of its failure where it has failed.
pub struct Read {
    pub resource: ObservedResource,
    /// Whose last lines say more about a failure.
    pub log: Option<explain::Log>,
}

impl Seen<'_> {
    pub fn read(&self, kind: &'static Kind, object: &Value) -> Read {
        let pods = Pods::of(self.pods, object);
        let (state, log) = state::of(kind, object, &pods, self.now);
        let name = text(object, "/metadata/name").unwrap_or_default();
        let resource = ObservedResource {
            id: kind.id(name),
            native_id: text(object, "/metadata/uid").unwrap_or_default().to_string(),
            etag: Some(etag(object)),
            body: body(kind, object),
            ownership: ownership(self.scope, object),
            state,
            revision: tag(object, label::REVISION).map(String::from),
            outputs: outputs(kind, object),
            depends_on: depends_on(object),
            claims: Vec::new(),
            holds_data: kind == &CLAIM,
            retained: is_retained(object),
            replicas: replicas(kind, object, &pods),
        };
        Read { resource, log }
    }
}

pub fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer)?.as_str()
}

pub fn number(object: &Value, pointer: &str) -> u32 {
    let number = object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// RFC 3339, in whole seconds.
pub fn time_of(timestamp: &str) -> Option<SystemTime> {
    let time: Time = serde_json::from_value(timestamp.into()).ok()?;
    let seconds = u64::try_from(time.0.as_second()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

pub fn is_deleting(object: &Value) -> bool {
    text(object, "/metadata/deletionTimestamp").is_some()
}

pub fn is_retained(object: &Value) -> bool {
    note(object, annotation::RETAINED).is_some()
}

/// What was noted there of a generation that is held. What somebody else has written there is no note.
pub fn held(scope: &Scope, account: &Value) -> Option<Held> {
    let ours = matches!(ownership(scope, account), Ownership::Ours { .. });
    let text = note(account, annotation::HELD).filter(|_| ours)?;
    serde_json::from_str(text).ok()
}

fn tag<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["labels"].get(key)?.as_str()
}

pub fn note<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"].get(key)?.as_str()
}

pub fn ownership(scope: &Scope, object: &Value) -> Ownership {
    let owner = tag(object, label::OWNER).map(OwnerId::from_tag);
    match (owner, note(object, annotation::SOURCE)) {
        (Some(owner), Some(source)) if owner == scope.owner && source == scope.source => Ownership::Ours {
            generation: tag(object, label::GENERATION)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
        },
        (Some(owner), Some(source)) if owner == scope.owner => Ownership::OtherSource {
            source: source.to_string(),
        },
        _ => Ownership::Foreign,
    }
}

const RENDERED_ANNOTATIONS: [&str; 8] = [
    annotation::APPLIED,
    annotation::STRATEGY,
    annotation::DEADLINE,
    annotation::STEPS,
    annotation::SHARES,
    annotation::AT,
    annotation::REPLICAS,
    annotation::ISSUER,
];

/// What can be compared with what was rendered: neither what is told nor what is kept for ourselves. An item of a list
/// does not say what it is.
fn body(kind: &Kind, object: &Value) -> Value {
    let mut body = content(object);
    body["apiVersion"] = json!(kind.api_version());
    body["kind"] = json!(kind.name);
    let kept = |key: &str| RENDERED_ANNOTATIONS.contains(&key);
    let mut annotations = map(object, "/metadata/annotations");
    annotations.retain(|key, _| kept(key));
    let mut labels = map(object, "/metadata/labels");
    labels.remove(label::OWNER);
    labels.remove(label::GENERATION);
    body["metadata"] = json!({ "labels": labels, "annotations": annotations });
    body
}

/// Another one after every write, and the same while controllers carry out what was written: the object's own version
/// is another one with each of their reports.
pub fn etag(object: &Value) -> String {
    let mut content = content(object);
    let mut annotations = map(object, "/metadata/annotations");
    annotations.retain(|key, _| !is_of_controllers(key) && key != annotation::HELD);
    content["metadata"] = json!([object["metadata"]["uid"], map(object, "/metadata/labels"), annotations,]);
    hash_of_text("etag", &content.to_string())
}

/// `deployment.kubernetes.io/revision`, `pv.kubernetes.io/bound-by-controller` and the like.
fn is_of_controllers(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    domain.ends_with("kubernetes.io") || domain.ends_with("k8s.io")
}

fn content(object: &Value) -> Value {
    let mut content = object.clone();
    if let Some(fields) = content.as_object_mut() {
        for told in ["status", "metadata", "apiVersion", "kind"] {
            fields.remove(told);
        }
    }
    // Where a claim's data lies is found for it.
    if let Some(spec) = content.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("volumeName");
    }
    content
}

fn map(object: &Value, pointer: &str) -> Map<String, Value> {
    let fields = object.pointer(pointer).and_then(Value::as_object);
    fields.cloned().unwrap_or_default()
}

/// The output that users see: a list of URLs.
const ENDPOINTS: &str = "endpoints";

fn outputs(kind: &Kind, object: &Value) -> BTreeMap<String, Value> {
    let mut outputs = BTreeMap::new();
    if kind == &SERVICE {
        let name = text(object, "/metadata/name").unwrap_or_default();
        let namespace = text(object, "/metadata/namespace").unwrap_or_default();
        outputs.insert("host".to_string(), json!(format!("{name}.{namespace}.svc")));
    }
    let urls = match kind {
        kind if kind == &SERVICE => endpoints(object),
        kind if kind == &INGRESS => domains_of_ingress(object),
        kind if kind == &HTTP_ROUTE => domains_of_route(object),
        _ => Vec::new(),
    };
    if !urls.is_empty() {
        outputs.insert(ENDPOINTS.to_string(), json!(urls));
    }
    outputs
}

/// Once a load balancer has taken it up, each port at each of its addresses.
fn endpoints(object: &Value) -> Vec<String> {
    let addresses = items(object, "/status/loadBalancer/ingress");
    let addresses = addresses.filter_map(|one| text(one, "/hostname").or_else(|| text(one, "/ip")));
    let ports: Vec<&Value> = items(object, "/spec/ports").collect();
    let urls = addresses.flat_map(|address| ports.iter().map(move |port| url(address, port)));
    urls.collect()
}

/// Once a controller has taken it up, each domain.
fn domains_of_ingress(object: &Value) -> Vec<String> {
    if items(object, "/status/loadBalancer/ingress").next().is_none() {
        return Vec::new();
    }
    let secured: Vec<&Value> = items(object, "/spec/tls")
        .flat_map(|tls| items(tls, "/hosts"))
        .collect();
    let rules = items(object, "/spec/rules").filter_map(|rule| rule.get("host"));
    let urls = rules.filter_map(|host| {
        let scheme = if secured.contains(&host) { "https" } else { "http" };
        Some(format!("{scheme}://{}", host.as_str()?))
    });
    urls.collect()
}

/// Once a gateway has taken it up. Whether it is reached by https is known to the gateway alone.
fn domains_of_route(object: &Value) -> Vec<String> {
    if !is_accepted(object) {
        return Vec::new();
    }
    let hosts = items(object, "/spec/hostnames").filter_map(Value::as_str);
    hosts.map(|host| format!("http://{host}")).collect()
}

/// By a gateway: one parent is all that is asked for.
pub fn is_accepted(route: &Value) -> bool {
    let conditions = items(route, "/status/parents").flat_map(|parent| items(parent, "/conditions"));
    let is = |one: &Value| text(one, "/type") == Some("Accepted") && text(one, "/status") == Some("True");
    conditions.into_iter().any(is)
}

fn url(address: &str, port: &Value) -> String {
    let transport = text(port, "/protocol").unwrap_or("TCP").to_lowercase();
    let scheme = text(port, "/appProtocol").unwrap_or(&transport);
    format!("{scheme}://{address}:{}", port["port"])
}

pub fn items<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn depends_on(object: &Value) -> Vec<ResourceId> {
    let Some(pod) = template(object).and_then(|template| template.get("spec")) else {
        return Vec::new();
    };
    let account = text(pod, "/serviceAccountName").map(|name| SERVICE_ACCOUNT.id(name));
    let volumes = items(pod, "/volumes");
    let named = volumes.filter_map(|volume| {
        let claim = text(volume, "/persistentVolumeClaim/claimName").map(|name| CLAIM.id(name));
        claim.or_else(|| text(volume, "/configMap/name").map(|name| CONFIG_MAP.id(name)))
    });
    let claims = items(pod, "/resourceClaims").filter_map(|claim| text(claim, "/resourceClaimTemplateName"));
    let claims = claims.map(|name| CLAIM_TEMPLATE.id(name));
    let mut needs: Vec<ResourceId> = named.chain(claims).chain(account).collect();
    needs.sort();
    needs.dedup();
    needs
}

fn replicas(kind: &Kind, object: &Value, pods: &Pods<'_>) -> Option<Replicas> {
    let counted = [&DEPLOYMENT, &STATEFUL_SET].contains(&kind);
    counted.then(|| Replicas {
        wanted: number(object, "/spec/replicas"),
        ready: number(object, "/status/readyReplicas"),
        updated: number(object, "/status/updatedReplicas"),
        restarts: pods.restarts(),
    })
}

#[cfg(test)]
mod tests;
