//! What is sent: objects of a write, and who is told to have written them. Pure.

use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{CallError, WriteRequest};
use serde_json::{Value, json};

use crate::kinds::{JOB, Kind};
use crate::names::{MANAGER, annotation, hash_of_text, label};
use crate::{error, scale};

/// The kind of what a write is about.
pub fn kind_of(id: &ResourceId) -> Result<&'static Kind, CallError> {
    Kind::of(id).ok_or_else(|| error::bug(format!("{id} is no kind of this platform")))
}

/// The whole object: the body that was rendered, its place, and whose it is.
pub fn object_of(scope: &Scope, kube_namespace: &str, request: &WriteRequest) -> Result<Value, CallError> {
    let mut object = request.body.clone();
    if !object.is_object() {
        return Err(error::bug(format!("{} has no body", request.id)));
    }
    tag(&mut object, scope, kube_namespace, &request.id.name);
    object["metadata"]["labels"][label::GENERATION] = json!(request.generation.to_string());
    Ok(object)
}

/// Its place, and whose it is.
pub fn tag(object: &mut Value, scope: &Scope, kube_namespace: &str, name: &str) {
    let metadata = &mut object["metadata"];
    metadata["name"] = json!(name);
    metadata["namespace"] = json!(kube_namespace);
    metadata["labels"][label::OWNER] = json!(scope.owner);
    metadata["annotations"][annotation::SOURCE] = json!(scope.source);
}

/// What is applied over `live`, and only over it: whoever writes in between makes it a conflict. Where `live` has failed its
/// pods are made afresh, once for each token.
pub fn applied_over(live: &Value, mut object: Value, retry: Option<&str>) -> Value {
    object["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
    object["metadata"]["uid"] = live["metadata"]["uid"].clone();
    if scale::is_free(&object, live) {
        object["spec"]["replicas"] = live["spec"]["replicas"].clone();
    }
    if object["kind"] == JOB.name {
        // The pod of a job cannot be changed, and is of the revision that is wanted: else the job would be replaced.
        object["spec"]["template"] = live["spec"]["template"].clone();
        return object;
    }
    let token = retry.map(|token| json!(hash_of_text("retried", token)));
    if let Some(token) = token.or_else(|| retried(live, &object)) {
        object["spec"]["template"]["metadata"]["annotations"][annotation::RETRIED] = token;
    }
    object
}

/// Which retry the pods of that very revision are of: without it they would be other pods.
fn retried(live: &Value, object: &Value) -> Option<Value> {
    let template = |object: &Value, key: &str| {
        object
            .pointer("/spec/template/metadata")
            .map(|found| found[key].clone())
    };
    let labels = template(object, "labels")?;
    let same = template(live, "labels")?[label::REVISION] == labels[label::REVISION];
    let before = template(live, "annotations")?.get(annotation::RETRIED)?.clone();
    same.then_some(before)
}

/// A create is a POST, and what it wrote counts as written by an update. Apply would not see that it was ours, take away
/// nothing of it and call it a conflict: the entry is turned into one of an apply, once for each object.
pub fn adoption(live: &Value) -> Option<Value> {
    let entries = live["metadata"]["managedFields"].as_array()?;
    let by_update = |entry: &&Value| is_ours(entry) && entry["operation"] == "Update";
    let created = entries.iter().find(by_update)?;
    let mut applied = created.clone();
    applied["operation"] = json!("Apply");
    let before = entries
        .iter()
        .find(|entry| is_ours(entry) && entry["operation"] == "Apply");
    if let Some(before) = before {
        merge(&mut applied["fieldsV1"], &before["fieldsV1"]);
    }
    let others = entries.iter().filter(|entry| !is_ours(entry)).cloned();
    let entries: Vec<Value> = others.chain([applied]).collect();
    Some(replaced(live, "/metadata/managedFields", &json!(entries)))
}

/// A JSON patch of one place, and only over `live`.
pub fn replaced(live: &Value, path: &str, value: &Value) -> Value {
    json!([
        { "op": "replace", "path": path, "value": value },
        { "op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"] },
    ])
}

fn is_ours(entry: &Value) -> bool {
    entry["manager"] == MANAGER && entry.get("subresource").is_none()
}

fn merge(into: &mut Value, fields: &Value) {
    let Some(fields) = fields.as_object() else { return };
    for (key, value) in fields {
        merge(&mut into[key], value);
        if into[key].is_null() {
            into[key] = value.clone();
        }
    }
}

/// One annotation, written or taken away, and only over `live`.
pub fn annotated(live: &Value, key: &str, value: Option<String>) -> Value {
    json!({ "metadata": {
        "resourceVersion": live["metadata"]["resourceVersion"],
        "annotations": { key: value },
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn live(entries: &[Value]) -> Value {
        json!({"metadata": {"resourceVersion": "7", "managedFields": entries}})
    }

    #[test]
    fn a_retry_is_in_what_is_applied_and_stays_there() {
        let template = |revision: &str, retried: Value| {
            let mut template = json!({"metadata": {"labels": {label::REVISION: revision}}});
            template["metadata"]["annotations"] = retried;
            json!({"metadata": {"resourceVersion": "7"}, "spec": {"template": template}})
        };
        let of = |token: &str| json!({ annotation::RETRIED: hash_of_text("retried", token) });
        for (reason, live, retry, expected) in [
            ("it has not failed", template("r1", json!({})), None, Value::Null),
            ("it has", template("r1", json!({})), Some("a"), of("a")),
            ("the same retry again", template("r1", of("a")), Some("a"), of("a")),
            ("another one", template("r1", of("a")), Some("b"), of("b")),
            ("its pods are those of a retry", template("r1", of("a")), None, of("a")),
            ("another revision's were", template("r0", of("a")), None, Value::Null),
        ] {
            let object = template("r1", Value::Null);
            let applied = applied_over(&live, object, retry);
            let told = &applied["spec"]["template"]["metadata"]["annotations"];
            assert_eq!(*told, expected, "{reason}");
            assert_eq!(
                applied["metadata"]["resourceVersion"], "7",
                "{reason}: over what was seen"
            );
        }
    }

    #[test]
    fn what_a_create_wrote_becomes_an_applys() {
        let created = entry(MANAGER, "Update", json!({"f:spec": {"f:a": {}}}));
        let applied = entry(MANAGER, "Apply", json!({"f:spec": {"f:b": {}}}));
        let theirs = entry("kubectl", "Update", json!({"f:data": {}}));
        let both = json!({"f:spec": {"f:a": {}, "f:b": {}}});
        for (reason, entries, expected) in [
            (
                "created and never applied",
                vec![created.clone(), theirs.clone()],
                Some(vec![
                    theirs.clone(),
                    entry(MANAGER, "Apply", json!({"f:spec": {"f:a": {}}})),
                ]),
            ),
            (
                "both, so that nothing is lost",
                vec![created, applied.clone()],
                Some(vec![entry(MANAGER, "Apply", both)]),
            ),
            ("applied before", vec![applied], None),
            ("never ours", vec![theirs], None),
        ] {
            let patch = adoption(&live(&entries));
            let told = patch.as_ref().map(|patch| patch[0]["value"].clone());
            assert_eq!(told, expected.map(|entries| json!(entries)), "{reason}");
            if let Some(patch) = patch {
                assert_eq!(patch[1]["value"], "7", "{reason}: over what was seen");
            }
        }
    }
}
